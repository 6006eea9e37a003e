//! A JSON object read key by key, with the path of every field and a note of every problem.
//!
//! It knows types and presence, not meaning.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::address;
use crate::names::{self, shown};
use crate::nearest::within_two_edits;
use crate::problem::{Problem, Problems, Severity};

/// What null and absent mappings are to the API: one without keys.
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// One JSON object and where it stands.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// The value as an object. Keys that are not known are noted, and required keys that are missing; a missing key
    /// with an unknown one within two edits of it is a misspelling.
    pub(crate) fn of(
        value: &'a Value,
        path: String,
        problems: &'a Problems,
        known: &[&str],
        required: &[&str],
    ) -> Option<Self> {
        let fields = Self::unchecked(value, path, problems)?;
        fields.check_keys(known, required);
        Some(fields)
    }

    /// The value as an object whose keys nobody checks: parts of an object that are of no concern here.
    pub(crate) fn unchecked(value: &'a Value, path: String, problems: &'a Problems) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { map, path, problems }),
            other => {
                problems.refuse(path, format!("must be a mapping, not {}", type_word(other)));
                None
            }
        }
    }

    fn check_keys(&self, known: &[&str], required: &[&str]) {
        let mut unknown: Vec<&str> =
            self.map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
        for required in required.iter().filter(|key| self.value(key).is_none()) {
            let meant = unknown.iter().position(|key| misspells(key, required));
            match meant.map(|index| unknown.swap_remove(index)) {
                // Without these two nothing is known of the object, so that it has no fields to speak of.
                found if self.path.is_empty() && matches!(*required, "apiVersion" | "kind") => {
                    let reason = match found {
                        Some(key) => format!("unknown key `{}`; `{required}` is missing", shown(key)),
                        None => format!("`{required}` is missing"),
                    };
                    let hint = found.map(|_| format!("did you mean `{required}`?"));
                    self.add(Severity::Refused, String::new(), reason, hint);
                }
                Some(key) => {
                    let reason = format!("is missing; there is an unknown key `{}`", shown(key));
                    self.refuse_with_hint(required, reason, Some(format!("did you mean `{required}`?")));
                }
                None => self.refuse(required, "is missing"),
            }
        }
        unknown.sort_unstable();
        for key in unknown {
            let hint =
                within_two_edits(key, known.iter().copied().filter(|known| !self.map.contains_key(*known)))
                    .map(|known| format!("did you mean `{known}`?"));
            self.add(Severity::UnknownKey, self.path.clone(), format!("unknown key `{}`", shown(key)), hint);
        }
    }

    fn add(&self, severity: Severity, field: String, reason: String, hint: Option<String>) {
        self.problems.add(Problem { severity, field, reason, hint });
    }

    /// The same object, whose problems are collected elsewhere.
    pub(crate) fn noting_in<'b>(&self, problems: &'b Problems) -> Fields<'b>
    where
        'a: 'b,
    {
        Fields { map: self.map, path: self.path.clone(), problems }
    }

    /// Where the problems go.
    pub(crate) const fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// The path of this object.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of one of its fields.
    pub(crate) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes that a field would be refused.
    pub(crate) fn refuse(&self, key: &str, reason: impl Into<String>) {
        self.add(Severity::Refused, self.at(key), reason.into(), None);
    }

    /// Notes that the API server keeps a field that nobody can use.
    pub(crate) fn unread(&self, key: &str, reason: impl Into<String>) {
        self.add(Severity::Unread, self.at(key), reason.into(), None);
    }

    /// Notes that a field is odd.
    pub(crate) fn odd(&self, key: &str, reason: impl Into<String>) {
        self.add(Severity::Odd, self.at(key), reason.into(), None);
    }

    /// Notes that this object is odd as a whole.
    pub(crate) fn odd_itself(&self, reason: impl Into<String>) {
        self.add(Severity::Odd, self.path.clone(), reason.into(), None);
    }

    /// Notes that a field would be refused, with what was probably meant.
    pub(crate) fn refuse_with_hint(&self, key: &str, reason: String, hint: Option<String>) {
        self.add(Severity::Refused, self.at(key), reason, hint);
    }

    /// A field that is there; null counts as absent, as in the API.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let result = read(value);
        if result.is_none() {
            self.refuse(key, format!("must be {wanted}, not {}", type_word(value)));
        }
        result
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.typed(key, "a text", Value::as_str)
    }

    /// A text, empty if absent.
    pub(crate) fn text_or_empty(&self, key: &str) -> String {
        self.text(key).unwrap_or_default().to_owned()
    }

    /// A boolean.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An integer.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        self.typed(key, "an integer", Value::as_i64)
    }

    /// A port number from 1 to 65535.
    pub(crate) fn port(&self, key: &str) -> Option<u16> {
        let number = self.integer(key)?;
        let port = port_number(number);
        if port.is_none() {
            self.refuse(key, not_a_port(number));
        }
        port
    }

    /// An address.
    pub(crate) fn address(&self, key: &str) -> Option<IpAddr> {
        match address::parse(self.text(key)?) {
            Ok(address) => Some(address),
            Err(reason) => {
                self.refuse(key, reason);
                None
            }
        }
    }

    /// Notes what is wrong with a text that is there, by one of the checks of `names`.
    pub(crate) fn check(&self, key: &str, check: fn(&str) -> Result<(), String>) {
        if let Some(Err(reason)) = self.text(key).map(check) {
            self.refuse(key, reason);
        }
    }

    /// One of a few words, by its value; an empty text is the same as none, as where the API fills in a default.
    pub(crate) fn word_or_empty<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.value(key).filter(|value| value.as_str() != Some("")).and_then(|_| self.word(key, words))
    }

    /// One of a few words, by its value.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = known
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .copied()
                .or_else(|| within_two_edits(text, known.iter().copied()))
                .map(|word| format!("did you mean `{word}`?"));
            let reason = format!("`{}` is not one of {}", shown(text), known.join(", "));
            self.refuse_with_hint(key, reason, hint);
        }
        found
    }

    /// A nested object.
    pub(crate) fn child(&self, key: &str, known: &[&str], required: &[&str]) -> Option<Fields<'a>> {
        Fields::of(self.value(key)?, self.at(key), self.problems, known, required)
    }

    /// A nested object that the API takes for an empty one if it is absent.
    pub(crate) fn child_or_empty(&self, key: &str, known: &[&str], required: &[&str]) -> Option<Fields<'a>> {
        if self.value(key).is_some() {
            return self.child(key, known, required);
        }
        let fields = Fields { map: &NOTHING, path: self.at(key), problems: self.problems };
        fields.check_keys(known, required);
        Some(fields)
    }

    /// A nested object whose keys nobody checks.
    pub(crate) fn unchecked_child(&self, key: &str) -> Option<Fields<'a>> {
        Fields::unchecked(self.value(key)?, self.at(key), self.problems)
    }

    /// The same, and the API takes it for an empty one if it is absent.
    pub(crate) fn unchecked_child_or_empty(&self, key: &str) -> Option<Fields<'a>> {
        match self.value(key) {
            Some(value) => Fields::unchecked(value, self.at(key), self.problems),
            None => Some(Fields { map: &NOTHING, path: self.at(key), problems: self.problems }),
        }
    }

    /// The items of a list, each with its path.
    pub(crate) fn items(&self, key: &str) -> Vec<(&'a Value, String)> {
        let Some(items) = self.typed(key, "a list", Value::as_array) else { return Vec::new() };
        items.iter().enumerate().map(|(index, item)| (item, format!("{}[{index}]", self.at(key)))).collect()
    }

    /// The items of a list of objects. A null among them is an empty object to the API.
    pub(crate) fn objects(&self, key: &str, known: &[&str], required: &[&str]) -> Vec<Fields<'a>> {
        let objects = self.unchecked_objects(key);
        for fields in &objects {
            fields.check_keys(known, required);
        }
        objects
    }

    /// The items of a list of objects whose keys nobody checks.
    pub(crate) fn unchecked_objects(&self, key: &str) -> Vec<Fields<'a>> {
        self.items(key)
            .into_iter()
            .filter_map(|(item, path)| match item {
                Value::Null => Some(Fields { map: &NOTHING, path, problems: self.problems }),
                item => Fields::unchecked(item, path, self.problems),
            })
            .collect()
    }

    /// The items of a list of texts, each with its path. A null among them is an empty text to the API.
    pub(crate) fn texts(&self, key: &str) -> Vec<(&'a str, String)> {
        self.items(key)
            .into_iter()
            .filter_map(|(item, path)| {
                let text = if item.is_null() { Some("") } else { item.as_str() };
                if text.is_none() {
                    self.problems.refuse(&path, format!("must be a text, not {}", type_word(item)));
                }
                Some((text?, path))
            })
            .collect()
    }

    /// A mapping from text to text whose keys and values are those of labels (`ValidateLabels`).
    pub(crate) fn labels(&self, key: &str) -> BTreeMap<String, String> {
        let labels = self.text_map(key);
        for (name, value) in &labels {
            for reason in
                [names::label_key(name), names::label_value(value)].into_iter().filter_map(Result::err)
            {
                self.refuse(key, reason);
            }
        }
        labels
    }

    /// A mapping from text to text.
    pub(crate) fn text_map(&self, key: &str) -> BTreeMap<String, String> {
        let Some(map) = self.typed(key, "a mapping", Value::as_object) else { return BTreeMap::new() };
        map.iter()
            .filter_map(|(name, value)| match value {
                Value::String(text) => Some((name.clone(), text.clone())),
                // A label without a value is an empty text to the API.
                Value::Null => Some((name.clone(), String::new())),
                other => {
                    self.add(
                        Severity::Refused,
                        format!("{}.{}", self.at(key), shown(name)),
                        format!("must be a text, not {}", type_word(other)),
                        Some(format!("quote it: \"{}\"", shown(&other.to_string()))),
                    );
                    None
                }
            })
            .collect()
    }
}

/// A number as a port.
pub(crate) fn port_number(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Words for a number that is no port.
pub(crate) fn not_a_port(number: i64) -> String {
    format!("{number} is not a port (1 to 65535)")
}

/// The kind of a JSON value, in words.
pub(crate) const fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// Whether a key that is not known was probably meant to be this one.
pub(crate) fn misspells(key: &str, known: &str) -> bool {
    within_two_edits(key, [known]).is_some()
}

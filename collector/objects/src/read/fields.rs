//! A JSON object read key by key, with the path of every field and a note of every problem.
//!
//! It knows types and presence, not meaning.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::names::shown;
use crate::nearest::within_two_edits;
use crate::problem::{Problem, Problems, Severity};

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
        let Value::Object(map) = value else {
            problems.refuse(path, format!("must be a mapping, not {}", type_word(value)));
            return None;
        };
        let fields = Self { map, path, problems };
        fields.check_keys(known, required);
        Some(fields)
    }

    /// The value as an object whose keys nobody checks: parts of an object that are of no concern here.
    pub(crate) fn unchecked(value: &'a Value, path: String, problems: &'a Problems) -> Option<Self> {
        let Value::Object(map) = value else {
            problems.refuse(path, format!("must be a mapping, not {}", type_word(value)));
            return None;
        };
        Some(Self { map, path, problems })
    }

    fn check_keys(&self, known: &[&str], required: &[&str]) {
        let mut unknown: Vec<&str> =
            self.map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
        for required in required.iter().filter(|key| self.value(key).is_none()) {
            let meant = unknown.iter().position(|key| within_two_edits(key, [*required]).is_some());
            let (reason, hint) = match meant {
                Some(index) => {
                    let key = unknown.swap_remove(index);
                    let reason = format!("unknown key `{}`; `{required}` is missing", shown(key));
                    (reason, Some(format!("did you mean `{required}`?")))
                }
                None => (format!("`{required}` is missing"), None),
            };
            self.add(Severity::Refused, self.path.clone(), reason, hint);
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

    /// Notes that a field is odd.
    pub(crate) fn odd(&self, key: &str, reason: impl Into<String>) {
        self.add(Severity::Odd, self.at(key), reason.into(), None);
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
        let text = self.text(key)?;
        let address = parse_address(text);
        if address.is_none() {
            self.refuse(key, not_an_address(text));
        }
        address
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

    /// A nested object whose keys nobody checks.
    pub(crate) fn unchecked_child(&self, key: &str) -> Option<Fields<'a>> {
        Fields::unchecked(self.value(key)?, self.at(key), self.problems)
    }

    /// The items of a list, each with its path.
    pub(crate) fn items(&self, key: &str) -> Vec<(&'a Value, String)> {
        let Some(items) = self.typed(key, "a list", Value::as_array) else { return Vec::new() };
        items.iter().enumerate().map(|(index, item)| (item, format!("{}[{index}]", self.at(key)))).collect()
    }

    /// The items of a list of objects.
    pub(crate) fn objects(&self, key: &str, known: &[&str], required: &[&str]) -> Vec<Fields<'a>> {
        self.items(key)
            .into_iter()
            .filter_map(|(item, path)| Fields::of(item, path, self.problems, known, required))
            .collect()
    }

    /// The items of a list of objects whose keys nobody checks.
    pub(crate) fn unchecked_objects(&self, key: &str) -> Vec<Fields<'a>> {
        self.items(key)
            .into_iter()
            .filter_map(|(item, path)| Fields::unchecked(item, path, self.problems))
            .collect()
    }

    /// The items of a list of texts, each with its path.
    pub(crate) fn texts(&self, key: &str) -> Vec<(&'a str, String)> {
        self.items(key)
            .into_iter()
            .filter_map(|(item, path)| {
                let text = item.as_str();
                if text.is_none() {
                    self.problems.refuse(&path, format!("must be a text, not {}", type_word(item)));
                }
                Some((text?, path))
            })
            .collect()
    }

    /// The items of a list of addresses.
    pub(crate) fn addresses(&self, key: &str) -> Vec<IpAddr> {
        self.texts(key)
            .into_iter()
            .filter_map(|(text, path)| {
                let address = parse_address(text);
                if address.is_none() {
                    self.problems.refuse(path, not_an_address(text));
                }
                address
            })
            .collect()
    }

    /// A mapping from text to text, as labels are.
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

/// Words for a text that is no address.
pub(crate) fn not_an_address(text: &str) -> String {
    format!("`{}` is not an IP address", shown(text))
}

/// An address. Leading zeros are refused by Rust as they are by the API server since 1.36.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
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

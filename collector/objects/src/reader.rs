//! Files of objects into one set, strictly; single objects of an API server, leniently.
//!
//! It opens no file: callers hand in the text, its name and its modification time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use model::objects::{Key, KindCoverage, ObjectSet, Origin};
use model::{Gap, Timestamp};
use serde_json::Value;

use crate::names::shown;
use crate::nearest::within_two_edits;
use crate::problem::{Problem, Problems, Refusal, Severity, Warning};
use crate::read::{self, Fields, Input, Kind};
use crate::text;

pub use crate::read::Object;

/// What a server object is called as a source.
const API: &str = "API";

/// Everything read from files that nothing is wrong with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadObjects {
    /// The objects.
    pub set: ObjectSet,
    /// What is odd about them.
    pub warnings: Vec<Warning>,
}

/// Reads files of objects into one set.
#[derive(Debug)]
pub struct Reader {
    set: ObjectSet,
    slices_given: bool,
    places: BTreeMap<(&'static str, Key), (String, u32)>,
    refusals: Vec<Refusal>,
    warnings: Vec<Warning>,
}

impl Reader {
    /// A reader whose set is current as of `read_at`.
    pub fn new(read_at: Timestamp) -> Self {
        Self {
            set: ObjectSet { origin: Origin::Files, current_at: read_at, ..ObjectSet::default() },
            slices_given: false,
            places: BTreeMap::new(),
            refusals: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reads one file's text: YAML or JSON, one document or many, objects or lists of them.
    pub fn add(&mut self, source: &str, changed_at: Timestamp, text: &str) {
        for document in text::documents(text) {
            let place = Place { source, document: document.number, changed_at };
            for fault in document.faults {
                self.refuse(place, fault.field, fault.reason, None);
            }
            if !document.value.is_null() {
                self.document(place, &document.value, "", None);
            }
        }
    }

    /// The set, or everything that is wrong.
    pub fn finish(mut self) -> Result<ReadObjects, Vec<Refusal>> {
        if !self.refusals.is_empty() {
            // In the order of the files; the same problem is told once.
            let mut told = Vec::new();
            for refusal in self.refusals {
                if !told.contains(&refusal) {
                    told.push(refusal);
                }
            }
            return Err(told);
        }
        self.set.coverage = KindCoverage { slices: self.slices_given, ..KindCoverage::default() };
        Ok(ReadObjects { set: self.set, warnings: self.warnings })
    }

    fn refuse(&mut self, place: Place<'_>, field: String, reason: String, hint: Option<String>) {
        let source = place.source.to_owned();
        self.refusals.push(Refusal { source, document: place.document, field, reason, hint });
    }

    fn warn(&mut self, place: Place<'_>, field: String, reason: String, hint: Option<String>) {
        let source = place.source.to_owned();
        self.warnings.push(Warning { source, document: place.document, field, reason, hint });
    }

    fn problems(&mut self, place: Place<'_>, problems: Problems) {
        for Problem { severity, field, reason, hint } in problems.into_inner() {
            match severity {
                Severity::Refused => self.refuse(place, field, reason, hint),
                Severity::Unread | Severity::UnknownKey | Severity::Odd => {
                    self.warn(place, field, reason, hint);
                }
            }
        }
    }

    /// One object or list. Items of a list of one kind need not say what they are.
    fn document(&mut self, place: Place<'_>, value: &Value, path: &str, kind_of_list: Option<(&str, &str)>) {
        let problems = Problems::default();
        let Some((api_version, kind)) = identify(value, path, kind_of_list, &problems) else {
            self.problems(place, problems);
            return self.rest_of_unidentified(place, value, path);
        };
        if let Some(item_kind) = kind.strip_suffix("List")
            && let Some(items) = value.get("items").and_then(Value::as_array)
        {
            if item_kind == Kind::EndpointSlice.word() {
                self.slices_given = true;
            }
            let kind_of_items = (!item_kind.is_empty()).then_some((api_version, item_kind));
            for (index, item) in items.iter().enumerate() {
                let dot = if path.is_empty() { "" } else { "." };
                self.document(place, item, &format!("{path}{dot}items[{index}]"), kind_of_items);
            }
            return;
        }
        match known_kind(api_version, kind) {
            Known::Yes(kind) => self.object(place, kind, value, path),
            Known::WrongVersion(known) => {
                let field = join(path, "apiVersion");
                let reason = format!("`{}` has no kind {}", shown(api_version), known.word());
                let hint = format!("{} is in `{}`", known.word(), known.api_version());
                self.refuse(place, field, reason, Some(hint));
            }
            Known::No => {
                if let Some(policy) =
                    read::other_policy(api_version, kind, value, place.source, place.changed_at)
                {
                    let key = (policy.kind.clone(), policy.meta.key.clone());
                    self.set.other_policies.insert(key, policy);
                }
                if let Some(meant) = within_two_edits(kind, Kind::ALL.into_iter().map(Kind::word)) {
                    let reason = format!("the kind `{}` is not known and was left out", shown(kind));
                    self.warn(place, join(path, "kind"), reason, Some(format!("did you mean `{meant}`?")));
                }
                *self.set.other_kinds.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }

    /// What else is wrong with an object whose API version or kind is missing, as far as its kind can be told.
    fn rest_of_unidentified(&mut self, place: Place<'_>, value: &Value, path: &str) {
        let Some(kind) = value.get("kind").and_then(Value::as_str).and_then(Kind::from_word) else { return };
        let problems = Problems::default();
        let input = Input { value, path, source: place.source, changed_at: place.changed_at };
        read::object(kind, input, &problems);
        for Problem { severity, field, reason, hint } in problems.into_inner() {
            if severity == Severity::Refused {
                self.refuse(place, field, reason, hint);
            }
        }
    }

    fn object(&mut self, place: Place<'_>, kind: Kind, value: &Value, path: &str) {
        let problems = Problems::default();
        let input = Input { value, path, source: place.source, changed_at: place.changed_at };
        let object = read::object(kind, input, &problems);
        self.problems(place, problems);
        let Some(object) = object else { return };
        let key = object_key(&object).clone();
        match self.places.entry((kind.word(), key.clone())) {
            Entry::Occupied(first) => {
                let (file, document) = first.get();
                let reason = format!(
                    "{} {key} is given twice; first in {}, document {document}",
                    kind.word(),
                    file.escape_debug()
                );
                self.refuse(place, join(path, "metadata.name"), reason, None);
            }
            Entry::Vacant(free) => {
                free.insert((place.source.to_owned(), place.document));
                self.slices_given |= kind == Kind::EndpointSlice;
                insert(&mut self.set, object);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a str,
    document: u32,
    changed_at: Timestamp,
}

/// Reads one object of a known kind as an API server gave it. It is never refused: what cannot be understood is a gap.
/// `None` for a kind that is not known and for an object without a name.
pub fn from_api(kind: &str, value: &Value, changed_at: Timestamp) -> (Option<Object>, Vec<Gap>) {
    let Some(kind) = Kind::from_word(kind) else { return (None, Vec::new()) };
    let problems = Problems::default();
    let input = Input { value, path: "", source: API, changed_at };
    let object = read::object(kind, input, &problems);
    let name =
        object.as_ref().map_or_else(|| "without a name".to_owned(), |object| object_key(object).to_string());
    let mut gaps: Vec<Gap> = problems
        .into_inner()
        .into_iter()
        .filter(|problem| {
            match problem.severity {
                Severity::Refused | Severity::Unread => true,
                // A newer server has keys this reader does not know; only in a policy can one change a verdict.
                Severity::UnknownKey => kind.is_policy(),
                Severity::Odd => false,
            }
        })
        .map(|problem| {
            let colon = if problem.field.is_empty() { "" } else { ": " };
            Gap::new(format!("{} {name}", kind.word()), format!("{}{colon}{}", problem.field, problem.reason))
        })
        .collect();
    gaps.sort();
    gaps.dedup();
    (object, gaps)
}

/// The latest moment an object from an API server is known to have changed at, from its creation and the writes it
/// records; zero if it says neither.
pub fn api_changed_at(value: &Value) -> Timestamp {
    read::api_changed_at(value)
}

impl Object {
    /// Namespace and name.
    pub fn key(&self) -> &Key {
        object_key(self)
    }
}

/// Puts an object into the set, in place of one of the same name.
pub fn insert(set: &mut ObjectSet, object: Object) {
    match object {
        Object::Service(service) => drop(set.services.insert(service.meta.key.clone(), service)),
        Object::Pod(pod) => drop(set.pods.insert(pod.meta.key.clone(), pod)),
        Object::EndpointSlice(slice) => drop(set.slices.insert(slice.meta.key.clone(), slice)),
        Object::NetworkPolicy(policy) => drop(set.policies.insert(policy.meta.key.clone(), policy)),
        Object::ClusterPolicy(policy) => {
            let key = (policy.kind, policy.meta.key.name.clone());
            drop(set.cluster_policies.insert(key, policy));
        }
        Object::Namespace(namespace) => {
            drop(set.namespaces.insert(namespace.meta.key.name.clone(), namespace));
        }
        Object::Node(node) => drop(set.nodes.insert(node.meta.key.name.clone(), node)),
    }
}

const fn object_key(object: &Object) -> &Key {
    match object {
        Object::Service(service) => &service.meta.key,
        Object::Pod(pod) => &pod.meta.key,
        Object::EndpointSlice(slice) => &slice.meta.key,
        Object::NetworkPolicy(policy) => &policy.meta.key,
        Object::ClusterPolicy(policy) => &policy.meta.key,
        Object::Namespace(namespace) => &namespace.meta.key,
        Object::Node(node) => &node.meta.key,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The API version and kind of a document.
fn identify<'a>(
    value: &'a Value,
    path: &str,
    kind_of_list: Option<(&'a str, &'a str)>,
    problems: &Problems,
) -> Option<(&'a str, &'a str)> {
    if kind_of_list.is_some() && value.is_object() && value.get("kind").is_none() {
        return kind_of_list;
    }
    // Every top-level key any Kubernetes object could have is allowed here; the kind's own reader checks them.
    let keys: Vec<&str> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .filter(|key| within_two_edits(key, ["apiVersion", "kind"]).is_none())
        .chain(["apiVersion", "kind"])
        .collect();
    let fields = Fields::of(value, path.to_owned(), problems, &keys, &["apiVersion", "kind"])?;
    let texts = (fields.text("apiVersion"), fields.text("kind"));
    match texts {
        (Some(_), Some(_)) => Some((value.get("apiVersion")?.as_str()?, value.get("kind")?.as_str()?)),
        _ => None,
    }
}

enum Known {
    Yes(Kind),
    WrongVersion(Kind),
    No,
}

fn known_kind(api_version: &str, kind: &str) -> Known {
    let Some(kind) = Kind::from_word(kind) else { return Known::No };
    if kind.is_in(api_version) {
        return Known::Yes(kind);
    }
    // Other groups have kinds of the same name (a Knative Service); the groups of Kubernetes itself do not.
    let own_group = match api_version.split_once('/') {
        None => true,
        Some((group, _)) => !group.contains('.') || group.ends_with(".k8s.io"),
    };
    if own_group { Known::WrongVersion(kind) } else { Known::No }
}

#[cfg(test)]
mod tests;

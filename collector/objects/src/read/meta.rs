//! Object metadata: identity, labels and the time of the last change.
//!
//! Annotations and owner bookkeeping are of no concern here.

use model::Timestamp;
use model::objects::{Key, Meta};
use serde_json::Value;

use super::Input;
use super::fields::Fields;
use crate::names;

const KEYS: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether a kind lives in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It does; without one it is in `default`, where kubectl would put it.
    Namespaced,
    /// It does not.
    Cluster,
}

/// Reads `metadata`; `None` if the object has no name.
pub(super) fn read(
    top: &Fields<'_>,
    input: Input<'_>,
    scope: Scope,
    check_name: fn(&str) -> Result<(), String>,
) -> Option<Meta> {
    let fields = top.child("metadata", KEYS, &["name"])?;
    let name = fields.text("name")?;
    if let Err(reason) = check_name(name) {
        fields.refuse("name", reason);
    }
    let namespace = match (scope, fields.text("namespace")) {
        (Scope::Namespaced, None | Some("")) => "default",
        (Scope::Namespaced, Some(namespace)) => {
            if let Err(reason) = names::label(namespace) {
                fields.refuse("namespace", reason);
            }
            namespace
        }
        (Scope::Cluster, None | Some("")) => "",
        (Scope::Cluster, Some(_)) => {
            fields.refuse("namespace", "objects of this kind belong to no namespace");
            ""
        }
    };
    let labels = fields.text_map("labels");
    for (key, value) in &labels {
        for reason in [names::label_key(key), names::label_value(value)].into_iter().filter_map(Result::err) {
            fields.refuse("labels", reason);
        }
    }
    Some(Meta {
        key: Key::new(namespace, name),
        uid: fields.text_or_empty("uid"),
        labels,
        changed_at: input.changed_at,
        deleting: fields.text("deletionTimestamp").is_some(),
        source: input.source.to_owned(),
    })
}

/// The latest moment an object from an API server is known to have changed at: its creation, or the latest write
/// that `managedFields` records. Zero if it says neither.
pub(crate) fn changed_at(value: &Value) -> Timestamp {
    let metadata = &value["metadata"];
    let writes = metadata["managedFields"].as_array().into_iter().flatten().map(|entry| &entry["time"]);
    std::iter::once(&metadata["creationTimestamp"])
        .chain(writes)
        .filter_map(|time| time.as_str()?.parse::<jiff::Timestamp>().ok())
        .filter_map(|time| u64::try_from(time.as_millisecond()).ok())
        .max()
        .map_or(Timestamp(0), Timestamp)
}

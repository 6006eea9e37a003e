//! Object metadata: identity, labels and the time of the last change.
//!
//! Annotations and other bookkeeping are checked as the API server does and then of no concern; owners are not, so that
//! a manifest may be cut down to the owner's name.

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
    let fields = top.child_or_empty("metadata", KEYS, &["name"])?;
    check_bookkeeping(&fields);
    let namespace = match (scope, fields.text("namespace")) {
        (Scope::Namespaced, None | Some("")) => "default",
        (Scope::Namespaced, Some(namespace)) => {
            fields.check("namespace", names::label);
            namespace
        }
        (Scope::Cluster, None | Some("")) => "",
        (Scope::Cluster, Some(_)) => {
            // `EnsureObjectNamespaceMatchesRequestNamespace` of the registry drops it.
            fields.odd("namespace", "objects of this kind belong to no namespace; it was left out");
            ""
        }
    };
    let labels = fields.labels("labels");
    fields.check("name", check_name);
    let name = fields.text("name")?;
    Some(Meta {
        key: Key::new(namespace, name),
        uid: fields.text_or_empty("uid"),
        labels,
        changed_at: input.changed_at,
        deleting: fields.text("deletionTimestamp").is_some(),
        source: input.source.to_owned(),
    })
}

/// What is only refused (`ValidateObjectMeta`).
fn check_bookkeeping(fields: &Fields<'_>) {
    for key in fields.text_map("annotations").keys() {
        if let Err(reason) = names::annotation_key(key) {
            fields.refuse("annotations", reason);
        }
    }
    for (name, path) in fields.texts("finalizers") {
        if let Err(reason) = names::qualified_name(name) {
            fields.refuse("finalizers", reason);
        }
        if let Err(reason) = standard_or_qualified(name) {
            fields.problems().refuse(path, reason);
        }
    }
    for key in ["creationTimestamp", "deletionTimestamp"] {
        if let Some(text) = fields.text(key)
            && text.parse::<jiff::Timestamp>().is_err()
        {
            fields
                .refuse(key, format!("`{}` is not a time such as 2026-01-02T03:04:05Z", names::shown(text)));
        }
    }
    if let Some(generation) = fields.integer("generation").filter(|generation| *generation < 0) {
        fields.refuse("generation", format!("{generation} is less than 0"));
    }
    for key in ["generateName", "resourceVersion", "selfLink"] {
        fields.text(key);
    }
    let controls = |owner: &Fields<'_>| owner.flag("controller") == Some(true);
    if fields.unchecked_objects("ownerReferences").iter().filter(|owner| controls(owner)).count() > 1 {
        fields.refuse("ownerReferences", "only one owner can be the controller");
    }
}

/// Why a word is no finalizer (`validateKubeFinalizerName`).
pub(super) fn standard_or_qualified(finalizer: &str) -> Result<(), String> {
    if finalizer.contains('/') || matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
        return Ok(());
    }
    Err(format!("`{}` has no domain before it, as in example.com/name", names::shown(finalizer)))
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

//! Names of objects.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster_policy::ClusterPolicyKind;
use crate::time::Timestamp;

/// Namespace and name. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A namespaced name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What every object carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Namespace and name.
    pub key: Key,
    /// Server-given identity; empty if the object came from a file without one.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Latest moment at which the object may have changed: evidence older than this says nothing about it as it is
    /// now. From the watch, `metadata.managedFields[].time` and `creationTimestamp`, or the file's modification time.
    pub changed_at: Timestamp,
    /// Whether deletion has begun (`metadata.deletionTimestamp`).
    pub deleting: bool,
    /// Where it was read: `API`, or a file path.
    pub source: String,
}

/// An object named in an answer, with the field to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `v1`, `discovery.k8s.io/v1`, `networking.k8s.io/v1` …
    pub api_version: String,
    /// `Service` …
    pub kind: String,
    /// Namespace and name.
    pub key: Key,
    /// Path of the field to edit: `spec.selector`; empty for the whole object.
    pub field: String,
}

impl ObjectRef {
    /// A Service's field.
    pub fn service(key: &Key, field: &str) -> Self {
        Self::of("v1", "Service", key, field)
    }

    /// A Pod's field.
    pub fn pod(key: &Key, field: &str) -> Self {
        Self::of("v1", "Pod", key, field)
    }

    /// A NetworkPolicy's field.
    pub fn network_policy(key: &Key, field: &str) -> Self {
        Self::of("networking.k8s.io/v1", "NetworkPolicy", key, field)
    }

    /// A cluster-wide policy's field.
    pub fn cluster_policy(kind: ClusterPolicyKind, name: &str, field: &str) -> Self {
        Self::of(kind.api_version(), kind.word(), &Key::new("", name), field)
    }

    /// A Node's field.
    pub fn node(name: &str, field: &str) -> Self {
        Self::of("v1", "Node", &Key::new("", name), field)
    }

    fn of(api_version: &str, kind: &str, key: &Key, field: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into(), key: key.clone(), field: field.into() }
    }
}

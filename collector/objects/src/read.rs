//! One reader per kind, from a JSON value to the model, noting everything wrong on the way.
//!
//! The readers are the same for files and for the API server; whether a problem refuses the object is decided by the
//! caller.

mod address;
mod cluster_policy;
mod endpoint_slice;
mod fields;
mod meta;
mod network_policy;
mod node;
mod other_policy;
mod pod;
mod selector;
mod service;

use model::Timestamp;
use model::objects::{
    ClusterPolicy, ClusterPolicyKind, EndpointSlice, Namespace, NetworkPolicy, Node, Pod, Service,
};
use serde_json::Value;

pub(crate) use fields::{Fields, misspells};
pub(crate) use meta::changed_at as api_changed_at;
pub(crate) use other_policy::read as other_policy;

use crate::problem::{Problems, Severity};

/// What is known about an object besides its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// The object.
    pub(crate) value: &'a Value,
    /// Path of the object in its document; empty unless it is an item of a list.
    pub(crate) path: &'a str,
    /// File path, or `API`.
    pub(crate) source: &'a str,
    /// Latest moment at which it may have changed.
    pub(crate) changed_at: Timestamp,
}

/// The kinds that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Service,
    Pod,
    EndpointSlice,
    NetworkPolicy,
    ClusterPolicy(ClusterPolicyKind),
    Namespace,
    Node,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Service,
        Self::Pod,
        Self::EndpointSlice,
        Self::NetworkPolicy,
        Self::ClusterPolicy(ClusterPolicyKind::ClusterNetworkPolicy),
        Self::ClusterPolicy(ClusterPolicyKind::AdminNetworkPolicy),
        Self::ClusterPolicy(ClusterPolicyKind::BaselineAdminNetworkPolicy),
        Self::Namespace,
        Self::Node,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ClusterPolicy(kind) => kind.word(),
            Self::Namespace => "Namespace",
            Self::Node => "Node",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Pod | Self::Namespace | Self::Node => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::ClusterPolicy(kind) => kind.api_version(),
        }
    }

    /// Whether objects of this API version are of the kind.
    pub(crate) fn is_in(self, api_version: &str) -> bool {
        // The version after `v1alpha2` has the same schema.
        let newer = self == Self::ClusterPolicy(ClusterPolicyKind::ClusterNetworkPolicy)
            && api_version == "policy.networking.k8s.io/v1beta1";
        newer || self.api_version() == api_version
    }

    /// Whether it is about what policies say, so that a key that is not known may change a verdict.
    pub(crate) const fn is_policy(self) -> bool {
        matches!(self, Self::NetworkPolicy | Self::ClusterPolicy(_))
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An object of a kind that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Service.
    Service(Service),
    /// A Pod.
    Pod(Pod),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
    /// A cluster-wide policy.
    ClusterPolicy(ClusterPolicy),
    /// A Namespace.
    Namespace(Namespace),
    /// A Node.
    Node(Node),
}

/// Reads one object; `None` if so much is missing that it has no identity.
pub(crate) fn object(kind: Kind, input: Input<'_>, problems: &Problems) -> Option<Object> {
    // An absent spec or metadata is an empty one to the API; a misspelt one must not be taken for that.
    let keys = input.value.as_object();
    // A custom resource without a spec is refused, as its schema requires one.
    let needed = |key: &str| key == "spec" && matches!(kind, Kind::ClusterPolicy(_));
    let required: Vec<&str> = ["metadata", "spec"]
        .into_iter()
        .filter(|known| top_keys(kind).contains(known))
        .filter(|known| {
            needed(known) || keys.is_some_and(|keys| keys.keys().any(|key| misspells(key, known)))
        })
        .collect();
    let top = Fields::of(input.value, input.path.to_owned(), problems, top_keys(kind), &required)?;
    Some(match kind {
        Kind::Service => Object::Service(service::read(&top, input)?),
        Kind::Pod => Object::Pod(pod::read(&top, input)?),
        Kind::EndpointSlice => Object::EndpointSlice(endpoint_slice::read(&top, input)?),
        Kind::NetworkPolicy => Object::NetworkPolicy(network_policy::read(&top, input)?),
        Kind::ClusterPolicy(kind) => Object::ClusterPolicy(cluster_policy::read(&top, input, kind)?),
        Kind::Namespace => Object::Namespace(node::namespace(&top, input)?),
        Kind::Node => Object::Node(node::read(&top, input)?),
    })
}

const fn top_keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::EndpointSlice => &["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"],
        // `status` was a field of NetworkPolicy in 1.24 to 1.27.
        _ => &["apiVersion", "kind", "metadata", "spec", "status"],
    }
}

/// The paths, below the object, of what was not understood in a policy; the problems themselves are passed on.
fn unread(top: &Fields<'_>, problems: Problems) -> Vec<String> {
    let mut unread: Vec<String> = Vec::new();
    for problem in problems.into_inner() {
        let field = problem.field.strip_prefix(top.path()).unwrap_or(&problem.field);
        let field = field.strip_prefix('.').unwrap_or(field);
        if problem.severity != Severity::Odd && !unread.iter().any(|known| known == field) {
            unread.push(field.to_owned());
        }
        top.problems().add(problem);
    }
    unread
}

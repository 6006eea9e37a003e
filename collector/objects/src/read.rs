//! One reader per kind, from a JSON value to the model, noting everything wrong on the way.
//!
//! The readers are the same for files and for the API server; whether a problem refuses the object is decided by the
//! caller.

mod address;
mod endpoint_slice;
mod fields;
mod meta;
mod network_policy;
mod node;
mod pod;
mod selector;
mod service;

use model::Timestamp;
use model::objects::{EndpointSlice, Namespace, NetworkPolicy, Node, Pod, Service};
use serde_json::Value;

pub(crate) use fields::{Fields, misspells};
pub(crate) use meta::changed_at as api_changed_at;

use crate::problem::Problems;

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
    Namespace,
    Node,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Service, Self::Pod, Self::EndpointSlice, Self::NetworkPolicy, Self::Namespace, Self::Node];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Pod | Self::Namespace | Self::Node => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::NetworkPolicy => "networking.k8s.io/v1",
        }
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
    /// A Namespace.
    Namespace(Namespace),
    /// A Node.
    Node(Node),
}

/// Reads one object; `None` if so much is missing that it has no identity.
pub(crate) fn object(kind: Kind, input: Input<'_>, problems: &Problems) -> Option<Object> {
    // An absent spec or metadata is an empty one to the API; a misspelt one must not be taken for that.
    let keys = input.value.as_object();
    let misspelt: Vec<&str> = ["metadata", "spec"]
        .into_iter()
        .filter(|known| top_keys(kind).contains(known))
        .filter(|known| keys.is_some_and(|keys| keys.keys().any(|key| misspells(key, known))))
        .collect();
    let top = Fields::of(input.value, input.path.to_owned(), problems, top_keys(kind), &misspelt)?;
    Some(match kind {
        Kind::Service => Object::Service(service::read(&top, input)?),
        Kind::Pod => Object::Pod(pod::read(&top, input)?),
        Kind::EndpointSlice => Object::EndpointSlice(endpoint_slice::read(&top, input)?),
        Kind::NetworkPolicy => Object::NetworkPolicy(network_policy::read(&top, input)?),
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

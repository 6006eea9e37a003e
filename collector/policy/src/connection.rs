//! The connection that is judged, and what the objects say about its two ends.
//!
//! Ports and addresses are those the pods see: a Service is turned into its backends by the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use model::Protocol;
use model::objects::{Key, Node, Pod};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// A pod.
    Pod(Key),
    /// An address. If a pod or node owns it, it stands for that.
    Address(IpAddr),
    /// A node itself.
    Node {
        /// Its name.
        name: String,
    },
    /// A pod without labels.
    Unlabelled {
        /// Its namespace.
        namespace: String,
    },
}

/// A connection between two ends. Replies belong to it: what it allows, its replies are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Who connects.
    pub src: End,
    /// To whom.
    pub dst: End,
    /// To which port of the destination itself, after any Service mapping.
    pub port: u16,
    /// With which protocol.
    pub protocol: Protocol,
    /// Whether a Service led there. Only that of a pod to itself is judged otherwise then: it leaves the pod.
    pub by_service: bool,
}

impl Connection {
    /// A connection straight to its destination.
    pub const fn direct(src: End, dst: End, port: u16, protocol: Protocol) -> Self {
        Self { src, dst, port, protocol, by_service: false }
    }
}

/// What is known of one end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'a> {
    Pod(&'a Pod),
    Unlabelled { namespace: &'a str },
    Node { name: &'a str, node: Option<&'a Node> },
    Address(&'a IpAddr),
    ServiceAddress(&'a IpAddr),
}

impl<'a> View<'a> {
    /// Pods have namespaces; nothing else that connects does.
    pub(crate) fn namespace(&self) -> Option<&'a str> {
        match self {
            View::Pod(pod) => Some(&pod.meta.key.namespace),
            View::Unlabelled { namespace } => Some(namespace),
            View::Node { .. } | View::Address(_) | View::ServiceAddress(_) => None,
        }
    }

    pub(crate) fn labels(&self) -> &'a BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match self {
            View::Pod(pod) => &pod.meta.labels,
            _ => &NONE,
        }
    }

    pub(crate) fn addresses(&self) -> &'a [IpAddr] {
        match self {
            View::Pod(pod) => &pod.addresses,
            View::Node { node, .. } => node.map_or(&[], |node| node.addresses.as_slice()),
            View::Address(address) | View::ServiceAddress(address) => std::slice::from_ref(*address),
            View::Unlabelled { .. } => &[],
        }
    }

    /// The pod that an end is.
    pub(crate) const fn pod(&self) -> Option<&'a Pod> {
        match self {
            View::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// The pod on the host network that an end is.
    pub(crate) fn host_pod(&self) -> Option<&'a Pod> {
        self.pod().filter(|pod| pod.host_network)
    }

    /// The node an end is, or shares the network of.
    pub(crate) fn is_node(&self) -> Option<&'a str> {
        match self {
            View::Node { name, .. } => Some(name),
            View::Pod(pod) if pod.host_network => pod.node.as_deref(),
            _ => None,
        }
    }

    /// The node an end runs on.
    pub(crate) fn runs_on(&self) -> Option<&'a str> {
        self.pod().filter(|pod| !pod.host_network).and_then(|pod| pod.node.as_deref())
    }

    /// The name used in sentences.
    pub(crate) fn word(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            View::Pod(pod) => write!(f, "{}", pod.meta.key),
            View::Unlabelled { namespace } => write!(f, "a pod without labels in {namespace}"),
            View::Node { name, .. } => write!(f, "node {name}"),
            View::Address(address) | View::ServiceAddress(address) => write!(f, "{address}"),
        }
    }
}

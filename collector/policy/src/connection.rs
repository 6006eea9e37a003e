//! The connection that is judged, and what the objects say about its two ends.
//!
//! Ports and addresses are those the pods see: a Service is turned into its backends by the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use model::objects::{Key, Node, Pod};
use model::{Family, Protocol};

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

/// A connection between two ends.
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

    /// The pod with its own network namespace that policies govern; a pod on the host network is not one.
    pub(crate) const fn pod(&self) -> Option<&'a Pod> {
        match self {
            View::Pod(pod) => Some(pod),
            _ => None,
        }
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

    /// The addresses that can be used with the other end: those of families it has too.
    pub(crate) fn usable(&self, other: &View<'_>) -> impl Iterator<Item = IpAddr> {
        let theirs = other.addresses();
        self.addresses().iter().copied().filter(move |own| {
            theirs.is_empty() || theirs.iter().any(|their| Family::of(*their) == Family::of(*own))
        })
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

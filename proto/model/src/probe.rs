//! Questions to a node, and what comes back.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::flow::{Packet, Protocol};
use crate::gap::Gap;
use crate::node_state::Listener;
use crate::objects::Key;
use crate::time::Timestamp;
use crate::walk::Walk;

/// A pod as an agent can find it: by uid where pods have cgroups, by address elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodTarget {
    /// Namespace and name, for the answer's words.
    pub key: Key,
    /// Pod uid; empty if the objects came without one.
    pub uid: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Which network namespace of the node is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// The node's own.
    Node,
    /// A pod's.
    Pod(PodTarget),
}

/// A question to one node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// What do the rules of this namespace do to this packet?
    Walk {
        /// Node name.
        node: String,
        /// Whose rules.
        scope: Scope,
        /// The packet.
        packet: Packet,
    },
    /// What listens in this pod?
    Listeners {
        /// Node name.
        node: String,
        /// The pod.
        pod: PodTarget,
        /// Protocol of interest.
        protocol: Protocol,
    },
}

impl Probe {
    /// The node this goes to.
    pub fn node(&self) -> &str {
        match self {
            Self::Walk { node, .. } | Self::Listeners { node, .. } => node,
        }
    }
}

/// The listening sockets of a pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    /// All listeners of the asked protocol.
    pub listeners: Vec<Listener>,
    /// When they were read.
    pub read_at: Timestamp,
}

/// What a probe brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    /// The rules' doing.
    Walk(Box<Walk>),
    /// The listeners.
    Listeners(ListenerReport),
    /// It could not be answered.
    Failed(Gap),
}

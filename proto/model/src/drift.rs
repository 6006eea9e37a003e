//! What a node's rules should do with packets to Services, and where they do something else.
//!
//! The objects say the first (`objects::intent`), the rules are asked for the second (`rules`).

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::flow::Protocol;
use crate::objects::Key;

/// Which of a Service's addresses it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AddressKind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
    /// A port of every node; the address is unspecified.
    NodePort,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClusterIp => "cluster IP",
            Self::ExternalIp => "external IP",
            Self::LoadBalancer => "load balancer address",
            Self::NodePort => "node port",
        })
    }
}

/// What the objects want of one address and port on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intended {
    /// The Service.
    pub service: Key,
    /// The name of its port; empty if the only port has none.
    pub port: String,
    /// Which address.
    pub kind: AddressKind,
    /// Address and port.
    pub at: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Every endpoint that a packet may be sent to; none where it has to be refused or dropped.
    pub sends_to: BTreeSet<SocketAddr>,
    /// Whether the proxy may leave some of them out: slices carry hints for zones or nodes.
    pub some_suffice: bool,
    /// Whether rules must know it: they need not know an address that a load balancer keeps for itself (`ipMode: Proxy`), and
    /// before Kubernetes 1.32 a feature gate decides whether they do.
    pub required: bool,
}

/// How rules differ from what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difference {
    /// The rules do not know the address and port.
    Missing,
    /// They send to other endpoints.
    Endpoints {
        /// Wanted, and not sent to.
        missing: Vec<SocketAddr>,
        /// Sent to, and not wanted.
        surplus: Vec<SocketAddr>,
    },
    /// They refuse or drop what should be sent on.
    Stopped,
    /// They know an address and port that no Service has.
    LeftOver,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The Service and its port, `shop/api:http`; as the rules name it where no object does; empty if nothing names it.
    pub service: String,
    /// Which address; none for what is left over.
    pub kind: Option<AddressKind>,
    /// Address and port.
    pub at: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// How they differ.
    pub difference: Difference,
}

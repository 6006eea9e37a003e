//! NetworkPolicies (`networking.k8s.io/v1`).

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::reference::{Key, Meta};
use super::selector::Selector;
use crate::flow::{PortRange, Protocol};

/// An address block with holes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpBlock {
    /// The block.
    pub cidr: IpNet,
    /// Parts of it that are left out of this entry only.
    pub except: Vec<IpNet>,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// Pods. Without a namespace selector: of the policy's own namespace. Without a pod selector: all of them.
    Pods {
        /// Selects namespaces by their labels.
        namespaces: Option<Selector>,
        /// Selects pods in them.
        pods: Option<Selector>,
    },
    /// Addresses.
    Block(IpBlock),
}

/// Which ports an entry admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyPortSpec {
    /// All ports of the protocol.
    All,
    /// A number, or a range with `endPort`.
    Range(PortRange),
    /// A container port's name on the destination pod.
    Name(String),
}

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPort {
    /// Protocol; TCP if left out.
    pub protocol: Protocol,
    /// Ports of it.
    pub ports: PolicyPortSpec,
}

/// One rule: any of the peers on any of the ports. No peers: everybody. No ports: every port of every protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Peers.
    pub peers: Vec<Peer>,
    /// Ports.
    pub ports: Vec<PolicyPort>,
}

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Metadata.
    pub meta: Meta,
    /// Pods of its namespace that it isolates.
    pub pod_selector: Selector,
    /// Whether it isolates for ingress, `policyTypes` defaulting applied.
    pub isolates_ingress: bool,
    /// Whether it isolates for egress, `policyTypes` defaulting applied.
    pub isolates_egress: bool,
    /// Rules that admit into the pods.
    pub ingress: Vec<PolicyRule>,
    /// Rules that admit out of the pods.
    pub egress: Vec<PolicyRule>,
    /// Paths of fields that could not be understood; what the policy admits is then only partly known.
    #[serde(default)]
    pub unread: Vec<String>,
}

impl NetworkPolicy {
    /// Namespace and name.
    pub const fn key(&self) -> &Key {
        &self.meta.key
    }
}

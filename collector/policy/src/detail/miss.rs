//! What keeps the nearest rule of a policy from matching.

use std::net::IpAddr;

use ipnet::IpNet;
use model::objects::{Key, PolicyPortSpec, Requirement};
use model::{PortRange, Protocol};

/// A label a selector wants and a pod or namespace does not have so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelMiss {
    /// The requirement, as selectors are written.
    pub wanted: String,
    /// Its key.
    pub key: String,
    /// The value there is, if the key is there.
    pub actual: Option<String>,
}

impl LabelMiss {
    pub(crate) fn of(requirement: &Requirement, actual: Option<&String>) -> Self {
        Self { wanted: requirement.to_string(), key: requirement.key.clone(), actual: actual.cloned() }
    }
}

/// One thing that keeps a rule from admitting the connection. `peer` counts the rule's peers from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The pod's labels do not fit.
    PodLabels {
        /// Which peer.
        peer: u32,
        /// What is missing.
        unmet: Vec<LabelMiss>,
    },
    /// The namespace's labels do not fit.
    NamespaceLabels {
        /// Which peer.
        peer: u32,
        /// The namespace.
        namespace: String,
        /// What is missing.
        unmet: Vec<LabelMiss>,
    },
    /// A pod selector alone speaks of the policy's own namespace, and the pod is in another.
    OtherNamespace {
        /// Which peer.
        peer: u32,
        /// The policy's namespace.
        own: String,
        /// The pod's.
        actual: String,
    },
    /// Selectors speak of pods, and the other end is not one.
    NotAPod {
        /// Which peer.
        peer: u32,
    },
    /// Peers of cluster-wide policies leave out pods on the host network.
    OnHostNetwork {
        /// Which peer.
        peer: u32,
    },
    /// The namespace must have a label of the subject's with the same value, or with another, and does not.
    SubjectLabel {
        /// Which peer.
        peer: u32,
        /// The namespace.
        namespace: String,
        /// The label.
        key: String,
        /// Whether the values have to be the same.
        same: bool,
        /// The subject's value, if it has one.
        own: Option<String>,
        /// The namespace's value, if it has one.
        actual: Option<String>,
    },
    /// The peer speaks of nodes, and the other end is none.
    NotANode {
        /// Which peer.
        peer: u32,
    },
    /// The node's labels do not fit.
    NodeLabels {
        /// Which peer.
        peer: u32,
        /// The node.
        node: String,
        /// What is missing.
        unmet: Vec<LabelMiss>,
    },
    /// The peer speaks of domain names, which pods do not have.
    NotByName {
        /// Which peer.
        peer: u32,
    },
    /// The address lies outside the block.
    OutsideBlock {
        /// Which peer.
        peer: u32,
        /// The block.
        cidr: IpNet,
        /// The address.
        address: IpAddr,
    },
    /// The address lies in a hole of the block.
    InsideExcept {
        /// Which peer.
        peer: u32,
        /// The block.
        cidr: IpNet,
        /// The hole.
        except: IpNet,
        /// The address.
        address: IpAddr,
    },
    /// The block is of the other family.
    OtherFamily {
        /// Which peer.
        peer: u32,
        /// The block.
        cidr: IpNet,
        /// The address.
        address: IpAddr,
    },
    /// The rule has the right port, but for another protocol.
    Protocol {
        /// The rule's.
        rule: Protocol,
        /// The connection's.
        asked: Protocol,
    },
    /// The rule lists the port of a Service, not the port of the pods behind it.
    ServicePort {
        /// The Service.
        service: Key,
        /// Its port, which the rule lists.
        service_port: u16,
        /// The pods' port, which the rule should list.
        pod_port: u16,
    },
    /// The pod declares no port of that name and protocol.
    NamedPortMissing {
        /// The name.
        name: String,
        /// The protocol.
        protocol: Protocol,
        /// The numbers and protocols the pod declares under the name otherwise.
        declared: Vec<(u16, Protocol)>,
    },
    /// The name stands for another port of the pod.
    NamedPortElsewhere {
        /// The name.
        name: String,
        /// The port it stands for.
        number: u16,
    },
    /// Named ports are looked up on pods, and the destination is not one.
    NamedPortNotAPod {
        /// The name.
        name: String,
    },
    /// The port is none of those listed.
    Port {
        /// What the rule lists.
        ports: Vec<ListedPort>,
        /// The connection's port.
        asked: u16,
    },
    /// The port lies just outside a range.
    OutsideRange {
        /// The range.
        range: PortRange,
        /// The connection's port.
        asked: u16,
    },
}

/// One entry of a rule's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPort {
    /// The protocol; a name may leave it to the pod.
    pub protocol: Option<Protocol>,
    /// Ports of it.
    pub ports: PolicyPortSpec,
}

/// Why one rule does not admit the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMiss {
    /// The rule, counted from 1.
    pub rule: u32,
    /// Whether it admits the peer, and only the port is wrong.
    pub admits_peer: bool,
    /// Whether it admits the port, and only the peer is wrong.
    pub admits_port: bool,
    /// What is missing at the nearest peer and at the ports.
    pub misses: Vec<NearMiss>,
    /// The same in words.
    pub text: String,
    /// How far away it is; 0 would admit.
    pub distance: u32,
}

//! A policy verdict with everything it rests on, so that causes can be told apart.
//!
//! The public answer (`PolicyAnswer`) is made from it and says less.

use std::net::IpAddr;

use ipnet::IpNet;
use model::explanation::{PolicyAnswer, PolicyVerdict};
use model::objects::{Key, PolicyPort, Requirement};
use model::{PortRange, Protocol};

/// Why something cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// The NetworkPolicies were not read.
    PoliciesNotRead,
    /// The objects hold no such pod.
    NoSuchPod(Key),
    /// A namespace's labels matter and the objects do not hold it.
    NoSuchNamespace(String),
    /// The pod has ended; nothing connects from it or to it.
    Finished(Key),
    /// The pod has no address yet.
    NoAddress(String),
    /// The pod is on the host network, where what policies mean is left to the implementation.
    HostNetwork(Key),
    /// An external client's address may be replaced on the way in, so an address block that does not hold it may
    /// hold what the pod sees.
    MaybeTranslated(IpAddr),
    /// The node may use another of its addresses, as that of a tunnel.
    NodeAddress(String),
    /// The two ends share both families, and only one of them is admitted.
    EitherFamily(String),
    /// The address is a Service's; policies see the backend behind it.
    ServiceAddress(IpAddr),
    /// Parts of a policy were not understood.
    Unread {
        /// The policy.
        policy: Key,
        /// The fields.
        fields: Vec<String>,
    },
}

/// Something the verdict takes for granted that depends on the network plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A pod was matched by an address block; some plugins do not match pods that way.
    BlockMatchesPod {
        /// The policy.
        policy: Key,
        /// The block.
        cidr: IpNet,
        /// The pod, in words.
        pod: String,
    },
    /// A node was matched by an address block; some plugins do not match nodes that way.
    BlockMatchesNode {
        /// The policy.
        policy: Key,
        /// The block.
        cidr: IpNet,
        /// The node's name.
        node: String,
    },
    /// An external client was matched by its own address; translated on the way in, it would not be.
    BlockMatchesClient {
        /// The policy.
        policy: Key,
        /// The block.
        cidr: IpNet,
        /// The client.
        address: IpAddr,
    },
    /// Traffic between a node and the pods on it is always allowed.
    OwnNode {
        /// The node's name.
        node: String,
    },
    /// A pod always reaches itself.
    Itself,
}

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
        ports: Vec<PolicyPort>,
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

/// What one policy does in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This rule admits, counted from 1.
    Allows(u32),
    /// It has no rules.
    NoRules,
    /// No rule admits the peer.
    PeerMismatch,
    /// A rule admits the peer, none of them the port.
    PortMismatch,
    /// Whether a rule admits cannot be told.
    Unknown,
}

/// One policy that selects the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedPolicy {
    /// The policy.
    pub policy: Key,
    /// What it does.
    pub outcome: Outcome,
    /// The rule nearest to admitting and what it lacks; none where one admits, or there is none.
    pub nearest: Option<RuleMiss>,
    /// Why it cannot be told.
    pub doubts: Vec<Doubt>,
}

impl DetailedPolicy {
    /// The nearest rule, where none admits.
    pub const fn nearest(&self) -> Option<&RuleMiss> {
        self.nearest.as_ref()
    }
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedDirection {
    /// Allowed or not.
    pub effect: PolicyVerdict,
    /// Whether any policy isolates the pod in this direction.
    pub isolated: bool,
    /// Every policy that isolates the pod in this direction, by name.
    pub policies: Vec<DetailedPolicy>,
    /// Why the verdict is unknown; empty where it is not.
    pub doubts: Vec<Doubt>,
    /// What the verdict takes for granted.
    pub notes: Vec<Note>,
}

/// Both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detailed {
    /// At the source pod.
    pub egress: DetailedDirection,
    /// At the destination pod.
    pub ingress: DetailedDirection,
    /// The destination pod, where there is one.
    pub destination: Option<Key>,
}

impl Detailed {
    /// Both directions together: both must allow.
    pub const fn verdict(&self) -> PolicyVerdict {
        both(self.egress.effect, self.ingress.effect)
    }

    /// The public answer.
    pub fn answer(&self) -> PolicyAnswer {
        self.clone().into()
    }
}

/// A connection needs both directions: one denial is enough, and one unknown spoils an allowance.
pub(crate) const fn both(egress: PolicyVerdict, ingress: PolicyVerdict) -> PolicyVerdict {
    match (egress, ingress) {
        (PolicyVerdict::Deny, _) | (_, PolicyVerdict::Deny) => PolicyVerdict::Deny,
        (PolicyVerdict::Unknown, _) | (_, PolicyVerdict::Unknown) => PolicyVerdict::Unknown,
        (PolicyVerdict::Allow, PolicyVerdict::Allow) => PolicyVerdict::Allow,
    }
}

//! What keeps a verdict from being certain, and what a certain one takes for granted.

use std::net::IpAddr;

use ipnet::IpNet;
use model::objects::{ClusterPolicyKind, Key, Tier};

use super::PolicyKind;

/// Why something cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// The NetworkPolicies were not read.
    PoliciesNotRead,
    /// A kind of cluster-wide policies was not read.
    ClusterPoliciesNotRead(ClusterPolicyKind),
    /// The Nodes were not read, and the address may be one's.
    NodesNotRead,
    /// The objects hold no such pod.
    NoSuchPod(Key),
    /// A namespace's labels matter and the objects do not hold it.
    NoSuchNamespace(String),
    /// A node's labels matter and the objects do not hold it.
    NoSuchNode(String),
    /// On which node the pod runs is not known.
    NoNode(String),
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
    /// Which addresses these names have is not known.
    DomainNames {
        /// The names.
        names: Vec<String>,
        /// The end that may have one of them, in words.
        end: String,
    },
    /// The subject's namespace lacks a label that a peer must have another value of.
    LabelOfSubject {
        /// The namespace.
        namespace: String,
        /// The label.
        key: String,
    },
    /// Policies of one tier and priority do different things, and which of them is asked is left to the plugin.
    SamePriority {
        /// The tier.
        tier: Tier,
        /// The priority.
        priority: u16,
        /// Their names.
        policies: Vec<String>,
    },
    /// Policies of both generations of the API do different things, and which are asked first is nowhere defined.
    BothApis {
        /// The tier.
        tier: Tier,
    },
    /// A pod that a Service leads to itself: some plugins judge that, some do not.
    Hairpin(Key),
    /// Policies of a kind that is not evaluated may be about the pod.
    NotEvaluated {
        /// Their kind.
        kind: String,
        /// Their names.
        policies: Vec<Key>,
    },
    /// Parts of a policy were not understood.
    Unread {
        /// Its kind.
        kind: PolicyKind,
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
    /// Domain names of a policy are taken not to be the pod's.
    NamesOfOthers {
        /// The policy's kind.
        kind: ClusterPolicyKind,
        /// The policy.
        policy: String,
        /// The pod, in words.
        pod: String,
    },
    /// Traffic between a node and the pods on it is always allowed by NetworkPolicies.
    OwnNode {
        /// The node's name.
        node: String,
    },
    /// A pod always reaches itself.
    Itself,
}

//! Cluster-wide policies (`policy.networking.k8s.io`): ClusterNetworkPolicy, and the AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy that it replaced.
//!
//! The three are one type here: they differ in where they may stand and in what their schemas allow, not in what a rule
//! of theirs means.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::policy::PolicyPortSpec;
use super::reference::Meta;
use super::selector::Selector;
use crate::flow::Protocol;

/// Which of the three kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClusterPolicyKind {
    /// `v1alpha2` and later.
    #[default]
    ClusterNetworkPolicy,
    /// `v1alpha1`; stands in the Admin tier.
    AdminNetworkPolicy,
    /// `v1alpha1`, at most one; stands in the Baseline tier.
    BaselineAdminNetworkPolicy,
}

impl ClusterPolicyKind {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::ClusterNetworkPolicy, Self::AdminNetworkPolicy, Self::BaselineAdminNetworkPolicy];

    /// The kind as objects write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
        }
    }

    /// The API version as objects write it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => {
                "policy.networking.k8s.io/v1alpha1"
            }
        }
    }

    /// The resource as kubectl takes it.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::ClusterNetworkPolicy => "clusternetworkpolicy",
            Self::AdminNetworkPolicy => "adminnetworkpolicy",
            Self::BaselineAdminNetworkPolicy => "baselineadminnetworkpolicy",
        }
    }

    /// The rules one direction of a policy may have, by the kind's schema.
    pub const fn rules_at_most(self) -> usize {
        match self {
            Self::ClusterNetworkPolicy => 25,
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => 100,
        }
    }
}

impl fmt::Display for ClusterPolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a policy stands: Admin is asked before the NetworkPolicies, Baseline after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Before the NetworkPolicies.
    #[default]
    Admin,
    /// Where no NetworkPolicy isolates the pod.
    Baseline,
}

impl Tier {
    /// The tier as objects write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Baseline => "Baseline",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a rule does with the connections it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Lets them through; nothing else is asked. `Allow` in the older kinds.
    Accept,
    /// Drops them; nothing else is asked.
    Deny,
    /// Leaves them to the next tier.
    Pass,
}

/// The namespaces of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacePeer {
    /// By their labels.
    Selected(Selector),
    /// Those with the subject's values of all these labels (network-policy-api before 0.1.2).
    SameLabels(Vec<String>),
    /// Those that have all these labels, and another value than the subject for one at least (the same).
    NotSameLabels(Vec<String>),
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterPeer {
    /// Pods that have their own network. Without a pod selector: all of the namespaces'.
    Pods {
        /// Their namespaces.
        namespaces: NamespacePeer,
        /// Selects pods in them.
        pods: Option<Selector>,
    },
    /// Nodes by their labels, at any of their addresses (`status.addresses`).
    Nodes(Selector),
    /// Addresses, those of pods included.
    Networks(Vec<IpNet>),
    /// What these names resolve to; `*.` in front is one label or more.
    DomainNames(Vec<String>),
}

/// One entry of `protocols` or `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPort {
    /// The protocol. A named port has that of the container port it names.
    pub protocol: Option<Protocol>,
    /// Ports of it.
    pub ports: PolicyPortSpec,
}

/// One rule: any of the peers on any of the ports. Without ports: all traffic of the peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRule {
    /// Its name; may be empty.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Peers.
    pub peers: Vec<ClusterPeer>,
    /// Ports.
    pub ports: Vec<ClusterPort>,
    /// Whether parts of it could not be understood: it may then match anything and do anything.
    #[serde(default)]
    pub unread: bool,
}

/// The pods that a policy is about; those on the host network are never among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSubject {
    /// Their namespaces, by labels.
    pub namespaces: Selector,
    /// Selects pods in them; without it all.
    pub pods: Option<Selector>,
}

/// A cluster-wide policy. Its rules isolate nothing: what none of them matches is left to the next tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPolicy {
    /// Metadata.
    pub meta: Meta,
    /// Which kind.
    pub kind: ClusterPolicyKind,
    /// Where it stands.
    pub tier: Tier,
    /// Lower comes first within the tier. A BaselineAdminNetworkPolicy, which is alone, has 0.
    pub priority: u16,
    /// The pods it is about.
    pub subject: ClusterSubject,
    /// Rules for what comes into the pods; the first that matches decides.
    pub ingress: Vec<ClusterRule>,
    /// Rules for what goes out of the pods; the first that matches decides.
    pub egress: Vec<ClusterRule>,
    /// Paths of fields that could not be understood; what the policy does is then only partly known.
    #[serde(default)]
    pub unread: Vec<String>,
}

impl ClusterPolicy {
    /// The name.
    pub fn name(&self) -> &str {
        &self.meta.key.name
    }
}

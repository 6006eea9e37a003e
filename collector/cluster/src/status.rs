//! How each kind of object stands: the part of the state that metrics and readiness speak about.

use std::fmt;

use model::objects::{ClusterPolicyKind, KindCoverage};
use model::{Gap, ObjectSet, Timestamp};

/// A kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Services.
    Services,
    /// Pods.
    Pods,
    /// EndpointSlices.
    EndpointSlices,
    /// NetworkPolicies.
    NetworkPolicies,
    /// One of the kinds of cluster-wide policies; a cluster need not serve them.
    ClusterPolicies(ClusterPolicyKind),
    /// Namespaces.
    Namespaces,
    /// Nodes.
    Nodes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Services,
        Self::Pods,
        Self::EndpointSlices,
        Self::NetworkPolicies,
        Self::ClusterPolicies(ClusterPolicyKind::ClusterNetworkPolicy),
        Self::ClusterPolicies(ClusterPolicyKind::AdminNetworkPolicy),
        Self::ClusterPolicies(ClusterPolicyKind::BaselineAdminNetworkPolicy),
        Self::Namespaces,
        Self::Nodes,
    ];

    /// The kind as objects write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "Service",
            Self::Pods => "Pod",
            Self::EndpointSlices => "EndpointSlice",
            Self::NetworkPolicies => "NetworkPolicy",
            Self::ClusterPolicies(kind) => kind.word(),
            Self::Namespaces => "Namespace",
            Self::Nodes => "Node",
        }
    }

    /// API group; empty for the core group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Services | Self::Pods | Self::Namespaces | Self::Nodes => "",
            Self::EndpointSlices => "discovery.k8s.io",
            Self::NetworkPolicies => "networking.k8s.io",
            Self::ClusterPolicies(_) => "policy.networking.k8s.io",
        }
    }

    /// `apiVersion` as objects write it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Services | Self::Pods | Self::Namespaces | Self::Nodes => "v1",
            Self::EndpointSlices => "discovery.k8s.io/v1",
            Self::NetworkPolicies => "networking.k8s.io/v1",
            Self::ClusterPolicies(kind) => kind.api_version(),
        }
    }

    /// The resource as RBAC rules and URLs write it.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Pods => "pods",
            Self::EndpointSlices => "endpointslices",
            Self::NetworkPolicies => "networkpolicies",
            Self::ClusterPolicies(ClusterPolicyKind::ClusterNetworkPolicy) => "clusternetworkpolicies",
            Self::ClusterPolicies(ClusterPolicyKind::AdminNetworkPolicy) => "adminnetworkpolicies",
            Self::ClusterPolicies(ClusterPolicyKind::BaselineAdminNetworkPolicy) => {
                "baselineadminnetworkpolicies"
            }
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
        }
    }

    /// How many objects of it a set holds.
    pub fn count(self, set: &ObjectSet) -> usize {
        match self {
            Self::Services => set.services.len(),
            Self::Pods => set.pods.len(),
            Self::EndpointSlices => set.slices.len(),
            Self::NetworkPolicies => set.policies.len(),
            Self::ClusterPolicies(kind) => set.cluster_policies_of(kind).count(),
            Self::Namespaces => set.namespaces.len(),
            Self::Nodes => set.nodes.len(),
        }
    }

    /// Whether a cluster may lack the kind altogether: it is then read as having no object.
    pub(crate) const fn may_be_absent(self) -> bool {
        matches!(self, Self::ClusterPolicies(_))
    }

    /// Marks the kind as read.
    pub(crate) const fn cover(self, coverage: &mut KindCoverage, read: bool) {
        match self {
            Self::Services => coverage.services = read,
            Self::Pods => coverage.pods = read,
            Self::EndpointSlices => coverage.slices = read,
            Self::NetworkPolicies => coverage.policies = read,
            Self::ClusterPolicies(kind) => coverage.cluster_policies.set(kind, read),
            Self::Namespaces => coverage.namespaces = read,
            Self::Nodes => coverage.nodes = read,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How one kind stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindStatus {
    /// Which.
    pub kind: Kind,
    /// How many objects of it are held.
    pub objects: usize,
    /// Whether it was read completely at least once.
    pub synced: bool,
    /// Whether the API server refuses to show it.
    pub forbidden: bool,
    /// When it was last known to be current.
    pub current_at: Timestamp,
    /// How often it was listed anew after its first listing, because the watch could not be resumed.
    pub resyncs: u64,
    /// What is wrong with it right now.
    pub problem: Option<Gap>,
}

impl KindStatus {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            objects: 0,
            synced: false,
            forbidden: false,
            current_at: Timestamp(0),
            resyncs: 0,
            problem: None,
        }
    }
}

/// How everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// By kind.
    pub kinds: Vec<KindStatus>,
    /// What is wrong with the source as a whole: files that could not be read again.
    pub problem: Option<Gap>,
    /// How often files were read again after a change.
    pub rereads: u64,
}

impl Status {
    /// What is still to be read before answers mean anything.
    pub fn missing(&self) -> Vec<Gap> {
        self.kinds
            .iter()
            .filter(|kind| !kind.synced && !kind.forbidden)
            .map(|kind| {
                kind.problem.clone().unwrap_or_else(|| Gap::new(kind.kind.resource(), "not listed yet"))
            })
            .collect()
    }

    /// The moment as of which all kinds that were read are known to be current: that of the oldest.
    pub fn current_at(&self) -> Timestamp {
        let read = self.kinds.iter().filter(|kind| kind.synced);
        read.map(|kind| kind.current_at).min().unwrap_or_default()
    }

    /// Everything that is wrong right now, whether it is waited for or not.
    pub fn problems(&self) -> impl Iterator<Item = &Gap> {
        self.kinds.iter().filter_map(|kind| kind.problem.as_ref()).chain(&self.problem)
    }
}

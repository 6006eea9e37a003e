//! All objects at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::cluster_policy::{ClusterPolicy, ClusterPolicyKind};
use super::endpoint_slice::EndpointSlice;
use super::node::{Namespace, Node};
use super::other_policy::OtherPolicy;
use super::pod::Pod;
use super::policy::NetworkPolicy;
use super::reference::Key;
use super::service::Service;
use crate::gap::Gap;
use crate::time::Timestamp;

/// Where objects come from, for the words of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Files given by the user.
    #[default]
    Files,
    /// A watch on the API server.
    ApiServer,
}

/// Which kinds the set can speak about. A kind that was not read is a gap, not an empty list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCoverage {
    /// Services.
    pub services: bool,
    /// Pods.
    pub pods: bool,
    /// EndpointSlices: with files, only when at least one was given; otherwise they are worked out from the pods.
    pub slices: bool,
    /// NetworkPolicies.
    pub policies: bool,
    /// The cluster-wide policies of `policy.networking.k8s.io`.
    pub cluster_policies: ClusterPolicyCoverage,
    /// Namespaces.
    pub namespaces: bool,
    /// Nodes.
    pub nodes: bool,
}

/// Which kinds of cluster-wide policies were read. A cluster that does not serve a kind has none of it, which counts as
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPolicyCoverage {
    /// ClusterNetworkPolicies.
    pub cluster: bool,
    /// AdminNetworkPolicies.
    pub admin: bool,
    /// BaselineAdminNetworkPolicies.
    pub baseline: bool,
}

impl ClusterPolicyCoverage {
    /// Marks a kind as read or not.
    pub const fn set(&mut self, kind: ClusterPolicyKind, read: bool) {
        match kind {
            ClusterPolicyKind::ClusterNetworkPolicy => self.cluster = read,
            ClusterPolicyKind::AdminNetworkPolicy => self.admin = read,
            ClusterPolicyKind::BaselineAdminNetworkPolicy => self.baseline = read,
        }
    }

    /// The kinds that were not read.
    pub fn missing(self) -> impl Iterator<Item = ClusterPolicyKind> {
        let read = [self.cluster, self.admin, self.baseline];
        ClusterPolicyKind::ALL.into_iter().zip(read).filter(|(_, read)| !read).map(|(kind, _)| kind)
    }
}

impl Default for ClusterPolicyCoverage {
    fn default() -> Self {
        Self { cluster: true, admin: true, baseline: true }
    }
}

impl Default for KindCoverage {
    fn default() -> Self {
        Self {
            services: true,
            pods: true,
            slices: false,
            policies: true,
            cluster_policies: ClusterPolicyCoverage::default(),
            namespaces: true,
            nodes: true,
        }
    }
}

/// All objects at one moment, by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSet {
    /// Where they come from.
    pub origin: Origin,
    /// When they were last known to be current: the watch's latest event or bookmark, or when the files were read.
    pub current_at: Timestamp,
    /// Which kinds were read.
    pub coverage: KindCoverage,
    /// Services.
    pub services: BTreeMap<Key, Service>,
    /// Pods.
    pub pods: BTreeMap<Key, Pod>,
    /// EndpointSlices.
    pub slices: BTreeMap<Key, EndpointSlice>,
    /// NetworkPolicies.
    pub policies: BTreeMap<Key, NetworkPolicy>,
    /// Cluster-wide policies by kind and name.
    #[serde(default)]
    pub cluster_policies: BTreeMap<(ClusterPolicyKind, String), ClusterPolicy>,
    /// Policies of kinds that are not evaluated, by kind and name.
    #[serde(default)]
    pub other_policies: BTreeMap<(String, Key), OtherPolicy>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Objects of kinds that are not understood, counted by kind; policies that are not evaluated among them.
    pub other_kinds: BTreeMap<String, u32>,
    /// What could not be read or understood.
    pub gaps: Vec<Gap>,
}

impl ObjectSet {
    /// Items of one namespace in a map keyed by namespace and name.
    pub fn in_namespace<'a, T>(
        map: &'a BTreeMap<Key, T>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a T)> {
        map.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
    }

    /// Cluster-wide policies of one kind.
    pub fn cluster_policies_of(&self, kind: ClusterPolicyKind) -> impl Iterator<Item = &ClusterPolicy> {
        self.cluster_policies
            .range((kind, String::new())..)
            .take_while(move |((of, _), _)| *of == kind)
            .map(|(_, policy)| policy)
    }

    /// Pods of a namespace.
    pub fn pods_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
        Self::in_namespace(&self.pods, namespace).map(|(_, pod)| pod)
    }

    /// The slices of a Service.
    pub fn slices_of<'a>(&'a self, service: &'a Key) -> impl Iterator<Item = &'a EndpointSlice> {
        Self::in_namespace(&self.slices, &service.namespace)
            .map(|(_, slice)| slice)
            .filter(|slice| slice.service.as_deref() == Some(&service.name))
    }

    /// The running pod that owns an address; host-network pods and finished ones do not own theirs.
    pub fn pod_by_address(&self, address: IpAddr) -> Option<&Pod> {
        self.pods
            .values()
            .find(|pod| !pod.host_network && !pod.finished() && pod.addresses.contains(&address))
    }

    /// The Service that owns a cluster, external or load balancer address.
    pub fn service_by_address(&self, address: IpAddr) -> Option<&Service> {
        self.services.values().find(|service| {
            service.cluster_ips.contains(&address)
                || service.external_ips.contains(&address)
                || service.load_balancer_ips.contains(&address)
        })
    }

    /// The node that owns an address.
    pub fn node_by_address(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.values().find(|node| node.addresses.contains(&address))
    }

    /// A word for where the objects come from.
    pub const fn source_word(&self) -> &'static str {
        match self.origin {
            Origin::Files => "files",
            Origin::ApiServer => "API",
        }
    }
}

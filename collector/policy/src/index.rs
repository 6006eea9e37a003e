//! Policies and addresses arranged for quick questions, whatever the size of the cluster.
//!
//! It decides nothing; the matching is done elsewhere. What selects a pod is looked for when the pod is first asked
//! about, and kept.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use hashbrown::HashMap;
use model::objects::{
    ClusterPolicy, ClusterPolicyKind, Key, NetworkPolicy, ObjectSet, Operator, OtherPolicy, Pod, Tier,
};

use crate::connection::{End, View};
use crate::detail::Doubt;
use crate::matching::{Truth, namespace_meets};

/// The policies of one namespace by what their selector asks first.
#[derive(Debug, Default)]
struct Namespace<'a> {
    /// Policies that need this label with this value, and perhaps more.
    by_label: HashMap<(&'a str, &'a str), Vec<&'a NetworkPolicy>>,
    /// Policies that ask nothing, or nothing so simple.
    others: Vec<&'a NetworkPolicy>,
}

/// A cluster-wide policy that selects a pod, or may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) policy: &'a ClusterPolicy,
    /// Whether it is known to select the pod.
    pub(crate) sure: bool,
}

/// What selects one pod.
#[derive(Debug, Default)]
pub(crate) struct Selected<'a> {
    /// NetworkPolicies, by name; also those of which it cannot be told.
    pub(crate) network: Vec<&'a NetworkPolicy>,
    /// Cluster-wide policies in the order in which they are asked.
    pub(crate) cluster: Vec<Candidate<'a>>,
    /// Policies that are not evaluated and may be about it.
    pub(crate) others: Vec<&'a OtherPolicy>,
}

/// An end, and where what selects it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) view: View<'a>,
    slot: Option<usize>,
}

/// The objects of one moment, arranged for evaluation.
#[derive(Debug)]
pub struct PolicyIndex<'a> {
    set: &'a ObjectSet,
    namespaces: HashMap<&'a str, Namespace<'a>>,
    /// In the order in which they are asked.
    cluster: Vec<&'a ClusterPolicy>,
    pods: HashMap<&'a Key, (usize, &'a Pod)>,
    owners: HashMap<IpAddr, Seen<'a>>,
    selected: Vec<OnceLock<Selected<'a>>>,
}

impl<'a> PolicyIndex<'a> {
    /// Arranges a set.
    pub fn new(set: &'a ObjectSet) -> Self {
        let mut owners = HashMap::with_capacity(set.pods.len() + set.services.len() + set.nodes.len());
        for service in set.services.values() {
            for address in &service.cluster_ips {
                owners.insert(*address, Seen::other(View::ServiceAddress(address)));
            }
        }
        for (name, node) in &set.nodes {
            for address in &node.addresses {
                owners.insert(*address, Seen::other(View::Node { name, node: Some(node) }));
            }
        }
        let mut pods = HashMap::with_capacity(set.pods.len());
        for (slot, (key, pod)) in set.pods.iter().enumerate() {
            pods.insert(key, (slot, pod));
            if pod.host_network || pod.finished() {
                continue;
            }
            for address in &pod.addresses {
                owners.insert(*address, Seen { view: View::Pod(pod), slot: Some(slot) });
            }
        }
        let mut cluster: Vec<&ClusterPolicy> = set.cluster_policies.values().collect();
        cluster.sort_by_key(|policy| (policy.tier, policy.kind, policy.priority));
        let selected = std::iter::repeat_with(OnceLock::new).take(set.pods.len()).collect();
        Self { set, namespaces: by_namespace(set), cluster, pods, owners, selected }
    }

    /// The set that was arranged.
    pub const fn set(&self) -> &'a ObjectSet {
        self.set
    }

    /// What is known of one end.
    pub(crate) fn view<'i>(&'i self, end: &'i End) -> Result<Seen<'i>, Doubt> {
        Ok(match end {
            End::Pod(key) => match self.pods.get(key) {
                Some((slot, pod)) => Seen { view: View::Pod(pod), slot: Some(*slot) },
                None => return Err(Doubt::NoSuchPod(key.clone())),
            },
            End::Unlabelled { namespace } => Seen::other(View::Unlabelled { namespace }),
            End::Node { name } => Seen::other(View::Node { name, node: self.set.nodes.get(name) }),
            End::Address(address) => {
                self.owners.get(address).copied().unwrap_or(Seen::other(View::Address(address)))
            }
        })
    }

    /// A pod of the set, as an end.
    pub(crate) fn seen(&self, pod: &'a Pod) -> Seen<'a> {
        Seen { view: View::Pod(pod), slot: self.pods.get(&pod.meta.key).map(|(slot, _)| *slot) }
    }

    /// What selects an end that is a pod; given to `with`, as it is not kept for one that is not among the objects.
    pub(crate) fn selecting<R>(
        &self,
        seen: Seen<'_>,
        namespace: &str,
        with: impl FnOnce(&Selected<'a>) -> R,
    ) -> R {
        match seen.slot.and_then(|slot| self.selected.get(slot)) {
            Some(kept) => with(kept.get_or_init(|| self.select(namespace, seen.view))),
            None => with(&self.select(namespace, seen.view)),
        }
    }

    fn select(&self, namespace: &str, view: View<'_>) -> Selected<'a> {
        let labels = view.labels();
        let network = self.network(namespace, labels);
        if view.host_pod().is_some() {
            // No subject of cluster-wide policies, by definition, and to others the node that it runs on.
            return Selected { network, ..Selected::default() };
        }
        let others = self.set.other_policies.values();
        Selected {
            network,
            cluster: self.cluster(namespace, labels),
            others: others.filter(|policy| policy.may_govern(namespace, labels)).collect(),
        }
    }

    /// The policies of a namespace that select a pod with these labels, in order of name, and those of which that
    /// cannot be told.
    fn network(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&'a NetworkPolicy> {
        let Some(policies) = self.namespaces.get(namespace) else { return Vec::new() };
        let mut found: Vec<&NetworkPolicy> = policies
            .others
            .iter()
            .copied()
            .filter(|policy| selector_unread(policy) || policy.pod_selector.matches(labels))
            .collect();
        for (key, value) in labels {
            if let Some(candidates) = policies.by_label.get(&(key.as_str(), value.as_str())) {
                found.extend(candidates.iter().copied().filter(|policy| policy.pod_selector.matches(labels)));
            }
        }
        found.sort_unstable_by(|left, right| left.meta.key.name.cmp(&right.meta.key.name));
        found
    }

    fn cluster(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<Candidate<'a>> {
        let candidate = |policy: &&'a ClusterPolicy| {
            let policy = *policy;
            if subject_unread(policy) {
                return Some(Candidate { policy, sure: false });
            }
            let subject = &policy.subject;
            if subject.pods.as_ref().is_some_and(|pods| !pods.matches(labels)) {
                return None;
            }
            match namespace_meets(self.set, namespace, &subject.namespaces) {
                Truth::Yes => Some(Candidate { policy, sure: true }),
                Truth::Unknown(_) => Some(Candidate { policy, sure: false }),
                Truth::No => None,
            }
        };
        self.cluster.iter().filter_map(candidate).collect()
    }
}

impl<'a> Seen<'a> {
    const fn other(view: View<'a>) -> Self {
        Self { view, slot: None }
    }
}

impl<'a> Selected<'a> {
    /// The cluster-wide policies of one kind and tier.
    pub(crate) fn of(&self, tier: Tier, older: bool) -> impl Iterator<Item = Candidate<'a>> {
        self.cluster.iter().copied().filter(move |candidate| {
            let kind = candidate.policy.kind;
            candidate.policy.tier == tier && (kind != ClusterPolicyKind::ClusterNetworkPolicy) == older
        })
    }
}

fn by_namespace(set: &ObjectSet) -> HashMap<&str, Namespace<'_>> {
    let mut namespaces: HashMap<&str, Namespace<'_>> = HashMap::new();
    for policy in set.policies.values() {
        let namespace = namespaces.entry(&policy.meta.key.namespace).or_default();
        let first = policy.pod_selector.requirements.iter().find_map(|requirement| {
            match (requirement.operator, requirement.values.as_slice()) {
                (Operator::In, [value]) => Some((requirement.key.as_str(), value.as_str())),
                _ => None,
            }
        });
        match first {
            // A selector that was not understood may select anything.
            Some(label) if policy.unread.is_empty() => {
                namespace.by_label.entry(label).or_default().push(policy);
            }
            _ => namespace.others.push(policy),
        }
    }
    namespaces
}

/// Whether what a policy selects is itself among what was not understood.
pub(crate) fn selector_unread(policy: &NetworkPolicy) -> bool {
    policy.unread.iter().any(|field| {
        // The spec as a whole, or the selector in it.
        field == "spec" || field.starts_with("spec.podSelector")
    })
}

/// Whether what a cluster-wide policy selects, or where it stands, is itself among what was not understood.
pub(crate) fn subject_unread(policy: &ClusterPolicy) -> bool {
    policy.unread.iter().any(|field| {
        matches!(field.as_str(), "spec" | "spec.tier" | "spec.priority") || field.starts_with("spec.subject")
    })
}

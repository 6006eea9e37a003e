//! Policies and addresses arranged for quick questions, whatever the size of the cluster.
//!
//! It decides nothing; the matching is done elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use model::objects::{Key, NetworkPolicy, ObjectSet, Operator, Pod};

use crate::connection::{End, View};
use crate::detail::Doubt;

/// The policies of one namespace by what their selector asks first.
#[derive(Debug, Default)]
struct Namespace<'a> {
    /// Policies that need this label with this value, and perhaps more.
    by_label: HashMap<(&'a str, &'a str), Vec<&'a NetworkPolicy>>,
    /// Policies that ask nothing, or nothing so simple.
    others: Vec<&'a NetworkPolicy>,
}

/// The objects of one moment, arranged for evaluation.
#[derive(Debug)]
pub struct PolicyIndex<'a> {
    set: &'a ObjectSet,
    namespaces: HashMap<&'a str, Namespace<'a>>,
    pods: HashMap<&'a Key, &'a Pod>,
    owners: HashMap<IpAddr, View<'a>>,
}

impl<'a> PolicyIndex<'a> {
    /// Arranges a set.
    pub fn new(set: &'a ObjectSet) -> Self {
        let mut namespaces: HashMap<&'a str, Namespace<'a>> = HashMap::new();
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
        let mut owners = HashMap::new();
        for service in set.services.values() {
            for address in &service.cluster_ips {
                owners.insert(*address, View::ServiceAddress(address));
            }
        }
        for (name, node) in &set.nodes {
            for address in &node.addresses {
                owners.insert(*address, View::Node { name, node: Some(node) });
            }
        }
        for pod in set.pods.values().filter(|pod| !pod.host_network && !pod.finished()) {
            for address in &pod.addresses {
                owners.insert(*address, View::Pod(pod));
            }
        }
        Self { set, namespaces, pods: set.pods.iter().collect(), owners }
    }

    /// The set that was arranged.
    pub const fn set(&self) -> &'a ObjectSet {
        self.set
    }

    /// A pod by name.
    pub(crate) fn pod(&self, key: &Key) -> Option<&'a Pod> {
        self.pods.get(key).copied()
    }

    /// Whose address it is.
    pub(crate) fn owner(&self, address: &'a IpAddr) -> View<'a> {
        self.owners.get(address).copied().unwrap_or(View::Address(address))
    }

    /// What is known of one end.
    pub(crate) fn view(&self, end: &'a End) -> Result<View<'a>, Doubt> {
        Ok(match end {
            End::Pod(key) => match self.pod(key) {
                Some(pod) => View::Pod(pod),
                None => return Err(Doubt::NoSuchPod(key.clone())),
            },
            End::Unlabelled { namespace } => View::Unlabelled { namespace },
            End::Node { name } => View::Node { name, node: self.set.nodes.get(name) },
            End::Address(address) => self.owner(address),
        })
    }

    /// The policies of a namespace that select a pod with these labels, in order of name, and those of which that
    /// cannot be told.
    pub(crate) fn selecting(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<&'a NetworkPolicy> {
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
}

/// Whether what a policy selects is itself among what was not understood.
fn selector_unread(policy: &NetworkPolicy) -> bool {
    policy.unread.iter().any(|field| {
        // The spec as a whole, or the selector in it.
        field == "spec" || field.starts_with("spec.podSelector")
    })
}

//! Names for the addresses and namespaces of evidence: agents know none.

use std::collections::HashMap;
use std::net::IpAddr;

use diagnose::Likely;
use model::{DropRecord, Key, NetnsOwner, ObjectSet};
use proto::convert::DropNames;

/// Who owns which address, looked up once per list instead of once per drop.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pods_by_uid: HashMap<String, Key>,
    /// With their node: the same address may be in use on two nodes that are not one cluster network.
    pods_by_address: HashMap<IpAddr, (Key, Option<String>)>,
    services: HashMap<IpAddr, Key>,
    nodes: HashMap<IpAddr, String>,
}

/// A drop with everybody concerned.
#[derive(Debug)]
pub(crate) struct NamedDrop {
    pub(crate) netns_pod: Option<Key>,
    pub(crate) source_pod: Option<Key>,
    pub(crate) destination_pod: Option<Key>,
    pub(crate) service: Option<Key>,
    source: String,
    destination: String,
}

impl Names {
    /// The names of a set.
    pub(crate) fn of(set: &ObjectSet) -> Self {
        let mut names = Self::default();
        for (key, pod) in &set.pods {
            if !pod.meta.uid.is_empty() {
                names.pods_by_uid.insert(pod.meta.uid.clone(), key.clone());
            }
            // Those of the node's network share its address, and those that ended gave theirs back.
            if pod.host_network || pod.finished() {
                continue;
            }
            for address in &pod.addresses {
                names.pods_by_address.insert(*address, (key.clone(), pod.node.clone()));
            }
        }
        for (key, service) in &set.services {
            let addresses =
                service.cluster_ips.iter().chain(&service.external_ips).chain(&service.load_balancer_ips);
            names.services.extend(addresses.map(|address| (*address, key.clone())));
        }
        for (name, node) in &set.nodes {
            names.nodes.extend(node.addresses.iter().map(|address| (*address, name.clone())));
        }
        names
    }

    /// Everybody concerned by a drop.
    pub(crate) fn drop(&self, record: &DropRecord) -> NamedDrop {
        let destination = record.tuple.dst.ip();
        let dialled = record.walk.as_ref().map(|walk| walk.packet.dst.ip());
        NamedDrop {
            netns_pod: self.netns_pod(record),
            source_pod: self.pod(record.tuple.src).cloned(),
            destination_pod: self.pod(destination).cloned(),
            service: self
                .services
                .get(&destination)
                .or_else(|| dialled.and_then(|address| self.services.get(&address)))
                .cloned(),
            source: self.owner(record.tuple.src),
            destination: self.owner(destination),
        }
    }

    /// The pod in whose namespace it happened: by uid, else by address among the node's pods.
    fn netns_pod(&self, record: &DropRecord) -> Option<Key> {
        let NetnsOwner::Pod { uid, addresses } = &record.netns.owner else { return None };
        let by_uid = uid.as_ref().and_then(|uid| self.pods_by_uid.get(uid));
        let by_address = || {
            addresses.iter().filter_map(|address| self.pods_by_address.get(address)).find_map(
                |(key, node)| node.as_ref().is_none_or(|node| *node == record.id.node).then_some(key),
            )
        };
        by_uid.or_else(by_address).cloned()
    }

    fn pod(&self, address: IpAddr) -> Option<&Key> {
        self.pods_by_address.get(&address).map(|(key, _)| key)
    }

    fn owner(&self, address: IpAddr) -> String {
        if let Some(key) = self.services.get(&address) {
            format!("service {key}")
        } else if let Some(key) = self.pod(address) {
            format!("pod {key}")
        } else if let Some(node) = self.nodes.get(&address) {
            format!("node {node}")
        } else {
            String::new()
        }
    }
}

impl NamedDrop {
    /// Whether a pod is concerned, as an end or as the place.
    pub(crate) fn concerns_pod(&self, pod: &Key) -> bool {
        self.pods().any(|key| key == pod)
    }

    /// Whether a namespace is.
    pub(crate) fn concerns_namespace(&self, namespace: &str) -> bool {
        self.pods().chain(&self.service).any(|key| key.namespace == namespace)
    }

    /// The names as the wire wants them, with the likely cause.
    pub(crate) fn into_wire(self, cause: Option<Likely>) -> DropNames {
        let text = |key: Option<Key>| key.map(|key| key.to_string()).unwrap_or_default();
        DropNames {
            netns_pod: text(self.netns_pod),
            source: self.source,
            destination: self.destination,
            service: text(self.service),
            cause_id: cause.map(|cause| cause.id.to_owned()).unwrap_or_default(),
            cause: cause.map(|cause| cause.slug.to_owned()).unwrap_or_default(),
        }
    }

    fn pods(&self) -> impl Iterator<Item = &Key> {
        [&self.netns_pod, &self.source_pod, &self.destination_pod].into_iter().flatten()
    }
}

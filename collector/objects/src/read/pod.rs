//! Pods: addresses, labels, declared ports, and what their status says.
//!
//! Most of a pod's spec is of no concern here and is neither read nor checked.

mod containers;

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::objects::{ContainerState, Pod, Workload};
use serde_json::Value;

use super::fields::Fields;
use super::meta::{self, Scope};
use super::node::conditions;
use super::{Input, address};
use crate::names;

/// `MaxDNSNameservers` and `MaxDNSSearchPaths` of the API server's validation.
const MAX_NAME_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// The label a Deployment puts on the pods of each of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Reads a Pod.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Pod> {
    let meta = meta::read(top, input, Scope::Namespaced, names::subdomain)?;
    let mut pod = Pod { meta, ..Pod::default() };
    pod.workload = workload(top, &pod.meta.labels);
    if let Some(spec) = top.unchecked_child_or_empty("spec") {
        read_spec(&spec, &mut pod);
    }
    if let Some(status) = top.unchecked_child("status") {
        read_status(&status, &mut pod);
    }
    Some(pod)
}

fn read_spec(spec: &Fields<'_>, pod: &mut Pod) {
    pod.node = spec.text("nodeName").filter(|name| !name.is_empty()).map(str::to_owned);
    if let Some(Err(reason)) = pod.node.as_deref().map(names::subdomain) {
        spec.refuse("nodeName", reason);
    }
    pod.host_network = spec.flag("hostNetwork").unwrap_or_default();
    for key in ["hostname", "subdomain"] {
        if spec.value(key).and_then(Value::as_str) != Some("") {
            spec.check(key, names::label);
        }
    }
    read_dns(spec, pod);
    for gate in spec.unchecked_objects("readinessGates") {
        let kind = gate.text_or_empty("conditionType");
        if let Err(reason) = names::qualified_name(&kind) {
            gate.refuse("conditionType", reason);
        }
        pod.readiness_gates.push(kind);
    }
    containers::read(spec, pod);
}

/// What a pod asks names of (`validateDNSPolicy`, `validatePodDNSConfig`).
fn read_dns(spec: &Fields<'_>, pod: &mut Pod) {
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"].map(|word| (word, word));
    // Left out, and empty, it is ClusterFirst.
    let policy = spec.word_or_empty("dnsPolicy", &policies).filter(|policy| *policy != "ClusterFirst");
    pod.dns_policy = policy.map(str::to_owned).unwrap_or_default();
    let Some(config) = spec.unchecked_child("dnsConfig") else {
        if policy == Some("None") {
            spec.refuse("dnsConfig", "is missing; the dnsPolicy None needs it");
        }
        return;
    };
    let servers = config.texts("nameservers");
    if servers.is_empty() && policy == Some("None") {
        config.refuse("nameservers", "at least one is needed for the dnsPolicy None");
    }
    if servers.len() > MAX_NAME_SERVERS {
        config.refuse("nameservers", format!("at most {MAX_NAME_SERVERS} are allowed"));
    }
    for (text, path) in servers {
        if let Err(reason) = address::parse(text) {
            config.problems().refuse(path, reason);
        }
    }
    let searches = config.texts("searches");
    if searches.len() > MAX_SEARCHES {
        config.refuse("searches", format!("at most {MAX_SEARCHES} are allowed"));
    }
    for (text, path) in searches {
        if let Err(reason) = names::search_domain(text) {
            config.problems().refuse(path, reason);
        }
        pod.dns_searches.push(text.to_owned());
    }
}

fn read_status(status: &Fields<'_>, pod: &mut Pod) {
    pod.phase = status.text_or_empty("phase");
    pod.conditions = conditions(status);
    read_addresses(status, pod);
    let mut states: BTreeMap<String, Fields<'_>> = BTreeMap::new();
    for list in ["containerStatuses", "initContainerStatuses"] {
        for entry in status.unchecked_objects(list) {
            if let Some(name) = entry.text("name") {
                states.insert(name.to_owned(), entry);
            }
        }
    }
    for container in &mut pod.containers {
        if let Some(entry) = states.get(&container.name) {
            container.ready = entry.flag("ready");
            container.restarts =
                entry.integer("restartCount").and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
            container.state = container_state(entry);
        }
    }
}

fn read_addresses(status: &Fields<'_>, pod: &mut Pod) {
    let entries = status.unchecked_objects("podIPs");
    let first = status.text("podIP").filter(|text| !text.is_empty());
    // The older key wins where the two differ (`Convert_v1_PodStatus_To_core_PodStatus`).
    if first.is_some() && entries.first().is_none_or(|entry| entry.text("ip") != first) {
        pod.addresses = status.address("podIP").into_iter().collect();
        return;
    }
    pod.addresses = entries.iter().filter_map(|entry| entry.address("ip")).collect();
    let families: Vec<bool> = pod.addresses.iter().map(IpAddr::is_ipv4).collect();
    if !address::at_most_one_of_each_family(&families) {
        status.refuse("podIPs", "at most one address of each family is allowed");
    }
}

fn container_state(entry: &Fields<'_>) -> ContainerState {
    let Some(state) = entry.unchecked_child("state") else { return ContainerState::Unknown };
    if let Some(waiting) = state.unchecked_child("waiting") {
        return ContainerState::Waiting(waiting.text_or_empty("reason"));
    }
    if let Some(ended) = state.unchecked_child("terminated") {
        return ContainerState::Terminated(ended.text_or_empty("reason"));
    }
    if state.value("running").is_some() { ContainerState::Running } else { ContainerState::Unknown }
}

/// The controller, with a Deployment's ReplicaSet seen through: its name is the Deployment's plus the template hash.
fn workload(top: &Fields<'_>, labels: &BTreeMap<String, String>) -> Option<Workload> {
    let owners = top.unchecked_child("metadata")?.unchecked_objects("ownerReferences");
    let owner = owners.iter().find(|owner| owner.flag("controller") == Some(true))?;
    let (kind, name) = (owner.text("kind")?, owner.text("name")?);
    if kind == "ReplicaSet"
        && let Some(deployment) = labels
            .get(TEMPLATE_HASH)
            .and_then(|hash| name.strip_suffix(hash.as_str()))
            .and_then(|rest| rest.strip_suffix('-'))
            .filter(|deployment| !deployment.is_empty())
    {
        return Some(Workload { kind: "Deployment".to_owned(), name: deployment.to_owned() });
    }
    Some(Workload { kind: kind.to_owned(), name: name.to_owned() })
}

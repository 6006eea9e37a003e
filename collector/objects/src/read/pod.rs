//! Pods: addresses, labels, declared ports, and what their status says.
//!
//! Most of a pod's spec is of no concern here and is neither read nor checked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::objects::{Container, ContainerPort, ContainerState, Pod, Workload};
use serde_json::Value;

use super::Input;
use super::fields::Fields;
use super::meta::{self, Scope};
use super::node::conditions;
use super::service::PROTOCOLS;
use crate::names;

const CONTAINER_PORT: &[&str] = &["containerPort", "hostIP", "hostPort", "name", "protocol"];

/// The label a Deployment puts on the pods of each of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Reads a Pod.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Pod> {
    let meta = meta::read(top, input, Scope::Namespaced, names::subdomain)?;
    let mut pod = Pod { meta, ..Pod::default() };
    pod.workload = workload(top, &pod.meta.labels);
    match top.unchecked_child("spec") {
        Some(spec) => read_spec(&spec, &mut pod),
        None => top.refuse("spec", "`containers` is missing"),
    }
    if let Some(status) = top.unchecked_child("status") {
        read_status(&status, &mut pod);
    }
    Some(pod)
}

fn read_spec(spec: &Fields<'_>, pod: &mut Pod) {
    pod.node = spec.text("nodeName").filter(|name| !name.is_empty()).map(str::to_owned);
    pod.host_network = spec.flag("hostNetwork").unwrap_or_default();
    pod.dns_policy = spec.text_or_empty("dnsPolicy");
    if let Some(config) = spec.unchecked_child("dnsConfig") {
        pod.dns_searches = config.texts("searches").into_iter().map(|(text, _)| text.to_owned()).collect();
    }
    pod.readiness_gates = spec
        .unchecked_objects("readinessGates")
        .iter()
        .filter_map(|gate| gate.text("conditionType").map(str::to_owned))
        .collect();
    if spec.items("containers").is_empty() && spec.value("containers").is_none_or(Value::is_array) {
        spec.refuse("containers", "at least one container is needed");
    }
    pod.containers = spec.unchecked_objects("containers").iter().filter_map(container).collect();
    // Init containers that restart always are sidecars and keep their ports (KEP-753); the others have ended.
    pod.containers.extend(
        spec.unchecked_objects("initContainers")
            .iter()
            .filter(|fields| fields.text("restartPolicy") == Some("Always"))
            .filter_map(container)
            .map(|container| Container { sidecar: true, ..container }),
    );
}

fn container(fields: &Fields<'_>) -> Option<Container> {
    let Some(name) = fields.text("name") else {
        fields.refuse("name", "is missing");
        return None;
    };
    Some(Container {
        name: name.to_owned(),
        ports: fields
            .objects("ports", CONTAINER_PORT, &["containerPort"])
            .iter()
            .filter_map(container_port)
            .collect(),
        readiness_probe: fields.value("readinessProbe").is_some(),
        ..Container::default()
    })
}

fn container_port(fields: &Fields<'_>) -> Option<ContainerPort> {
    let name = fields.text("name").filter(|name| !name.is_empty());
    if let Some(Err(reason)) = name.map(names::port_name) {
        fields.refuse("name", reason);
    }
    let protocol = fields.word("protocol", PROTOCOLS).unwrap_or_default();
    let host_port = fields.value("hostPort").filter(|value| value.as_i64() != Some(0));
    let host_port = host_port.and_then(|_| fields.port("hostPort"));
    Some(ContainerPort {
        name: name.map(str::to_owned),
        port: fields.port("containerPort")?,
        protocol,
        host_port,
    })
}

fn read_status(status: &Fields<'_>, pod: &mut Pod) {
    pod.phase = status.text_or_empty("phase");
    pod.conditions = conditions(status);
    let primary = status.value("podIP").filter(|value| value.as_str() != Some(""));
    let mut addresses: Vec<IpAddr> = primary.and_then(|_| status.address("podIP")).into_iter().collect();
    for entry in status.unchecked_objects("podIPs") {
        if let Some(address) = entry.address("ip").filter(|address| !addresses.contains(address)) {
            addresses.push(address);
        }
    }
    pod.addresses = addresses;
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

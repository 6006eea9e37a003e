//! Containers of pods and the ports they declare (`validateContainers`, `validateInitContainers`).
//!
//! Images, volumes, resources and what a probe does are neither read nor checked: no connection depends on them, and a
//! manifest may be cut down to what one does.

use std::collections::BTreeSet;

use model::flow::Protocol;
use model::objects::{Container, ContainerPort, Pod};
use serde_json::Value;

use super::super::fields::Fields;
use super::super::service::PROTOCOLS;
use crate::names;

const CONTAINER_PORT: &[&str] = &["containerPort", "hostIP", "hostPort", "name", "protocol"];

/// Protocol, address and number: what only one container can have on a node.
type HostPorts = BTreeSet<(Protocol, String, u16)>;

/// Reads the containers of a pod of which it is known whether it has the node's network.
pub(super) fn read(spec: &Fields<'_>, pod: &mut Pod) {
    let entries = spec.unchecked_objects("containers");
    if entries.is_empty() && spec.value("containers").is_none_or(Value::is_array) {
        spec.refuse("containers", "at least one container is needed");
    }
    let mut names_seen = BTreeSet::new();
    let mut host_ports = HostPorts::new();
    for fields in entries {
        let container = container(&fields, pod.host_network, true, &mut names_seen, &mut host_ports);
        pod.containers.extend(container);
    }
    for fields in spec.unchecked_objects("initContainers") {
        // Init containers that restart always are sidecars and keep their ports (KEP-753); the others have ended.
        let policies = &[("Always", true), ("OnFailure", false), ("Never", false)];
        let sidecar = fields.word("restartPolicy", policies) == Some(true);
        // They run one by one, so their ports on the node meet only their own.
        let mut own = HostPorts::new();
        let container = container(&fields, pod.host_network, false, &mut names_seen, &mut own);
        pod.containers
            .extend(container.filter(|_| sidecar).map(|container| Container { sidecar: true, ..container }));
    }
}

fn container(
    fields: &Fields<'_>,
    host_network: bool,
    checks_host_network: bool,
    names_seen: &mut BTreeSet<String>,
    host_ports: &mut HostPorts,
) -> Option<Container> {
    let name = fields.text("name");
    match name {
        None => fields.refuse("name", "is missing"),
        Some(name) => {
            fields.check("name", names::label);
            if !name.is_empty() && !names_seen.insert(name.to_owned()) {
                fields.refuse("name", format!("`{}` is given to two containers", names::shown(name)));
            }
        }
    }
    let mut port_names = BTreeSet::new();
    let mut ports = Vec::new();
    for entry in fields.objects("ports", CONTAINER_PORT, &["containerPort"]) {
        if let Some(name) = entry.text("name").filter(|name| names::port_name(name).is_ok())
            && !port_names.insert(name)
        {
            entry.refuse("name", format!("`{name}` is given to two ports"));
        }
        let Some(mut port) = container_port(&entry) else { continue };
        if host_network {
            match port.host_port {
                Some(host_port) if host_port != port.port && checks_host_network => {
                    entry.refuse("hostPort", "has to be `containerPort`, as the pod has the node's network");
                }
                Some(_) => {}
                // `defaultHostNetworkPorts`
                None => port.host_port = Some(port.port),
            }
        }
        if let Some(host_port) = port.host_port
            && !host_ports.insert((port.protocol, entry.text_or_empty("hostIP"), host_port))
        {
            entry.refuse("hostPort", format!("{host_port}/{} is given twice", port.protocol));
        }
        ports.push(port);
    }
    Some(Container {
        name: name?.to_owned(),
        ports,
        readiness_probe: fields.value("readinessProbe").is_some(),
        ..Container::default()
    })
}

fn container_port(fields: &Fields<'_>) -> Option<ContainerPort> {
    let name = fields.text("name").filter(|name| !name.is_empty());
    if let Some(Err(reason)) = name.map(names::port_name) {
        fields.refuse("name", reason);
    }
    let protocol = fields.word_or_empty("protocol", PROTOCOLS).unwrap_or_default();
    let host_port = fields.value("hostPort").filter(|value| value.as_i64() != Some(0));
    let host_port = host_port.and_then(|_| fields.port("hostPort"));
    Some(ContainerPort {
        name: name.map(str::to_owned),
        port: fields.port("containerPort")?,
        protocol,
        host_port,
    })
}

//! What a pod's object asks of the stand-in, and the status it gets.

use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, Pod as Object};
use kube::ResourceExt;
use model::Key;
use netlab::Listen;
use serde_json::{Value, json};

use super::{LISTEN, STATUS};
use crate::spec::NodePlan;

/// The parts of an object that decide about a pod's network and status.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Whether it is in its node's namespace.
    pub host_network: bool,
    /// Addresses asked for by the status annotation.
    pub addresses: Vec<IpAddr>,
    /// Listeners in text form.
    listen: Vec<String>,
    /// Over the usual status.
    status: Value,
}

impl Wish {
    /// Reads an object.
    pub fn of(object: &Object) -> Result<Self> {
        let annotations = object.annotations();
        let spec = object.spec.as_ref();
        let listen = match annotations.get(LISTEN) {
            Some(text) if text.trim() == "none" => Vec::new(),
            Some(text) => text.split_whitespace().map(str::to_owned).collect(),
            None => spec.map(|spec| declared(&spec.containers)).unwrap_or_default(),
        };
        let status: Value = match annotations.get(STATUS) {
            Some(text) => {
                serde_json::from_str(text).with_context(|| format!("annotation {STATUS}: {text}"))?
            }
            None => Value::Null,
        };
        let addresses = status["podIPs"]
            .as_array()
            .map_or_else(|| vec![&status["podIP"]], |all| all.iter().map(|entry| &entry["ip"]).collect());
        let addresses = addresses.into_iter().filter_map(|address| address.as_str()?.parse().ok()).collect();
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or_default();
        Ok(Self { host_network, addresses, listen, status })
    }

    /// The listeners, each answering with the pod's name.
    pub fn listeners(&self, key: &Key) -> Result<Vec<Listen>> {
        self.listen
            .iter()
            .map(|text| {
                let listen = Listen::parse(text).with_context(|| format!("annotation {LISTEN}"))?;
                Ok(Listen { answer: key.to_string().into_bytes(), ..listen })
            })
            .collect()
    }
}

/// The declared ports, on all addresses.
fn declared(containers: &[Container]) -> Vec<String> {
    containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
        .map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
            format!("{protocol}:[::]:{}", port.container_port)
        })
        .collect()
}

/// The status of a healthy pod, with the wished fields over it.
pub fn status(object: &Object, wish: &Wish, node: &NodePlan, addresses: &[IpAddr]) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let containers: Vec<Value> = object
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": { "running": { "startedAt": now } },
                "containerID": format!("lab://{}", object.name_any()),
            })
        })
        .collect();
    let ips: Vec<Value> = addresses.iter().map(|address| json!({ "ip": address })).collect();
    let mut status = json!({
        "phase": "Running",
        "startTime": now,
        "hostIP": node.address,
        "podIP": addresses.first(),
        "podIPs": ips,
        "conditions": conditions,
        "containerStatuses": containers,
        "reason": Value::Null,
        "message": Value::Null,
    });
    if let (Some(status), Some(wished)) = (status.as_object_mut(), wish.status.as_object()) {
        for (field, value) in wished {
            if !matches!(field.as_str(), "podIP" | "podIPs" | "hostIP" | "hostIPs") {
                status.insert(field.clone(), value.clone());
            }
        }
    }
    json!({ "status": status })
}

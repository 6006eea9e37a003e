//! Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::reference::{Key, Meta};
use crate::flow::Protocol;

/// A port a container declares. Informative only: a container may listen on others, or not on this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Number.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the node, if one is asked for.
    pub host_port: Option<u16>,
}

/// What a container does, from its status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// No status was given.
    #[default]
    Unknown,
    /// Runs.
    Running,
    /// Waits, for this reason: `CrashLoopBackOff`, `ImagePullBackOff` …
    Waiting(String),
    /// Ended, for this reason: `OOMKilled`, `Error` …
    Terminated(String),
}

/// A container: what its spec declares and its status says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Declared ports.
    pub ports: Vec<ContainerPort>,
    /// Whether a readiness probe is configured.
    pub readiness_probe: bool,
    /// Whether the status says ready; `None` without a status.
    pub ready: Option<bool>,
    /// What it does.
    pub state: ContainerState,
    /// How often it was restarted.
    pub restarts: u32,
    /// Whether it is an init container that keeps running (a native sidecar).
    pub sidecar: bool,
}

/// A status condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `Ready`, `PodScheduled` …
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Machine word.
    pub reason: String,
    /// Human text.
    pub message: String,
}

/// The kind and name of the controller that made a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// `Deployment` (its ReplicaSet resolved), `StatefulSet`, `DaemonSet`, `Job` …
    pub kind: String,
    /// Name.
    pub name: String,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// Node it is bound to.
    pub node: Option<String>,
    /// Addresses, primary first.
    pub addresses: Vec<IpAddr>,
    /// Whether it shares the node's network namespace.
    pub host_network: bool,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; empty without a status.
    pub phase: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Containers, native sidecars included.
    pub containers: Vec<Container>,
    /// `spec.readinessGates[].conditionType`.
    pub readiness_gates: Vec<String>,
    /// `spec.dnsPolicy`; empty for the default.
    pub dns_policy: String,
    /// Search domains added by `spec.dnsConfig`.
    pub dns_searches: Vec<String>,
    /// Its controller.
    pub workload: Option<Workload>,
}

impl Pod {
    /// The `Ready` condition as a truth; `None` without a status.
    pub fn ready(&self) -> Option<bool> {
        self.condition("Ready").map(|condition| condition.status == "True")
    }

    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether it ended for good: its labels and address mean nothing any more.
    pub fn finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// A declared port by name and protocol; both must match (KEP-less: `podutil.FindPort` compares both).
    pub fn named_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.declared_ports()
            .find(|port| port.protocol == protocol && port.name.as_deref() == Some(name))
            .map(|port| port.port)
    }

    /// All declared ports.
    pub fn declared_ports(&self) -> impl Iterator<Item = &ContainerPort> {
        self.containers.iter().flat_map(|container| &container.ports)
    }

    /// Labels.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.meta.labels
    }

    /// Namespace and name.
    pub const fn key(&self) -> &Key {
        &self.meta.key
    }
}

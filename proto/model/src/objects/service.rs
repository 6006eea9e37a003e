//! Services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::reference::{Key, Meta};
use super::selector::Selector;
use crate::flow::Protocol;

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    /// A virtual address inside the cluster.
    #[default]
    ClusterIp,
    /// The same plus a port on every node.
    NodePort,
    /// The same plus an address from outside.
    LoadBalancer,
    /// A DNS alias; no address, no rules.
    ExternalName,
}

/// `internalTrafficPolicy` or `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any endpoint.
    #[default]
    Cluster,
    /// Endpoints of the same node only.
    Local,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// A container port's name, looked up pod by pod.
    Name(String),
}

impl std::fmt::Display for TargetPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(port) => write!(f, "{port}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Name; empty if the only port has none.
    pub name: String,
    /// Port on the Service's addresses.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the pods; defaults to `port`.
    pub target: TargetPort,
    /// Port on every node, if allocated.
    pub node_port: Option<u16>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// Type.
    pub kind: ServiceType,
    /// Cluster addresses, primary first; empty if headless or none was allocated.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Pod labels selected; `None` or empty: endpoints are made by hand.
    pub selector: BTreeMap<String, String>,
    /// Target of an `ExternalName` Service.
    pub external_name: String,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Those of them that a load balancer keeps for itself (`ipMode: Proxy`, KEP-1860, Kubernetes 1.29): nodes have no rules
    /// for them.
    #[serde(default)]
    pub load_balancer_proxied: Vec<IpAddr>,
    /// Whether unready pods are published as ready.
    pub publish_not_ready: bool,
    /// For traffic from inside.
    pub internal_policy: TrafficPolicy,
    /// For traffic from outside.
    pub external_policy: TrafficPolicy,
}

impl Service {
    /// Namespace and name.
    pub const fn key(&self) -> &Key {
        &self.meta.key
    }

    /// The port with this number and protocol.
    pub fn port(&self, number: u16, protocol: Protocol) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number && port.protocol == protocol)
    }

    /// The selector as requirements.
    pub fn pod_selector(&self) -> Selector {
        Selector::equalities(&self.selector)
    }
}

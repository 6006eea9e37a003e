//! What a cluster is to be: kind, proxy mode, nodes, address ranges. All of it is fixed when the cluster is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// More nodes than this do not fit the machines this runs on, and their pod ranges would not fit either.
pub const MAX_NODES: u8 = 16;
/// Names become parts of directory and control group names and of namespaces' names.
const MAX_NAME: usize = 32;

/// Whether nodes run containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pods are network namespaces with real listeners; a stand-in for the kubelet writes their status.
    Light,
    /// Nodes are namespaces with a kubelet and containerd of their own.
    Full,
}

/// How kube-proxy serves Services on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    /// `iptables` mode, rules written through nf_tables.
    Iptables,
    /// `iptables` mode, rules written through the old interface.
    IptablesLegacy,
    /// `nftables` mode (KEP-3866; Kubernetes 1.29 and later, behind a feature gate before 1.31).
    Nftables,
}

/// Who programs NetworkPolicies. All are stand-ins: see `netlab::policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// Nobody: policies have no effect.
    None,
    /// As kube-router, with addresses in the rules instead of sets.
    KubeRouterPlain,
    /// As kube-router: iptables and ipset.
    KubeRouter,
    /// As Calico: iptables and ipset.
    Calico,
    /// In the shape of kindnet: nftables.
    Kindnet,
}

impl ProxyMode {
    /// As on the command line.
    pub fn word(self) -> String {
        word(&self)
    }
}

impl Enforcement {
    /// As on the command line.
    pub fn word(self) -> String {
        word(&self)
    }
}

/// A cluster to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Its name; unique on the machine.
    pub name: String,
    /// Whether nodes run containers.
    pub kind: Kind,
    /// How Services are served.
    pub mode: ProxyMode,
    /// Who programs NetworkPolicies.
    pub policies: Enforcement,
    /// How many nodes.
    pub nodes: u8,
    /// Whether nodes, pods and Services have IPv6 addresses as well.
    pub dual_stack: bool,
    /// The nodes' addresses. Nothing outside the cluster sees them, so clusters may have the same.
    pub node_cidr: Ipv4Net,
    /// The pods' addresses; each node gets a /24 of it.
    pub pod_cidr: Ipv4Net,
    /// The Services' addresses.
    pub service_cidr: Ipv4Net,
    /// Where the Kubernetes programs are, beside PATH.
    pub programs: Option<PathBuf>,
    /// Whether the cluster ends with the process that made it.
    pub owned: bool,
}

/// A node's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name in the cluster.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub address: Ipv4Addr,
    /// Its IPv6 address in a dual-stack cluster.
    pub address6: Option<Ipv6Addr>,
    /// Its pods' addresses.
    pub pod_cidr: Ipv4Net,
    /// Its pods' IPv6 addresses in a dual-stack cluster.
    pub pod_cidr6: Option<Ipv6Net>,
}

impl Spec {
    /// A light cluster of two nodes with what most people have: iptables mode, IPv4, a policy engine.
    pub fn light(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Light,
            mode: ProxyMode::Iptables,
            policies: Enforcement::KubeRouterPlain,
            nodes: 2,
            dual_stack: false,
            node_cidr: cidr([192, 168, 77, 0], 24),
            pod_cidr: cidr([10, 244, 0, 0], 16),
            service_cidr: cidr([10, 96, 0, 0], 16),
            programs: None,
            owned: false,
        }
    }

    /// The same with kubelets and containers.
    pub fn full(name: impl Into<String>) -> Self {
        Self { kind: Kind::Full, policies: Enforcement::None, ..Self::light(name) }
    }

    /// With another proxy mode.
    #[must_use]
    pub const fn mode(mut self, mode: ProxyMode) -> Self {
        self.mode = mode;
        self
    }

    /// With another engine for NetworkPolicies.
    #[must_use]
    pub const fn policies(mut self, policies: Enforcement) -> Self {
        self.policies = policies;
        self
    }

    /// With IPv6 beside IPv4.
    #[must_use]
    pub const fn dual_stack(mut self) -> Self {
        self.dual_stack = true;
        self
    }

    /// With another number of nodes.
    #[must_use]
    pub const fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Whether it can be made at all.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        ensure!(
            (1..=MAX_NODES).contains(&self.nodes),
            "{} nodes: a cluster has 1 to {MAX_NODES}",
            self.nodes
        );
        ensure!(
            self.node_cidr.prefix_len() <= 24,
            "node range {} is too small: a /24 or larger is needed",
            self.node_cidr
        );
        ensure!(
            self.pod_cidr.prefix_len() <= 19,
            "pod range {} is too small: each of up to {MAX_NODES} nodes gets a /24 of it, so a /19 or larger is needed",
            self.pod_cidr
        );
        ensure!(
            (12..=24).contains(&self.service_cidr.prefix_len()),
            "Service range {}: kube-apiserver takes a /12 to a /24 here",
            self.service_cidr
        );
        for (one, other) in [
            (self.node_cidr, self.pod_cidr),
            (self.node_cidr, self.service_cidr),
            (self.pod_cidr, self.service_cidr),
        ] {
            ensure!(
                !one.contains(&other.network()) && !other.contains(&one.network()),
                "address ranges {one} and {other} overlap"
            );
        }
        Ok(())
    }

    /// The nodes, in order.
    pub fn node_plans(&self) -> Vec<NodePlan> {
        (1..=self.nodes).map(|number| self.node_plan(number)).collect()
    }

    fn node_plan(&self, number: u8) -> NodePlan {
        let number = u16::from(number);
        let base = u32::from(self.node_cidr.network());
        let pods = u32::from(self.pod_cidr.network()) + (u32::from(number) << 8);
        NodePlan {
            name: format!("node-{number}"),
            address: Ipv4Addr::from(base + 10 + u32::from(number)),
            address6: self.dual_stack.then(|| Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x10 + number)),
            pod_cidr: cidr(pods.to_be_bytes(), 24),
            pod_cidr6: self.dual_stack.then(|| v6(Ipv6Addr::new(0xfd00, 0x244, 0, number, 0, 0, 0, 0), 64)),
        }
    }

    /// The ranges of Service addresses.
    pub fn service_cidrs(&self) -> Vec<String> {
        let mut ranges = vec![self.service_cidr.to_string()];
        if self.dual_stack {
            ranges.push("fd00:96::/112".to_owned());
        }
        ranges
    }

    /// The ranges of pod addresses.
    pub fn pod_cidrs(&self) -> Vec<String> {
        let mut ranges = vec![self.pod_cidr.to_string()];
        if self.dual_stack {
            ranges.push("fd00:244::/48".to_owned());
        }
        ranges
    }

    /// The address of Service `default/kubernetes`: the first of the range (`pkg/controlplane/instance.go`).
    pub fn kubernetes_service(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(u32::from(self.service_cidr.network()) + 1))
    }

    /// The address of the cluster's name service, by convention.
    pub fn dns_service(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(u32::from(self.service_cidr.network()) + 10))
    }
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Whether a cluster may be called so.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(allowed) && !name.starts_with('-'),
        "cluster name `{name}`: 1 to {MAX_NAME} lower-case letters, digits and dashes, not starting with a dash"
    );
    Ok(())
}

const fn cidr(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(address: Ipv6Addr, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(address, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let plans = Spec::light("t").dual_stack().node_plans();
        let shown: Vec<String> = plans
            .iter()
            .map(|plan| format!("{} {} {} {:?}", plan.name, plan.address, plan.pod_cidr, plan.pod_cidr6))
            .collect();
        assert_eq!(
            shown,
            [
                "node-1 192.168.77.11 10.244.1.0/24 Some(fd00:244:0:1::/64)",
                "node-2 192.168.77.12 10.244.2.0/24 Some(fd00:244:0:2::/64)"
            ]
        );
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_the_reason() {
        let refusal = |spec: Spec| spec.check().expect_err("refused").to_string();
        Spec::light("ok").check().expect("the default can be made");
        assert!(refusal(Spec::light("Up")).starts_with("cluster name `Up`: "));
        assert_eq!(refusal(Spec::light("n").nodes(0)), "0 nodes: a cluster has 1 to 16");
        let mut same = Spec::light("same");
        same.service_cidr = cidr([10, 244, 3, 0], 24);
        assert_eq!(refusal(same), "address ranges 10.244.0.0/16 and 10.244.3.0/24 overlap");
    }
}

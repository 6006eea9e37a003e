//! What a lab is asked to consist of: values only, nothing is built here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Key;

/// What a lab consists of at first.
#[derive(Clone, Debug)]
pub struct LabSpec {
    /// For messages.
    pub name: String,
    /// The nodes; at least one.
    pub nodes: Vec<NodeSpec>,
}

/// A node. IPv4 always; IPv6 beside it where asked for, as in a dual-stack cluster (KEP-563).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name in the cluster.
    pub name: String,
    /// Its address on the underlay.
    pub address: Ipv4Addr,
    /// Its IPv6 address on the underlay.
    pub address6: Option<Ipv6Addr>,
    /// Its pods' addresses.
    pub pod_cidr: Ipv4Net,
    /// Its pods' IPv6 addresses.
    pub pod_cidr6: Option<Ipv6Net>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// Namespace and name.
    pub key: Key,
    /// Its node.
    pub node: String,
    /// Its address; usually of the node's pod range, but any will do.
    pub address: Ipv4Addr,
    /// Its IPv6 address, for which the same holds.
    pub address6: Option<Ipv6Addr>,
}

impl NodeSpec {
    /// A node with IPv4 alone.
    pub fn new(name: impl Into<String>, address: Ipv4Addr, pod_cidr: Ipv4Net) -> Self {
        Self { name: name.into(), address, address6: None, pod_cidr, pod_cidr6: None }
    }

    /// The same with IPv6 beside it.
    #[must_use]
    pub const fn with_v6(mut self, address: Ipv6Addr, pod_cidr: Ipv6Net) -> Self {
        self.address6 = Some(address);
        self.pod_cidr6 = Some(pod_cidr);
        self
    }

    /// All its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        both(self.address, self.address6)
    }

    /// All its pod ranges, IPv4 first.
    pub fn pod_cidrs(&self) -> Vec<IpNet> {
        std::iter::once(IpNet::V4(self.pod_cidr)).chain(self.pod_cidr6.map(IpNet::V6)).collect()
    }

    /// Whether anything of it is IPv6.
    pub(crate) const fn has_v6(&self) -> bool {
        self.address6.is_some() || self.pod_cidr6.is_some()
    }

    /// Another node's pod ranges, each with the address of that node by which this one reaches it. A range they share
    /// has no way: it is on this node already.
    pub(crate) fn ways_to(&self, other: &Self) -> Vec<(IpNet, IpAddr)> {
        let v4 = (self.pod_cidr != other.pod_cidr)
            .then(|| (IpNet::V4(other.pod_cidr.trunc()), IpAddr::V4(other.address)));
        let v6 = match (self.address6, other.address6, other.pod_cidr6) {
            (Some(_), Some(via), Some(range)) if self.pod_cidr6 != Some(range) => {
                Some((IpNet::V6(range.trunc()), IpAddr::V6(via)))
            }
            _ => None,
        };
        v4.into_iter().chain(v6).collect()
    }
}

impl PodSpec {
    /// A pod with IPv4 alone.
    pub fn new(key: Key, node: impl Into<String>, address: Ipv4Addr) -> Self {
        Self { key, node: node.into(), address, address6: None }
    }

    /// The same with IPv6 beside it.
    #[must_use]
    pub const fn with_v6(mut self, address: Ipv6Addr) -> Self {
        self.address6 = Some(address);
        self
    }

    /// All its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        both(self.address, self.address6)
    }

    /// The name of its interface on the node: unique there, since the address is, and at most 15 characters.
    pub fn host_interface(&self) -> String {
        let [a, b, c, d] = self.address.octets();
        format!("veth{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

fn both(address: Ipv4Addr, address6: Option<Ipv6Addr>) -> Vec<IpAddr> {
    std::iter::once(IpAddr::V4(address)).chain(address6.map(IpAddr::V6)).collect()
}

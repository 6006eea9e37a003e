//! Which addresses a lab needs beside those it was given, and the nodes and pods that objects tell of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::ObjectSet;
use model::objects::Pod;

use super::{NodeSpec, PodSpec};
use crate::error::Error;

/// The shortest prefix that still counts as one network.
const SHORTEST: u8 = 8;
/// The last addresses of an IPv6 network that are anycast (RFC 2526).
const ANYCAST: u128 = 0x80;

/// The network all nodes share, and two addresses of it that no node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The network.
    pub net: Ipv4Net,
    /// The way outside.
    pub gateway: Ipv4Addr,
    /// The underlay's own.
    pub control: Ipv4Addr,
    /// The same for IPv6, if a node has an address of it.
    pub v6: Option<Underlay6>,
}

/// As `Underlay`, of the nodes that have IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay6 {
    /// The network.
    pub net: Ipv6Net,
    /// The way outside.
    pub gateway: Ipv6Addr,
    /// The underlay's own.
    pub control: Ipv6Addr,
}

impl Underlay {
    /// The addresses of the way outside, with their prefixes.
    pub fn gateway(&self) -> Vec<(IpAddr, u8)> {
        let v6 = self.v6.map(|v6| (v6.gateway.into(), v6.net.prefix_len()));
        std::iter::once((self.gateway.into(), self.net.prefix_len())).chain(v6).collect()
    }

    /// The underlay's own addresses, with their prefixes.
    pub fn control(&self) -> Vec<(IpAddr, u8)> {
        let v6 = self.v6.map(|v6| (v6.control.into(), v6.net.prefix_len()));
        std::iter::once((self.control.into(), self.net.prefix_len())).chain(v6).collect()
    }
}

/// A /24 (IPv6: /64) if they fit into one, else the smallest network that holds them.
pub fn underlay(nodes: &[NodeSpec]) -> Result<Underlay, Error> {
    let Some(first) = nodes.first() else {
        return Err(Error::Missing { object: "the lab".into(), what: "a node" });
    };
    let addresses: Vec<Ipv4Addr> = nodes.iter().map(|node| node.address).collect();
    let within = |prefix| {
        let net = Ipv4Net::new(first.address, prefix).ok()?;
        addresses.iter().all(|address| net.contains(address)).then_some(net.trunc())
    };
    let Some(net) = (SHORTEST..=24).rev().find_map(within) else {
        return Err(apart(first.address, &addresses, |address| address.octets().first().copied()));
    };
    let last = u32::from(net.broadcast());
    let mut free =
        (1..).map(|back| Ipv4Addr::from(last - back)).filter(|address| !addresses.contains(address));
    let mut next = || free.next().unwrap_or(Ipv4Addr::UNSPECIFIED);
    Ok(Underlay { net, gateway: next(), control: next(), v6: underlay6(nodes)? })
}

fn underlay6(nodes: &[NodeSpec]) -> Result<Option<Underlay6>, Error> {
    let addresses: Vec<Ipv6Addr> = nodes.iter().filter_map(|node| node.address6).collect();
    let Some(first) = addresses.first() else { return Ok(None) };
    let within = |prefix| {
        let net = Ipv6Net::new(*first, prefix).ok()?;
        addresses.iter().all(|address| net.contains(address)).then_some(net.trunc())
    };
    let Some(net) = (SHORTEST..=64).rev().find_map(within) else {
        return Err(apart(*first, &addresses, |address| address.octets().first().copied()));
    };
    let last = u128::from(net.broadcast()) - ANYCAST;
    let mut free =
        (0..).map(|back| Ipv6Addr::from(last - back)).filter(|address| !addresses.contains(address));
    let mut next = || free.next().unwrap_or(Ipv6Addr::UNSPECIFIED);
    Ok(Some(Underlay6 { net, gateway: next(), control: next() }))
}

/// Names the first address and one that differs from it in the `SHORTEST` bits that a network has to share.
fn apart<A: Copy + Into<IpAddr>>(first: A, all: &[A], leading: impl Fn(&A) -> Option<u8>) -> Error {
    let other = all.iter().copied().find(|other| leading(other) != leading(&first)).unwrap_or(first);
    Error::NoCommonNetwork { first: first.into(), other: other.into() }
}

/// The first address of a pod range, which the bridge gets.
pub fn bridge_address(pod_cidr: IpNet) -> IpAddr {
    match pod_cidr {
        IpNet::V4(pod_cidr) => first_of(pod_cidr).into(),
        IpNet::V6(pod_cidr) => Ipv6Addr::from(u128::from(pod_cidr.network()).saturating_add(1)).into(),
    }
}

/// The same of IPv4 alone.
pub fn first_of(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(pod_cidr.network()).saturating_add(1))
}

/// Nodes as the lab builds them. A node without a pod range gets the /24 around its first pod; IPv6 is optional, and its
/// range then is the /64 around the first pod that has it.
pub fn nodes_of(objects: &ObjectSet) -> Result<Vec<NodeSpec>, Error> {
    let mut specs: BTreeMap<&str, NodeSpec> = BTreeMap::new();
    for (name, node) in &objects.nodes {
        let object = format!("node {name}");
        let address = node.addresses.iter().find_map(|address| v4(*address));
        let address = address.ok_or(Error::Missing { object: object.clone(), what: "an IPv4 InternalIP" })?;
        // Ranges that are told of, then those guessed from pods; the first of a family counts.
        let pods = networked(objects).filter(|pod| pod.node.as_deref() == Some(name));
        let around = pods.flat_map(|pod| pod.addresses.iter().copied()).filter_map(around);
        let ranges: Vec<IpNet> = node.pod_cidrs.iter().copied().chain(around).collect();
        let pod_cidr =
            ranges.iter().find_map(|range| if let IpNet::V4(range) = range { Some(range) } else { None });
        let pod_cidr6 =
            ranges.iter().find_map(|range| if let IpNet::V6(range) = range { Some(range) } else { None });
        let pod_cidr =
            pod_cidr.ok_or(Error::Missing { object, what: "spec.podCIDR, or a pod with an IPv4 address" })?;
        let address6 = node.addresses.iter().find_map(|address| v6(*address));
        let spec = NodeSpec::new(name.clone(), address, pod_cidr.trunc());
        specs.insert(name, NodeSpec { address6, pod_cidr6: pod_cidr6.map(Ipv6Net::trunc), ..spec });
    }
    Ok(specs.into_values().collect())
}

/// Pods as the lab builds them: bound to a node, with an IPv4 address of their own.
pub fn pods_of(objects: &ObjectSet) -> Vec<PodSpec> {
    networked(objects)
        .filter_map(|pod| {
            let node = pod.node.clone().filter(|node| objects.nodes.contains_key(node))?;
            let address = pod.addresses.iter().find_map(|address| v4(*address))?;
            let address6 = pod.addresses.iter().find_map(|address| v6(*address));
            Some(PodSpec { address6, ..PodSpec::new(pod.key().clone(), node, address) })
        })
        .collect()
}

fn networked(objects: &ObjectSet) -> impl Iterator<Item = &Pod> {
    objects.pods.values().filter(|pod| !pod.host_network && !pod.finished())
}

/// The range guessed for a node that has a pod here.
fn around(address: IpAddr) -> Option<IpNet> {
    IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).ok()
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

const fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use model::Key;
    use model::objects::{Meta, Node};

    use super::*;

    fn node(address: &str) -> NodeSpec {
        let pod_cidr = "10.244.0.0/24".parse().expect("cidr");
        NodeSpec::new(address, address.parse().expect("address"), pod_cidr)
    }

    #[test]
    fn the_gateway_is_no_nodes_address() {
        let found = underlay(&[node("10.0.0.254"), node("10.0.0.1")]).expect("one network");
        assert_eq!(found.net.to_string(), "10.0.0.0/24");
        assert_eq!(found.gateway.to_string(), "10.0.0.253");
        assert_eq!(found.control.to_string(), "10.0.0.252");
        let found = underlay(&[node("10.0.0.1"), node("10.0.3.1")]).expect("one network");
        assert_eq!(found.net.to_string(), "10.0.0.0/22");
    }

    #[test]
    fn nodes_of_different_worlds_are_refused() {
        let error = underlay(&[node("10.0.0.1"), node("192.168.0.1")]).expect_err("no network");
        assert_eq!(
            error.to_string(),
            "node addresses 10.0.0.1 and 192.168.0.1 share no network of at least 8 bits prefix"
        );
    }
    #[test]
    fn nodes_with_ipv6_share_a_network_of_it_beside_the_other() {
        let six = |last: u16| {
            let address = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last);
            node("10.0.0.1").with_v6(address, "fd00:244:1::/64".parse().expect("cidr"))
        };
        let found = underlay(&[node("10.0.0.2"), six(0x11), six(0x12)]).expect("one network").v6;
        let found = found.expect("a network for IPv6");
        assert_eq!(found.net.to_string(), "fd00:77::/64");
        assert_eq!(found.gateway.to_string(), "fd00:77::ffff:ffff:ffff:ff7f");
        assert_eq!(found.control.to_string(), "fd00:77::ffff:ffff:ffff:ff7e");
        let far = NodeSpec { address6: "2001:db8::1".parse().ok(), ..six(1) };
        let error = underlay(&[six(1), far]).expect_err("no network").to_string();
        assert!(error.contains("fd00:77::1 and 2001:db8::1"), "{error}");
        assert_eq!(underlay(&[node("10.0.0.1")]).expect("one network").v6, None);
    }

    #[test]
    fn objects_tell_both_families_and_a_missing_range_is_guessed_from_pods() {
        let meta = |namespace: &str, name: &str| Meta { key: Key::new(namespace, name), ..Meta::default() };
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("address")).collect();
        let mut objects = ObjectSet::default();
        for (name, address6, ranges) in [
            ("one", "fd00:77::11", &["10.244.1.0/24", "fd00:244:0:1::/64"][..]),
            ("two", "fd00:77::12", &["10.244.2.0/24"]),
        ] {
            let pod_cidrs = ranges.iter().map(|range| range.parse().expect("range")).collect();
            let addresses = all(&[if name == "one" { "10.0.0.11" } else { "10.0.0.12" }, address6]);
            objects.nodes.insert(
                name.into(),
                Node { meta: meta("", name), addresses, pod_cidrs, conditions: Vec::new() },
            );
        }
        let pod = Pod {
            meta: meta("shop", "api"),
            node: Some("two".into()),
            addresses: all(&["10.244.2.5", "fd00:244:0:2::5"]),
            ..Pod::default()
        };
        objects.pods.insert(pod.key().clone(), pod);
        let ranges: Vec<_> = nodes_of(&objects).expect("nodes").iter().map(NodeSpec::pod_cidrs).collect();
        assert_eq!(
            format!("{ranges:?}"),
            "[[10.244.1.0/24, fd00:244:0:1::/64], [10.244.2.0/24, fd00:244:0:2::/64]]"
        );
        assert_eq!(format!("{:?}", pods_of(&objects)[0].addresses()), "[10.244.2.5, fd00:244:0:2::5]");
    }
}

//! Which addresses a lab needs beside those it was given, and the nodes and pods that objects tell of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use model::ObjectSet;
use model::objects::{Node, Pod};

use super::{NodeSpec, PodSpec};
use crate::error::Error;

/// The network all nodes share, and two addresses of it that no node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The network.
    pub net: Ipv4Net,
    /// The way outside.
    pub gateway: Ipv4Addr,
    /// The underlay's own.
    pub control: Ipv4Addr,
}

/// A /24 if they fit into one, else the smallest network that holds them.
pub fn underlay(nodes: &[NodeSpec]) -> Result<Underlay, Error> {
    let Some(first) = nodes.first() else {
        return Err(Error::Missing { object: "the lab".into(), what: "a node" });
    };
    let fitting = (8..=24)
        .rev()
        .filter_map(|prefix| Ipv4Net::new(first.address, prefix).ok())
        .find(|net| nodes.iter().all(|node| net.contains(&node.address)));
    let Some(net) = fitting else {
        let other = nodes
            .iter()
            .find(|node| node.address.octets().first() != first.address.octets().first())
            .unwrap_or(first);
        return Err(Error::NoCommonNetwork { first: first.address.into(), other: other.address.into() });
    };
    let last = u32::from(net.broadcast());
    let mut free = (1..)
        .map(|back| Ipv4Addr::from(last - back))
        .filter(|address| nodes.iter().all(|node| node.address != *address));
    let mut next = || free.next().unwrap_or(Ipv4Addr::UNSPECIFIED);
    Ok(Underlay { net: net.trunc(), gateway: next(), control: next() })
}

/// The first address of a pod range, which the bridge gets.
pub fn bridge_address(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(pod_cidr.network()) + 1)
}

/// Nodes as the lab builds them. A node without a pod range gets the /24 around its first pod.
pub fn nodes_of(objects: &ObjectSet) -> Result<Vec<NodeSpec>, Error> {
    let mut specs: BTreeMap<&str, NodeSpec> = BTreeMap::new();
    for (name, node) in &objects.nodes {
        let object = format!("node {name}");
        let address = node.addresses.iter().find_map(|address| v4(*address));
        let address = address.ok_or(Error::Missing { object: object.clone(), what: "an IPv4 InternalIP" })?;
        let pod_cidr = pod_cidr(node)
            .or_else(|| {
                let pod = networked(objects).find(|pod| pod.node.as_deref() == Some(name))?;
                let address = pod.addresses.iter().find_map(|address| v4(*address))?;
                Ipv4Net::new(address, 24).ok().map(|net| net.trunc())
            })
            .ok_or(Error::Missing { object, what: "spec.podCIDR, or a pod with an IPv4 address" })?;
        specs.insert(name, NodeSpec::new(name.clone(), address, pod_cidr));
    }
    Ok(specs.into_values().collect())
}

/// Pods as the lab builds them: bound to a node, with an address of their own.
pub fn pods_of(objects: &ObjectSet) -> Vec<PodSpec> {
    networked(objects)
        .filter_map(|pod| {
            let node = pod.node.clone().filter(|node| objects.nodes.contains_key(node))?;
            let address = pod.addresses.iter().find_map(|address| v4(*address))?;
            Some(PodSpec::new(pod.key().clone(), node, address))
        })
        .collect()
}

fn networked(objects: &ObjectSet) -> impl Iterator<Item = &Pod> {
    objects.pods.values().filter(|pod| !pod.host_network && !pod.finished())
}

fn pod_cidr(node: &Node) -> Option<Ipv4Net> {
    node.pod_cidrs.iter().find_map(|cidr| match cidr {
        IpNet::V4(cidr) => Some(*cidr),
        IpNet::V6(_) => None,
    })
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
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
}

//! Pods come and go: the `ip` commands that connect one to its node and those that take it away.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use model::Key;

use super::addressing::bridge_address;
use super::build::{add_address, carries, expect_no_duplicates, hardware_address, receives};
use super::{Lab, Node, Pod, PodSpec};
use crate::error::Error;
use crate::netns::Netns;

pub fn add(lab: &mut Lab, spec: PodSpec) -> Result<Pod, Error> {
    let node = lab.node(&spec.node)?.clone();
    if lab.pods.contains_key(&spec.key) {
        return Err(Error::Taken(format!("pod {}", spec.key)));
    }
    for address in spec.addresses() {
        if let Some(other) = lab.pods.values().find(|other| other.addresses().contains(&address)) {
            return Err(Error::Taken(format!("address {address} (pod {})", other.spec.key)));
        }
    }
    if spec.address6.is_some() && node.spec.pod_cidr6.is_none() {
        let object = format!("node {} of pod {}", spec.node, spec.key);
        return Err(Error::Missing { object, what: "an IPv6 pod range" });
    }
    let netns =
        Netns::create(&format!("{}{}.{}", lab.registration.prefix, spec.key.namespace, spec.key.name))?;
    let host_interface = spec.host_interface();
    let pod = Pod { spec, netns, host_interface, listeners: Arc::new(Mutex::new(Vec::new())) };
    if let Err(error) = connect(lab, &node, &pod) {
        // So that the pod can be tried again. What stays goes with the lab, and the first error is the one to report.
        let _ = disconnect(lab, &node, &pod);
        return Err(error);
    }
    lab.pods.insert(pod.spec.key.clone(), pod.clone());
    Ok(pod)
}

/// Each step passes over what is gone already, so a removal that failed half way can be repeated.
pub fn remove(lab: &mut Lab, key: &Key) -> Result<(), Error> {
    let pod = lab.get_pod(key)?;
    pod.stop();
    disconnect(lab, lab.node(&pod.spec.node)?, pod)?;
    lab.pods.remove(key);
    Ok(())
}

fn connect(lab: &Lab, node: &Node, pod: &Pod) -> Result<(), Error> {
    let Pod { spec, netns, host_interface, .. } = pod;
    if spec.address6.is_some() {
        expect_no_duplicates(netns)?;
    }
    let mac = hardware_address(spec.address);
    node.netns.ip(&format!(
        "link add {host_interface} type veth peer name eth0 address {mac} netns {}\n\
         link set {host_interface} master cni0 up\nlink set {host_interface} type bridge_slave hairpin on\n",
        netns.name()
    ))?;
    for (netns, address, way) in routes(lab, spec) {
        netns.ip(&format!("route replace {address} {way}\n"))?;
    }
    let mut batch = String::from("link set lo up\n");
    let ranges = pairs(node, spec);
    for (address, range) in &ranges {
        let prefix = if range.contains(address) { range.prefix_len() } else { range.max_prefix_len() };
        batch.push_str(&add_address("eth0", *address, prefix));
    }
    batch.push_str("link set eth0 up\n");
    for (_, range) in &ranges {
        // Writing to a String cannot fail.
        let _ = writeln!(batch, "route add default via {} dev eth0 onlink", bridge_address(*range));
    }
    netns.ip(&batch)?;
    carries(&node.netns, "cni0", host_interface)?;
    receives(netns, &spec.addresses())
}

/// The interface first and by itself: the kernel takes down a namespace some time after its file is gone, and never while
/// a process is in it; a successor at the same address needs the interface's name at once.
fn disconnect(lab: &Lab, node: &Node, pod: &Pod) -> Result<(), Error> {
    let interface = pod.host_interface.as_str();
    if let Err(error) = node.netns.run(&["ip", "link", "del", "dev", interface])
        && node.netns.run(&["ip", "-oneline", "link", "show", "dev", interface]).is_ok()
    {
        return Err(error);
    }
    for (netns, address, _) in routes(lab, &pod.spec) {
        // Without the family, `ip` looks through the IPv4 table for an IPv6 address and is content (iproute2 6.1).
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        netns.run(&["ip", family, "route", "flush", "exact", &address.to_string()])?;
    }
    if pod.netns.path().exists() { pod.netns.delete() } else { Ok(()) }
}

/// The routes that nodes need to a pod beside those to pod ranges: on which node, to what, and by what way.
fn routes<'a>(lab: &'a Lab, spec: &PodSpec) -> Vec<(&'a Netns, IpAddr, String)> {
    let Some(node) = lab.nodes.get(&spec.node) else { return Vec::new() };
    let mut routes = Vec::new();
    for (address, _) in pairs(node, spec).into_iter().filter(|(address, range)| !range.contains(address)) {
        routes.push((&node.netns, address, "dev cni0".to_owned()));
        let via = node.addresses().into_iter().find(|via| via.is_ipv4() == address.is_ipv4());
        for other in lab.nodes.values().filter(|other| other.spec.name != spec.node) {
            let same_family = other.addresses().iter().any(|own| own.is_ipv4() == address.is_ipv4());
            if let Some(via) = via.filter(|_| same_family) {
                routes.push((&other.netns, address, format!("via {via}")));
            }
        }
    }
    routes
}

/// Each of a pod's addresses with its node's range of the same family.
fn pairs(node: &Node, spec: &PodSpec) -> Vec<(IpAddr, IpNet)> {
    let range = |address: IpAddr| {
        let mut ranges = node.spec.pod_cidrs().into_iter();
        Some((address, ranges.find(|range| range.addr().is_ipv4() == address.is_ipv4())?))
    };
    spec.addresses().into_iter().filter_map(range).collect()
}

//! The `ip` commands that make a lab.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use super::addressing::{self, Underlay, bridge_address};
use super::{Lab, LabSpec, Node, NodeSpec, Pod, PodSpec};
use crate::error::Error;
use crate::netns::Netns;
use crate::registry::Registration;

pub fn lab(spec: LabSpec) -> Result<Lab, Error> {
    let plan = addressing::underlay(&spec.nodes)?;
    let registration = Registration::new()?;
    let underlay = Netns::create(&format!("{}underlay", registration.prefix))?;
    // From here on a failure drops the lab, which removes what there is.
    let mut lab = Lab {
        name: spec.name,
        nodes: BTreeMap::new(),
        pods: BTreeMap::new(),
        outside: Netns::create(&format!("{}outside", registration.prefix)).inspect_err(|_| {
            // The lab that would remove it does not exist yet, and its own error is the one to report.
            let _ = underlay.delete();
        })?,
        underlay,
        control_address: plan.control,
        registration,
    };
    lab.underlay.ip(&format!(
        "link set lo up\nlink add br0 type bridge\naddr add {}/{} dev br0\nlink set br0 up\n\
         link add out type veth peer name eth0 netns {}\nlink set out master br0 up\n",
        plan.control,
        plan.net.prefix_len(),
        lab.outside.name()
    ))?;
    // No forwarding here: what nodes send by their default route arrives and vanishes, as on a real uplink.
    lab.outside.ip(&format!(
        "link set lo up\naddr add {}/{} dev eth0\nlink set eth0 up\n",
        plan.gateway,
        plan.net.prefix_len()
    ))?;
    lab.outside.sysctl("net.ipv4.ip_forward", "0")?;
    for (index, node) in spec.nodes.iter().enumerate() {
        if lab.nodes.contains_key(&node.name) {
            return Err(Error::Taken(format!("node {}", node.name)));
        }
        let built = build_node(&lab, index, node, &spec.nodes, plan)?;
        lab.nodes.insert(node.name.clone(), built);
    }
    Ok(lab)
}

fn build_node(
    lab: &Lab,
    index: usize,
    spec: &NodeSpec,
    all: &[NodeSpec],
    plan: Underlay,
) -> Result<Node, Error> {
    let netns = Netns::create(&format!("{}{}", lab.registration.prefix, spec.name))?;
    lab.underlay.ip(&format!(
        "link add n{index} type veth peer name eth0 netns {}\nlink set n{index} master br0 up\n",
        netns.name()
    ))?;
    let mut batch = format!(
        "link set lo up\naddr add {}/{} dev eth0\nlink set eth0 up\nroute add default via {}\n\
         link add cni0 type bridge\naddr add {}/{} dev cni0\nlink set cni0 up\n",
        spec.address,
        plan.net.prefix_len(),
        plan.gateway,
        bridge_address(spec.pod_cidr),
        spec.pod_cidr.prefix_len()
    );
    for other in all.iter().filter(|other| other.name != spec.name && other.pod_cidr != spec.pod_cidr) {
        // Writing to a String cannot fail.
        let _ = writeln!(batch, "route add {} via {}", other.pod_cidr.trunc(), other.address);
    }
    netns.ip(&batch)?;
    netns.sysctl("net.ipv4.ip_forward", "1")?;
    // kube-proxy sets it in iptables mode, for node ports on localhost.
    netns.sysctl("net.ipv4.conf.all.route_localnet", "1")?;
    // Without it, packets between pods of one bridge bypass iptables. Kernels without br_netfilter lack the file.
    if netns.enter(|| std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists())? {
        netns.sysctl("net.bridge.bridge-nf-call-iptables", "1")?;
    }
    Ok(Node { spec: spec.clone(), netns })
}

pub fn pod(lab: &mut Lab, spec: PodSpec) -> Result<Pod, Error> {
    let node = lab.node(&spec.node)?.clone();
    if lab.pods.contains_key(&spec.key) {
        return Err(Error::Taken(format!("pod {}", spec.key)));
    }
    if let Some(other) = lab.pods.values().find(|other| other.spec.address == spec.address) {
        return Err(Error::Taken(format!("address {} (pod {})", spec.address, other.spec.key)));
    }
    let netns =
        Netns::create(&format!("{}{}.{}", lab.registration.prefix, spec.key.namespace, spec.key.name))?;
    let octets = spec.address.octets();
    // Unique on the node, since the address is; at most 15 characters.
    let host_interface = format!("veth{:02x}{:02x}{:02x}{:02x}", octets[0], octets[1], octets[2], octets[3]);
    let gateway = bridge_address(node.spec.pod_cidr);
    let own_range = node.spec.pod_cidr.contains(&spec.address);
    let mut batch = format!(
        "link add {host_interface} type veth peer name eth0 netns {}\n\
         link set {host_interface} master cni0 up\nlink set {host_interface} type bridge_slave hairpin on\n",
        netns.name()
    );
    if !own_range {
        let _ = writeln!(batch, "route add {} dev cni0", spec.address);
        for other in lab.nodes.values().filter(|other| other.spec.name != spec.node) {
            other.netns.ip(&format!("route add {} via {}\n", spec.address, node.spec.address))?;
        }
    }
    node.netns.ip(&batch)?;
    let prefix = if own_range { node.spec.pod_cidr.prefix_len() } else { 32 };
    netns.ip(&format!(
        "link set lo up\naddr add {}/{prefix} dev eth0\nlink set eth0 up\nroute add default via {gateway} dev eth0 onlink\n",
        spec.address
    ))?;
    let pod = Pod { spec, netns, host_interface, listeners: Arc::new(Mutex::new(Vec::new())) };
    lab.pods.insert(pod.spec.key.clone(), pod.clone());
    Ok(pod)
}

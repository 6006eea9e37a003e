//! The `ip` commands that make a lab.
//!
//! What is built carries packets when the call returns: addresses are added without duplicate address detection (RFC
//! 4862, section 5.4), which would keep IPv6 addresses from being used for a second or two, and bridges are waited for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::addressing::{self, Underlay, bridge_address};
use super::{Lab, LabSpec, Node, NodeSpec, Pod, PodSpec};
use crate::error::Error;
use crate::netns::Netns;
use crate::registry::Registration;

/// The bridge's link-local address. Neighbours of forwarded packets are solicited from one (`ndisc_send_ns` in
/// net/ipv6/ndisc.c gives up without), and the kernel's own comes only after the first pod's carrier has been noticed.
const BRIDGE_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How long a bridge may take to notice a carrier. The kernel's work item comes within milliseconds, or within a second
/// if it has just run (`linkwatch_schedule_work` in net/core/link_watch.c); the rest is for a busy machine.
const CARRIER: Duration = Duration::from_secs(10);

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
        plan,
        registration,
    };
    if plan.v6.is_some() {
        expect_no_duplicates(&lab.underlay)?;
        expect_no_duplicates(&lab.outside)?;
    }
    lab.underlay.ip(&format!(
        "link set lo up\nlink add br0 type bridge\n{}link set br0 up\n\
         link add out type veth peer name eth0 netns {}\nlink set out master br0 up\n",
        add_addresses("br0", &plan.control()),
        lab.outside.name()
    ))?;
    // No forwarding here: what nodes send by their default route arrives and vanishes, as on a real uplink.
    lab.outside
        .ip(&format!("link set lo up\n{}link set eth0 up\n", add_addresses("eth0", &plan.gateway())))?;
    lab.outside.sysctl("net.ipv4.ip_forward", "0")?;
    carries(&lab.underlay, "br0", "out")?;
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
    if spec.has_v6() {
        expect_no_duplicates(&netns)?;
        netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    }
    lab.underlay.ip(&format!(
        "link add n{index} type veth peer name eth0 netns {}\nlink set n{index} master br0 up\n",
        netns.name()
    ))?;
    let mut batch = String::from("link set lo up\n");
    batch.push_str(&add_address("eth0", spec.address.into(), plan.net.prefix_len()));
    if let (Some(address), Some(v6)) = (spec.address6, plan.v6) {
        batch.push_str(&add_address("eth0", address.into(), v6.net.prefix_len()));
    }
    batch.push_str("link set eth0 up\nlink add cni0 type bridge\n");
    for cidr in spec.pod_cidrs() {
        batch.push_str(&add_address("cni0", bridge_address(cidr), cidr.prefix_len()));
    }
    if spec.pod_cidr6.is_some() {
        batch.push_str(&add_address("cni0", BRIDGE_LINK_LOCAL.into(), 64));
    }
    // Writing to a String cannot fail.
    let _ = writeln!(batch, "link set cni0 up\nroute add default via {}", plan.gateway);
    if let (Some(_), Some(v6)) = (spec.address6, plan.v6) {
        let _ = writeln!(batch, "route add default via {}", v6.gateway);
    }
    for other in all.iter().filter(|other| other.name != spec.name) {
        for (range, via) in spec.ways_to(other) {
            let _ = writeln!(batch, "route add {range} via {via}");
        }
    }
    netns.ip(&batch)?;
    carries(&lab.underlay, "br0", &format!("n{index}"))?;
    netns.sysctl("net.ipv4.ip_forward", "1")?;
    // kube-proxy sets it in iptables mode, for node ports on localhost.
    netns.sysctl("net.ipv4.conf.all.route_localnet", "1")?;
    // Without these, packets between pods of one bridge bypass iptables. Kernels without br_netfilter lack the files.
    for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        if netns.enter(|| Path::new("/proc/sys/net/bridge").join(name).exists())? {
            netns.sysctl(&format!("net.bridge.{name}"), "1")?;
        }
    }
    Ok(Node { spec: spec.clone(), netns })
}

pub fn pod(lab: &mut Lab, spec: PodSpec) -> Result<Pod, Error> {
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
    let [a, b, c, d] = spec.address.octets();
    // Unique on the node, since the address is; at most 15 characters.
    let host_interface = format!("veth{a:02x}{b:02x}{c:02x}{d:02x}");
    let pod = Pod { spec, netns, host_interface, listeners: Arc::new(Mutex::new(Vec::new())) };
    if let Err(error) = connect_pod(lab, &node, &pod) {
        // So that the pod can be tried again. What stays goes with the lab, and the first error is the one to report.
        let _ = pod.netns.delete();
        return Err(error);
    }
    lab.pods.insert(pod.spec.key.clone(), pod.clone());
    Ok(pod)
}

fn connect_pod(lab: &Lab, node: &Node, pod: &Pod) -> Result<(), Error> {
    let Pod { spec, netns, host_interface, .. } = pod;
    if spec.address6.is_some() {
        expect_no_duplicates(netns)?;
    }
    let [a, b, c, d] = spec.address.octets();
    // The hardware address follows from the address (with the prefix of CNI's hwaddr package), so that neighbours who
    // remember a removed pod are right about the next one there.
    node.netns.ip(&format!(
        "link add {host_interface} type veth peer name eth0 address 0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x} netns {}\n\
         link set {host_interface} master cni0 up\nlink set {host_interface} type bridge_slave hairpin on\n",
        netns.name()
    ))?;
    for (netns, route) in routes(lab, spec) {
        netns.ip(&format!("route replace {route}\n"))?;
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
    carries(&node.netns, "cni0", host_interface)
}

/// Waits until a port of a bridge forwards and the bridge itself sends. Both follow the carrier by way of a work item;
/// until then packets, and the neighbour solicitations that would be repeated after a second, are dropped unseen.
fn carries(netns: &Netns, bridge: &str, port: &str) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let batch = format!("link show dev {bridge}\nlink show dev {port}\n");
        let seen = netns.feed(&["ip", "-details", "-oneline", "-batch", "-"], &batch)?;
        let mut lines = seen.lines();
        let sends = lines.next().is_some_and(|bridge| bridge.contains(" state UP "));
        let forwards = lines.next().is_some_and(|port| port.contains(" bridge_slave state forwarding "));
        if sends && forwards {
            return Ok(());
        }
        if start.elapsed() > CARRIER {
            let what = format!("bridge {bridge} with port {port} in network namespace {}", netns.name());
            return Err(Error::NotReady { what, after: CARRIER, seen });
        }
    }
}

/// The routes that nodes need to a pod beside those to pod ranges, as `ip route` takes them.
fn routes<'a>(lab: &'a Lab, spec: &PodSpec) -> Vec<(&'a Netns, String)> {
    let Some(node) = lab.nodes.get(&spec.node) else { return Vec::new() };
    let mut routes = Vec::new();
    for (address, _) in pairs(node, spec).into_iter().filter(|(address, range)| !range.contains(address)) {
        routes.push((&node.netns, format!("{address} dev cni0")));
        let via = node.addresses().into_iter().find(|via| via.is_ipv4() == address.is_ipv4());
        for other in lab.nodes.values().filter(|other| other.spec.name != spec.node) {
            let same_family = other.addresses().iter().any(|own| own.is_ipv4() == address.is_ipv4());
            if let Some(via) = via.filter(|_| same_family) {
                routes.push((&other.netns, format!("{address} via {via}")));
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

/// A line for `ip`. IPv6 addresses are usable at once.
fn add_address(interface: &str, address: IpAddr, prefix: u8) -> String {
    let nodad = if address.is_ipv6() { " nodad" } else { "" };
    format!("addr add {address}/{prefix} dev {interface}{nodad}\n")
}

fn add_addresses(interface: &str, addresses: &[(IpAddr, u8)]) -> String {
    addresses.iter().map(|(address, prefix)| add_address(interface, *address, *prefix)).collect()
}

/// For link-local addresses, which nobody adds by hand; both decide (`addrconf_dad_begin` in net/ipv6/addrconf.c), and
/// new interfaces take over `default`.
fn expect_no_duplicates(netns: &Netns) -> Result<(), Error> {
    netns.sysctl("net.ipv6.conf.all.accept_dad", "0")?;
    netns.sysctl("net.ipv6.conf.default.accept_dad", "0")
}

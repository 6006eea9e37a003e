//! The `ip` commands that make a lab and its nodes; `pods` has those for pods.
//!
//! What is built carries packets when the call returns: addresses are added without duplicate address detection (RFC
//! 4862, section 5.4), which would keep IPv6 addresses from being used for a second or two, and what the kernel
//! leaves to work items is waited for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::addressing::{self, Underlay, bridge_address, first_of};
use super::{Lab, LabSpec, Node, NodeSpec};
use crate::error::Error;
use crate::netns::Netns;
use crate::registry::Registration;

/// The bridge's link-local address. Neighbours of forwarded packets are solicited from one (`ndisc_send_ns` in
/// net/ipv6/ndisc.c gives up without), and the kernel's own comes only after the first pod's carrier has been noticed.
const BRIDGE_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How long the kernel may take for what it leaves to work items. They run within milliseconds, those that follow a
/// carrier within a second if others have just run (`linkwatch_schedule_work` in net/core/link_watch.c); the rest is for
/// a busy machine.
const SETTLED: Duration = Duration::from_secs(10);

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
        "link set lo up\nlink add br0 address {} type bridge\n{}link set br0 up\n\
         link add out type veth peer name eth0 netns {}\nlink set out master br0 up\n",
        hardware_address(plan.control),
        add_addresses("br0", &plan.control()),
        lab.outside.name()
    ))?;
    // No forwarding here: what nodes send by their default route arrives and vanishes, as on a real uplink.
    lab.outside
        .ip(&format!("link set lo up\n{}link set eth0 up\n", add_addresses("eth0", &plan.gateway())))?;
    lab.outside.sysctl("net.ipv4.ip_forward", "0")?;
    carries(&lab.underlay, "br0", "out")?;
    for (netns, addresses) in [(&lab.underlay, plan.control()), (&lab.outside, plan.gateway())] {
        receives(netns, &addresses.into_iter().map(|(address, _)| address).collect::<Vec<_>>())?;
    }
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
    // Writing to a String cannot fail.
    let mac = hardware_address(first_of(spec.pod_cidr));
    let _ = writeln!(batch, "link set eth0 up\nlink add cni0 address {mac} type bridge");
    for cidr in spec.pod_cidrs() {
        batch.push_str(&add_address("cni0", bridge_address(cidr), cidr.prefix_len()));
    }
    if spec.pod_cidr6.is_some() {
        batch.push_str(&add_address("cni0", BRIDGE_LINK_LOCAL.into(), 64));
    }
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
    let bridge = spec.pod_cidrs().into_iter().map(bridge_address);
    receives(&netns, &spec.addresses().into_iter().chain(bridge).collect::<Vec<_>>())?;
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

/// Waits until a port of a bridge forwards and the bridge itself sends. Both follow the carrier by way of a work item;
/// until then packets, and the neighbour solicitations that would be repeated after a second, are dropped unseen.
pub fn carries(netns: &Netns, bridge: &str, port: &str) -> Result<(), Error> {
    let what = || format!("bridge {bridge} with port {port} in network namespace {} carries", netns.name());
    until(what, || {
        let batch = format!("link show dev {bridge}\nlink show dev {port}\n");
        let seen = netns.feed(&["ip", "-details", "-oneline", "-batch", "-"], &batch)?;
        let mut lines = seen.lines();
        let sends = lines.next().is_some_and(|bridge| bridge.contains(" state UP "));
        let forwards = lines.next().is_some_and(|port| port.contains(" bridge_slave state forwarding "));
        Ok((sends && forwards, seen))
    })
}

/// Waits until a namespace takes what is sent to its IPv6 addresses. An address is listed at once, but its local route
/// is left to a work item too, even without duplicate address detection (`addrconf_dad_start` in net/ipv6/addrconf.c).
pub fn receives(netns: &Netns, addresses: &[IpAddr]) -> Result<(), Error> {
    let addresses: Vec<_> = addresses.iter().filter(|address| address.is_ipv6()).collect();
    if addresses.is_empty() {
        return Ok(());
    }
    until(
        || format!("network namespace {} receives for {addresses:?}", netns.name()),
        || {
            let seen = netns.run(&["ip", "-6", "-oneline", "route", "show", "table", "local"])?;
            let local = |address| seen.lines().any(|line| line.starts_with(&format!("local {address} dev ")));
            Ok((addresses.iter().all(local), seen))
        },
    )
}

fn until(
    what: impl Fn() -> String,
    mut look: impl FnMut() -> Result<(bool, String), Error>,
) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let (done, seen) = look()?;
        if done {
            return Ok(());
        }
        if start.elapsed() > SETTLED {
            return Err(Error::NotReady { what: what(), after: SETTLED, seen });
        }
    }
}

/// Made of the IPv4 address with the prefix of CNI's former hwaddr package. A bridge without one of its own changes its
/// address with its ports (`br_stp_recalculate_bridge_id` in net/bridge/br_stp_if.c), and a pod's successor at the same
/// address has another; either way neighbours would send to the old one for up to a minute.
pub fn hardware_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// A line for `ip`. IPv6 addresses are usable at once.
pub fn add_address(interface: &str, address: IpAddr, prefix: u8) -> String {
    let nodad = if address.is_ipv6() { " nodad" } else { "" };
    format!("addr add {address}/{prefix} dev {interface}{nodad}\n")
}

fn add_addresses(interface: &str, addresses: &[(IpAddr, u8)]) -> String {
    addresses.iter().map(|(address, prefix)| add_address(interface, *address, *prefix)).collect()
}

/// For link-local addresses, which nobody adds by hand; both decide (`addrconf_dad_begin` in net/ipv6/addrconf.c), and
/// new interfaces take over `default`.
pub fn expect_no_duplicates(netns: &Netns) -> Result<(), Error> {
    netns.sysctl("net.ipv6.conf.all.accept_dad", "0")?;
    netns.sysctl("net.ipv6.conf.default.accept_dad", "0")
}

//! kube-proxy's IPVS mode: its chains ask sets, and its virtual servers are those of a device that holds their addresses.
//!
//! Facts: pkg/proxy/ipvs/proxier.go and ipset.go, Kubernetes 1.20 to 1.36; kube-router's `network_services_controller.go`
//! for the other user of virtual servers in clusters.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use model::flow::{Family, Protocol};
use model::node_state::NodeState;
use model::walk::Backend;

use super::{ProxyIndex, hooks_into_services};
use crate::ipset::Sets;
use crate::ipvs::VirtualServers;
use crate::ir::{Rule, RuleSet, Test};
use crate::owner::KUBE_PROXY;

/// Devices that hold the addresses of virtual servers, and whose they are.
const DEVICES: [(&str, &str); 2] = [("kube-ipvs0", KUBE_PROXY), ("kube-dummy-if", "kube-router")];
/// Sets of Services by address and port; those of IPv6 have another prefix.
const SERVICES: [&str; 4] = ["CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL", "LOAD-BALANCER"];
/// Sets of node ports.
const NODE_PORTS: [(&str, Protocol); 2] =
    [("NODE-PORT-TCP", Protocol::Tcp), ("NODE-PORT-UDP", Protocol::Udp)];

/// Whose virtual servers these are; empty if nothing tells.
pub(crate) fn writer_of_servers(state: &NodeState) -> &'static str {
    let there = |device: &str| {
        state.links.iter().any(|link| link.name == device)
            || state.addresses.iter().any(|address| address.interface == device)
    };
    DEVICES.iter().find(|(device, _)| there(device)).map_or("", |(_, writer)| writer)
}

/// Whether rules of a family are those of a proxy that leaves the picking to IPVS.
pub(crate) fn asks_for_servers(sets: &[RuleSet], family: Family) -> bool {
    sets.iter().any(|set| set.family == family && !hooks_into_services(set).is_empty() && asks_sets(set))
}

/// Whether the list of Services asks kube-proxy's sets instead of listing addresses.
pub(super) fn asks_sets(set: &RuleSet) -> bool {
    let Some(nat) = set.table("nat") else { return false };
    let Some((_, chain)) = set.chain_of(nat, "KUBE-SERVICES") else { return false };
    let asks = |rule: &Rule| {
        set.matches_of(rule).iter().any(|item| match item.test {
            Test::InSet(asked) => set.text(asked.name).starts_with("KUBE-"),
            _ => false,
        })
    };
    nat.rules_of(chain).iter().any(asks)
}

/// Takes up which Services sets and virtual servers know.
pub(super) fn collect(
    index: &mut ProxyIndex,
    ipsets: &Sets,
    servers: Option<&VirtualServers>,
    state: &NodeState,
) {
    let devices = DEVICES.map(|(device, _)| device);
    let (held, own): (Vec<_>, Vec<_>) =
        state.addresses.iter().partition(|address| devices.contains(&address.interface.as_str()));
    let own: HashSet<IpAddr> = own.iter().map(|address| address.address.addr()).collect();
    let serves = index.hooked.iter().any(|(backend, ..)| *backend == Backend::Ipvs);
    if serves {
        of_sets(index, ipsets);
    }
    let Some(servers) = servers else { return };
    let mut count = 0_usize;
    for (protocol, ip, port) in servers.servers.iter().filter_map(crate::ipvs::Server::address) {
        let Some(protocol) = Protocol::from_number(protocol) else { continue };
        count += 1;
        index.servers.insert((SocketAddr::new(ip, port), protocol));
        // A node port has a server on each of the node's own addresses.
        if !own.contains(&ip) && !ip.is_loopback() {
            index.addresses.insert(ip);
            index.services.insert((SocketAddr::new(ip, port), protocol));
        }
    }
    if count > 0 {
        index.serves_by_ipvs |= !held.is_empty();
        let device = held.first().map_or("no device", |address| address.interface.as_str());
        index.remarks.push(format!("{count} virtual servers of IPVS, {} addresses on {device}", held.len()));
    }
}

fn of_sets(index: &mut ProxyIndex, ipsets: &Sets) {
    for (prefix, family) in [("KUBE-", Family::Ipv4), ("KUBE-6-", Family::Ipv6)] {
        for name in SERVICES {
            for (ip, protocol, port) in ipsets.destinations(&format!("{prefix}{name}")) {
                let Some(protocol) = Protocol::from_number(protocol) else { continue };
                index.addresses.insert(ip);
                index.services.insert((SocketAddr::new(ip, port), protocol));
            }
        }
        for (name, protocol) in NODE_PORTS {
            for port in ipsets.ports(&format!("{prefix}{name}")) {
                index.node_ports.insert((family, port, protocol));
            }
        }
    }
}

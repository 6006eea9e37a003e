//! kube-proxy's nftables mode: the maps of its table say which addresses and node ports it knows.
//!
//! Facts: pkg/proxy/nftables/proxier.go, Kubernetes 1.29 to 1.36. Keys are `address . protocol . port` and, for node
//! ports, `protocol . port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::flow::{Family, Protocol};
use model::walk::Backend;

use super::ProxyIndex;
use crate::hooks::{Hook, Kind};
use crate::ir::lookup::{Element, Mapped, Verdict};
use crate::ir::{RuleSet, Table, Target};
use crate::owner;

/// Maps of Services by address, those without endpoints too.
const SERVICES: [&str; 2] = ["service-ips", "no-endpoint-services"];
/// Maps of node ports.
const NODE_PORTS: [&str; 2] = ["service-nodeports", "no-endpoint-nodeports"];

/// Takes up what kube-proxy's table of a rule set shows.
pub(super) fn collect(index: &mut ProxyIndex, set: &RuleSet) {
    let Some(table) = set.table("kube-proxy") else { return };
    let hooks = hooks(set, table);
    if hooks.is_empty() {
        return;
    }
    index.hooked.push((Backend::Nftables, set.family, hooks));
    for map in &set.sets {
        let name = set.text(map.name);
        if SERVICES.contains(&name) {
            for element in map.elements() {
                if let Some((to, protocol)) = address(&element.low, set.family) {
                    index.addresses.insert(to.ip());
                    index.services.insert((to, protocol));
                    service(index, set, table, element);
                }
            }
        } else if NODE_PORTS.contains(&name) {
            for element in map.elements() {
                if let [protocol, port] = *element.low
                    && let Some((port, protocol)) = port_of(port, protocol)
                {
                    index.node_ports.insert((set.family, port, protocol));
                }
            }
        }
    }
}

/// Its nat hooks that call the list of Services.
fn hooks(set: &RuleSet, table: &Table) -> Vec<Hook> {
    let Some((services, _)) = set.chain_of(table, "services") else { return Vec::new() };
    let calls = |target: &Target| matches!(target, Target::Jump(to) | Target::Goto(to) if *to == services);
    let mut hooks: Vec<Hook> = Vec::new();
    for chain in &table.chains {
        if let Some(base) = chain.base
            && base.kind == Kind::Nat
            && table.rules_of(chain).iter().any(|rule| calls(&rule.target))
        {
            hooks.push(base.hook);
        }
    }
    hooks.sort_unstable();
    hooks.dedup();
    hooks
}

fn service(index: &mut ProxyIndex, set: &RuleSet, table: &Table, element: &Element) {
    // Naming all of them to keep three would be most of the work.
    let to_chain = match element.mapped {
        Mapped::Verdict(Verdict::Goto(id) | Verdict::Jump(id)) => table.chains.get(id as usize),
        _ => None,
    };
    let full = index.examples.len() >= super::EXAMPLES;
    let first = to_chain.is_some_and(|chain| set.text(chain.name).contains("-default/kubernetes/"));
    if (!full || first)
        && let Some(object) = owner::of_element(set, table, element)
        && let Some(name) = object.strip_prefix("service ")
    {
        index.example(name);
    }
}

fn address(key: &[u128], family: Family) -> Option<(SocketAddr, Protocol)> {
    let [address, protocol, port] = *key else { return None };
    let address = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(address).ok()?)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(address)),
    };
    let (port, protocol) = port_of(port, protocol)?;
    Some((SocketAddr::new(address, port), protocol))
}

fn port_of(port: u128, protocol: u128) -> Option<(u16, Protocol)> {
    Some((u16::try_from(port).ok()?, Protocol::from_number(u8::try_from(protocol).ok()?)?))
}

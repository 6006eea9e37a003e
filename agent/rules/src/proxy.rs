//! What a host's rules show of a Service proxy: whether one serves the node, and which addresses it knows.
//!
//! Chains that lie about but are not called by the kernel are no evidence: they may be left over.

mod ipvs;
mod nftables;

pub(crate) use self::ipvs::{asks_for_servers, writer_of_servers};

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use model::ServiceProxy;
use model::flow::{Family, Packet, PortRange, Protocol};
use model::node_state::NodeState;
use model::walk::{Backend, ProxyFacts};

use crate::hooks::Hook;
use crate::ipset::Sets;
use crate::ipvs::VirtualServers;
use crate::ir::{Chain, Rule, RuleSet, Target, Test};
use crate::network::{Network, Tri};

/// Names of Services quoted as examples.
const EXAMPLES: usize = 3;

/// What was found in all rule sets.
#[derive(Debug, Default)]
pub(crate) struct ProxyIndex {
    /// Back-ends and families with a hooked list of Services, and the hooks that call it.
    hooked: Vec<(Backend, Family, Vec<Hook>)>,
    services: HashSet<(SocketAddr, Protocol)>,
    addresses: HashSet<IpAddr>,
    node_ports: HashSet<(Family, u16, Protocol)>,
    examples: Vec<String>,
    /// All virtual servers of IPVS, those of node ports too.
    servers: HashSet<(SocketAddr, Protocol)>,
    /// Whether virtual servers are held by a proxy's own device.
    serves_by_ipvs: bool,
    /// What else shows something.
    remarks: Vec<String>,
}

impl ProxyIndex {
    pub(crate) fn new(
        sets: &[RuleSet],
        ipsets: &Sets,
        servers: Option<&VirtualServers>,
        state: &NodeState,
    ) -> Self {
        let mut index = Self::default();
        for set in sets {
            match set.backend {
                Backend::Nftables => {
                    nftables::collect(&mut index, set);
                    continue;
                }
                Backend::Ipvs => continue,
                Backend::IptablesNft | Backend::IptablesLegacy => {}
            }
            let hooks = hooks_into_services(set);
            if hooks.is_empty() {
                continue;
            }
            if ipvs::asks_sets(set) {
                index.hooked.push((Backend::Ipvs, set.family, hooks));
                continue;
            }
            index.hooked.push((set.backend, set.family, hooks));
            for (table, chain) in [
                ("nat", "KUBE-SERVICES"),
                ("filter", "KUBE-SERVICES"),
                ("filter", "KUBE-EXTERNAL-SERVICES"),
                ("nat", "KUBE-NODEPORTS"),
            ] {
                let Some(table) = set.table(table) else { continue };
                if let Some((_, chain)) = set.chain_of(table, chain) {
                    index.collect(set, table.rules_of(chain));
                }
            }
        }
        ipvs::collect(&mut index, ipsets, servers, state);
        index
    }

    fn collect(&mut self, set: &RuleSet, rules: &[Rule]) {
        for rule in rules {
            let (mut address, mut port, mut protocol) = (None, None, None);
            for item in set.matches_of(rule).iter().filter(|item| !item.negate) {
                match &item.test {
                    Test::Destination(net) if net.prefix_len() == net.max_prefix_len() => {
                        address = Some(net.addr());
                    }
                    Test::DestinationPort(PortRange { first, last }) if first == last => port = Some(*first),
                    Test::Protocol(number) => protocol = Protocol::from_number(*number),
                    _ => {}
                }
            }
            let (Some(port), Some(protocol)) = (port, protocol) else { continue };
            let Some(address) = address else {
                self.node_ports.insert((set.family, port, protocol));
                continue;
            };
            self.addresses.insert(address);
            let new = self.services.insert((SocketAddr::new(address, port), protocol));
            if new
                && let Some(name) =
                    set.comments(rule).next().and_then(|text| text.split_ascii_whitespace().next())
            {
                self.example(name);
            }
        }
    }

    /// Keeps the first few names; `default/kubernetes:https`, which every cluster has, comes first.
    fn example(&mut self, name: &str) {
        let known = self.examples.iter().any(|example| *example == name);
        let first = name.starts_with("default/kubernetes");
        if known || (self.examples.len() >= EXAMPLES && !first) {
            return;
        }
        let name = name.escape_debug().to_string();
        if first {
            self.examples.insert(0, name);
        } else {
            self.examples.push(name);
        }
        self.examples.truncate(EXAMPLES);
    }

    /// Every address and port that is listed as a Service's; those of node ports with the unspecified address.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (SocketAddr, Protocol)> {
        let ports = self.node_ports.iter().map(|(family, port, protocol)| {
            let any = match family {
                Family::Ipv4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
                Family::Ipv6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            };
            (SocketAddr::new(any, *port), *protocol)
        });
        self.services.iter().copied().chain(ports)
    }

    pub(crate) fn facts(&self, packet: &Packet, network: &Network) -> ProxyFacts {
        let family = Family::of(packet.dst.ip());
        let own = self.hooked.iter().find(|(_, of, _)| *of == family).or_else(|| self.hooked.first());
        let mode = match own {
            Some((Backend::IptablesLegacy, ..)) => ServiceProxy::IptablesLegacy,
            Some((Backend::Nftables, ..)) => ServiceProxy::Nftables,
            Some((Backend::Ipvs, ..)) => ServiceProxy::Ipvs,
            Some((Backend::IptablesNft, ..)) => ServiceProxy::Iptables,
            // Rules may be flushed while the virtual servers go on.
            None if self.serves_by_ipvs => ServiceProxy::Ipvs,
            None => ServiceProxy::None,
        };
        let at_node_port = network.is_local(packet.dst.ip()) == Tri::Yes
            && self.node_ports.contains(&(family, packet.dst.port(), packet.protocol));
        let mut evidence = Vec::new();
        for (backend, family, hooks) in &self.hooked {
            let names: Vec<&str> = hooks.iter().map(|hook| hook.word()).collect();
            let verb = if names.len() == 1 { "jumps" } else { "jump" };
            let (table, chain) = match backend {
                Backend::Nftables => ("nftables table kube-proxy,", "services"),
                Backend::Ipvs => ("nat", "KUBE-SERVICES, which asks sets as IPVS mode does"),
                _ => ("nat", "KUBE-SERVICES"),
            };
            evidence.push(format!("{family}: {table} {} {verb} to {chain}", names.join(" and ")));
        }
        evidence.extend(self.remarks.iter().cloned());
        if !self.services.is_empty() {
            let plural = if self.services.len() == 1 { "address" } else { "addresses" };
            let among = if self.examples.is_empty() {
                String::new()
            } else {
                format!(", among them {}", self.examples.join(", "))
            };
            evidence.push(format!("{} service {plural}{among}", self.services.len()));
        }
        ProxyFacts {
            mode,
            services: u32::try_from(self.services.len()).unwrap_or(u32::MAX),
            knows_destination: at_node_port
                || self.services.contains(&(packet.dst, packet.protocol))
                || self.servers.contains(&(packet.dst, packet.protocol)),
            knows_address: self.addresses.contains(&packet.dst.ip()),
            evidence,
        }
    }
}

/// The nat hooks that call the list of Services.
fn hooks_into_services(set: &RuleSet) -> Vec<Hook> {
    let Some(nat) = set.table("nat") else { return Vec::new() };
    let Some((services, _)) = set.chain_of(nat, "KUBE-SERVICES") else { return Vec::new() };
    let calls = |chain: &Chain| {
        nat.rules_of(chain)
            .iter()
            .any(|rule| matches!(rule.target, Target::Jump(to) | Target::Goto(to) if to == services))
    };
    [Hook::Prerouting, Hook::Output]
        .into_iter()
        .filter(|hook| {
            set.chain_of(nat, hook.word()).is_some_and(|(_, chain)| chain.base.is_some() && calls(chain))
        })
        .collect()
}

//! A host's programmed state, read once, through which any number of packets can be walked.
//!
//! It joins rules, routes and the owners' names into `model::Walk`; it draws no conclusions about causes.

use std::net::SocketAddr;

use model::flow::{Family, Packet};
use model::gap::Gap;
use model::node_state::{NodeState, Part, SavedRules};
use model::walk::{Backend, Branch, Outcome, RulesStamp, Walk};

use crate::dispatch::Dispatch;
use crate::eval::{self, BaseChain, End, Ending, Walker, World};
use crate::fingerprint;
use crate::ipset::Sets;
use crate::ipvs::VirtualServers;
use crate::ir::{Problem, RuleSet, Target};
use crate::network::Network;
use crate::packet::{Device, Passing};
use crate::proxy::{self, ProxyIndex};
use crate::{iptables, ipvs, nft, report};

/// One network namespace with its rules parsed.
#[derive(Debug)]
pub struct Host {
    sets: Vec<RuleSet>,
    ipsets: Sets,
    network: Network,
    pub(crate) dispatch: Dispatch,
    pub(crate) proxy: ProxyIndex,
    fingerprint: u64,
    /// Base chains by family, in both orders that equal priorities leave open; the second only where it differs.
    chains: [Orders; 2],
    /// What was not read at all.
    gaps: Vec<Gap>,
    /// Why a packet that passes may still be lost or sent elsewhere by rules that are not walked, by family.
    unwalked: Vec<(Option<Family>, Gap)>,
}

#[derive(Debug)]
struct Orders {
    first: Vec<BaseChain>,
    second: Option<Vec<BaseChain>>,
}

impl Host {
    /// Reads a namespace's state. Never fails: what cannot be read is in [`Host::problems`] and in every walk's gaps.
    pub fn new(state: &NodeState) -> Self {
        let parse = |saved: &SavedRules| iptables::parse(saved.backend, saved.family, &*saved.text);
        let sets: Vec<RuleSet> = state.iptables.iter().map(parse).collect();
        let listing = list(&state.nftables, &sets);
        Self::of(state, sets, listing)
    }

    /// The same, with the rules' texts taken out of the state rather than copied: they may be large.
    pub fn taking(state: &mut NodeState) -> Self {
        let saved = std::mem::take(&mut state.iptables).into_iter();
        let sets: Vec<RuleSet> =
            saved.map(|saved| iptables::parse(saved.backend, saved.family, saved.text)).collect();
        let nftables = std::mem::take(&mut state.nftables);
        let listing = list(&nftables, &sets);
        Self::of(state, sets, listing)
    }

    /// The same with nftables read already, without the tables that the state's `iptables` holds.
    pub fn reading(state: &mut NodeState, nftables: nft::Listing) -> Self {
        let saved = std::mem::take(&mut state.iptables).into_iter();
        let sets = saved.map(|saved| iptables::parse(saved.backend, saved.family, saved.text)).collect();
        Self::of(state, sets, Some(nftables))
    }

    fn of(state: &NodeState, mut sets: Vec<RuleSet>, nftables: Option<nft::Listing>) -> Self {
        let mut gaps = state.gaps.clone();
        let mut unwalked = Vec::new();
        let mut known: Vec<String> = Vec::new();
        let mut foreign: Vec<String> = state.foreign_nft_tables.clone();
        if let Some(listing) = nftables {
            known = listing.tables;
            known.retain(|name| !listing.unwalked.contains(name));
            foreign.extend(listing.unwalked);
            sets.extend(
                listing.sets.into_iter().filter(|set| !set.tables.is_empty() || !set.problems.is_empty()),
            );
        }
        let servers = state.ipvs.as_deref().map(VirtualServers::parse);
        add_servers(state, servers.as_ref(), &mut sets);
        foreign.retain(|name| !known.contains(name));
        foreign.sort();
        foreign.dedup();
        if !foreign.is_empty() {
            let names: Vec<String> = foreign.iter().map(|name| name.escape_debug().to_string()).collect();
            let gap = Gap::new("nftables", format!("tables not walked: {}", names.join(", ")));
            unwalked.push((None, gap));
        }
        unwalked.extend(state.unread.iter().filter_map(|unread| match unread.part {
            Part::Rules(family) => Some((family, unread.gap.clone())),
            _ => None,
        }));
        for set in &sets {
            for warning in &set.warnings {
                let other = if set.backend == Backend::IptablesNft {
                    Backend::IptablesLegacy
                } else {
                    Backend::IptablesNft
                };
                let read = warning.contains("tables present")
                    && sets.iter().any(|known| known.backend == other && known.family == set.family);
                if !read && !listed(warning, set.family, &known) {
                    let gap = Gap::new(format!("{} rules", set.family), warning.clone());
                    unwalked.push((Some(set.family), gap));
                }
            }
            for problem in set.problems.iter().take(3) {
                let why = format!(
                    "line {} could not be read ({}): {}",
                    problem.line, problem.what, problem.excerpt
                );
                unwalked.push((Some(set.family), Gap::new(format!("{} rules", set.family), why)));
            }
        }
        let ipsets = read_sets(state, &sets);
        for problem in ipsets.problems().iter().take(3) {
            let why =
                format!("line {} could not be read ({}): {}", problem.line, problem.what, problem.excerpt);
            gaps.push(Gap::new("ipset", why));
        }
        let network = Network::new(state);
        let chains = [Family::Ipv4, Family::Ipv6].map(|family| Orders::of(&sets, family));
        let proxy = ProxyIndex::new(&sets, &ipsets, servers.as_ref(), state);
        let fingerprint = fingerprint::of(state, &sets, &ipsets);
        let dispatch = Dispatch::new(&sets);
        Self { sets, ipsets, network, dispatch, proxy, fingerprint, chains, gaps, unwalked }
    }

    /// Hash of all rules, routes, addresses and routing sysctls; counters and remarks do not count.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Everything that could not be read, with the back-end and family it belongs to.
    pub fn problems(&self) -> impl Iterator<Item = (Backend, Family, &Problem)> {
        self.sets.iter().flat_map(|set| set.problems.iter().map(|problem| (set.backend, set.family, problem)))
    }

    /// The rule sets as read.
    pub fn rule_sets(&self) -> &[RuleSet] {
        &self.sets
    }

    /// What happens to the first packet of a connection.
    pub fn walk(&self, packet: &Packet, stamp: RulesStamp) -> Walk {
        let family = Family::of(packet.dst.ip());
        let unwalked: Vec<&Gap> = self
            .unwalked
            .iter()
            .filter(|(of, _)| of.is_none_or(|of| of == family))
            .map(|(_, gap)| gap)
            .collect();
        let mut branches: Vec<Branch> =
            self.ends(packet).iter().map(|end| report::branch(&self.sets, end)).collect();
        for branch in &mut branches {
            if matches!(branch.outcome, Outcome::Forwarded | Outcome::Local) && !unwalked.is_empty() {
                branch.outcome = Outcome::Unknown;
                branch.gaps.extend(unwalked.iter().copied().cloned());
            }
        }
        let mut gaps = self.gaps.clone();
        for gap in unwalked.into_iter().chain(branches.iter().flat_map(|branch| &branch.gaps)) {
            if !gaps.contains(gap) {
                gaps.push(gap.clone());
            }
        }
        let mut outcomes = branches.iter().map(|branch| branch.outcome);
        let first = outcomes.next().unwrap_or(Outcome::Unknown);
        let outcome = if outcomes.all(|outcome| outcome == first) { first } else { Outcome::Unknown };
        let proxy = self.proxy.facts(packet, &self.network);
        Walk { packet: packet.clone(), outcome, branches, proxy, rules: stamp, gaps }
    }

    pub(crate) fn ends(&self, packet: &Packet) -> Vec<End> {
        let family = Family::of(packet.dst.ip());
        if Family::of(packet.src) != family {
            return vec![impossible(packet.dst, "source and destination are of different families")];
        }
        let input = match (&packet.in_interface, packet.origin) {
            (_, model::flow::Origin::Node) => Device::Absent,
            (Some(name), _) => Device::Named(name.as_str().into()),
            (None, _) => self.network.arrives_by(packet.src),
        };
        let orders = match family {
            Family::Ipv4 => &self.chains[0],
            Family::Ipv6 => &self.chains[1],
        };
        let passing = Passing::entering(packet, input);
        let world = World { network: &self.network, ipsets: &self.ipsets };
        let mut ends =
            distinct(Walker::new(&self.sets, world, &orders.first, &self.dispatch).walk(passing.clone()));
        if let Some(second) = &orders.second {
            let others = distinct(Walker::new(&self.sets, world, second, &self.dispatch).walk(passing));
            let gap = Gap::new(
                "order of chains",
                "two tables have chains at the same place, and which was registered first is not known; it matters here",
            );
            ends = eval::reconcile(ends, others, &gap);
        }
        ends
    }
}

/// IPVS' virtual servers as rules. Where they were not read and something shows that there are some, whatever is
/// delivered to this host may be theirs.
fn add_servers(state: &NodeState, servers: Option<&VirtualServers>, sets: &mut Vec<RuleSet>) {
    let writer = proxy::writer_of_servers(state);
    let unread = state.unread.iter().find(|unread| unread.part == Part::VirtualServers);
    for family in [Family::Ipv4, Family::Ipv6] {
        let set = match (servers, unread) {
            (Some(servers), _) => servers.lower(family, writer),
            (None, Some(unread)) => ipvs::unread(family, &unread.gap),
            (None, None) if proxy::asks_for_servers(sets, family) => {
                ipvs::unread(family, &Gap::new("IPVS", "not among what was read of this namespace"))
            }
            (None, None) => continue,
        };
        if !set.tables.is_empty() || !set.problems.is_empty() {
            sets.push(set);
        }
    }
}

/// The kernel's sets, and which of them rules change.
fn read_sets(state: &NodeState, sets: &[RuleSet]) -> Sets {
    let unread = state.unread.iter().find(|unread| unread.part == Part::Sets);
    let mut ipsets = match (&state.ipsets, unread) {
        (Some(text), _) => Sets::parse(text),
        (None, Some(unread)) => Sets::unread(unread.gap.clone()),
        (None, None) => Sets::unread(Gap::new("ipset", "not among what was read of this namespace")),
    };
    for set in sets {
        for rule in set.tables.iter().flat_map(|table| &table.rules) {
            if let Target::ChangeSets(names) = &rule.target {
                for name in names {
                    ipsets.mark_changing(set.text(*name));
                }
            }
        }
    }
    ipsets
}

/// Reads a listing of nft, if there is one.
fn list(nftables: &str, sets: &[RuleSet]) -> Option<nft::Listing> {
    // A table that iptables-nft-save printed is a table of nf_tables too: it must not count twice.
    let given = |family: Family, name: &str| {
        let mut saved = sets.iter().filter(|set| set.backend == Backend::IptablesNft && set.family == family);
        saved.any(|set| set.tables.iter().any(|table| table.name == name))
    };
    (!nftables.is_empty()).then(|| nft::parse(nftables, given))
}

/// Whether a warning of `iptables-nft-save` is of a table that it cannot print and nft's listing holds
/// (`nft_is_table_compatible` in iptables/nft.c).
fn listed(warning: &str, family: Family, known: &[String]) -> bool {
    let name = warning.split_once('`').and_then(|(_, rest)| rest.split_once('\''));
    let word = if family == Family::Ipv4 { "ip" } else { "ip6" };
    name.is_some_and(|(name, _)| known.iter().any(|known| *known == format!("{word} {name}")))
}

impl Orders {
    fn of(sets: &[RuleSet], family: Family) -> Self {
        let first = eval::base_chains(sets, family, false);
        let has_rules = |chain: &BaseChain| {
            let found = sets.get(chain.set).and_then(|set| set.tables.get(chain.table));
            let found = found.and_then(|table| table.chains.get(chain.chain as usize));
            found.is_some_and(|chain| !chain.is_empty() || chain.policy == crate::ir::Policy::Drop)
        };
        let busy: Vec<&BaseChain> = first.iter().filter(|chain| has_rules(chain)).collect();
        let clash = busy.iter().zip(busy.iter().skip(1)).any(|(one, next)| {
            let place = |chain: &BaseChain| (chain.base.hook, chain.base.position(), chain.base.priority);
            (one.set, one.table) != (next.set, next.table) && place(one) == place(next)
        });
        Self { second: clash.then(|| eval::base_chains(sets, family, true)), first }
    }
}

/// The same ends without repetitions: two ways to one endpoint are one destination.
fn distinct(ends: Vec<End>) -> Vec<End> {
    let mut kept: Vec<End> = Vec::with_capacity(ends.len());
    let mut seen: std::collections::HashMap<SocketAddr, Vec<usize>> = std::collections::HashMap::new();
    for end in ends {
        let same = seen.entry(end.destination).or_default();
        if !same.iter().any(|index| kept.get(*index).is_some_and(|other| other.same_as(&end))) {
            same.push(kept.len());
            kept.push(end);
        }
    }
    kept
}

fn impossible(destination: SocketAddr, why: &str) -> End {
    End {
        ending: Ending::Outcome { outcome: Outcome::Unknown, rule: None, told: None },
        destination,
        masquerade: model::walk::Masquerade::No,
        dnat: None,
        output: Device::Absent,
        gateway: None,
        trail: eval::Trail::default(),
        gaps: vec![Gap::new("the packet", why)],
    }
}

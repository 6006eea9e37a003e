//! Virtual servers as rules: one for each, in the order in which the kernel looks them up, and a chain for each with one
//! rule for every real server that may be picked.
//!
//! What follows from a pick is carried out by the walker (`Target::Serve`).

use ipnet::IpNet;
use model::flow::{Family, PortRange};
use model::gap::Gap;
use model::walk::Backend;

use super::{Destination, Key, Server, TABLE, VirtualServers};
use crate::hooks::{Base, Hook, Kind};
use crate::ir::{
    Chain, ChainId, Chance, Masked, Match, Policy, Real, Rule, RuleSet, Span, Table, Target, Test,
};

/// Where IPVS looks at what is delivered here: before the nat table's INPUT (`ip_vs_ops4`: `NF_IP_PRI_NAT_SRC - 1`).
const INPUT: Base = Base { hook: Hook::Input, priority: 99, kind: Kind::Ipvs };
/// Where it looks at what this host sends: after the nat table's OUTPUT (`NF_IP_PRI_NAT_DST + 2`).
const OUTPUT: Base = Base { hook: Hook::Output, priority: -98, kind: Kind::Ipvs };

pub(super) fn lower(servers: &VirtualServers, family: Family, writer: &'static str) -> RuleSet {
    let mut builder = Builder::new(family, writer);
    // A line that could not be read may be of either family.
    builder.rules.problems.clone_from(&servers.problems);
    let own = || servers.servers.iter().filter(|server| server.key.is_of(family));
    // Marks before addresses, and what answers to all ports last (`ip_vs_service_find`).
    let (exact, wild): (Vec<&Server>, Vec<&Server>) = own()
        .filter(|server| matches!(server.key, Key::Address { .. }))
        .partition(|server| server.address().is_some_and(|(_, _, port)| port != 0));
    let marked = own().filter(|server| matches!(server.key, Key::Mark { .. }));
    let ordered: Vec<&Server> = marked.chain(exact).chain(wild).collect();
    if ordered.is_empty() {
        return builder.finish();
    }
    let first_chain = 2;
    for (chain, server) in (first_chain..).zip(&ordered) {
        builder.answer(server, chain);
    }
    let end = builder.next_rule();
    for base in [INPUT, OUTPUT] {
        builder.chain(base.hook.word(), Some(base), 0, end);
    }
    for server in &ordered {
        let first = builder.next_rule();
        builder.pick(server);
        let end = builder.next_rule();
        builder.chain(&server.key.name(), None, first, end);
    }
    builder.finish()
}

pub(super) fn unread(family: Family, why: &Gap) -> RuleSet {
    let mut builder = Builder::new(family, "");
    let text = builder.text(&format!("virtual servers were not read: {}", why.why));
    builder.rule(text, vec![Match { negate: false, test: Test::Unknown(text) }], Target::Unknown(text));
    for base in [INPUT, OUTPUT] {
        builder.chain(base.hook.word(), Some(base), 0, 1);
    }
    builder.finish()
}

/// What a scheduler does where a destination has weight 0.
enum Idle {
    /// Passes it over.
    PassedOver,
    /// Picks it by a hash of the client's address all the same, and then refuses.
    Refuses,
    /// One of the two, by a flag that the listing does not show.
    Unknown,
}

struct Builder {
    rules: RuleSet,
    table: Table,
    source: String,
}

impl Builder {
    fn new(family: Family, writer: &'static str) -> Self {
        let rules = RuleSet {
            backend: Backend::Ipvs,
            family,
            source: Box::default(),
            tables: Vec::new(),
            matches: Vec::new(),
            sets: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let table = Table { name: TABLE.to_owned(), writer, ..Table::default() };
        Self { rules, table, source: String::new() }
    }

    fn finish(mut self) -> RuleSet {
        if !self.table.chains.is_empty() {
            self.rules.tables.push(self.table);
        }
        self.rules.source = self.source.into();
        self.rules
    }

    /// The rule that leads what a virtual server answers to into its chain.
    fn answer(&mut self, server: &Server, chain: ChainId) {
        let text = self.text(&server.line);
        let plain = |test| Match { negate: false, test };
        let matches = match server.key {
            Key::Mark { mark, .. } => vec![plain(Test::Mark(Masked { value: mark, mask: u32::MAX }))],
            Key::Address { protocol, address } => {
                let destination = Test::Destination(IpNet::from(address.ip()));
                let port = Test::DestinationPort(PortRange::single(address.port()));
                let mut matches = vec![plain(Test::Protocol(protocol)), plain(destination)];
                if address.port() != 0 {
                    matches.push(plain(port));
                }
                matches
            }
        };
        self.rule(text, matches, Target::Goto(chain));
    }

    /// A rule for each real server that may be picked; one that refuses if it may be none.
    fn pick(&mut self, server: &Server) {
        let usable = usable(server);
        let own = self.text(&server.line);
        // `ip_vs_leave`: the sender is told that the port is unreachable, whatever the protocol.
        let refuse = Target::Reject(Span::default());
        if usable.is_empty() {
            self.rule(own, Vec::new(), refuse);
            return;
        }
        if server.destinations.iter().any(|real| real.weight == 0) {
            let test = match idle(server) {
                Idle::PassedOver => None,
                Idle::Refuses => Some(Test::Chance(Chance::Sometimes)),
                Idle::Unknown => Some(Test::Unknown(own)),
            };
            if let Some(test) = test {
                self.rule(own, vec![Match { negate: false, test }], refuse);
            }
        }
        // A persistent server of all ports or of a mark keeps the port (`ip_vs_sched_persist`).
        let keeps_port = server.persistent && server.address().is_none_or(|(_, _, port)| port == 0);
        for (left, real) in (0..usable.len()).rev().zip(usable) {
            let text = self.text(&real.line);
            let mut address = real.address;
            if keeps_port {
                address.set_port(0);
            }
            let chance = Match { negate: false, test: Test::Chance(Chance::Sometimes) };
            let matches = if left > 0 { vec![chance] } else { Vec::new() };
            self.rule(text, matches, Target::Serve(Box::new(Real { address, method: real.method })));
        }
    }

    fn rule(&mut self, text: Span, matches: Vec<Match>, target: Target) {
        let first_match = index(self.rules.matches.len());
        self.rules.matches.extend(matches);
        let end_match = index(self.rules.matches.len());
        self.table.rules.push(Rule { text, counters: Span::default(), first_match, end_match, target });
    }

    fn chain(&mut self, name: &str, base: Option<Base>, first_rule: u32, end_rule: u32) {
        let name = self.text(name);
        self.table.chains.push(Chain {
            name,
            base,
            policy: Policy::Accept,
            packets: None,
            first_rule,
            end_rule,
        });
    }

    fn next_rule(&self) -> u32 {
        index(self.table.rules.len())
    }

    fn text(&mut self, text: &str) -> Span {
        let start = index(self.source.len());
        self.source.push_str(text);
        self.source.push('\n');
        Span { start, end: start.saturating_add(index(text.len())) }
    }
}

/// Listings are far smaller than 4 GiB; what is beyond is not found again and reads as empty.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The real servers that a new connection may be given.
fn usable(server: &Server) -> Vec<&Destination> {
    let with_weight = || server.destinations.iter().filter(|real| real.weight > 0);
    if server.scheduler == "fo" {
        // The heaviest that is not overloaded (`ip_vs_fo_schedule`).
        let heaviest = with_weight().map(|real| real.weight).max();
        return with_weight().filter(|real| Some(real.weight) == heaviest).collect();
    }
    with_weight().collect()
}

/// What becomes of clients whose hash falls on a real server of weight 0 (`ip_vs_sh_schedule`, `ip_vs_mh_schedule`,
/// `ip_vs_dh_schedule`): all other schedulers pass such servers over.
fn idle(server: &Server) -> Idle {
    let falls_back = |names: [&str; 2]| match &server.flags {
        Some(flags) if flags.iter().any(|flag| names.contains(&flag.as_str())) => Idle::PassedOver,
        Some(_) => Idle::Refuses,
        None => Idle::Unknown,
    };
    match server.scheduler.as_str() {
        "dh" => Idle::Refuses,
        "sh" => falls_back(["sh-fallback", "flag-1"]),
        "mh" => falls_back(["mh-fallback", "flag-1"]),
        _ => Idle::PassedOver,
    }
}

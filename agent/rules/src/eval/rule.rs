//! One rule: whether it matches, and what its target does to the packet and its way.
//!
//! Which rule comes next is the walker's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::flow::Family;
use model::gap::Gap;
use model::walk::{Action, Outcome};

use super::test::{Holds, holds, matches};
use super::{
    BaseChain, End, Ending, Flow, Frame, MAX_ANSWERS, MAX_CALLS, MAX_WAYS, Parting, RuleId, Stage, Walker,
    Way, quote,
};
use super::{lookup, member};
use crate::hooks::{Hook, Kind};
use crate::ir::lookup::{Found, Lookup, Mapped, Verdict};
use crate::ir::{ChainId, Policy, Rule, RuleSet, Step, Target, Test};
use crate::network::Tri;

/// What REJECT sends when the rule does not say (`man iptables-extensions`).
const fn default_reject(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "icmp-port-unreachable",
        Family::Ipv6 => "icmp6-port-unreachable",
    }
}

impl Walker<'_> {
    /// Evaluates a rule and carries out its target.
    pub(super) fn rule(&self, way: &mut Way, id: RuleId, rule: &Rule) -> Flow {
        let Some(rules) = self.rules(id.set) else { return Flow::On };
        if matches!(rule.target, Target::None | Target::Continue | Target::ChangeSets(_)) {
            return Flow::On;
        }
        match holds(rules, rule, &way.packet, self.world) {
            Holds::No => Flow::On,
            Holds::NotInSets => {
                self.ask_sets(way, id, rule, rules, true);
                Flow::On
            }
            Holds::Yes => {
                self.ask_sets(way, id, rule, rules, false);
                self.carry_out(way, id, rule, rules)
            }
            Holds::Sometimes => {
                if !self.take_way() {
                    let gap = Gap::new("further ways", format!("only {MAX_WAYS} ways are followed"));
                    if !way.gaps.contains(&gap) {
                        way.gaps.push(gap);
                    }
                    return Flow::On;
                }
                self.part(Parting::Chance, way.clone(), id, rule, rules)
            }
            Holds::Unknown => {
                let mut other = way.clone();
                let quoted = quote(rules, rule);
                let doubt = self.doubt_of_sets(way, rule, rules);
                let gap = Gap::new(
                    format!("a rule of {} {}", self.table_name(id), self.chain_name(id)),
                    format!("cannot be evaluated{doubt}: {quoted}"),
                );
                other.record(Some(id), Action::Unknown(quoted));
                self.part(Parting::Doubt(gap), other, id, rule, rules)
            }
        }
    }

    /// Keeps what the sets said that a rule asks: all that it asks if it matched, else those that were against it.
    fn ask_sets(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, missed: bool) {
        for item in rules.matches_of(rule) {
            let Test::InSet(asked) = item.test else { continue };
            if way.answers > MAX_ANSWERS {
                return;
            }
            let against = matches(rules, item, &way.packet, self.world) == Tri::No;
            if against == missed {
                let said = member::in_words(rules, asked, &way.packet, self.world.ipsets);
                way.answer(id, said, missed);
            }
        }
    }

    /// Which sets leave a rule open, and why; empty if none does.
    fn doubt_of_sets(&self, way: &Way, rule: &Rule, rules: &RuleSet) -> String {
        let asked = rules.matches_of(rule).iter().filter_map(|item| match item.test {
            Test::InSet(asked) if matches(rules, item, &way.packet, self.world) == Tri::Unknown => {
                Some(asked)
            }
            _ => None,
        });
        let said: Vec<String> =
            asked.map(|asked| member::in_words(rules, asked, &way.packet, self.world.ipsets)).collect();
        if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
    }

    /// Lets a second way carry the target out.
    fn part(&self, parting: Parting, mut other: Way, id: RuleId, rule: &Rule, rules: &RuleSet) -> Flow {
        if let Flow::Ended(end) = self.carry_out(&mut other, id, rule, rules) {
            other.finished = Some(end);
        }
        Flow::Parted(parting, Box::new(other))
    }

    fn carry_out(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet) -> Flow {
        self.act(way, id, rule, rules, &rule.target)
    }

    /// Does what a rule says, all of it or one of several things.
    fn act(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, target: &Target) -> Flow {
        let base = self.chains.get(way.entry).copied();
        match target {
            Target::None | Target::Continue | Target::ChangeSets(_) => {}
            Target::Accept => {
                way.record(Some(id), Action::Accept);
                way.leave();
            }
            Target::Drop => {
                way.record(Some(id), Action::Drop);
                return way.stopped(Outcome::Dropped, Some(id), None).into();
            }
            Target::Reject(with) => {
                let with = match rules.text(*with) {
                    "" => default_reject(rules.family).to_owned(),
                    with => with.to_owned(),
                };
                way.record(Some(id), Action::Reject(with.clone()));
                return way.stopped(Outcome::Rejected, Some(id), Some(with)).into();
            }
            Target::Return => {
                way.record(Some(id), Action::Return);
                way.frames.pop();
                return way.met();
            }
            Target::Jump(chain) | Target::Goto(chain) => {
                way.record(Some(id), Action::Jump(self.name_of(id, *chain).to_owned()));
                if matches!(target, Target::Goto(_)) {
                    way.frames.pop();
                }
                if way.frames.len() >= MAX_CALLS {
                    return way.lost("chains call one another deeper than is followed").into();
                }
                way.frames.push(Frame { chain: *chain, next: 0 });
            }
            Target::Dnat { address, port } => {
                let address = address.unwrap_or(way.packet.dst.ip());
                let port = port.unwrap_or(way.packet.dst.port());
                return way.translate(id, base, SocketAddr::new(address, port));
            }
            Target::Redirect(port) => {
                let port = port.unwrap_or(way.packet.dst.port());
                let family = rules.family;
                let address = match (way.stage, family) {
                    (Stage::Hook(Hook::Output), Family::Ipv4) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    (Stage::Hook(Hook::Output), Family::Ipv6) => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
                    _ => self.network.address_of(&way.packet.input, family),
                };
                let Some(address) = address else {
                    return self.unmodelled(way, id, rule, rules, "the address of the interface it came by");
                };
                return way.translate(id, base, SocketAddr::new(address, port));
            }
            Target::Snat | Target::Masquerade => {
                way.record(Some(id), Action::Masquerade);
                way.packet.masqueraded = true;
                way.packet.src_settled = true;
                way.leave();
            }
            Target::SetMark(set) => {
                way.packet.mark = (way.packet.mark & !set.mask) ^ set.value;
                way.record(Some(id), Action::Mark(way.packet.mark));
            }
            // Without a connection there is no mark of it to read or write (xt_connmark, `connmark_tg_shift`).
            Target::SetConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_)
                if !way.packet.has_connection() => {}
            Target::SetConnMark(set) => way.packet.ct_mark = (way.packet.ct_mark & !set.mask) ^ set.value,
            Target::SaveMark(mask) => {
                way.packet.ct_mark = (way.packet.ct_mark & !mask) | (way.packet.mark & mask);
            }
            Target::RestoreMark(mask) => {
                way.packet.mark = (way.packet.mark & !mask) | (way.packet.ct_mark & mask);
                way.record(Some(id), Action::Mark(way.packet.mark));
            }
            // What is tracked already stays so, as what a host sends to itself (xt_CT, `xt_ct_target`).
            Target::NoTrack => way.packet.untracked |= !way.packet.tracked,
            Target::Serve(real) => return self.serve(way, id, **real),
            Target::Steps(steps) => return self.steps(way, id, rule, rules, steps),
            Target::Verdict(asked) => return self.verdict(way, id, rule, rules, asked),
            Target::DnatBy(asked) => return self.dnat_by(way, id, rule, rules, asked),
            Target::Unknown(text) => return self.unmodelled(way, id, rule, rules, rules.text(*text)),
        }
        Flow::On
    }

    /// Several things in a row, until one of them decides or a condition fails.
    fn steps(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, steps: &[Step]) -> Flow {
        let (entry, frames) = (way.entry, way.frames.len());
        for step in steps {
            match step {
                Step::If(item) => match matches(rules, item, &way.packet, self.world) {
                    Tri::Yes => {}
                    Tri::No => return Flow::On,
                    Tri::Unknown => {
                        return self.unmodelled(
                            way,
                            id,
                            rule,
                            rules,
                            "a condition after something was changed",
                        );
                    }
                },
                Step::Do(target) => {
                    let flow = self.act(way, id, rule, rules, target);
                    if !matches!(flow, Flow::On)
                        || !way.running
                        || (way.entry, way.frames.len()) != (entry, frames)
                    {
                        return flow;
                    }
                }
            }
        }
        Flow::On
    }

    /// What a verdict map says.
    fn verdict(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, asked: &Lookup) -> Flow {
        let element = match lookup::find(rules, asked, &way.packet, self.network).0 {
            Found::Nothing => return Flow::On,
            Found::Unknown => return self.unmodelled(way, id, rule, rules, "which element of the map fits"),
            Found::Element(element) => element,
        };
        let found = rules.set(asked.set).and_then(|set| set.element(element));
        let Some(Mapped::Verdict(verdict)) = found.map(|element| &element.mapped) else {
            return self.unmodelled(way, id, rule, rules, "what the element of the map says");
        };
        let target = match *verdict {
            Verdict::Accept => Target::Accept,
            Verdict::Drop => Target::Drop,
            Verdict::Return => Target::Return,
            Verdict::Continue => Target::Continue,
            Verdict::Jump(chain) => Target::Jump(chain),
            Verdict::Goto(chain) => Target::Goto(chain),
        };
        self.act(way, RuleId { element: Some((asked.set, element)), ..id }, rule, rules, &target)
    }

    /// A new destination out of a map. Without an element the rule does not match (`nft_lookup_eval`: `NFT_BREAK`).
    fn dnat_by(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, asked: &Lookup) -> Flow {
        let element = match lookup::find(rules, asked, &way.packet, self.network).0 {
            Found::Nothing => return Flow::On,
            Found::Unknown => return self.unmodelled(way, id, rule, rules, "which element of the map fits"),
            Found::Element(element) => element,
        };
        let found = rules.set(asked.set).and_then(|set| set.element(element));
        let to = match found.map(|element| &element.mapped) {
            Some(Mapped::Values(values)) => destination(values, rules.family, way.packet.dst.port()),
            _ => None,
        };
        let Some(to) = to else {
            return self.unmodelled(way, id, rule, rules, "what the element of the map says");
        };
        let base = self.chains.get(way.entry).copied();
        way.translate(RuleId { element: Some((asked.set, element)), ..id }, base, to)
    }

    /// A base chain came to its end.
    pub(super) fn policy(&self, way: &mut Way, base: BaseChain) -> Flow {
        let chain = self.chain(base.set, base.table, base.chain);
        let id = RuleId { set: base.set, table: base.table, chain: base.chain, rule: None, element: None };
        let (policy, empty) = chain.map_or((Policy::Accept, true), |chain| (chain.policy, chain.is_empty()));
        // IPVS has no policy: what is none of its virtual servers' it leaves alone.
        if policy == Policy::Drop || (!empty && base.base.kind != Kind::Ipvs) {
            way.record(Some(id), Action::Policy(policy.word().to_owned()));
        }
        if policy == Policy::Drop {
            return way.stopped(Outcome::Dropped, Some(id), None).into();
        }
        way.leave();
        Flow::On
    }

    fn unmodelled(&self, way: &mut Way, id: RuleId, rule: &Rule, rules: &RuleSet, what: &str) -> Flow {
        way.record(Some(id), Action::Unknown(what.to_owned()));
        let mut end = way.end(Ending::Outcome { outcome: Outcome::Unknown, rule: None, told: None });
        end.gaps.push(Gap::new(
            format!("a rule of {} {}", self.table_name(id), self.chain_name(id)),
            format!("its target is not modelled: {}", quote(rules, rule)),
        ));
        end.into()
    }

    fn table_name(&self, id: RuleId) -> &str {
        let table = self.rules(id.set).and_then(|rules| rules.tables.get(id.table));
        table.map_or("", |table| table.name.as_str())
    }

    fn chain_name(&self, id: RuleId) -> &str {
        self.name_of(id, id.chain)
    }

    fn name_of(&self, id: RuleId, chain: ChainId) -> &str {
        let chain = self.rules(id.set).zip(self.chain(id.set, id.table, chain));
        chain.map_or("", |(rules, chain)| rules.text(chain.name))
    }
}

/// The address and port of a map's element.
fn destination(values: &[u128], family: Family, port: u16) -> Option<SocketAddr> {
    let (address, port) = match *values {
        [address] => (address, port),
        [address, port] => (address, u16::try_from(port).ok()?),
        _ => return None,
    };
    let address = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(address).ok()?)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(address)),
    };
    Some(SocketAddr::new(address, port))
}

impl Way {
    /// The destination changes, and this hook's nat chains are done.
    fn translate(&mut self, id: RuleId, base: Option<BaseChain>, to: SocketAddr) -> Flow {
        if !base.is_some_and(|base| base.base.kind == Kind::Nat) {
            return self.lost("a destination is rewritten outside a nat chain").into();
        }
        self.record(Some(id), Action::Dnat(to));
        self.packet.dst = to;
        self.packet.translated = true;
        self.packet.dst_settled = true;
        self.dnat = Some(id);
        self.leave();
        Flow::On
    }

    /// The packet goes no further.
    pub(super) fn stopped(&self, outcome: Outcome, rule: Option<RuleId>, told: Option<String>) -> End {
        self.end(Ending::Outcome { outcome, rule, told })
    }
}

//! Walks a packet through a host: hooks in the kernel's order, routes between them, every rule taken literally.
//!
//! It knows nothing of whose rules they are. Where a condition cannot be told, both ways are followed; they are
//! brought together again in `ends`, which keeps what both agree on and calls the rest unknown.

mod ends;
pub(crate) mod lookup;
mod member;
mod rule;
mod serve;
mod stage;
mod test;
mod trail;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use model::flow::Family;
use model::gap::Gap;
use model::walk::{Action, Masquerade, Outcome};

pub(crate) use self::ends::{End, Ending};
use self::trail::Event;
pub(crate) use self::trail::{RuleId, Trail};
use crate::dispatch::Dispatch;
use crate::hooks::{Base, Hook, Kind};
use crate::ipset::Sets;
use crate::ir::{Chain, ChainId, Rule, RuleSet};
use crate::network::Network;
use crate::packet::Passing;

/// Rules evaluated for one walk, those passed over by `Dispatch` not counted.
const MAX_RULES: u32 = 5_000_000;
/// What following a second way costs of that.
const FORK_COST: u32 = 500;
/// Chains called inside one another. The kernel allows 16 (nf_tables) or as many as there are chains (legacy).
const MAX_CALLS: usize = 128;
/// Things that happen on one way before it is given up; a busy node's way has some fifty.
const MAX_EVENTS: u32 = 4096;
/// Forks inside one another before a way is given up.
const MAX_FORKS: u8 = 48;
/// Answers of sets told of one way. A busy chain of a policy engine asks some twenty; what is left out is the answers, not
/// what follows from them.
const MAX_ANSWERS: u32 = 64;
/// Ways kept of one walk: more endpoints than a person or the wire can use.
pub(crate) const MAX_WAYS: u32 = 1024;

/// Ends kept of a way and all that parted from it.
const MAX_ENDS: usize = 2 * MAX_WAYS as usize;

/// A base chain by position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BaseChain {
    pub(crate) set: usize,
    pub(crate) table: usize,
    pub(crate) chain: ChainId,
    pub(crate) base: Base,
}

/// All base chains of one family in the order the kernel calls them.
///
/// Chains of one hook and priority are called in the order they were registered, which no dump shows: `reversed` takes
/// the rule sets the other way round.
pub(crate) fn base_chains(sets: &[RuleSet], family: Family, reversed: bool) -> Vec<BaseChain> {
    let mut found = Vec::new();
    for (set, rules) in sets.iter().enumerate().filter(|(_, rules)| rules.family == family) {
        for (table, content) in rules.tables.iter().enumerate() {
            for (chain, content) in content.chains.iter().enumerate() {
                if let (Some(base), Ok(chain)) = (content.base, ChainId::try_from(chain)) {
                    found.push(BaseChain { set, table, chain, base });
                }
            }
        }
    }
    // Of two chains of one table and place the later one is called first (`nf_hook_entries_grow`); tables list their
    // chains in the order they were made.
    let rank = |chain: &BaseChain| {
        let at = (chain.set, chain.table);
        let at = if reversed { (usize::MAX - at.0, usize::MAX - at.1) } else { at };
        (at, ChainId::MAX - chain.chain)
    };
    found.sort_by_key(|chain| (chain.base.hook, chain.base.position(), chain.base.priority, rank(chain)));
    found
}

/// What conditions ask besides the packet.
#[derive(Clone, Copy)]
pub(crate) struct World<'h> {
    pub(crate) network: &'h Network,
    pub(crate) ipsets: &'h Sets,
}

/// One walk.
pub(crate) struct Walker<'h> {
    sets: &'h [RuleSet],
    world: World<'h>,
    network: &'h Network,
    chains: &'h [BaseChain],
    dispatch: &'h Dispatch,
    rules_left: Cell<u32>,
    ways: Cell<u32>,
    joins: Cell<u32>,
}

/// How far the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The first look-up for what a local process sends.
    SendRoute,
    /// Chains of a hook.
    Hook(Hook),
    /// The look-up after PREROUTING.
    ArrivalRoute,
}

/// A called chain and the rule to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    chain: ChainId,
    next: usize,
}

/// One way the packet takes, being followed.
#[derive(Clone)]
struct Way {
    packet: Passing,
    stage: Stage,
    /// Index among the walk's base chains of the one being run or to be tried next.
    entry: usize,
    /// Whether that base chain is being run.
    running: bool,
    frames: Vec<Frame>,
    /// Whether the latest look-up said it is for this host.
    to_self: bool,
    gateway: Option<IpAddr>,
    /// Destination and mark at the latest look-up: a change makes the kernel look again.
    looked_up: (IpAddr, u32),
    trail: Trail,
    events: u32,
    /// Answers of sets in the trail, which are no events.
    answers: u32,
    gaps: Vec<Gap>,
    dnat: Option<RuleId>,
    forks: u8,
    /// Where this way would be the same as another that is followed anyway.
    meetings: Vec<Meeting>,
    /// Set when it ended in the very step in which it parted from another.
    finished: Option<Box<End>>,
}

/// A point at which an assumed way is again what it would have been without the assumption.
#[derive(Clone)]
struct Meeting {
    id: u32,
    entry: usize,
    frames: usize,
    top: Option<Frame>,
    packet: Passing,
}

/// Whether a way goes on.
enum Flow {
    On,
    Ended(Box<End>),
    Parted(Parting, Box<Way>),
}

/// Why a way parts in two.
enum Parting {
    /// Both really happen.
    Chance,
    /// One of them happens; which, cannot be told.
    Doubt(Gap),
}

impl<'h> Walker<'h> {
    pub(crate) fn new(
        sets: &'h [RuleSet],
        world: World<'h>,
        chains: &'h [BaseChain],
        dispatch: &'h Dispatch,
    ) -> Self {
        Self {
            sets,
            world,
            network: world.network,
            chains,
            dispatch,
            rules_left: Cell::new(MAX_RULES),
            ways: Cell::new(1),
            joins: Cell::new(0),
        }
    }

    /// Every way the packet can go.
    pub(crate) fn walk(&self, packet: Passing) -> Vec<End> {
        let stage = if packet.local_sender { Stage::SendRoute } else { Stage::Hook(Hook::Prerouting) };
        let way = Way {
            looked_up: (packet.dst.ip(), packet.mark),
            packet,
            stage,
            entry: 0,
            running: false,
            frames: Vec::new(),
            to_self: false,
            gateway: None,
            trail: Trail::default(),
            events: 0,
            answers: 0,
            gaps: Vec::new(),
            dnat: None,
            forks: 0,
            meetings: Vec::new(),
            finished: None,
        };
        self.follow(way)
    }

    /// Follows a way and all that part from it to their ends.
    fn follow(&self, mut way: Way) -> Vec<End> {
        let mut parted: Vec<(Parting, u32, Vec<End>)> = Vec::new();
        let last = loop {
            match self.step(&mut way) {
                Flow::On => {}
                Flow::Ended(end) => break *end,
                Flow::Parted(parting, mut other) => {
                    if way.forks >= MAX_FORKS {
                        break way.lost("more rules that cannot be told than can be followed");
                    }
                    self.rules_left.set(self.rules_left.get().saturating_sub(FORK_COST));
                    let id = self.joins.get();
                    self.joins.set(id.wrapping_add(1));
                    other.forks += 1;
                    if matches!(parting, Parting::Doubt(_)) {
                        other.meetings.push(Meeting {
                            id,
                            entry: way.entry,
                            frames: way.frames.len(),
                            top: way.frames.last().copied(),
                            packet: way.packet.clone(),
                        });
                    }
                    parted.push((parting, id, self.follow(*other)));
                }
            }
        };
        let mut ends = vec![last];
        for (parting, id, others) in parted.into_iter().rev() {
            match parting {
                // Kept in reverse while unwinding, so that a thousand endpoints cost no thousand copies.
                Parting::Chance => ends.extend(others.into_iter().rev()),
                Parting::Doubt(gap) => ends = ends::reconcile(ends, others, id, &gap),
            }
            if ends.len() > MAX_ENDS {
                // Ends that meet earlier ways double with every doubt; one that is unknown stands for all of them.
                ends = vec![way.lost("more ways than can be told apart")];
            }
        }
        ends.reverse();
        ends
    }

    /// One rule, or one move to the next chain, hook or look-up.
    fn step(&self, way: &mut Way) -> Flow {
        if let Some(end) = way.finished.take() {
            return Flow::Ended(end);
        }
        if !way.running {
            return self.advance(way);
        }
        let left = self.rules_left.get();
        if left == 0 || way.events >= MAX_EVENTS {
            return way.lost("more rules than one walk may evaluate").into();
        }
        self.rules_left.set(left - 1);
        let Some(base) = self.chains.get(way.entry) else { return self.advance(way) };
        let Some(frame) = way.frames.last_mut() else { return self.policy(way, *base) };
        let Some((next, rule)) = self.next_rule(*base, *frame, way.packet.dst) else {
            way.frames.pop();
            return way.met();
        };
        let id =
            RuleId { set: base.set, table: base.table, chain: frame.chain, rule: Some(next), element: None };
        frame.next = next + 1;
        self.rule(way, id, rule)
    }

    fn rules(&self, set: usize) -> Option<&'h RuleSet> {
        self.sets.get(set)
    }

    /// The next rule of a called chain that has to be tried, and its index.
    fn next_rule(&self, base: BaseChain, frame: Frame, destination: SocketAddr) -> Option<(usize, &'h Rule)> {
        let table = self.rules(base.set)?.tables.get(base.table)?;
        let chain = table.chains.get(frame.chain as usize)?;
        let place = (base.set, base.table, frame.chain);
        let next = self.dispatch.next(place, chain, frame.next, destination);
        Some((next, table.rules_of(chain).get(next)?))
    }

    fn chain(&self, set: usize, table: usize, chain: ChainId) -> Option<&'h Chain> {
        self.rules(set)?.tables.get(table)?.chains.get(chain as usize)
    }

    /// Takes one of the ways a walk may have; false when there are none left.
    fn take_way(&self) -> bool {
        let ways = self.ways.get();
        self.ways.set(ways.saturating_add(1));
        ways < MAX_WAYS
    }
}

impl Way {
    /// Whether a way that came back from a chain is now what the other one is.
    fn met(&self) -> Flow {
        let here = |meeting: &&Meeting| {
            meeting.frames == self.frames.len()
                && meeting.entry == self.entry
                && meeting.top == self.frames.last().copied()
                && meeting.packet == self.packet
        };
        match self.meetings.iter().rev().find(here) {
            Some(meeting) => Flow::Ended(Box::new(self.end(Ending::Met(meeting.id)))),
            None => Flow::On,
        }
    }

    fn hook(&self) -> &'static str {
        match self.stage {
            Stage::Hook(hook) => hook.word(),
            Stage::SendRoute | Stage::ArrivalRoute => "ROUTE",
        }
    }

    fn record(&mut self, rule: Option<RuleId>, action: Action) {
        let hook = if matches!(action, Action::Route(_)) { "ROUTE" } else { self.hook() };
        self.events += 1;
        self.trail.push(Event { hook, rule, action, missed: false });
    }

    /// Keeps what a set said to a rule; the one after the last that is kept says that there are more.
    fn answer(&mut self, rule: RuleId, said: String, missed: bool) {
        self.answers += 1;
        let said = if self.answers <= MAX_ANSWERS {
            said
        } else {
            format!("sets said more than these {MAX_ANSWERS} things")
        };
        self.trail.push(Event {
            hook: self.hook(),
            rule: Some(rule),
            action: Action::Membership(said),
            missed,
        });
    }

    /// The way's end.
    fn end(&self, ending: Ending) -> End {
        End {
            ending,
            destination: self.packet.dst,
            masquerade: if self.packet.masqueraded { Masquerade::Yes } else { Masquerade::No },
            dnat: self.dnat,
            output: self.packet.output.clone(),
            gateway: self.gateway,
            trail: self.trail.clone(),
            gaps: self.gaps.clone(),
        }
    }

    /// An end that could not be followed.
    fn lost(&self, why: &str) -> End {
        let mut end = self.end(Ending::Outcome { outcome: Outcome::Unknown, rule: None, told: None });
        end.gaps.push(Gap::new("the way through the rules", why));
        end
    }
}

impl From<End> for Flow {
    fn from(end: End) -> Self {
        Self::Ended(Box::new(end))
    }
}

/// What is left of the ends of one walk when those of another may have happened instead.
pub(crate) fn reconcile(ends: Vec<End>, others: Vec<End>, gap: &Gap) -> Vec<End> {
    ends::reconcile(ends, others, u32::MAX, gap)
}

/// Whether a base chain is consulted for the packet now.
fn consulted(base: Base, packet: &Passing) -> bool {
    match (base.kind, base.hook) {
        (Kind::Filter | Kind::Route, _) => true,
        (Kind::Ipvs, _) => packet.served.is_none(),
        (Kind::Nat, _) if packet.untracked => false,
        (Kind::Nat, Hook::Prerouting | Hook::Output) => !packet.dst_settled,
        (Kind::Nat, _) => !packet.src_settled,
    }
}

/// A rule as its tool prints it, bounded.
fn quote(rules: &RuleSet, rule: &Rule) -> String {
    const LIMIT: usize = 400;
    rules.text(rule.text).chars().take(LIMIT).collect()
}

#[cfg(test)]
mod tests;

//! What a case says, put in the order in which a connection happens, so that causes can be short.
//!
//! Facts are read off the case once; they hold evidence and its absence, never a judgement about a cause. A kind of
//! evidence has a file of its own below this one: a new kind (sockets of the source, conntrack, DNS answers, IPVS
//! servers, counters, the way back) becomes a new file and a new field here.

mod absent;
pub(crate) mod asks;
mod blind;
mod drops;
mod given;
mod intended;
mod listening;
mod owners;
mod policy;
mod reasons;
mod refusal;
mod refused;
mod source;
mod stops;
mod target;
mod ways;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use model::objects::Meta as ObjectMeta;
use model::{Case, Gap, Timestamp};

pub(crate) use absent::{NOT_LIVE, silence};
pub use drops::{Proof, RuleNow, SeenDrop};
pub use intended::Intended;
pub use listening::Listening;
pub use owners::is_policy_engine;
pub use policy::{Direction, Enforced, open_to_others};
pub use refusal::Refusal;
pub use refused::Refused;
pub use source::SourceFacts;
pub use stops::Stop;
pub use target::{Named, Target, shown};
pub use ways::{Attempt, State, Way};

/// The facts of one case.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The case itself, for what is not worth a fact.
    pub case: &'a Case,
    /// Who connects.
    pub source: SourceFacts<'a>,
    /// To what, as the question names it.
    pub target: Target<'a>,
    /// Endpoints by intent, unready ones included; empty where the target is no Service.
    pub intended: Vec<Intended>,
    /// One attempt for each pair of addresses the connection may use: one for each family.
    pub attempts: Vec<Attempt<'a>>,
    /// All ways the attempts may go: what intent wants, and what the source's node would do.
    pub ways: Vec<Way<'a>>,
    /// Drops of this connection's first packets, wherever they happened.
    pub drops: Vec<SeenDrop<'a>>,
    /// Policy verdicts, one for each way, worked out when first asked for: `next_probes` never does.
    policies: OnceCell<Vec<::policy::Detailed>>,
}

impl<'a> Facts<'a> {
    /// Reads the facts off a case.
    pub fn of(case: &'a Case) -> Self {
        let source = SourceFacts::of(case);
        let target = Target::of(case);
        let intended = intended::intended(case, &target);
        let attempts = ways::attempts(case, &source, &target, &intended);
        let ways = ways::ways(case, &source, &target, &attempts, &intended);
        let drops = drops::matching(case, &attempts, &ways);
        Self { case, source, target, intended, attempts, ways, drops, policies: OnceCell::new() }
    }

    /// Indices of the ways a packet can really take: those the source's node would send it, or, where its rules are
    /// not known, those of intent.
    pub fn live_ways(&self) -> impl Iterator<Item = (usize, &Way<'a>)> {
        self.ways.iter().enumerate().filter(|(_, way)| way.live)
    }

    /// The attempt a way belongs to.
    pub fn attempt(&self, way: &Way<'a>) -> &Attempt<'a> {
        &self.attempts[way.attempt]
    }

    /// The latest change of some objects: evidence has to be newer to speak about them.
    pub fn changed<'m>(objects: impl IntoIterator<Item = &'m ObjectMeta>) -> Timestamp {
        objects.into_iter().map(|meta| meta.changed_at).max().unwrap_or_default()
    }

    /// When the objects behind the question last changed: the Service, its slices and the pods at both ends.
    pub fn ends_changed(&self) -> Timestamp {
        let mut latest = Self::changed(self.source.pod.map(|pod| &pod.meta));
        if let Target::Service(named) = &self.target {
            latest = latest.max(Self::changed([&named.service.meta]));
            latest = latest.max(Self::changed(
                self.case.objects.slices_of(named.service.key()).map(|slice| &slice.meta),
            ));
        }
        latest
    }

    /// The same, with the pod a way leads to.
    pub fn way_changed(&self, way: &Way<'_>) -> Timestamp {
        self.ends_changed().max(Self::changed(way.pod.map(|pod| &pod.meta)))
    }

    /// The first set of rules on the way that is missing or cannot be evaluated.
    pub fn missing_rules(&self) -> Option<Gap> {
        let unknown = |state: State<'_>| match state {
            State::Unknown(gap) => Some(gap),
            State::Pass | State::Stop(_) => None,
        };
        let entry = self
            .attempts
            .iter()
            .find_map(|attempt| unknown(attempt.inside()).or_else(|| attempt.walk.as_ref().err().cloned()));
        entry.or_else(|| {
            self.live_ways().find_map(|(_, way)| match way.at_source(self.attempt(way)) {
                State::Stop(_) => None,
                State::Unknown(gap) => Some(gap),
                State::Pass => unknown(way.at_arrival()),
            })
        })
    }

    /// Why `what` of a node is missing.
    pub(crate) fn absent(&self, node: &str, what: &str) -> Gap {
        absent::why(self.case, Some(node), what)
    }

    /// Nodes whose rules the answer would need and that could not be asked, with the reasons, each once.
    pub fn missing(&self) -> Vec<Gap> {
        let walks = self.attempts.iter().filter_map(|attempt| attempt.walk.as_ref().err());
        let pod_walks = self.attempts.iter().filter_map(|attempt| attempt.pod_walk.as_ref()?.as_ref().err());
        // What is stopped before it gets there needs nothing from there.
        let gets_there = |way: &Way<'a>| way.at_source(self.attempt(way)).stop().is_none();
        let arrivals = self
            .live_ways()
            .filter(|(_, way)| !way.same_node && gets_there(way))
            .filter_map(|(_, way)| way.arrival.as_ref().err());
        let listeners = self
            .live_ways()
            .filter(|(_, way)| gets_there(way))
            .filter_map(|(_, way)| way.listeners.as_ref().err());
        let mut seen = BTreeSet::new();
        walks
            .chain(pod_walks)
            .chain(arrivals)
            .chain(listeners)
            .filter(|gap| seen.insert((*gap).clone()))
            .cloned()
            .collect()
    }
}

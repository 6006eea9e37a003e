//! Every place where a walk shows the packet's end.
//!
//! Which cause a stop belongs to is not said here.

use std::collections::BTreeSet;

use model::place::Owner;
use model::walk::{Action, Branch};
use model::{Outcome, Place, RuleRef, Stage, Timestamp, Verdict, Walk};

use super::drops::{Proof, RuleNow};
use super::{Facts, SeenDrop, State};

/// One place where a walk ends.
#[derive(Clone, Debug)]
pub struct Stop<'a> {
    /// Where.
    pub place: Place,
    /// The node whose agent walked.
    pub node: &'a str,
    /// The walk.
    pub walk: &'a Walk,
    /// Its branch that ends.
    pub branch: &'a Branch,
    /// The attempt, by index.
    pub attempt: usize,
    /// The way, by index; `None` where the attempt ends before it has one.
    pub way: Option<usize>,
}

impl Stop<'_> {
    /// The nodes of some stops, each once.
    pub fn nodes(stops: &[Self]) -> Vec<String> {
        let nodes: BTreeSet<&str> = stops.iter().map(|stop| stop.node).collect();
        nodes.into_iter().map(ToOwned::to_owned).collect()
    }

    /// How the connection ends here.
    pub fn verdict(&self) -> Verdict {
        match self.branch.outcome {
            Outcome::Rejected => Verdict::Rejected,
            _ => Verdict::Dropped,
        }
    }

    /// The deciding rule.
    pub fn rule(&self) -> Option<&RuleRef> {
        self.branch.terminal_rule.as_ref()
    }

    /// `drops` or `rejects`.
    pub fn verb(&self) -> &'static str {
        if self.verdict() == Verdict::Rejected { "rejects" } else { "drops" }
    }

    /// What ends it where no rule does: the route, in the walk's words.
    pub fn route(&self) -> Option<&str> {
        self.branch.steps.iter().rev().find_map(|step| match &step.action {
            Action::Route(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

impl<'a> Facts<'a> {
    /// All stops on live ways, in the order in which a packet meets them; one for each way at most.
    pub fn stops(&self) -> Vec<Stop<'a>> {
        let mut stops = Vec::new();
        let Some(node) = self.source.node else { return stops };
        for (attempt, facts) in self.attempts.iter().enumerate() {
            if let (State::Stop(branch), Some(Ok(walk)), Some(pod)) =
                (facts.inside(), &facts.pod_walk, self.source.pod)
            {
                let place = Place::pod(Some(node.to_owned()), pod.key().clone(), Stage::Source);
                stops.push(Stop { place, node, walk, branch, attempt, way: None });
                continue;
            }
            let Ok(walk) = facts.walk else {
                stops.extend(self.arrival_stops(attempt));
                continue;
            };
            if let Some(branch) =
                facts.direct().filter(|branch| matches!(branch.outcome, Outcome::Dropped | Outcome::Rejected))
            {
                let place = Place::node(node, Stage::SourceNode);
                stops.push(Stop { place, node, walk, branch, attempt, way: None });
            }
            for (index, way) in self.live_ways().filter(|(_, way)| way.attempt == attempt) {
                if let State::Stop(branch) = way.at_source(facts) {
                    let place = Place::node(node, Stage::SourceNode);
                    stops.push(Stop { place, node, walk, branch, attempt, way: Some(index) });
                }
            }
            stops.extend(self.arrival_stops(attempt));
        }
        stops
    }

    fn arrival_stops(&self, attempt: usize) -> Vec<Stop<'a>> {
        let at_arrival = |(index, way): (usize, &super::Way<'a>)| {
            let (Ok(walk), Some(node)) = (&way.arrival, way.node) else { return None };
            let before = way.at_source(self.attempt(way));
            match (before, way.at_arrival()) {
                (State::Stop(_), _) | (_, State::Pass | State::Unknown(_)) => None,
                (_, State::Stop(branch)) => Some(Stop {
                    place: Place::node(node, Stage::DestinationNode),
                    node,
                    walk,
                    branch,
                    attempt,
                    way: Some(index),
                }),
            }
        };
        self.live_ways().filter(|(_, way)| way.attempt == attempt).filter_map(at_arrival).collect()
    }

    /// Proof that the kernel dropped packets at these stops, which share one deciding rule.
    pub fn prove_stops(&self, stops: &[Stop<'a>], changed: Timestamp) -> Option<Proof> {
        let first = stops.first()?;
        let here = |drop: &&SeenDrop<'a>| {
            drop.by_rule()
                && stops.iter().any(|stop| {
                    let placed = match &stop.place.owner {
                        Some(Owner::Pod(pod)) => drop.in_pod(pod),
                        _ => drop.on_node(stop.node),
                    };
                    placed && drop.attempt == stop.attempt && (stop.way.is_none() || drop.way == stop.way)
                })
        };
        let rule = RuleNow::Stops { branch: first.branch, since: first.walk.rules.unchanged_since };
        self.prove(self.drops.iter().filter(here), changed, rule)
    }

    /// When the pods at both ends of some stops last changed: all that an argument about a rule rests on.
    pub fn stops_changed(&self, stops: &[Stop<'a>]) -> Timestamp {
        let ends = stops.iter().filter_map(|stop| self.ways[stop.way?].pod);
        Self::changed(ends.chain(self.source.pod).map(|pod| &pod.meta))
    }
}

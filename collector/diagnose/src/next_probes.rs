//! What to ask which node next, given what is known so far.
//!
//! It never asks twice and never judges; the answers go into the case, and the case is asked again until nothing is left.

use std::collections::BTreeSet;

use model::{Case, Probe};

use crate::facts::{Facts, asks};

/// How many nodes one question may ask: enough for any Service a person looks at, few enough to answer in a second.
pub const MAX_NODES: usize = 32;

/// The probes still worth sending. Empty when there is nothing left to learn, or nobody to ask.
///
/// First what the source's side does to the packet; then, knowing the endpoints it may be sent to, what their nodes do
/// and who listens there.
pub fn next_probes(case: &Case) -> Vec<Probe> {
    if !case.live {
        return Vec::new();
    }
    let facts = Facts::of(case);
    let mut wave = Wave::new(case);
    for attempt in &facts.attempts {
        if let Some(src) = attempt.src {
            wave.add(asks::source_walk(case, &facts.source, src, attempt.dst));
            wave.add(asks::pod_walk(case, &facts.source, src, attempt.dst));
        }
    }
    if wave.probes.is_empty() {
        for (_, way) in facts.live_ways() {
            let Some(node) = way.node else { continue };
            if let (false, Some(src)) = (way.same_node, facts.attempt(way).src) {
                wave.add(Some(asks::arrival_walk(
                    case,
                    &facts.source,
                    src,
                    way.branch,
                    node,
                    way.destination,
                )));
            }
            wave.add(way.pod.map(|pod| asks::listeners(case, node, pod)));
        }
    }
    wave.probes
}

/// Nodes that the question would concern but that are left out for [`MAX_NODES`].
pub(crate) fn left_out(case: &Case, facts: &Facts<'_>) -> usize {
    let asked: BTreeSet<&str> = case.answers.iter().map(|answer| answer.probe.node()).collect();
    let wanted: BTreeSet<&str> =
        facts.live_ways().filter_map(|(_, way)| way.node).filter(|node| case.connected(node)).collect();
    if asked.len() < MAX_NODES { 0 } else { wanted.difference(&asked).count() }
}

/// One round of probes.
struct Wave<'a> {
    case: &'a Case,
    nodes: BTreeSet<String>,
    probes: Vec<Probe>,
}

impl<'a> Wave<'a> {
    fn new(case: &'a Case) -> Self {
        let nodes = case.answers.iter().map(|answer| answer.probe.node().to_owned()).collect();
        Self { case, nodes, probes: Vec::new() }
    }

    /// Adds a probe unless it was answered, is there already, its node cannot be asked, or too many nodes are.
    fn add(&mut self, probe: Option<Probe>) {
        let Some(probe) = probe else { return };
        let node = probe.node();
        if !self.case.connected(node) || self.case.answer(&probe).is_some() || self.probes.contains(&probe) {
            return;
        }
        if !self.nodes.contains(node) && self.nodes.len() >= MAX_NODES {
            return;
        }
        self.nodes.insert(node.to_owned());
        self.probes.push(probe);
    }
}

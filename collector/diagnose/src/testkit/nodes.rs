//! What the nodes of the test cluster answer.
//!
//! Not the cluster itself: that is built one level up.

use std::net::SocketAddr;
use std::sync::Arc;

use model::node_state::Listener;
use model::probe::{ListenerReport, Scope};
use model::walk::{Action, Branch, Masquerade, RulesStamp, Step};
use model::{Answer, Case, Gap, Outcome, Packet, Probe, ProbeOutcome, RuleRef, Walk};

use super::{Arrival, Build, CHANGED_MS, Entry, NOW, rule_ref};
use crate::facts::Facts;
use crate::next_probes;

impl Build {
    /// The case, every probe answered that this cluster has an answer to.
    pub(crate) fn case(self) -> Case {
        let mut case = Case {
            now: NOW,
            question: self.question.clone(),
            objects: Arc::new(self.objects.clone()),
            nodes: self.nodes.clone(),
            live: self.live,
            answers: Vec::new(),
            drops: self.drops.clone(),
            gaps: Vec::new(),
        };
        loop {
            let probes = next_probes(&case);
            let before = case.answers.len();
            for probe in probes {
                if let Some(outcome) = self.answer(&case, &probe) {
                    case.answers.push(Answer { probe, at: NOW, outcome });
                }
            }
            if case.answers.len() == before {
                return case;
            }
        }
    }

    fn answer(&self, case: &Case, probe: &Probe) -> Option<ProbeOutcome> {
        match probe {
            Probe::Walk { scope: Scope::Pod(_), packet, .. } => {
                let branch = branch(packet, packet.dst, Outcome::Forwarded, None);
                Some(self.walk(packet, vec![branch]))
            }
            Probe::Walk { node, packet, .. } if node == "node-1" => self.entry(case, packet),
            Probe::Walk { packet, .. } => {
                let (outcome, rule) = match &self.arrival {
                    Arrival::Silent => return None,
                    Arrival::Passes => (Outcome::Forwarded, None),
                    Arrival::Drops(rule) => (Outcome::Dropped, Some(rule.clone())),
                };
                Some(self.walk(packet, vec![branch(packet, packet.dst, outcome, rule)]))
            }
            Probe::Listeners { pod, .. } => {
                let sockets = self.listeners.get(&pod.key.name)?;
                let listener = |local: &SocketAddr| Listener {
                    protocol: case.question.protocol,
                    local: *local,
                    v6only: Some(false),
                    queued: 0,
                    backlog: 128,
                    process: Some("api".into()),
                    pid: Some(1),
                };
                let listeners = sockets.iter().map(listener).collect();
                Some(ProbeOutcome::Listeners(ListenerReport { listeners, read_at: NOW.minus_ms(500) }))
            }
        }
    }

    fn entry(&self, case: &Case, packet: &Packet) -> Option<ProbeOutcome> {
        let ends: Vec<SocketAddr> = {
            let facts = Facts::of(case);
            let used = facts
                .intended
                .iter()
                .filter(|backend| backend.used && backend.at.is_ipv4() == packet.dst.is_ipv4())
                .map(|backend| backend.at);
            let translated = facts.attempts.first().is_some_and(|attempt| attempt.translated);
            if translated { used.collect() } else { vec![packet.dst] }
        };
        let each = |outcome: Outcome, rule: Option<&RuleRef>| {
            ends.iter().map(|end| branch(packet, *end, outcome, rule.cloned())).collect()
        };
        let branches = match &self.entry {
            Entry::Silent => return None,
            Entry::Forwards => each(Outcome::Forwarded, None),
            Entry::StopsBranches(outcome, rule) => each(*outcome, Some(rule)),
            Entry::Stops(outcome, rule) => vec![branch(packet, packet.dst, *outcome, Some(rule.clone()))],
            Entry::Leaks => vec![branch(packet, packet.dst, Outcome::Forwarded, None)],
            Entry::Holds => vec![branch(packet, packet.dst, Outcome::Local, None)],
            Entry::Unknown => {
                let mut unknown = branch(packet, packet.dst, Outcome::Unknown, None);
                unknown.gaps.push(Gap::new("rules of node-1", "a rule with -m u32 is not modelled"));
                vec![unknown]
            }
        };
        Some(self.walk(packet, branches))
    }

    pub(super) fn walk(&self, packet: &Packet, branches: Vec<Branch>) -> ProbeOutcome {
        let first = branches.first().map_or(Outcome::Unknown, |branch| branch.outcome);
        let gaps =
            branches.iter().flat_map(|branch| branch.gaps.clone()).chain(self.unwalked.clone()).collect();
        ProbeOutcome::Walk(Box::new(Walk {
            packet: packet.clone(),
            outcome: first,
            branches,
            proxy: self.proxy.clone(),
            rules: RulesStamp {
                read_at: NOW.minus_ms(1_000),
                fingerprint: 7,
                unchanged_since: NOW.minus_ms(CHANGED_MS),
            },
            gaps,
        }))
    }
}

pub(super) fn branch(
    packet: &Packet,
    destination: SocketAddr,
    outcome: Outcome,
    rule: Option<RuleRef>,
) -> Branch {
    let rejects = outcome == Outcome::Rejected;
    Branch {
        destination,
        outcome,
        masquerade: Masquerade::No,
        dnat_rule: (destination != packet.dst)
            .then(|| rule_ref("KUBE-SEP-AAAA", "-p tcp -j DNAT", "kube-proxy")),
        terminal_rule: rule.clone(),
        reject_with: rejects.then(|| "icmp-port-unreachable".to_owned()),
        out_interface: (outcome == Outcome::Forwarded).then(|| "eth0".to_owned()),
        gateway: None,
        steps: rule
            .map(|rule| Step {
                hook: "FORWARD".into(),
                rule: Some(rule),
                action: if rejects { Action::Reject("icmp-port-unreachable".into()) } else { Action::Drop },
                packets: None,
            })
            .into_iter()
            .collect(),
        gaps: Vec::new(),
    }
}

//! Drops of this connection, and the one way to turn them into proof.
//!
//! Matching is by address and port as they were at the drop. Whether a drop fits a cause, the cause says; whether it is
//! fresh, this file says for all of them.

use std::collections::BTreeMap;

use model::explanation::{EvidenceKind, Reason};
use model::netns::NetnsOwner;
use model::place::Owner;
use model::walk::Branch;
use model::{Case, DropRecord, Protocol, Timestamp};

use super::Facts;
use super::ways::{Attempt, Way};

/// How many drop records an argument quotes; the rest is told as a number.
const QUOTED: usize = 3;

/// A drop of this connection.
#[derive(Clone, Debug)]
pub struct SeenDrop<'a> {
    /// The record.
    pub record: &'a DropRecord,
    /// In whose namespace it happened; `None` if that is not known.
    pub owner: Option<Owner>,
    /// Which attempt it belongs to, by index.
    pub attempt: usize,
    /// Which way it was on, by index; `None` if it happened before the destination was translated.
    pub way: Option<usize>,
}

impl SeenDrop<'_> {
    /// Whether netfilter dropped or rejected it (both look alike in the kernel: `NETFILTER_DROP`).
    pub fn by_rule(&self) -> bool {
        self.record.reason == "NETFILTER_DROP"
    }

    /// Whether it was dropped because no socket was bound to its port.
    pub fn no_socket(&self) -> bool {
        self.record.reason == "NO_SOCKET"
    }

    /// Whether it happened in the own namespace of this node.
    pub fn on_node(&self, node: &str) -> bool {
        self.record.id.node == node && self.owner == Some(Owner::Node)
    }

    /// Whether it happened inside this pod.
    pub fn in_pod(&self, pod: &model::Key) -> bool {
        matches!(&self.owner, Some(Owner::Pod(key)) if key == pod)
    }
}

/// What a drop has to agree with besides the objects.
#[derive(Clone, Copy, Debug)]
pub enum RuleNow<'a> {
    /// No rule took the decision.
    NoRule,
    /// This branch of a walk through today's rules stops the packet, and those rules have stood since then.
    Stops {
        /// The branch.
        branch: &'a Branch,
        /// When the rules were last different.
        since: Timestamp,
    },
}

/// Fresh kernel evidence, as the last clauses of an argument. Only [`Facts::prove`] makes one.
#[derive(Clone, Debug)]
pub struct Proof {
    reasons: Vec<Reason>,
    changed: Timestamp,
}

impl Proof {
    /// The latest change of what is argued about: drops before it would be no proof.
    pub(crate) const fn changed(&self) -> Timestamp {
        self.changed
    }

    pub(crate) fn into_reasons(self) -> Vec<Reason> {
        self.reasons
    }
}

/// Which drops of the case belong to the connection.
pub(super) fn matching<'a>(case: &'a Case, attempts: &[Attempt<'a>], ways: &[Way<'a>]) -> Vec<SeenDrop<'a>> {
    let ours = |record: &&DropRecord| {
        !record.reply
            && record.tuple.protocol == case.question.protocol
            && record.last_at >= case.question.since
    };
    let place = |record: &'a DropRecord| {
        let tuple = &record.tuple;
        let from = |index: usize| attempts[index].src == Some(tuple.src);
        let way = ways.iter().position(|way| from(way.attempt) && way.destination == tuple.dst);
        let attempt = way
            .map(|way| ways[way].attempt)
            .or_else(|| (0..attempts.len()).find(|index| from(*index) && attempts[*index].dst == tuple.dst));
        attempt.map(|attempt| SeenDrop { record, owner: owner(case, record), attempt, way })
    };
    case.drops.iter().filter(ours).filter_map(place).collect()
}

impl<'a> Facts<'a> {
    /// Proof by those of `drops` that are newer than `changed`, the latest change of what is argued about, and, where
    /// a rule is blamed, that the rules took the same decision then as now.
    pub fn prove<'d>(
        &self,
        drops: impl IntoIterator<Item = &'d SeenDrop<'a>>,
        changed: Timestamp,
        rule: RuleNow<'_>,
    ) -> Option<Proof>
    where
        'a: 'd,
    {
        let fresh: Vec<&SeenDrop<'a>> = drops
            .into_iter()
            .filter(|drop| drop.record.last_at >= changed && agrees(drop.record, rule))
            .collect();
        let mut reasons = self.told(&fresh, rule);
        if reasons.is_empty() {
            return None;
        }
        let rest = reasons.len().saturating_sub(QUOTED);
        reasons.truncate(QUOTED);
        if let (Some(last), true) = (reasons.last_mut(), rest > 0) {
            last.text = format!("{}; {rest} more like it", last.text);
        }
        Some(Proof { reasons, changed })
    }

    /// One clause for each place, flow and reason. In that order and not by time: which backend was hit last is chance,
    /// and the same fault should read the same.
    fn told(&self, drops: &[&SeenDrop<'a>], rule: RuleNow<'_>) -> Vec<Reason> {
        let mut merged: BTreeMap<(String, String, String), (u64, Timestamp)> = BTreeMap::new();
        for drop in drops {
            let record = drop.record;
            let place = match &drop.owner {
                Some(Owner::Pod(pod)) => format!(" in {pod}"),
                _ => String::new(),
            };
            let key = (record.id.node.clone(), format!("{}{place}", record.tuple), record.reason.clone());
            let entry = merged.entry(key).or_default();
            entry.0 = entry.0.saturating_add(record.count);
            entry.1 = entry.1.max(record.last_at);
        }
        let what = if self.case.question.protocol == Protocol::Tcp { "SYN" } else { "packets" };
        let rejected = matches!(rule, RuleNow::Stops { branch, .. } if branch.reject_with.is_some());
        merged
            .into_iter()
            .map(|((node, flow, reason), (count, last))| {
                let reason =
                    if rejected && reason == "NETFILTER_DROP" { "REJECT".to_owned() } else { reason };
                Reason {
                    text: format!("{node} dropped {count} {what} {flow} ({reason})"),
                    evidence: EvidenceKind::Drop,
                    source: node,
                    observed_at: Some(last),
                }
            })
            .collect()
    }
}

/// Whether the rules did then what they do now.
fn agrees(record: &DropRecord, rule: RuleNow<'_>) -> bool {
    match rule {
        RuleNow::NoRule => true,
        RuleNow::Stops { branch, since } => match &record.walk {
            Some(then) => {
                then.outcome == branch.outcome && then.terminal_rule() == branch.terminal_rule.as_ref()
            }
            None => record.last_at >= since,
        },
    }
}

/// Puts a name to the namespace of a record.
fn owner(case: &Case, record: &DropRecord) -> Option<Owner> {
    match &record.netns.owner {
        NetnsOwner::Node => Some(Owner::Node),
        NetnsOwner::Unknown => None,
        NetnsOwner::Pod { uid, addresses } => {
            let by_uid = uid.as_ref().and_then(|uid| {
                case.objects.pods.values().find(|pod| !uid.is_empty() && pod.meta.uid == *uid)
            });
            by_uid
                .or_else(|| addresses.iter().find_map(|address| case.objects.pod_by_address(*address)))
                .map(|pod| Owner::Pod(pod.key().clone()))
        }
    }
}

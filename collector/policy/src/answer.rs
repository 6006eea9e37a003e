//! From the detailed verdict to the public answer. It decides nothing; what is left out here is for causes alone.

use model::explanation::{DirectionVerdict, PolicyAnswer, PolicyEffect, PolicyPart, PolicyVerdict};

use crate::detail::{Detailed, DetailedDirection, DetailedPolicy, Outcome};
use crate::words;

impl From<Detailed> for PolicyAnswer {
    fn from(detailed: Detailed) -> Self {
        let Detailed { egress, ingress, destination } = detailed;
        Self { egress: egress.into(), ingress: ingress.into(), destination }
    }
}

impl From<DetailedDirection> for DirectionVerdict {
    /// For an allowance the policies that admit, otherwise all that select the pod, in the order they are asked.
    fn from(direction: DetailedDirection) -> Self {
        let DetailedDirection { effect, isolated, policies, mut cluster, before, .. } = direction;
        let baseline = cluster.split_off(before.min(cluster.len()));
        let all = cluster.into_iter().chain(policies).chain(baseline);
        let allowed = effect == PolicyVerdict::Allow;
        let admits = |policy: &DetailedPolicy| policy.asked && matches!(policy.outcome, Outcome::Allows(_));
        Self {
            effect,
            isolated,
            policies: all.filter(|policy| !allowed || admits(policy)).map(part).collect(),
        }
    }
}

fn part(policy: DetailedPolicy) -> PolicyPart {
    let DetailedPolicy { kind, policy: key, outcome, nearest, doubts, says, asked } = policy;
    let mismatch = match &nearest {
        Some(miss) if miss.admits_peer => PolicyEffect::PortMismatch,
        _ => PolicyEffect::PeerMismatch,
    };
    let (effect, rule) = match outcome {
        Outcome::Allows(rule) => (PolicyEffect::Allows, Some(rule)),
        Outcome::Denies(rule) => (PolicyEffect::Denies, Some(rule)),
        Outcome::Passes(rule) => (PolicyEffect::Passes, Some(rule)),
        Outcome::NoRules => (PolicyEffect::NoRules, None),
        Outcome::PeerMismatch => (PolicyEffect::PeerMismatch, nearest.as_ref().map(|miss| miss.rule)),
        Outcome::PortMismatch => (PolicyEffect::PortMismatch, nearest.as_ref().map(|miss| miss.rule)),
        Outcome::Unknown => (mismatch, nearest.as_ref().map(|miss| miss.rule)),
    };
    let mut near_miss = match outcome {
        Outcome::Unknown => words::cannot_tell(&doubts),
        Outcome::Denies(_) | Outcome::Passes(_) => says,
        _ => nearest.map(|miss| miss.text).unwrap_or_default(),
    };
    if !asked {
        let behind = "not asked: another policy decides before";
        near_miss = if near_miss.is_empty() { behind.to_owned() } else { format!("{near_miss}; {behind}") };
    }
    PolicyPart { kind: kind.word().to_owned(), policy: key.to_string(), effect, rule, near_miss }
}

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
    /// For an allowance the policies that admit, otherwise all that isolate.
    fn from(direction: DetailedDirection) -> Self {
        let DetailedDirection { effect, isolated, policies, .. } = direction;
        let allowed = effect == PolicyVerdict::Allow;
        let telling = |policy: &DetailedPolicy| !allowed || matches!(policy.outcome, Outcome::Allows(_));
        Self { effect, isolated, policies: policies.into_iter().filter(telling).map(part).collect() }
    }
}

fn part(policy: DetailedPolicy) -> PolicyPart {
    let nearest = policy.nearest;
    let mismatch = match &nearest {
        Some(miss) if miss.admits_peer => PolicyEffect::PortMismatch,
        _ => PolicyEffect::PeerMismatch,
    };
    let (effect, rule) = match policy.outcome {
        Outcome::Allows(rule) => (PolicyEffect::Allows, Some(rule)),
        Outcome::NoRules => (PolicyEffect::NoRules, None),
        Outcome::PeerMismatch => (PolicyEffect::PeerMismatch, nearest.as_ref().map(|miss| miss.rule)),
        Outcome::PortMismatch => (PolicyEffect::PortMismatch, nearest.as_ref().map(|miss| miss.rule)),
        Outcome::Unknown => (mismatch, nearest.as_ref().map(|miss| miss.rule)),
    };
    let near_miss = match policy.outcome {
        Outcome::Unknown => words::cannot_tell(&policy.doubts),
        _ => nearest.map(|miss| miss.text).unwrap_or_default(),
    };
    PolicyPart {
        kind: "NetworkPolicy".to_owned(),
        policy: policy.policy.to_string(),
        effect,
        rule,
        near_miss,
    }
}

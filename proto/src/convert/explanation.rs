//! Answers. They only go out: what reads them reads the wire type, so that answers made here and elsewhere look alike.

use jiff::Timestamp as Instant;
use model::explanation::{
    AskedQuestion, DirectionVerdict, EvidenceKind, Hop, HopState, Path, PolicyAnswer, PolicyEffect,
    PolicyPart, PolicyVerdict, Reason,
};
use model::place::Owner;
use model::{
    Basis, Certainty, Effect, Explanation, Family, Finding, Place, RuleRef, Stage, Timestamp, Verdict,
};

use super::flow;
use crate::v1;

/// How many backends of one path are named; the count says the rest (design 4.2).
const BACKENDS_NAMED: usize = 20;

/// An answer for the wire.
pub fn explanation(answer: &Explanation) -> v1::Explanation {
    v1::Explanation {
        summary: answer.summary.clone(),
        verdict: verdict(answer.verdict).into(),
        certainty: certainty(answer.certainty).into(),
        basis: match answer.basis {
            Basis::Objects => v1::basis::Value::Objects,
            Basis::Programmed => v1::basis::Value::Programmed,
            Basis::Observed => v1::basis::Value::Observed,
        }
        .into(),
        question: Some(question(&answer.question)),
        findings: answer.findings.iter().map(|found| finding(found, answer.now)).collect(),
        paths: answer.paths.iter().map(path).collect(),
        policy: answer.policy.as_ref().map(policy),
        ruled_out: answer
            .ruled_out
            .iter()
            .map(|out| v1::RuledOut { id: out.id.clone(), cause: out.cause.clone(), why: out.why.clone() })
            .collect(),
        not_checked: answer
            .not_checked
            .iter()
            .map(|gap| v1::NotChecked {
                what: gap.what.clone(),
                why: gap.why.clone(),
                remedy: gap.remedy.clone(),
            })
            .collect(),
    }
}

/// A rule as answers show it.
pub fn rule(rule: &RuleRef) -> v1::Rule {
    v1::Rule {
        backend: rule.backend.word().to_owned(),
        family: match rule.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
        .to_owned(),
        table: rule.table.clone(),
        chain: rule.chain.clone(),
        // Handles count up from 1 in each table (`nft_table.hgenerator`); one that does not fit is left out, not cut.
        handle: rule.handle.and_then(|handle| u32::try_from(handle).ok()),
        rule: rule.text.clone(),
        owner: rule.owner.clone(),
        object: rule.object.clone(),
    }
}

/// RFC 3339 in UTC with milliseconds; empty for a time beyond the year 9999.
pub(super) fn rfc3339(time: Timestamp) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| Instant::from_millisecond(ms).ok())
        .map(|instant| format!("{instant:.3}"))
        .unwrap_or_default()
}

/// A 64-bit number in the 32 bits that JSON consumers can take as a number.
pub(super) fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

const fn verdict(verdict: Verdict) -> v1::verdict::Value {
    match verdict {
        Verdict::Delivered => v1::verdict::Value::Delivered,
        Verdict::Partial => v1::verdict::Value::Partial,
        Verdict::Dropped => v1::verdict::Value::Dropped,
        Verdict::Rejected => v1::verdict::Value::Rejected,
        Verdict::Unresolved => v1::verdict::Value::Unresolved,
        Verdict::Inconclusive => v1::verdict::Value::Inconclusive,
    }
}

const fn certainty(certainty: Certainty) -> v1::certainty::Value {
    match certainty {
        Certainty::Possible => v1::certainty::Value::Possible,
        Certainty::Likely => v1::certainty::Value::Likely,
        Certainty::Proven => v1::certainty::Value::Proven,
    }
}

const fn stage(stage: Stage) -> v1::stage::Value {
    match stage {
        Stage::Name => v1::stage::Value::Name,
        Stage::Source => v1::stage::Value::Source,
        Stage::Endpoints => v1::stage::Value::Endpoints,
        Stage::SourceNode => v1::stage::Value::SourceNode,
        Stage::Underlay => v1::stage::Value::Underlay,
        Stage::DestinationNode => v1::stage::Value::DestinationNode,
        Stage::Destination => v1::stage::Value::Destination,
        Stage::Reply => v1::stage::Value::Reply,
    }
}

fn question(asked: &AskedQuestion) -> v1::Question {
    v1::Question {
        source: asked.source.clone(),
        source_addresses: asked.source_addresses.clone(),
        destination: asked.destination.clone(),
        destination_addresses: asked.destination_addresses.clone(),
        port: asked.port.into(),
        protocol: asked.protocol.clone(),
        window_seconds: asked.window_seconds,
        notes: asked.notes.clone(),
    }
}

fn finding(found: &Finding, now: Timestamp) -> v1::Finding {
    v1::Finding {
        id: found.id.clone(),
        cause: found.cause.clone(),
        title: found.title.clone(),
        certainty: certainty(found.certainty).into(),
        effect: match found.effect {
            Effect::Stops => v1::effect::Value::Stops,
            Effect::Some => v1::effect::Value::Some,
            Effect::Later => v1::effect::Value::Later,
            Effect::Note => v1::effect::Value::Note,
        }
        .into(),
        at: Some(place(&found.at)),
        objects: found
            .objects
            .iter()
            .map(|object| v1::ObjectReference {
                api_version: object.api_version.clone(),
                kind: object.kind.clone(),
                namespace: object.key.namespace.clone(),
                name: object.key.name.clone(),
                field: object.field.clone(),
            })
            .collect(),
        because: found.because.iter().map(|claim| reason(claim, now)).collect(),
        fixes: found
            .fixes
            .iter()
            .map(|fix| v1::Fix { text: fix.text.clone(), command: fix.command.clone() })
            .collect(),
        affects: found.affects.map(|affects| v1::Affects { backends: affects.backends, of: affects.of }),
    }
}

fn place(place: &Place) -> v1::Place {
    v1::Place {
        node: place.node.clone().unwrap_or_default(),
        netns_owner: match &place.owner {
            Some(Owner::Node) => "node".to_owned(),
            Some(Owner::Pod(pod)) => format!("pod {pod}"),
            None => String::new(),
        },
        stage: stage(place.stage).into(),
    }
}

fn reason(claim: &Reason, now: Timestamp) -> v1::Reason {
    v1::Reason {
        text: claim.text.clone(),
        evidence: match claim.evidence {
            EvidenceKind::Object => v1::evidence::Value::Object,
            EvidenceKind::Rules => v1::evidence::Value::Rules,
            EvidenceKind::Sockets => v1::evidence::Value::Sockets,
            EvidenceKind::Drop => v1::evidence::Value::Drop,
        }
        .into(),
        source: claim.source.clone(),
        observed_at: claim.observed_at.map(rfc3339).unwrap_or_default(),
        age_ms: claim.observed_at.map_or(0, |at| saturated(at.age_ms(now))),
    }
}

fn path(path: &Path) -> v1::Path {
    v1::Path {
        backends: path.backends.iter().take(BACKENDS_NAMED).cloned().collect(),
        backend_count: path.backend_count,
        family: flow::family(path.family).into(),
        verdict: verdict(path.verdict).into(),
        hops: path.hops.iter().map(hop).collect(),
    }
}

fn hop(hop: &Hop) -> v1::Hop {
    v1::Hop {
        stage: stage(hop.stage).into(),
        node: hop.node.clone().unwrap_or_default(),
        state: match hop.state {
            HopState::Pass => v1::hop_state::Value::Pass,
            HopState::Stop => v1::hop_state::Value::Stop,
            HopState::Unknown => v1::hop_state::Value::Unknown,
        }
        .into(),
        detail: hop.detail.clone(),
        rule: hop.rule.as_ref().map(rule),
    }
}

fn policy(answer: &PolicyAnswer) -> v1::PolicyAnswer {
    v1::PolicyAnswer {
        egress: Some(direction(&answer.egress)),
        ingress: Some(direction(&answer.ingress)),
        destination: answer.destination.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn direction(verdict: &DirectionVerdict) -> v1::DirectionVerdict {
    v1::DirectionVerdict {
        effect: match verdict.effect {
            PolicyVerdict::Allow => v1::policy_verdict::Value::Allow,
            PolicyVerdict::Deny => v1::policy_verdict::Value::Deny,
            PolicyVerdict::Unknown => v1::policy_verdict::Value::Unknown,
        }
        .into(),
        isolated: verdict.isolated,
        policies: verdict.policies.iter().map(policy_part).collect(),
    }
}

fn policy_part(part: &PolicyPart) -> v1::PolicyPart {
    v1::PolicyPart {
        kind: part.kind.clone(),
        policy: part.policy.clone(),
        effect: match part.effect {
            PolicyEffect::Allows => v1::policy_effect::Value::Allows,
            PolicyEffect::Denies => v1::policy_effect::Value::Denies,
            PolicyEffect::Passes => v1::policy_effect::Value::Passes,
            PolicyEffect::PeerMismatch => v1::policy_effect::Value::PeerMismatch,
            PolicyEffect::PortMismatch => v1::policy_effect::Value::PortMismatch,
            PolicyEffect::NoRules => v1::policy_effect::Value::NoRules,
        }
        .into(),
        rule: part.rule,
        near_miss: part.near_miss.clone(),
    }
}

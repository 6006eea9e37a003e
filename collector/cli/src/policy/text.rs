//! A policy verdict for people.

use ::policy::{DecidedBy, Detailed, DetailedDirection, Doubt};
use model::explanation::{DirectionVerdict, PolicyEffect, PolicyPart, PolicyVerdict};
use model::objects::Tier;

use super::asked::{Judged, Target};
use super::line::word;
use crate::render::{self, Look, Paint};

/// Doubts of one direction that are told; the rest is counted.
const DOUBTS: usize = 4;

/// Prints a verdict: both ends, then each direction and what decides in it, for every destination that differs.
pub fn render(judged: &Judged, look: Look) -> String {
    let mut out = String::new();
    let said = look.paint(paint(judged.verdict()), word(judged.verdict()));
    render::item(&mut out, look, "", 0, &format!("{said}: {}", render::escape(&judged.heading())));
    for note in &judged.question.notes {
        render::item(&mut out, look, "  note     ", 11, &render::escape(note));
    }
    out.push_str(&of_targets(judged, look));
    out
}

/// The destinations, those of one verdict together: the first of each is told in full.
fn of_targets(judged: &Judged, look: Look) -> String {
    let mut out = String::new();
    let mut told: Vec<(&Detailed, Vec<&Target>)> = Vec::new();
    for target in &judged.targets {
        let same = told.iter_mut().find(|(first, _)| {
            first.egress == target.detailed.egress && first.ingress == target.detailed.ingress
        });
        match same {
            Some((_, targets)) => targets.push(target),
            None => told.push((&target.detailed, vec![target])),
        }
    }
    for (detailed, targets) in told {
        if judged.by_service() {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).take(3).collect();
            let more = targets.len() - names.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            render::item(
                &mut out,
                look,
                "  at       ",
                11,
                &render::escape(&format!("{}{more}", names.join(", "))),
            );
        }
        of_pair(&mut out, detailed, look);
    }
    out
}

/// Both directions of one pair.
pub fn of_pair(out: &mut String, detailed: &Detailed, look: Look) {
    direction(out, "egress ", "out of the source", &detailed.egress, look);
    direction(out, "ingress", "into the destination", &detailed.ingress, look);
}

fn direction(out: &mut String, name: &str, way: &str, found: &DetailedDirection, look: Look) {
    let said = look.paint(paint(found.effect), word(found.effect));
    render::item(out, look, &format!("  {name}  "), 11, &format!("{said}: {}", why(found, way)));
    let verdict = DirectionVerdict::from(found.clone());
    for part in &verdict.policies {
        render::item(out, look, "           - ", 13, &render::escape(&words(part)));
    }
    if found.effect == PolicyVerdict::Unknown {
        let told =
            |doubt: &&Doubt| !verdict.policies.iter().any(|part| part.near_miss.contains(&doubt.to_string()));
        let doubts: Vec<&Doubt> = found.doubts.iter().filter(told).collect();
        for doubt in doubts.iter().take(DOUBTS) {
            render::item(out, look, "           ? ", 13, &render::escape(&doubt.to_string()));
        }
        if doubts.len() > DOUBTS {
            let more = format!("{} more reasons", doubts.len() - DOUBTS);
            render::item(out, look, "           ? ", 13, &more);
        }
    }
    for note in &found.notes {
        render::item(out, look, "           ! ", 13, &render::escape(&note.to_string()));
    }
    if let Some(patch) = &found.patch {
        let text = format!("to admit it: {} {}: {}", patch.kind.word(), patch.policy, patch.says);
        render::item(out, look, "           + ", 13, &render::escape(&text));
        // A command is for pasting: never wrapped.
        out.push_str("             ");
        out.push_str(&render::escape(&patch.command()));
        out.push('\n');
    }
}

fn why(found: &DetailedDirection, way: &str) -> String {
    match (found.effect, found.decided_by) {
        (PolicyVerdict::Unknown, _) => "what the policies say is not known".to_owned(),
        (PolicyVerdict::Allow, DecidedBy::Nothing) => format!("no policy isolates it {way}"),
        (PolicyVerdict::Allow, DecidedBy::Exemption) => "no policy has a say in this".to_owned(),
        (PolicyVerdict::Allow, DecidedBy::Tier(tier)) => format!("a rule of the {tier} tier admits it"),
        (PolicyVerdict::Allow, _) => "these policies admit it".to_owned(),
        (PolicyVerdict::Deny, DecidedBy::Tier(Tier::Admin)) => {
            "a rule of the Admin tier denies it, whatever NetworkPolicies say".to_owned()
        }
        (PolicyVerdict::Deny, DecidedBy::Tier(Tier::Baseline)) => {
            "no NetworkPolicy isolates it, and a rule of the Baseline tier denies it".to_owned()
        }
        (PolicyVerdict::Deny, _) => "policies isolate it, and none admits this".to_owned(),
    }
}

fn words(part: &PolicyPart) -> String {
    // A near miss names its rule itself.
    let rule = part.rule.filter(|_| part.near_miss.is_empty()).map(|rule| format!(", rule {rule}"));
    let rule = rule.unwrap_or_default();
    let does = match part.effect {
        PolicyEffect::Allows if part.near_miss.is_empty() => "admits it".to_owned(),
        PolicyEffect::Allows => format!("would admit it; {}", part.near_miss),
        PolicyEffect::NoRules if part.near_miss.is_empty() => "admits nothing".to_owned(),
        PolicyEffect::NoRules => format!("admits nothing; {}", part.near_miss),
        PolicyEffect::Denies
        | PolicyEffect::Passes
        | PolicyEffect::PeerMismatch
        | PolicyEffect::PortMismatch => part.near_miss.clone(),
    };
    format!("{} {}{rule}: {does}", part.kind, part.policy)
}

pub const fn paint(verdict: PolicyVerdict) -> Paint {
    match verdict {
        PolicyVerdict::Allow => Paint::Good,
        PolicyVerdict::Deny => Paint::Bad,
        PolicyVerdict::Unknown => Paint::Unsure,
    }
}

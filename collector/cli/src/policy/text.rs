//! A policy verdict for people.

use model::explanation::{
    AskedQuestion, DirectionVerdict, PolicyAnswer, PolicyEffect, PolicyPart, PolicyVerdict,
};

use super::line::word;
use crate::render::{self, Look, Paint};

/// Prints a verdict: both ends, then each direction and what decides in it.
pub fn render(question: &AskedQuestion, answer: &PolicyAnswer, verdict: PolicyVerdict, look: Look) -> String {
    let mut out = String::new();
    let to = match &answer.destination {
        Some(pod) if !question.destination.ends_with(&pod.to_string()) => {
            format!("{}, pod {pod}", question.destination)
        }
        _ => question.destination.clone(),
    };
    let heading = render::escape(&format!(
        "{} to {to}:{}/{}",
        question.source,
        question.port,
        question.protocol.to_ascii_lowercase()
    ));
    let said = look.paint(paint(verdict), word(verdict));
    render::item(&mut out, look, "", 0, &format!("{said}: {heading}"));
    direction(&mut out, "egress ", "out of the source", &answer.egress, look);
    direction(&mut out, "ingress", "into the destination", &answer.ingress, look);
    out
}

fn direction(out: &mut String, name: &str, way: &str, verdict: &DirectionVerdict, look: Look) {
    let said = look.paint(paint(verdict.effect), word(verdict.effect));
    let why = match (verdict.isolated, verdict.effect) {
        (false, PolicyVerdict::Allow) => format!("no policy isolates it {way}"),
        (false, _) => format!("whether a policy isolates it {way} is not known"),
        (true, PolicyVerdict::Allow) => "these policies admit it".to_owned(),
        (true, PolicyVerdict::Deny) => "policies isolate it, and none admits this".to_owned(),
        (true, PolicyVerdict::Unknown) => "whether one of these policies admits it is not known".to_owned(),
    };
    render::item(out, look, &format!("  {name}  "), 11, &format!("{said}: {why}"));
    for part in &verdict.policies {
        render::item(out, look, "           - ", 13, &render::escape(&words(part)));
    }
}

fn words(part: &PolicyPart) -> String {
    // A near miss names its rule itself.
    let rule = part.rule.filter(|_| part.near_miss.is_empty()).map(|rule| format!(", rule {rule}"));
    let rule = rule.unwrap_or_default();
    let does = match part.effect {
        PolicyEffect::Allows => "admits it",
        PolicyEffect::Denies => "denies it",
        PolicyEffect::Passes => "leaves it to others",
        PolicyEffect::NoRules => "admits nothing",
        PolicyEffect::PeerMismatch | PolicyEffect::PortMismatch => part.near_miss.as_str(),
    };
    format!("{} {}{rule}: {does}", part.kind, part.policy)
}

const fn paint(verdict: PolicyVerdict) -> Paint {
    match verdict {
        PolicyVerdict::Allow => Paint::Good,
        PolicyVerdict::Deny => Paint::Bad,
        PolicyVerdict::Unknown => Paint::Unsure,
    }
}

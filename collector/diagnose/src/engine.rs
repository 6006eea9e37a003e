//! Runs all causes over a case, ranks what they found and gives the answer.
//!
//! It knows no cause by name: what a cause means is in its file, what the findings add up to is in `verdict`.

use std::collections::BTreeSet;

use model::explanation::{Affects, RuledOut};
use model::{Case, Effect, Explanation, Gap};

use crate::causes::ALL;
use crate::facts::Facts;
use crate::ruling::{Finding, Meta, Ruling, Touches};
use crate::verdict::{self, Units};
use crate::{not_checked, path, question};

/// Explains a case. The same case always gives the same explanation.
pub fn diagnose(case: &Case) -> Explanation {
    let facts = Facts::of(case);
    let mut rulings = rule_all(&facts);
    let units = Units::of(&facts);
    settle(&facts, &units, &mut rulings.found);
    let answer = verdict::answer(&facts, &units, &rulings.found, &rulings.cannot_tell);
    Explanation {
        summary: answer.summary,
        verdict: answer.verdict,
        certainty: answer.certainty,
        basis: answer.basis,
        question: question::words(&facts),
        paths: path::paths(&facts, &rulings.found),
        policy: facts.policy_answer(),
        ruled_out: rulings.ruled_out,
        not_checked: not_checked::gaps(&facts, rulings.cannot_tell),
        findings: rulings.found.into_iter().map(|finding| finding.inner).collect(),
        now: case.now,
    }
}

/// What was found about some facts, ranked as in an answer.
pub(crate) fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut rulings = rule_all(facts);
    settle(facts, &Units::of(facts), &mut rulings.found);
    rulings.found
}

/// What all causes said.
struct Rulings {
    found: Vec<Finding>,
    ruled_out: Vec<RuledOut>,
    cannot_tell: Vec<Gap>,
}

fn rule_all(facts: &Facts<'_>) -> Rulings {
    let mut rulings = Rulings { found: Vec::new(), ruled_out: Vec::new(), cannot_tell: Vec::new() };
    let mut superseded: BTreeSet<&str> = BTreeSet::new();
    for cause in ALL {
        let Meta { id, slug, supersedes, .. } = cause.meta;
        match (cause.rule)(facts) {
            Ruling::Found(finding) => {
                if finding.inner.effect != Effect::Note {
                    superseded.extend(supersedes);
                }
                rulings.found.push(*finding);
            }
            Ruling::RuledOut(why) => {
                rulings.ruled_out.push(RuledOut { id: id.into(), cause: slug.into(), why });
            }
            Ruling::CannotTell(gap) => rulings.cannot_tell.push(gap),
            Ruling::NotApplicable => {}
        }
    }
    rulings.ruled_out.sort_by(|a, b| by_id(&a.id).cmp(&by_id(&b.id)));
    rulings.found.retain(|finding| !superseded.contains(finding.inner.id.as_str()));
    rulings
}

/// Gives each finding its effect and arithmetic, and puts them in order: what stops before what is only worth knowing,
/// the surer before the less sure, the earlier on the path before the later, then by id.
fn settle(facts: &Facts<'_>, units: &Units, found: &mut [Finding]) {
    for finding in found.iter_mut() {
        let touched = units.touched(&finding.touches).len();
        if finding.inner.effect != Effect::Note {
            finding.inner.effect = match touched {
                _ if units.is_empty() => Effect::Stops,
                0 => Effect::Note,
                touched if touched == units.len() => Effect::Stops,
                _ => Effect::Some,
            };
        }
        finding.inner.affects = affects(facts, &finding.touches);
    }
    found.sort_by_key(rank);
}

fn rank(finding: &Finding) -> (bool, std::cmp::Reverse<model::Certainty>, model::Stage, String, u32) {
    let inner = &finding.inner;
    let (letter, number) = by_id(&inner.id);
    (
        inner.effect == Effect::Note,
        std::cmp::Reverse(inner.certainty),
        inner.at.stage,
        letter.to_owned(),
        number,
    )
}

/// Ids in reading order: letter, then number.
fn by_id(id: &str) -> (&str, u32) {
    let (letter, number) = id.split_at(id.len().min(1));
    (letter, number.parse().unwrap_or(u32::MAX))
}

/// How many of the Service's endpoints a finding touches.
fn affects(facts: &Facts<'_>, touches: &Touches) -> Option<Affects> {
    let Touches::Ways(touched) = touches else { return None };
    facts.target.service()?;
    let all: BTreeSet<String> = facts.live_ways().map(|(_, way)| way.name()).collect();
    let hit: BTreeSet<String> =
        facts.live_ways().filter(|(index, _)| touched.contains(index)).map(|(_, way)| way.name()).collect();
    let number = |set: &BTreeSet<String>| u32::try_from(set.len()).unwrap_or(u32::MAX);
    Some(Affects { backends: number(&hit), of: number(&all) })
}

#[cfg(test)]
mod questions;
#[cfg(test)]
mod tests;

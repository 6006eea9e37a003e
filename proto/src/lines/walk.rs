//! A walk as one JSON line. Public contract: names and order of fields are fixed.

use model::gap::Gap;
use model::walk::{Branch, Masquerade, Outcome, RuleRef, Walk};
use serde::Serialize;

use crate::convert;

/// What is told of a walk.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    outcome: &'static str,
    /// Everywhere it could be sent to.
    destinations: Vec<String>,
    masquerade: &'static str,
    dnat_rule: Option<Rule>,
    terminal_rule: Option<Rule>,
    reject_with: Option<String>,
    branches: Vec<Way>,
    gaps: Vec<ToldGap>,
}

/// One destination.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Way {
    destination: String,
    outcome: &'static str,
    masquerade: &'static str,
    dnat_rule: Option<Rule>,
    terminal_rule: Option<Rule>,
    reject_with: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Rule {
    backend: String,
    family: String,
    table: String,
    chain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<u32>,
    #[serde(rename = "rule")]
    text: String,
    owner: String,
    object: String,
}

#[derive(Serialize)]
struct ToldGap {
    what: String,
    why: String,
    remedy: String,
}

impl Told {
    /// What a walk tells.
    pub fn of(walk: &Walk) -> Self {
        let mut destinations: Vec<String> = Vec::new();
        for branch in &walk.branches {
            let destination = branch.destination.to_string();
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
        let mut told = walk.branches.iter().map(|branch| branch.reject_with.as_ref());
        let first = told.next().flatten();
        let reject_with = first.filter(|first| told.all(|other| other == Some(*first))).cloned();
        Self {
            outcome: outcome(walk.outcome),
            destinations,
            masquerade: masquerade(walk.masquerade()),
            dnat_rule: walk.dnat_rule().map(Rule::of),
            terminal_rule: walk.terminal_rule().map(Rule::of),
            reject_with,
            branches: walk.branches.iter().map(Way::of).collect(),
            gaps: walk.gaps.iter().map(ToldGap::of).collect(),
        }
    }
}

impl Way {
    fn of(branch: &Branch) -> Self {
        Self {
            destination: branch.destination.to_string(),
            outcome: outcome(branch.outcome),
            masquerade: masquerade(branch.masquerade),
            dnat_rule: branch.dnat_rule.as_ref().map(Rule::of),
            terminal_rule: branch.terminal_rule.as_ref().map(Rule::of),
            reject_with: branch.reject_with.clone(),
        }
    }
}

impl Rule {
    fn of(rule: &RuleRef) -> Self {
        let rule = convert::rule(rule);
        Self {
            backend: rule.backend,
            family: rule.family,
            table: rule.table,
            chain: rule.chain,
            handle: rule.handle,
            text: rule.rule,
            owner: rule.owner,
            object: rule.object,
        }
    }
}

impl ToldGap {
    fn of(gap: &Gap) -> Self {
        Self { what: gap.what.clone(), why: gap.why.clone(), remedy: gap.remedy.clone() }
    }
}

/// The word of an outcome.
pub const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded => "FORWARDED",
        Outcome::Local => "LOCAL",
        Outcome::Dropped => "DROPPED",
        Outcome::Rejected => "REJECTED",
        Outcome::Unknown => "UNKNOWN",
    }
}

const fn masquerade(masquerade: Masquerade) -> &'static str {
    match masquerade {
        Masquerade::No => "NO",
        Masquerade::Yes => "YES",
        Masquerade::Maybe => "MAYBE",
    }
}

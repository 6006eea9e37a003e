//! What the answer did not look at: gaps of the causes, of the nodes, of the objects, and what never is looked at.
//!
//! Each is said once. Gaps that do not bear on the question stay out.

use std::collections::{BTreeMap, BTreeSet};

use model::objects::Power;
use model::{Family, Gap};

use crate::facts::{Facts, NOT_LIVE, Target};
use crate::next_probes::{MAX_NODES, left_out};
use crate::words;

/// How many things one gap names; the rest is counted.
const TOLD: usize = 6;

/// All of them, in order of weight.
pub(crate) fn gaps(facts: &Facts<'_>, cannot_tell: Vec<Gap>) -> Vec<Gap> {
    let case = facts.case;
    let mut all = Vec::new();
    if !case.live {
        all.push(
            Gap::new("rules, listeners and drops of the nodes", NOT_LIVE)
                .with_remedy("ask through a collector with agents on the nodes"),
        );
    }
    all.extend(facts.missing());
    all.extend(cannot_tell);
    all.extend(walk_gaps(facts));
    all.extend(case.gaps.iter().cloned());
    all.extend(case.objects.gaps.iter().cloned());
    all.extend(other_policies(facts));
    all.extend(names(facts));
    all.extend(families(facts));
    all.extend(losses(facts));
    let left = left_out(case, facts);
    if left > 0 {
        all.push(Gap::new(
            words::count(left, "more node"),
            format!("at most {MAX_NODES} nodes are asked for one question"),
        ));
    }
    let mut first = true;
    all.retain(|gap| gap.why != NOT_LIVE || std::mem::take(&mut first));
    merged(all)
}

/// One gap for each reason: what misses for the same reason is told together.
fn merged(all: Vec<Gap>) -> Vec<Gap> {
    let mut groups: Vec<(Gap, Vec<String>)> = Vec::new();
    for gap in all {
        match groups.iter_mut().find(|(first, _)| first.why == gap.why && first.remedy == gap.remedy) {
            Some((_, whats)) if whats.contains(&gap.what) => {}
            Some((_, whats)) => whats.push(gap.what),
            None => {
                let what = gap.what.clone();
                groups.push((gap, vec![what]));
            }
        }
    }
    let told = |(gap, whats): (Gap, Vec<String>)| Gap { what: words::list(&whats, TOLD), ..gap };
    groups.into_iter().map(told).collect()
}

/// What the walks could not evaluate on the ways that matter.
fn walk_gaps(facts: &Facts<'_>) -> Vec<Gap> {
    let walks = facts.attempts.iter().filter_map(|attempt| attempt.walk.as_ref().ok());
    let arrivals = facts.live_ways().filter_map(|(_, way)| way.arrival.as_ref().ok());
    walks.chain(arrivals).flat_map(|walk| walk.gaps.iter().cloned()).collect()
}

/// Policies of kinds that are not evaluated and may be about either end, by kind.
fn other_policies(facts: &Facts<'_>) -> Vec<Gap> {
    let ends: Vec<(&str, &BTreeMap<String, String>)> = facts
        .source
        .pod
        .into_iter()
        .chain(facts.live_ways().filter_map(|(_, way)| way.pod))
        .map(|pod| (pod.key().namespace.as_str(), pod.labels()))
        .collect();
    let mut kinds: BTreeMap<&str, (Vec<String>, Power)> = BTreeMap::new();
    for ((kind, key), policy) in &facts.case.objects.other_policies {
        if ends.iter().any(|(namespace, labels)| policy.may_govern(namespace, labels)) {
            let (names, power) = kinds.entry(kind).or_insert((Vec::new(), Power::Elsewhere));
            names.push(key.to_string());
            *power = (*power).max(policy.power);
        }
    }
    kinds
        .into_iter()
        .map(|(kind, (names, power))| {
            let why = match power {
                Power::Elsewhere => {
                    "policies of this kind are not evaluated; they should change nothing here"
                }
                Power::Restricts => "policies of this kind are not evaluated and may deny it",
                Power::Overrides => "policies of this kind are not evaluated and may admit or deny it",
            };
            Gap::new(format!("{kind} {}", words::list(&names, TOLD)), why)
        })
        .collect()
}

/// What a name resolves to where no rule translates it: DNS is not asked.
fn names(facts: &Facts<'_>) -> Option<Gap> {
    let named = facts.target.service().filter(|named| !named.translated())?;
    let what = if named.service.headless { "the addresses DNS gives for" } else { "the target of" };
    Some(Gap::new(format!("{what} {}", named.name()), "DNS is not asked"))
}

/// Families that one end lacks: nothing to check there, but the reader may have expected it.
fn families(facts: &Facts<'_>) -> Vec<Gap> {
    let target = facts.target.addresses();
    if target.is_empty() || facts.source.addresses.is_empty() || facts.attempts.is_empty() {
        return Vec::new();
    }
    let mut gaps = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        if facts.attempts.iter().any(|attempt| attempt.family == family) {
            continue;
        }
        let lacks = if target.iter().any(|address| Family::of(*address) == family) {
            facts.source.name.clone()
        } else {
            facts.target.name(facts.case)
        };
        gaps.push(Gap::new(family.to_string(), format!("{lacks} has no {family} address")));
    }
    gaps
}

/// Nodes on the way that lost drop details: what was not recorded cannot be missed.
fn losses(facts: &Facts<'_>) -> Vec<Gap> {
    let mut nodes: BTreeSet<&str> = facts.live_ways().filter_map(|(_, way)| way.node).collect();
    nodes.extend(facts.source.node);
    if matches!(facts.target, Target::Missing) {
        return Vec::new();
    }
    nodes
        .into_iter()
        .filter_map(|node| facts.case.nodes.get(node))
        .filter(|report| report.lost > 0)
        .map(|report| {
            Gap::new(
                format!("some drops on {}", report.name),
                format!(
                    "{} dropped packets were counted without detail since its agent started",
                    report.lost
                ),
            )
        })
        .collect()
}

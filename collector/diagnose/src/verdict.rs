//! What the findings, or their absence, add up to: verdict, certainty, basis and the one sentence.
//!
//! It counts ways; it does not know causes.

use std::collections::BTreeSet;

use model::explanation::PolicyVerdict;
use model::objects::ServiceType;
use model::{Basis, Certainty, Effect, Gap, Protocol, Verdict};

use crate::facts::{Attempt, Direction, Facts, Listening, NOT_LIVE, open_to_others, silence};
use crate::predicted;
use crate::ruling::{Finding, Touches};
use crate::words;

/// The ways a connection can end up on: each live way, and each attempt that never gets as far as an endpoint.
pub(crate) struct Units {
    units: Vec<(usize, Option<usize>)>,
}

impl Units {
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let mut units = Vec::new();
        for (index, attempt) in facts.attempts.iter().enumerate() {
            let before = units.len();
            if attempt.direct().is_some() {
                units.push((index, None));
            }
            units.extend(
                facts.live_ways().filter(|(_, way)| way.attempt == index).map(|(way, _)| (index, Some(way))),
            );
            if units.len() == before {
                units.push((index, None));
            }
        }
        Self { units }
    }

    pub(crate) fn len(&self) -> usize {
        self.units.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Which units a finding speaks about.
    pub(crate) fn touched(&self, touches: &Touches) -> BTreeSet<usize> {
        let hit = |unit: &(usize, Option<usize>)| match touches {
            Touches::Everything => true,
            Touches::Attempts(attempts) => attempts.contains(&unit.0),
            Touches::Ways(ways) => unit.1.is_some_and(|way| ways.contains(&way)),
        };
        self.units.iter().enumerate().filter(|(_, unit)| hit(unit)).map(|(index, _)| index).collect()
    }
}

/// The head of an explanation.
pub(crate) struct Head {
    pub(crate) summary: String,
    pub(crate) verdict: Verdict,
    pub(crate) certainty: Certainty,
    pub(crate) basis: Basis,
}

/// The head, from findings already ranked.
pub(crate) fn answer(facts: &Facts<'_>, units: &Units, found: &[Finding], gaps: &[Gap]) -> Head {
    let stopping: Vec<&Finding> =
        found.iter().filter(|finding| matches!(finding.inner.effect, Effect::Stops | Effect::Some)).collect();
    let Some(first) = stopping.first() else {
        return nothing_found(facts, gaps);
    };
    let failing: BTreeSet<usize> =
        stopping.iter().flat_map(|finding| units.touched(&finding.touches)).collect();
    let all = units.is_empty() || failing.len() == units.len();
    let verdict = if all { first.inner.verdict } else { Verdict::Partial };
    let summary = if all {
        let others = stopping.iter().filter(|finding| finding.inner.effect == Effect::Some).count();
        match (first.inner.effect, others) {
            (Effect::Some, 2..) => {
                format!("{}; the other ways fail for other reasons.", first.inner.title)
            }
            _ => format!("{}.", first.inner.title),
        }
    } else {
        format!("{}; {}.", first.inner.title, odds(units, &failing))
    };
    // The evidence that the deciding finding argues with. Rules that were walked and let the packet pass are no evidence
    // for a stop behind them: a denial on a node that could not be asked stays predicted, whatever was seen before it.
    Head { summary, verdict, certainty: first.inner.certainty, basis: first.inner.basis() }
}

/// `expect about 40 % of connections to fail`, or which family fails.
fn odds(units: &Units, failing: &BTreeSet<usize>) -> String {
    let attempts: BTreeSet<usize> = units.units.iter().map(|unit| unit.0).collect();
    let whole = |attempt: &usize| {
        units
            .units
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.0 == *attempt)
            .all(|(index, _)| failing.contains(&index))
    };
    if attempts.len() > 1 && attempts.iter().any(whole) {
        return "the other address family is not touched".into();
    }
    let percent = (failing.len() * 100 + units.len() / 2) / units.len().max(1);
    format!("expect about {percent} % of connections to fail")
}

/// Delivered where everything passes, inconclusive where something is missing.
fn nothing_found(facts: &Facts<'_>, gaps: &[Gap]) -> Head {
    let blocked = blocked(facts, gaps);
    let asked = ask(facts);
    match blocked {
        None if facts.case.live => Head {
            summary: format!(
                "objects, rules and listeners let {} reach {asked}{}; {}.",
                facts.source.name,
                through(facts),
                history(facts)
            ),
            verdict: Verdict::Delivered,
            certainty: Certainty::Likely,
            basis: Basis::Programmed,
        },
        None => Head {
            summary: format!("the objects let {} reach {asked}{}.", facts.source.name, selected(facts)),
            verdict: Verdict::Delivered,
            certainty: Certainty::Likely,
            basis: Basis::Objects,
        },
        Some(why) => Head {
            summary: format!("{why}."),
            verdict: Verdict::Inconclusive,
            certainty: Certainty::Possible,
            basis: if facts.attempts.iter().any(|attempt| attempt.walk.is_ok()) {
                Basis::Programmed
            } else {
                Basis::Objects
            },
        },
    }
}

/// ` through shop/api-7c9`: the backends, where a Service is asked for.
fn through(facts: &Facts<'_>) -> String {
    if facts.target.service().is_none() {
        return String::new();
    }
    let ways: Vec<usize> = facts.live_ways().map(|(index, _)| index).collect();
    format!(" through {}", words::list(&facts.names(&ways), 3))
}

/// `; shop/api selects shop/api-7c9`: the pods, where they alone say that a selector is right.
fn selected(facts: &Facts<'_>) -> String {
    let planned: Vec<String> = facts
        .intended
        .iter()
        .filter(|backend| backend.planned)
        .filter_map(|backend| Some(backend.pod.as_ref()?.to_string()))
        .collect();
    match facts.target.service() {
        Some(named) if !planned.is_empty() => {
            let selector = named.service.pod_selector();
            format!("; its selector {selector} selects {}", words::list(&planned, 3))
        }
        _ => through(facts),
    }
}

/// What became of earlier drops: with everything passing now, they are history.
fn history(facts: &Facts<'_>) -> String {
    match facts.drops.iter().map(|drop| drop.record.last_at).max() {
        Some(last) => format!("its last drop, {} ago, is history", words::age(last, facts.case.now)),
        None if facts.case.question.protocol == Protocol::Tcp => "no drop of it was seen".into(),
        None => "only drops of TCP connections are recorded".into(),
    }
}

/// `shop/api:80`.
fn ask(facts: &Facts<'_>) -> String {
    let name = facts.target.name(facts.case);
    match facts.case.question.port_number() {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// Why it cannot be called delivered: the first thing on the way that is not known to pass.
fn blocked(facts: &Facts<'_>, gaps: &[Gap]) -> Option<String> {
    if let Some(named) = facts.target.service()
        && named.service.kind == ServiceType::ExternalName
    {
        let (name, alias) = (named.name(), &named.service.external_name);
        return Some(format!("{name} is an alias of {alias}, which is not followed"));
    }
    if !facts.case.live
        && let Some(why) = predicted::ends(facts)
    {
        return Some(why);
    }
    if facts.attempts.is_empty() {
        let why = gaps.iter().find(|gap| gap.why != NOT_LIVE).map(ToString::to_string);
        return Some(why.unwrap_or_else(|| format!("there is no address to look at for {}", ask(facts))));
    }
    for (index, attempt) in facts.attempts.iter().enumerate() {
        if facts.case.live {
            let runs = facts.source.pod.map(|pod| pod.key().to_string());
            if let Some(silent) = facts.source.node.and_then(|node| silent(facts, node, runs)) {
                return Some(silent);
            }
            if let Some(gap) = unknown_state(&attempt.inside()) {
                return Some(gap);
            }
            if let Some(gap) = &attempt.blind {
                return Some(gap.to_string());
            }
            if attempt.direct().is_some() {
                return Some(format!(
                    "the rules of {} do not translate {}, and why is not known",
                    facts.source.node.unwrap_or("the node"),
                    attempt.dst
                ));
            }
        }
        let mut ways = facts.live_ways().filter(|(_, way)| way.attempt == index).peekable();
        if ways.peek().is_none() {
            return Some(no_endpoint(facts, attempt, gaps));
        }
        if let Some(why) =
            ways.find_map(|(index, way)| blocked_way(facts, way).or_else(|| undecided(facts, index, way)))
        {
            return Some(why);
        }
    }
    None
}

fn no_endpoint(facts: &Facts<'_>, attempt: &Attempt<'_>, gaps: &[Gap]) -> String {
    if let Some(behind) = facts.behind() {
        return behind;
    }
    let asked = ask(facts);
    let other = facts.live_ways().any(|(_, way)| facts.attempt(way).family != attempt.family);
    if other {
        return format!("{asked} has no {} endpoint, and {} may use it", attempt.family, facts.source.name);
    }
    if let Some(named) = facts.target.service().filter(|named| !named.selects()) {
        return format!("{} has no selector, and no EndpointSlice gives {asked} an endpoint", named.name());
    }
    match gaps.iter().find(|gap| gap.why != NOT_LIVE) {
        Some(gap) => format!("no endpoint of {asked} is known: {}", gap.why),
        None => format!("no endpoint of {asked} is known"),
    }
}

fn blocked_way(facts: &Facts<'_>, way: &crate::facts::Way<'_>) -> Option<String> {
    if !facts.case.live {
        return predicted::way(facts, way);
    }
    if let Some(why) = unknown_state(&way.at_source(facts.attempt(way))) {
        return Some(why);
    }
    if let (Some(node), Err(gap)) = (way.node, &way.arrival)
        && !way.same_node
    {
        return silent(facts, node, way.pod.map(|pod| pod.key().to_string())).or(Some(gap.to_string()));
    }
    if let Some(why) = unknown_state(&way.at_arrival()) {
        return Some(why);
    }
    match way.listening() {
        Listening::Accepts(_) => None,
        Listening::Unknown(gap) => Some(gap.to_string()),
        _ => Some(format!("{} takes no connection on {}", way.name(), way.destination)),
    }
}

/// Where the policies do not clearly admit a way: unknown, or denying while nothing is seen to enforce them.
fn undecided(facts: &Facts<'_>, index: usize, way: &crate::facts::Way<'_>) -> Option<String> {
    [Direction::Egress, Direction::Ingress].into_iter().find_map(|direction| {
        let found = facts.direction(index, direction)?;
        match found.effect {
            PolicyVerdict::Allow => None,
            PolicyVerdict::Deny => Some(format!(
                "the {} policies deny {} to {}, but no rule was seen that enforces them",
                direction.word(),
                facts.source.name,
                way.name()
            )),
            // Where rules were walked, those of whatever enforces the other policies were among them.
            PolicyVerdict::Unknown
                if facts.case.live && found.evaluated == PolicyVerdict::Allow && open_to_others(found) =>
            {
                None
            }
            PolicyVerdict::Unknown => {
                let doubt = found.doubts.first().map(|doubt| format!(": {doubt}")).unwrap_or_default();
                Some(format!("what the {} policies say cannot be told{doubt}", direction.word()))
            }
        }
    })
}

fn unknown_state(state: &crate::facts::State<'_>) -> Option<String> {
    use crate::facts::State;
    match state {
        State::Pass => None,
        State::Stop(branch) => Some(format!("{} is stopped, and why is not known", branch.destination)),
        State::Unknown(gap) => Some(gap.to_string()),
    }
}

/// `node-2, where shop/api-7c9 runs, has not reported for 3 min`.
fn silent(facts: &Facts<'_>, node: &str, who: Option<String>) -> Option<String> {
    let silence = silence(facts.case, node)?;
    let place = match who {
        Some(who) => format!("{node}, where {who} runs,"),
        None => node.to_owned(),
    };
    // A node that "is not connected" would be another claim.
    let whose = if silence.ends_with("connected") { "the agent of " } else { "" };
    Some(format!("{whose}{place} {silence}"))
}

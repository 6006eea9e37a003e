//! A rule's statements in the common form.
//!
//! Conditions that come first are the rule's matches; if one thing is done after them it is the target, if several, they
//! are steps. A choice by number generator or hash becomes one rule for each way, as iptables would write it.

use super::tree::Value;

use super::build::{At, Place, printed};
use super::conditions::{self, Conditions};
use super::elements;
use super::fields::{self, Read};
use super::implied;
use super::object::single;
use super::statements;
use super::values::Kind;
use crate::ir::lookup::{Lookup, Mapped, Verdict};
use crate::ir::{Chance, Match, SetId, Step, Target, Test};

/// Lowers a rule and appends it.
pub(super) fn lower(place: &mut Place<'_>, at: &At, statements: &[Value<'_>]) -> Result<(), &'static str> {
    let mut steps: Vec<Step> = Vec::new();
    for statement in statements {
        let lowered = match unwritten(place, statement) {
            Some(conditions) => {
                steps.extend(conditions.into_iter().map(Step::If));
                one(place, statement)?
            }
            None => Lowered::Never,
        };
        match lowered {
            Lowered::If(conditions) => steps.extend(conditions.into_iter().map(Step::If)),
            Lowered::Never => {
                // Kept, because the rule is there.
                let never = Match { negate: false, test: Test::Chance(Chance::Never) };
                return place.push(at, [never], Target::None);
            }
            Lowered::Nothing | Lowered::Do(Target::Continue) => {}
            Lowered::Do(target) => steps.push(Step::Do(target)),
            Lowered::Choose(conditions, ways) => {
                steps.extend(conditions.into_iter().map(Step::If));
                return choose(place, at, steps, ways);
            }
        }
    }
    let first = steps.iter().position(|step| matches!(step, Step::Do(_))).unwrap_or(steps.len());
    let mut rest = steps.split_off(first);
    // Conditions that nothing follows decide nothing.
    while matches!(rest.last(), Some(Step::If(_))) {
        rest.pop();
    }
    let matches = conditions_of(steps);
    let target = match rest.len() {
        0 => Target::None,
        1 => match rest.pop() {
            Some(Step::Do(target)) => target,
            _ => Target::None,
        },
        _ => Target::Steps(rest.into()),
    };
    place.push(at, matches, target)
}

/// What a statement implies beside what it says; conditions and look-ups see to that themselves.
fn unwritten(place: &Place<'_>, statement: &Value<'_>) -> Option<Vec<Match>> {
    match single(statement) {
        Some(("match" | "vmap", _)) => Some(Vec::new()),
        Some(("dnat", body)) if looked_up(body).is_some() => Some(Vec::new()),
        _ => implied::conditions(statement, place.family()),
    }
}

/// What a statement comes to.
enum Lowered {
    Nothing,
    If(Vec<Match>),
    /// The rule cannot match a first packet of this family.
    Never,
    Do(Target),
    /// One of these, under conditions.
    Choose(Vec<Match>, Option<Ways>),
}

/// What may be chosen.
struct Ways {
    targets: Vec<Target>,
    /// Whether one of them always is.
    complete: bool,
}

fn one(place: &mut Place<'_>, statement: &Value<'_>) -> Result<Lowered, &'static str> {
    let Some((word, body)) = single(statement) else {
        return Ok(Lowered::Do(Target::Unknown(printed(place, statement)?)));
    };
    let nothing = Value::Null;
    let part = |key: &str| body.get(key).unwrap_or(&nothing);
    Ok(match word {
        "match" => match conditions::read(place, statement, part("left"), part("op"), part("right"))? {
            Conditions::All(conditions) => Lowered::If(conditions),
            Conditions::Never => Lowered::Never,
        },
        "vmap" => map(place, statement, part("key"), part("data"), None)?,
        "dnat" => {
            let family = body.get("family").and_then(Value::as_str);
            let own = if place.family() == model::flow::Family::Ipv4 { "ip" } else { "ip6" };
            if family.is_some_and(|family| family != own) {
                // `nft_nat_inet_eval` passes over packets of the other family.
                Lowered::Nothing
            } else if let Some(found) = looked_up(body) {
                let (key, data) =
                    (found.get("key").unwrap_or(&nothing), found.get("data").unwrap_or(&nothing));
                map(place, statement, key, data, Some(&[Kind::Address(place.family()), Kind::Port]))?
            } else {
                Lowered::Do(statements::target(place, statement)?)
            }
        }
        "set" | "map" => {
            let name = body.get(word).and_then(Value::as_str).and_then(|name| name.strip_prefix('@'));
            if let Some(name) = name {
                let set = place.set(name)?;
                place.changes(set);
            }
            // `add @set { ip saddr limit rate … }` matches while the limit holds.
            if body.get("stmt").is_some() { doubt(place, statement)? } else { Lowered::Nothing }
        }
        "limit" | "quota" | "ct count" | "meter" | "socket" | "osf" | "xt" => doubt(place, statement)?,
        _ => Lowered::Do(statements::target(place, statement)?),
    })
}

/// The map that a destination is looked up in, port and all.
fn looked_up<'v, 't>(body: &'v Value<'t>) -> Option<&'v Value<'t>> {
    match (body.get("addr").and_then(single), body.get("port")) {
        (Some(("map", found)), None) => Some(found),
        _ => None,
    }
}

fn doubt(place: &mut Place<'_>, statement: &Value<'_>) -> Result<Lowered, &'static str> {
    let text = printed(place, statement)?;
    Ok(Lowered::If(vec![Match { negate: false, test: Test::Unknown(text) }]))
}

/// `KEY vmap DATA`, `dnat to KEY map DATA`.
fn map(
    place: &mut Place<'_>,
    statement: &Value<'_>,
    key: &Value<'_>,
    data: &Value<'_>,
    mapped: Option<&[Kind]>,
) -> Result<Lowered, &'static str> {
    if let Some((first, count)) = generator(key) {
        let Some(needs) = implied::conditions(key, place.family()) else { return Ok(Lowered::Never) };
        let set = map_of(place, data, &[Kind::Number], mapped)?;
        return Ok(Lowered::Choose(needs, set.and_then(|set| ways(place, set, first, count))));
    }
    let Some(parts) = fields::key(key, place.family()) else {
        return Ok(Lowered::Do(Target::Unknown(printed(place, statement)?)));
    };
    let Some(conditions::Key { fields, kinds, needs }) = conditions::key(&parts) else {
        if parts.contains(&Read::Nothing) {
            return Ok(Lowered::Never);
        }
        return Ok(Lowered::Do(Target::Unknown(printed(place, statement)?)));
    };
    let Some(set) = map_of(place, data, &kinds, mapped)? else {
        return Ok(Lowered::Do(Target::Unknown(printed(place, statement)?)));
    };
    let lookup = Box::new(Lookup { key: fields, set });
    let target = if mapped.is_some() { Target::DnatBy(lookup) } else { Target::Verdict(lookup) };
    if needs.is_empty() {
        return Ok(Lowered::Do(target));
    }
    Ok(Lowered::Choose(needs, Some(Ways { targets: vec![target], complete: true })))
}

/// A map by name, or one that is part of the rule.
fn map_of(
    place: &mut Place<'_>,
    data: &Value<'_>,
    key: &[Kind],
    mapped: Option<&[Kind]>,
) -> Result<Option<SetId>, &'static str> {
    if let Some(name) = data.as_str().and_then(|name| name.strip_prefix('@')) {
        return place.set(name).map(Some);
    }
    let Some(("set", Value::Array(elements))) = single(data) else { return Ok(None) };
    let set = elements::read(place, elements, key, mapped, true)?;
    place.add(set).map(Some)
}

/// First value and number of values of a number generator or hash: which comes is chance, or a hash that has a secret.
fn generator(key: &Value<'_>) -> Option<(u128, u128)> {
    let (word, body) = single(key)?;
    if !matches!(word, "numgen" | "jhash" | "symhash") {
        return None;
    }
    let number = |key: &str| body.get(key).and_then(Value::as_u64).map(u128::from);
    Some((number("offset").unwrap_or_default(), number("mod")?))
}

/// What the values of a generator choose among; `None` if that cannot be told.
fn ways(place: &Place<'_>, set: SetId, first: u128, count: u128) -> Option<Ways> {
    if place.is_incomplete(set) || place.is_changing(set) {
        return None;
    }
    let end = first.checked_add(count)?;
    let mut covered = 0_u128;
    let mut targets: Vec<Target> = Vec::new();
    for element in place.elements(set) {
        // A rest (`*`) has no values of its own; who writes one with a generator is not known.
        let low = *element.low.first()?;
        let high = *element.high.first().unwrap_or(&low);
        let (low, high) = (low.max(first), high.min(end.checked_sub(1)?));
        if low > high {
            continue;
        }
        covered += high - low + 1;
        let target = match &element.mapped {
            Mapped::Verdict(Verdict::Accept) => Target::Accept,
            Mapped::Verdict(Verdict::Drop) => Target::Drop,
            Mapped::Verdict(Verdict::Return) => Target::Return,
            Mapped::Verdict(Verdict::Continue) => Target::Continue,
            Mapped::Verdict(Verdict::Jump(chain)) => Target::Jump(*chain),
            Mapped::Verdict(Verdict::Goto(chain)) => Target::Goto(*chain),
            Mapped::Values(values) => destination(values, place.family())?,
            Mapped::Nothing | Mapped::Unknown => return None,
        };
        if targets.last() != Some(&target) {
            targets.push(target);
        }
    }
    Some(Ways { targets, complete: covered == count })
}

fn destination(values: &[u128], family: model::flow::Family) -> Option<Target> {
    let (address, port) = values.split_first()?;
    let address = match family {
        model::flow::Family::Ipv4 => std::net::Ipv4Addr::from_bits(u32::try_from(*address).ok()?).into(),
        model::flow::Family::Ipv6 => std::net::Ipv6Addr::from_bits(*address).into(),
    };
    let port = match port {
        [] => None,
        [port] => Some(u16::try_from(*port).ok()?),
        _ => return None,
    };
    Some(Target::Dnat { address: Some(address), port })
}

/// One rule for each way, all with the text of the one they are from.
fn choose(place: &mut Place<'_>, at: &At, steps: Vec<Step>, ways: Option<Ways>) -> Result<(), &'static str> {
    let changed = steps.iter().any(|step| matches!(step, Step::Do(_)));
    let matches = conditions_of(steps.iter().filter(|step| matches!(step, Step::If(_))).cloned());
    match ways {
        Some(Ways { mut targets, complete: true }) if targets.len() == 1 => {
            let target = targets.pop().unwrap_or(Target::None);
            if !changed {
                return place.push(at, matches, target);
            }
            let first = steps.iter().position(|step| matches!(step, Step::Do(_))).unwrap_or_default();
            let mut steps = steps;
            let mut rest = steps.split_off(first);
            rest.push(Step::Do(target));
            place.push(at, conditions_of(steps), Target::Steps(rest.into()))
        }
        Some(Ways { targets, complete }) if !changed => {
            let last = targets.len().checked_sub(usize::from(complete));
            for (index, target) in targets.into_iter().enumerate() {
                let sometimes = (Some(index) != last)
                    .then_some(Match { negate: false, test: Test::Chance(Chance::Sometimes) });
                place.push(at, matches.iter().cloned().chain(sometimes), target)?;
            }
            Ok(())
        }
        // What comes after a change, each way of a choice, is not modelled.
        _ => place.push(at, matches, Target::Unknown(at.text)),
    }
}

fn conditions_of(steps: impl IntoIterator<Item = Step>) -> Vec<Match> {
    steps.into_iter().filter_map(|step| if let Step::If(item) = step { Some(item) } else { None }).collect()
}

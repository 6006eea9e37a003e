//! The elements of sets and maps, named or part of a rule.
//!
//! An element that cannot be read leaves its set incomplete: what the set does not hold is then not known.

use super::tree::Value;

use super::build::Place;
use super::object::{Set, single};
use super::values::{Kind, constant, range};
use crate::ir::lookup::{Element, MAX_FIELDS, Mapped, Verdict};
use crate::ir::{self, Span};

/// Lowest and highest values of a key.
type Bounds = (Box<[u128]>, Box<[u128]>);

/// The set of a declaration.
pub(super) fn named(place: &mut Place<'_>, set: &Set<'_>) -> Result<ir::Set, &'static str> {
    let key = kinds(set.key);
    let mapped = set.mapped.map(kinds);
    let mut lowered = read(place, set.elements, &key, mapped.as_deref(), set.mapped.is_some())?;
    lowered.changing = set.changing;
    Ok(lowered)
}

/// Elements whose keys are of these kinds. What they map to is of the given kinds, or a verdict or told by its looks.
pub(super) fn read(
    place: &mut Place<'_>,
    elements: &[Value<'_>],
    key: &[Kind],
    mapped: Option<&[Kind]>,
    is_map: bool,
) -> Result<ir::Set, &'static str> {
    let mut set = ir::Set::default();
    for element in elements {
        let (value, data) = match element.as_array().map(Vec::as_slice) {
            Some([value, data]) if is_map => (value, Some(data)),
            _ => (element, None),
        };
        let (value, comment) = match single(value) {
            Some(("elem", body)) => {
                (body.get("val").unwrap_or(value), body.get("comment").and_then(Value::as_str))
            }
            _ => (value, None),
        };
        let Some((low, high)) = keys(value, key) else {
            set.incomplete = true;
            continue;
        };
        let mapped = match data {
            Some(data) => map_to(place, data, mapped)?,
            None if is_map => Mapped::Unknown,
            None => Mapped::Nothing,
        };
        let comment = match comment {
            Some(comment) => place.write(comment)?,
            None => Span::default(),
        };
        set.insert(Element { low, high, mapped, comment });
    }
    Ok(set)
}

/// A verdict.
pub(super) fn verdict(place: &mut Place<'_>, value: &Value<'_>) -> Result<Option<Verdict>, &'static str> {
    let Some((word, body)) = single(value) else { return Ok(None) };
    Ok(Some(match word {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" | "goto" => {
            let Some(target) = body.get("target").and_then(Value::as_str) else { return Ok(None) };
            let chain = place.chain(target)?;
            if word == "jump" { Verdict::Jump(chain) } else { Verdict::Goto(chain) }
        }
        _ => return Ok(None),
    }))
}

fn map_to(place: &mut Place<'_>, data: &Value<'_>, kinds: Option<&[Kind]>) -> Result<Mapped, &'static str> {
    if let Some(verdict) = verdict(place, data)? {
        return Ok(Mapped::Verdict(verdict));
    }
    let parts = parts(data);
    let guessed = [Kind::Address(place.family()), Kind::Port];
    let kinds = match kinds {
        Some(kinds) if !kinds.contains(&Kind::Other) => kinds,
        _ => &guessed,
    };
    let values: Option<Box<[u128]>> =
        parts.iter().zip(kinds).map(|(part, kind)| constant(part, *kind)).collect();
    Ok(match values {
        Some(values) if parts.len() <= kinds.len() => Mapped::Values(values),
        _ => Mapped::Unknown,
    })
}

/// The lowest and highest values; the highest are empty if they are the same, both for `*`, which is everything else.
fn keys(value: &Value<'_>, kinds: &[Kind]) -> Option<Bounds> {
    if value.as_str() == Some("*") {
        return Some(Default::default());
    }
    let parts = parts(value);
    if parts.len() != kinds.len() || parts.len() > MAX_FIELDS {
        return None;
    }
    let ranges: Option<Vec<(u128, u128)>> =
        parts.iter().zip(kinds).map(|(part, kind)| range(part, *kind)).collect();
    let (low, high): (Vec<u128>, Vec<u128>) = ranges?.into_iter().unzip();
    let high = if low == high { Vec::new() } else { high };
    Some((low.into(), high.into()))
}

fn parts<'v, 't>(value: &'v Value<'t>) -> &'v [Value<'t>] {
    match single(value) {
        Some(("concat", Value::Array(parts))) => parts,
        _ => std::slice::from_ref(value),
    }
}

/// The kinds of a type: one name, names joined as nft 1.0 writes what a map maps to, or a list of them.
fn kinds(value: &Value<'_>) -> Vec<Kind> {
    match value {
        Value::Array(list) => {
            list.iter().map(|value| value.as_str().map_or(Kind::Other, Kind::of_type)).collect()
        }
        _ => value
            .as_str()
            .map_or_else(|| vec![Kind::Other], |names| names.split(" . ").map(Kind::of_type).collect()),
    }
}

//! Elements of sets and maps.
//!
//! Ranges of one value come as two elements, the second of which says where the first ends; ranges of several values
//! come as one with both bounds (net/netfilter/nft_set_rbtree.c, nft_set_pipapo.c). nft sorts what it lists, and so does
//! this.

use std::borrow::Cow;

use super::super::tree::Value;
use super::actions;
use super::sets::Set;
use super::types::{self, Names, Type};
use super::wire::{Attributes, Fields, remark, text};

/// `NFTA_SET_ELEM_…`.
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const TIMEOUT: u16 = 4;
const EXPIRATION: u16 = 5;
const USERDATA: u16 = 6;
const EXPRESSION: u16 = 7;
const OBJECT: u16 = 9;
const KEY_END: u16 = 10;
const EXPRESSIONS: u16 = 11;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`, `NFTA_VERDICT_…`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
const CHAIN: u16 = 2;
/// `enum nft_set_elem_flags`.
const ENDS: u32 = 1;
const CATCH_ALL: u32 = 2;
/// `NFTNL_UDATA_SET_ELEM_COMMENT`.
const COMMENT: u8 = 0;

/// An element, its bounds found.
struct Element<'s> {
    fields: Fields<'s>,
    /// Lowest and highest value of each part; empty for whatever no other element covers.
    bounds: Vec<Bounds<'s>>,
}

/// Lowest and highest value.
type Bounds<'s> = (Cow<'s, [u8]>, Cow<'s, [u8]>);

/// How elements are written.
pub(super) struct Form<'f> {
    pub(super) names: Names<'f>,
    /// Bytes of the key's parts.
    pub(super) sizes: &'f [usize],
    /// Bits below a key that ends inside a byte.
    pub(super) below: u32,
}

/// The elements of a set in nft's words; one that makes no sense is a null, which no reader takes for an element.
pub(super) fn list<'s>(set: &'s Set, form: &Form<'_>) -> Value<'s> {
    let mut elements = Vec::new();
    let mut all = Vec::new();
    let mut torn = set.torn || form.sizes.is_empty();
    for item in Attributes(&set.raw) {
        match item.and_then(|(_, bytes)| Fields::read(bytes)) {
            Ok(fields) => elements.push(fields),
            Err(_) => torn = true,
        }
    }
    let by_ends = set.has_ranges() && set.key.len() == 1;
    let found =
        if by_ends { ranges(&elements) } else { elements.iter().map(|fields| alone(form, fields)).collect() };
    let mut order: Vec<(Vec<u8>, Element<'s>)> = Vec::with_capacity(found.len());
    for element in found {
        match element {
            Some(element) => order.push((rank(set, &element), element)),
            None => torn = true,
        }
    }
    // Ranges of several values are left in the kernel's order.
    if !set.has_ranges() || by_ends {
        order.sort_by(|one, next| one.0.cmp(&next.0));
    }
    for (_, element) in &order {
        match words(set, element, form) {
            Some(value) => all.push(value),
            None => torn = true,
        }
    }
    if torn {
        all.push(Value::Null);
    }
    Value::Array(all)
}

/// A verdict in nft's words.
pub(super) fn verdict<'v>(fields: &Fields<'v>) -> Option<Value<'v>> {
    let word = match fields.number(CODE)?.cast_signed() {
        0 => "drop",
        1 => "accept",
        -1 => "continue",
        -5 => "return",
        code @ (-3 | -4) => {
            let target = Value::object([("target", Value::text(fields.text(CHAIN)?))]);
            return Some(Value::under(if code == -3 { "jump" } else { "goto" }, target));
        }
        _ => return None,
    };
    Some(Value::under(word, Value::Null))
}

/// An element that stands for itself.
fn alone<'s>(form: &Form<'_>, fields: &Fields<'s>) -> Option<Element<'s>> {
    if flags(fields) & CATCH_ALL != 0 {
        return Some(Element { fields: *fields, bounds: Vec::new() });
    }
    let low = parts(value(fields, KEY)?, form.sizes)?;
    let high = match value(fields, KEY_END) {
        Some(end) => parts(end, form.sizes)?,
        None => low.clone(),
    };
    let bounds = low.into_iter().zip(high).map(|(low, high)| (low.into(), high.into())).collect();
    Some(Element { fields: *fields, bounds })
}

/// Elements whose ends are elements of their own.
fn ranges<'s>(elements: &[Fields<'s>]) -> Vec<Option<Element<'s>>> {
    let mut found = Vec::with_capacity(elements.len());
    let mut points: Vec<(&'s [u8], bool, &Fields<'s>)> = Vec::with_capacity(elements.len());
    for fields in elements {
        if flags(fields) & CATCH_ALL != 0 {
            found.push(Some(Element { fields: *fields, bounds: Vec::new() }));
            continue;
        }
        match value(fields, KEY) {
            Some(key) => points.push((key, flags(fields) & ENDS == 0, fields)),
            None => found.push(None),
        }
    }
    // One that ends where another begins comes before it.
    points.sort_by_key(|(key, begins, _)| (*key, *begins));
    let mut rest = points.iter().peekable();
    while let Some((low, begins, fields)) = rest.next() {
        if !begins {
            continue;
        }
        let high = match rest.peek() {
            Some((next, ..)) => before(next),
            None => Some(vec![u8::MAX; low.len()]),
        };
        found.push(
            high.map(|high| Element { fields: **fields, bounds: vec![(Cow::Borrowed(*low), high.into())] }),
        );
    }
    found
}

/// What nft sorts by: the value, highest byte first. A joined key counts as one value in the machine's order.
fn rank(set: &Set, element: &Element<'_>) -> Vec<u8> {
    let mut bytes: Vec<u8> = element.bounds.iter().flat_map(|(low, _)| low.iter().copied()).collect();
    let turned = match &*set.key {
        [kind] => in_host_order(set, *kind),
        _ => true,
    };
    if turned && cfg!(target_endian = "little") {
        bytes.reverse();
    }
    // Whatever is left comes last.
    if bytes.is_empty() { vec![u8::MAX; set.key_size + 1] } else { bytes }
}

fn words<'s>(set: &'s Set, element: &Element<'s>, form: &Form<'_>) -> Option<Value<'s>> {
    let parts: Option<Vec<_>> = element
        .bounds
        .iter()
        .zip(&set.key)
        .map(|((low, high), kind)| part(form, *kind, low, high, in_host_order(set, *kind)))
        .collect();
    let mut parts = parts?;
    let value = match parts.len() {
        0 => Value::text("*"),
        1 => parts.remove(0),
        _ => Value::under("concat", Value::Array(parts)),
    };
    let key = remarked(value, &element.fields);
    if !set.is_map() {
        return Some(key);
    }
    let data = match set.object {
        Some(_) => Value::text(element.fields.text(OBJECT)?),
        None => data(set, &element.fields, form.names)?,
    };
    Some(Value::Array(vec![key, data]))
}

/// A value with what is kept with it: comment, time, counters.
fn remarked<'s>(value: Value<'s>, fields: &Fields<'s>) -> Value<'s> {
    let mut more: Vec<(&'static str, Value<'s>)> = Vec::new();
    let seconds = |kind| fields.long(kind).map(|time| Value::number(time / 1000));
    for (word, time) in [("timeout", seconds(TIMEOUT)), ("expires", seconds(EXPIRATION))] {
        more.extend(time.map(|time| (word, time)));
    }
    if let Some(comment) = fields.get(USERDATA).and_then(|bytes| remark(bytes, COMMENT)).and_then(text) {
        more.push(("comment", Value::text(comment)));
    }
    let single = fields.get(EXPRESSION).into_iter();
    let several = fields.get(EXPRESSIONS).map(Attributes).into_iter().flatten();
    for bytes in single.chain(several.filter_map(|item| item.ok().map(|(_, bytes)| bytes))) {
        more.extend(actions::stateful(bytes));
    }
    if more.is_empty() {
        return value;
    }
    let body =
        more.into_iter().fold(Value::object([("val", value)]), |body, (word, value)| body.with(word, value));
    Value::under("elem", body)
}

/// What an element is mapped to.
fn data<'s>(set: &'s Set, fields: &Fields<'s>, names: Names<'_>) -> Option<Value<'s>> {
    let data = fields.nested(DATA)?.ok()?;
    if let Some(found) = data.nested(VERDICT) {
        return verdict(&found.ok()?);
    }
    let bytes = data.get(VALUE)?;
    let (low, high) =
        if set.mapped_ranges { bytes.split_at_checked(bytes.len() / 2)? } else { (bytes, bytes) };
    let bounds = parts(low, &set.mapped_sizes)?.into_iter().zip(parts(high, &set.mapped_sizes)?);
    let order = |kind: Type| match (&*set.mapped, set.mapped_order) {
        ([_], Some(host_order)) => host_order,
        _ => kind.is_host_order(),
    };
    let values: Option<Vec<_>> = bounds
        .zip(&set.mapped)
        .map(|((low, high), kind)| types::range(*kind, low, high, order(*kind), names))
        .collect();
    let mut values = values?;
    Some(if values.len() == 1 { values.remove(0) } else { Value::under("concat", Value::Array(values)) })
}

fn part<'v>(form: &Form<'_>, kind: Type, low: &[u8], high: &[u8], host_order: bool) -> Option<Value<'v>> {
    if form.below == 0 {
        return types::range(kind, low, high, host_order, form.names);
    }
    let shifted = |bytes| Some((types::number(bytes, host_order)? >> form.below).to_be_bytes());
    types::range(kind, &shifted(low)?, &shifted(high)?, false, form.names)
}

/// Whether a part of the key is in the machine's order: never where ranges are compared byte by byte.
fn in_host_order(set: &Set, kind: Type) -> bool {
    match (&*set.key, set.key_order) {
        _ if set.has_ranges() => false,
        ([_], Some(host_order)) => host_order,
        _ => kind.is_host_order(),
    }
}

fn flags(fields: &Fields<'_>) -> u32 {
    fields.number(FLAGS).unwrap_or_default()
}

fn value<'s>(fields: &Fields<'s>, kind: u16) -> Option<&'s [u8]> {
    fields.nested(kind)?.ok()?.get(VALUE)
}

/// A key's parts, each of which is padded to four bytes.
fn parts<'s>(bytes: &'s [u8], sizes: &[usize]) -> Option<Vec<&'s [u8]>> {
    if let [_] = sizes {
        return Some(vec![bytes]);
    }
    let mut rest = bytes;
    let parts: Option<Vec<_>> = sizes
        .iter()
        .map(|size| {
            let (part, next) = rest.split_at_checked(size.next_multiple_of(4))?;
            rest = next;
            part.get(..*size)
        })
        .collect();
    parts.filter(|parts| !parts.is_empty())
}

/// The value just before one, as bytes in network order.
fn before(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            return Some(bytes);
        }
    }
    None
}

//! Relational expressions: what a rule compares, and with what.
//!
//! Whatever is not modelled becomes [`Test::Unknown`] with its text.

use super::tree::Value;
use model::flow::{Family, PortRange};

use super::build::{Place, printed};
use super::elements;
use super::fields::{self, Read};
use super::implied;
use super::object::single;
use super::values::{self, Kind};
use crate::eval::lookup::{DST_NAT, SRC_NAT};
use crate::ir::lookup::{Element, Field, Lookup, Mapped};
use crate::ir::{self, CtStates, Interface, Masked, Match, PacketType, Span, Test};

/// What a comparison comes to.
pub(super) enum Conditions {
    /// All of these.
    All(Vec<Match>),
    /// It holds for no first packet of this family.
    Never,
}

/// A key that can be looked up.
pub(super) struct Key {
    pub(super) fields: Box<[Field]>,
    pub(super) kinds: Vec<Kind>,
    /// The protocols that the fields are of.
    pub(super) needs: Vec<Match>,
}

/// TCP's flags by name, and that of a connection's first packet.
const FLAGS: [(&str, u8); 8] =
    [("fin", 1), ("syn", SYN), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ecn", 64), ("cwr", 128)];
const SYN: u8 = 2;
const TCP: u8 = 6;

/// Reads `LEFT OP RIGHT`.
pub(super) fn read(
    place: &mut Place<'_>,
    statement: &Value<'_>,
    left: &Value<'_>,
    op: &Value<'_>,
    right: &Value<'_>,
) -> Result<Conditions, &'static str> {
    let op = op.as_str().unwrap_or_default();
    let known = match fields::key(left, place.family()).as_deref() {
        Some(parts) if parts.contains(&Read::Nothing) => return Ok(Conditions::Never),
        Some([Read::Constant(value)]) => constant(value, op, right),
        Some([Read::Socket]) => {
            let text = printed(place, statement)?;
            // Without a socket it fails whether negated or not (`nft_meta_get_eval_skugid`); with one it cannot be told.
            Some(Conditions::All(vec![plain(Test::SocketOwner(text))]))
        }
        Some([Read::PacketType]) => packet_type(op, right),
        Some([Read::TcpFlags]) => tcp_flags(op, None, right),
        Some([Read::Unknown]) => match masked_flags(left) {
            Some(mask) => tcp_flags(op, Some(mask), right),
            None => None,
        },
        Some(parts) => match key(parts) {
            Some(key) => compare(place, key, op, right)?.map(Conditions::All),
            None => None,
        },
        None => None,
    };
    match known {
        Some(conditions) => Ok(conditions),
        None => match implied::conditions(left, place.family()) {
            Some(mut conditions) => {
                conditions.push(plain(Test::Unknown(printed(place, statement)?)));
                Ok(Conditions::All(conditions))
            }
            None => Ok(Conditions::Never),
        },
    }
}

/// The fields of a key, if all of them are modelled.
pub(super) fn key(parts: &[Read]) -> Option<Key> {
    let mut key = Key { fields: Box::default(), kinds: Vec::new(), needs: Vec::new() };
    let mut fields = Vec::with_capacity(parts.len());
    for part in parts {
        let Read::Field(field, kind, protocol) = part else { return None };
        fields.push(*field);
        key.kinds.push(*kind);
        if let Some(protocol) = protocol {
            let needed = plain(Test::Protocol(*protocol));
            if !key.needs.contains(&needed) {
                key.needs.push(needed);
            }
        }
    }
    key.fields = fields.into();
    Some(key)
}

fn compare(
    place: &mut Place<'_>,
    Key { fields, kinds, needs: mut conditions }: Key,
    op: &str,
    right: &Value<'_>,
) -> Result<Option<Vec<Match>>, &'static str> {
    let negate = matches!(op, "!=" | "!");
    if let Some(name) = right.as_str().and_then(|name| name.strip_prefix('@')) {
        let set = place.set(name)?;
        conditions.push(Match { negate, test: Test::Lookup(Box::new(Lookup { key: fields, set })) });
        return Ok(Some(conditions));
    }
    if let Some(("set", Value::Array(elements))) = single(right) {
        let set = elements::read(place, elements, &kinds, None, false)?;
        let set = place.add(set)?;
        conditions.push(Match { negate, test: Test::Lookup(Box::new(Lookup { key: fields, set })) });
        return Ok(Some(conditions));
    }
    let ([field], [kind]) = (&*fields, &*kinds) else { return Ok(None) };
    let test = match op {
        "in" | "!" => bits(place, *field, *kind, right)?,
        "==" | "!=" => equals(place, *field, *kind, right)?,
        "<" | ">" | "<=" | ">=" => ordered(place, *field, *kind, op, right)?,
        _ => None,
    };
    Ok(test.map(|test| {
        conditions.push(Match { negate, test });
        conditions
    }))
}

/// Any of these bits.
fn bits(
    place: &mut Place<'_>,
    field: Field,
    kind: Kind,
    right: &Value<'_>,
) -> Result<Option<Test>, &'static str> {
    let Some(bits) = values::bits(right, kind).and_then(|bits| u32::try_from(bits).ok()) else {
        return Ok(None);
    };
    Ok(match field {
        Field::CtState => Some(Test::CtState(states(bits))),
        Field::CtStatus(_) => Some(within(place, Field::CtStatus(bits), 1, u32::MAX.into())?),
        Field::Mark(mask) => Some(within(place, Field::Mark(mask & bits), 1, u32::MAX.into())?),
        Field::ConnMark(mask) => Some(within(place, Field::ConnMark(mask & bits), 1, u32::MAX.into())?),
        _ => None,
    })
}

fn equals(
    place: &mut Place<'_>,
    field: Field,
    kind: Kind,
    right: &Value<'_>,
) -> Result<Option<Test>, &'static str> {
    let network = || values::network(right, place.family());
    match field {
        // Whatever sets a translation's bit sets that it is done as well (`nf_nat_setup_info`), so that the status of a
        // first packet never is one of these bits alone. The direction fails as the status does, without a connection.
        Field::CtStatus(_) => {
            let alone = values::constant(right, kind)
                .is_some_and(|bits| bits == DST_NAT.into() || bits == SRC_NAT.into());
            return if alone { within(place, Field::CtDirection, 1, 1).map(Some) } else { Ok(None) };
        }
        Field::ReturnPath(_) => {
            let exists = match right {
                Value::Bool(exists) => *exists,
                // nft prints the index of no interface where it has no word for it, as with a mark in the look-up.
                right if right.as_u64() == Some(0) || right.as_str() == Some("0") => false,
                _ => return Ok(None),
            };
            return within(place, field, exists.into(), exists.into()).map(Some);
        }
        Field::SourceAddress if let Some(network) = network() => return Ok(Some(Test::Source(network))),
        Field::DestinationAddress if let Some(network) = network() => {
            return Ok(Some(Test::Destination(network)));
        }
        Field::InInterface | Field::OutInterface => return interface(place, field, right),
        _ => {}
    }
    let Some((low, high)) = values::range(right, kind) else { return Ok(None) };
    let ports = || Some(PortRange { first: u16::try_from(low).ok()?, last: u16::try_from(high).ok()? });
    Ok(match field {
        Field::SourcePort => ports().map(Test::SourcePort),
        Field::DestinationPort => ports().map(Test::DestinationPort),
        Field::Protocol if low == high => u8::try_from(low).ok().map(Test::Protocol),
        Field::Mark(mask) if low == high => masked(low, mask).map(Test::Mark),
        Field::ConnMark(mask) if low == high => masked(low, mask).map(Test::ConnMark),
        _ => Some(within(place, field, low, high)?),
    })
}

fn ordered(
    place: &mut Place<'_>,
    field: Field,
    kind: Kind,
    op: &str,
    right: &Value<'_>,
) -> Result<Option<Test>, &'static str> {
    let Some(value) = values::constant(right, kind) else { return Ok(None) };
    let (low, high) = match op {
        "<" => (Some(0), value.checked_sub(1)),
        "<=" => (Some(0), Some(value)),
        ">" => (value.checked_add(1), Some(kind.max())),
        _ => (Some(value), Some(kind.max())),
    };
    match (low, high) {
        (Some(low), Some(high)) if low <= high => {
            if let (Field::SourcePort, Ok(first), Ok(last)) = (field, u16::try_from(low), u16::try_from(high))
            {
                return Ok(Some(Test::SourcePort(PortRange { first, last })));
            }
            within(place, field, low, high).map(Some)
        }
        _ => Ok(None),
    }
}

/// A field in an inclusive range.
fn within(place: &mut Place<'_>, field: Field, low: u128, high: u128) -> Result<Test, &'static str> {
    let high: Box<[u128]> = if low == high { Box::default() } else { [high].into() };
    let mut set = ir::Set::default();
    set.insert(Element { low: [low].into(), high, mapped: Mapped::Nothing, comment: Span::default() });
    let set = place.add(set)?;
    Ok(Test::Lookup(Box::new(Lookup { key: [field].into(), set })))
}

fn interface(place: &mut Place<'_>, field: Field, right: &Value<'_>) -> Result<Option<Test>, &'static str> {
    let Some(name) = right.as_str() else { return Ok(None) };
    let (name, prefix) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    if name.contains(['\\', '*']) {
        return Ok(None);
    }
    let interface = Interface { name: place.write(name)?, prefix };
    Ok(Some(if field == Field::InInterface {
        Test::InInterface(interface)
    } else {
        Test::OutInterface(interface)
    }))
}

/// nf_tables' bits as those of the common form.
fn states(bits: u32) -> CtStates {
    const PAIRS: [(u32, u8); 5] = [
        (1, CtStates::INVALID),
        (1 << 1, CtStates::ESTABLISHED),
        (1 << 2, CtStates::RELATED),
        (1 << 3, CtStates::NEW),
        (1 << 6, CtStates::UNTRACKED),
    ];
    CtStates(PAIRS.iter().filter(|(bit, _)| bits & bit != 0).fold(0, |states, (_, state)| states | state))
}

fn masked(value: u128, mask: u32) -> Option<Masked> {
    Some(Masked { value: u32::try_from(value).ok()?, mask })
}

/// `meta nfproto ipv4`: known without a packet.
fn constant(is: &str, op: &str, right: &Value<'_>) -> Option<Conditions> {
    let among = match single(right) {
        Some(("set", Value::Array(list))) => list.as_slice(),
        Some(_) => return None,
        None => std::slice::from_ref(right),
    };
    if !among.iter().all(|value| value.as_str().is_some()) {
        return None;
    }
    let equal = among.iter().any(|value| value.as_str() == Some(is));
    match op {
        "==" | "!=" if equal == (op == "==") => Some(Conditions::All(Vec::new())),
        "==" | "!=" => Some(Conditions::Never),
        _ => None,
    }
}

fn packet_type(op: &str, right: &Value<'_>) -> Option<Conditions> {
    let kind = match right.as_str()? {
        "host" | "unicast" => PacketType::Unicast,
        "broadcast" | "multicast" => PacketType::Other,
        _ => return None,
    };
    let negate = match op {
        "==" => false,
        "!=" => true,
        _ => return None,
    };
    Some(Conditions::All(vec![Match { negate, test: Test::PacketType(kind) }]))
}

/// `tcp flags & MASK`.
fn masked_flags(left: &Value<'_>) -> Option<u8> {
    let ("&", body) = single(left)? else { return None };
    let [inner, mask] = body.as_array()?.as_slice() else { return None };
    let is_flags = fields::read(inner, Family::Ipv4) == Read::TcpFlags;
    is_flags.then(|| flags(mask)).flatten()
}

fn tcp_flags(op: &str, mask: Option<u8>, right: &Value<'_>) -> Option<Conditions> {
    let wanted = flags(right)?;
    let mask = mask.unwrap_or(u8::MAX);
    let tcp = || plain(Test::Protocol(TCP));
    let test = |negate, mask, set| {
        Some(Conditions::All(vec![tcp(), Match { negate, test: Test::TcpFlags { mask, set } }]))
    };
    let negate = matches!(op, "!=" | "!");
    match op {
        "==" | "!=" => test(negate, mask, wanted),
        // Any of the flags: a first packet has but one.
        "in" | "!" if wanted & mask & SYN != 0 => test(negate, SYN, SYN),
        "in" => Some(Conditions::Never),
        "!" => Some(Conditions::All(vec![tcp()])),
        _ => None,
    }
}

fn flags(value: &Value<'_>) -> Option<u8> {
    let one = |value: &Value<'_>| match value.as_str() {
        Some(name) => FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit),
        None => value.as_u64().and_then(|number| u8::try_from(number).ok()),
    };
    match (value, single(value)) {
        (Value::Array(list), _) | (_, Some(("|", Value::Array(list)))) => {
            list.iter().try_fold(0, |flags, value| Some(flags | one(value)?))
        }
        _ => one(value),
    }
}

const fn plain(test: Test) -> Match {
    Match { negate: false, test }
}

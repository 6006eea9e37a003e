//! Constants of expressions and elements as numbers.
//!
//! Most are printed by name where nft has one; what a constant is compared with says how to read it.

use std::net::IpAddr;

use super::tree::Value;
use ipnet::IpNet;
use model::flow::Family;

use super::netlink::symbols;
use super::object::single;
use crate::eval::lookup::{DST_NAT, SRC_NAT};
use crate::ir::lookup::{NAME, address, interface_name};

/// What kind of value an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address(Family),
    Protocol,
    Port,
    Interface,
    Number,
    State,
    Status,
    AddressType,
    Direction,
    /// Of a type that is not modelled.
    Other,
}

impl Kind {
    /// The kind of a data type's name (`nft describe`).
    pub(super) fn of_type(name: &str) -> Self {
        match name {
            "ipv4_addr" => Self::Address(Family::Ipv4),
            "ipv6_addr" => Self::Address(Family::Ipv6),
            "inet_proto" => Self::Protocol,
            "inet_service" => Self::Port,
            "ifname" | "iface_index" => Self::Interface,
            "mark" | "integer" => Self::Number,
            "ct_state" => Self::State,
            "ct_status" => Self::Status,
            "fib_addrtype" => Self::AddressType,
            "ct_dir" => Self::Direction,
            _ => Self::Other,
        }
    }

    /// The greatest value.
    pub(super) const fn max(self) -> u128 {
        match self {
            Self::Address(Family::Ipv6) | Self::Interface => u128::MAX,
            Self::Protocol | Self::Direction => u8::MAX as u128,
            Self::Port => u16::MAX as u128,
            _ => u32::MAX as u128,
        }
    }
}

/// The lowest and highest value a constant stands for.
pub(super) fn range(value: &Value<'_>, kind: Kind) -> Option<(u128, u128)> {
    if let Some((word, body)) = single(value) {
        return match word {
            "prefix" => prefix(body, kind),
            "range" => {
                let [low, high] = body.as_array()?.as_slice() else { return None };
                let (low, high) = (constant(low, kind)?, constant(high, kind)?);
                (low <= high).then_some((low, high))
            }
            _ => None,
        };
    }
    if kind == Kind::Interface
        && let Some(name) = value.as_str()
        && let Some(start) = name.strip_suffix('*')
    {
        // A trailing star is any end, unless it is escaped.
        if start.ends_with('\\') || start.len() >= NAME {
            return None;
        }
        let low = interface_name(start);
        let width = u32::try_from(8 * (NAME - start.len())).ok()?;
        let rest = if width == u128::BITS { u128::MAX } else { (1 << width) - 1 };
        return Some((low, low | rest));
    }
    constant(value, kind).map(|value| (value, value))
}

/// A single value.
pub(super) fn constant(value: &Value<'_>, kind: Kind) -> Option<u128> {
    if let Some(number) = value.as_u64() {
        let number = u128::from(number);
        let fits = number <= kind.max() && !matches!(kind, Kind::Address(_) | Kind::Interface | Kind::Other);
        return fits.then_some(number);
    }
    let text = value.as_str()?;
    match kind {
        Kind::Address(family) => {
            let ip: IpAddr = text.parse().ok()?;
            (Family::of(ip) == family).then(|| address(ip))
        }
        Kind::Protocol => protocol(text).map(u128::from),
        Kind::Interface => (text.len() < NAME && !text.contains(['\\', '*'])).then(|| interface_name(text)),
        Kind::State => Some(match text {
            "invalid" => 1,
            "established" => 1 << 1,
            "related" => 1 << 2,
            "new" => 1 << 3,
            "untracked" => 1 << 6,
            _ => return None,
        }),
        Kind::Status => Some(match text {
            "snat" => SRC_NAT.into(),
            "dnat" => DST_NAT.into(),
            "expected" => 1,
            "seen-reply" => 1 << 1,
            "assured" => 1 << 2,
            "confirmed" => 1 << 3,
            "dying" => 1 << 9,
            _ => return None,
        }),
        Kind::AddressType => Some(match text {
            "unspec" => 0,
            "unicast" => 1,
            "local" => 2,
            "broadcast" => 3,
            "anycast" => 4,
            "multicast" => 5,
            "blackhole" => 6,
            "unreachable" => 7,
            "prohibit" => 8,
            _ => return None,
        }),
        Kind::Direction => Some(match text {
            "original" => 0,
            "reply" => 1,
            _ => return None,
        }),
        Kind::Port | Kind::Number | Kind::Other => None,
    }
}

/// Bits joined: `established,related` or a list of them.
pub(super) fn bits(value: &Value<'_>, kind: Kind) -> Option<u128> {
    match value {
        Value::Array(list) => list.iter().try_fold(0, |bits, value| Some(bits | constant(value, kind)?)),
        Value::Object(_) => {
            let (word, body) = single(value)?;
            (word == "|").then(|| bits(body, kind)).flatten()
        }
        _ => constant(value, kind),
    }
}

/// A network: an address, a prefix.
pub(super) fn network(value: &Value<'_>, family: Family) -> Option<IpNet> {
    let (text, length) = match single(value) {
        Some(("prefix", body)) => (body.get("addr")?.as_str()?, Some(body.get("len")?.as_u64()?)),
        Some(_) => return None,
        None => (value.as_str()?, None),
    };
    let ip: IpAddr = text.parse().ok()?;
    let length = match length {
        Some(length) => u8::try_from(length).ok()?,
        None if ip.is_ipv4() => 32,
        None => 128,
    };
    (Family::of(ip) == family).then(|| IpNet::new(ip, length).ok()).flatten()
}

fn prefix(body: &Value<'_>, kind: Kind) -> Option<(u128, u128)> {
    let low = constant(body.get("addr")?, kind)?;
    let length = u32::try_from(body.get("len")?.as_u64()?).ok()?;
    let width = u128::BITS - kind.max().leading_zeros();
    let rest = width.checked_sub(length)?;
    let rest = if rest == u128::BITS { u128::MAX } else { (1 << rest) - 1 };
    Some((low & !rest, low | rest))
}

/// A protocol by the name in `/etc/protocols`, or a name that nft has of its own.
fn protocol(name: &str) -> Option<u8> {
    match name {
        "icmpv6" => Some(58),
        "comp" => Some(108),
        _ => symbols::protocol(name).or_else(|| name.parse().ok()),
    }
}

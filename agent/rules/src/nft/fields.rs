//! What an expression reads of a packet.
//!
//! An expression that no first packet of a TCP, UDP or SCTP connection of this family can have (an ICMP type, an address
//! of the other family) makes its rule fail: nf_tables breaks off there, negated or not.

use super::tree::Value;
use model::flow::Family;

use super::object::single;
use super::values::{Kind, constant};
use crate::ir::lookup::{Field, MAX_FIELDS};

/// What an expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// This field; the packet must be of the protocol as well, if there is one.
    Field(Field, Kind, Option<u8>),
    /// A constant of the family.
    Constant(&'static str),
    /// Nothing that such a packet has.
    Nothing,
    /// Something about the sending socket.
    Socket,
    /// TCP's flags.
    TcpFlags,
    /// `meta pkttype`.
    PacketType,
    /// Not modelled.
    Unknown,
}

/// TCP, UDP, SCTP.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// What an expression reads of a packet of a family.
pub(super) fn read(expression: &Value<'_>, family: Family) -> Read {
    let Some((word, body)) = single(expression) else { return Read::Unknown };
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    match word {
        "payload" => payload(text("protocol"), text("field"), family),
        "meta" => meta(text("key"), family),
        "ct" => connection(text("key"), text("dir"), family),
        "fib" => fib(body, text("result")),
        // The kernel looks for these in packets of their family only (`nft_exthdr_ipv6_eval`, `nft_exthdr_ipv4_eval`).
        "exthdr" if family == Family::Ipv4 => Read::Nothing,
        "ip option" if family == Family::Ipv6 => Read::Nothing,
        "&" => masked(body, family),
        _ => Read::Unknown,
    }
}

/// The fields of a key: one expression or several joined.
pub(super) fn key(expression: &Value<'_>, family: Family) -> Option<Vec<Read>> {
    let parts = match single(expression) {
        Some(("concat", Value::Array(parts))) => parts.as_slice(),
        _ => std::slice::from_ref(expression),
    };
    (parts.len() <= MAX_FIELDS).then(|| parts.iter().map(|part| read(part, family)).collect())
}

fn payload(protocol: &str, field: &str, family: Family) -> Read {
    let (own, address) = match protocol {
        "ip" => (Family::Ipv4, Kind::Address(Family::Ipv4)),
        "ip6" => (Family::Ipv6, Kind::Address(Family::Ipv6)),
        "tcp" | "udp" | "sctp" | "th" => return ports(field, transport(protocol)),
        "icmp" | "icmpv6" | "igmp" | "arp" | "ah" | "esp" | "comp" | "udplite" | "dccp" | "gre" => {
            return Read::Nothing;
        }
        _ => return Read::Unknown,
    };
    if own != family {
        return Read::Nothing;
    }
    match field {
        "saddr" => Read::Field(Field::SourceAddress, address, None),
        "daddr" => Read::Field(Field::DestinationAddress, address, None),
        "protocol" | "nexthdr" => Read::Field(Field::Protocol, Kind::Protocol, None),
        _ => Read::Unknown,
    }
}

/// The number of a protocol that connections are walked of.
pub(super) fn transport(protocol: &str) -> Option<u8> {
    Some(match protocol {
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        _ => return None,
    })
}

fn ports(field: &str, protocol: Option<u8>) -> Read {
    match field {
        "sport" => Read::Field(Field::SourcePort, Kind::Port, protocol),
        "dport" => Read::Field(Field::DestinationPort, Kind::Port, protocol),
        "flags" if protocol == Some(TCP) => Read::TcpFlags,
        _ => Read::Unknown,
    }
}

fn meta(key: &str, family: Family) -> Read {
    match key {
        "l4proto" => Read::Field(Field::Protocol, Kind::Protocol, None),
        "mark" => Read::Field(Field::Mark(u32::MAX), Kind::Number, None),
        "iifname" | "iif" => Read::Field(Field::InInterface, Kind::Interface, None),
        "oifname" | "oif" => Read::Field(Field::OutInterface, Kind::Interface, None),
        "nfproto" => Read::Constant(if family == Family::Ipv4 { "ipv4" } else { "ipv6" }),
        "protocol" => Read::Constant(if family == Family::Ipv4 { "ip" } else { "ip6" }),
        "pkttype" => Read::PacketType,
        "skuid" | "skgid" => Read::Socket,
        _ => Read::Unknown,
    }
}

fn connection(key: &str, direction: &str, family: Family) -> Read {
    let original = direction == "original";
    match key {
        "state" => Read::Field(Field::CtState, Kind::State, None),
        "status" => Read::Field(Field::CtStatus(u32::MAX), Kind::Status, None),
        "mark" => Read::Field(Field::ConnMark(u32::MAX), Kind::Number, None),
        "direction" => Read::Field(Field::CtDirection, Kind::Direction, None),
        "protocol" if original => Read::Field(Field::Protocol, Kind::Protocol, None),
        "ip daddr" | "daddr" if original && (key == "daddr" || family == Family::Ipv4) => {
            Read::Field(Field::OriginalDestination, Kind::Address(family), None)
        }
        "ip6 daddr" if original && family == Family::Ipv6 => {
            Read::Field(Field::OriginalDestination, Kind::Address(family), None)
        }
        "ip daddr" | "ip6 daddr" | "ip saddr" | "ip6 saddr"
            if key.starts_with("ip6") != (family == Family::Ipv6) =>
        {
            Read::Nothing
        }
        "proto-dst" if original => Read::Field(Field::OriginalPort, Kind::Port, None),
        _ => Read::Unknown,
    }
}

/// `fib daddr type`, `fib saddr . iif type`, and `fib saddr . iif oif`, which is rp_filter by rule.
fn fib(body: &Value<'_>, result: &str) -> Read {
    let flags: Vec<&str> = match body.get("flags") {
        Some(Value::Array(flags)) => flags.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(flag)) => vec![&**flag],
        _ => return Read::Unknown,
    };
    let has = |flag: &str| flags.contains(&flag);
    if result == "oif" && has("saddr") && has("iif") && !has("daddr") && !has("oif") {
        return Read::Field(Field::ReturnPath(has("mark")), Kind::Number, None);
    }
    if result != "type" {
        return Read::Unknown;
    }
    if flags.iter().any(|flag| !matches!(*flag, "saddr" | "daddr" | "iif" | "oif")) {
        // `mark` takes part in the look-up.
        return Read::Unknown;
    }
    let limited = has("iif") || has("oif");
    match (has("saddr"), has("daddr")) {
        (true, false) => Read::Field(Field::SourceType(limited), Kind::AddressType, None),
        (false, true) => Read::Field(Field::DestinationType(limited), Kind::AddressType, None),
        _ => Read::Unknown,
    }
}

/// A mark under a mask.
fn masked(body: &Value<'_>, family: Family) -> Read {
    let Some([inner, mask]) = body.as_array().map(Vec::as_slice) else { return Read::Unknown };
    let mask = constant(mask, Kind::Number).and_then(|mask| u32::try_from(mask).ok());
    match (read(inner, family), mask) {
        (Read::Field(Field::Mark(whole), kind, needs), Some(mask)) => {
            Read::Field(Field::Mark(whole & mask), kind, needs)
        }
        (Read::Field(Field::ConnMark(whole), kind, needs), Some(mask)) => {
            Read::Field(Field::ConnMark(whole & mask), kind, needs)
        }
        _ => Read::Unknown,
    }
}

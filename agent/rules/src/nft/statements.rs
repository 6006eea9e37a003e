//! What a statement does: verdicts, address translation, marks, and what has no bearing on a verdict.
//!
//! Conditions are not its business.

use super::tree::Value;
use model::flow::Family;

use super::build::{Place, printed};
use super::elements::verdict;
use super::object::single;
use super::values::{Kind, constant};
use crate::ir::lookup::Verdict;
use crate::ir::{Masked, Target};

/// A statement other than a condition or a look-up.
pub(super) fn target(place: &mut Place<'_>, statement: &Value<'_>) -> Result<Target, &'static str> {
    if let Some(verdict) = verdict(place, statement)? {
        return Ok(match verdict {
            Verdict::Accept => Target::Accept,
            Verdict::Drop => Target::Drop,
            Verdict::Return => Target::Return,
            Verdict::Continue => Target::Continue,
            Verdict::Jump(chain) => Target::Jump(chain),
            Verdict::Goto(chain) => Target::Goto(chain),
        });
    }
    let Some((word, body)) = single(statement) else {
        return Ok(Target::Unknown(printed(place, statement)?));
    };
    let known = match word {
        "reject" => {
            let text = place.write(&reject(body, place.family()))?;
            Some(Target::Reject(text))
        }
        "masquerade" => Some(Target::Masquerade),
        "snat" => Some(Target::Snat),
        "redirect" => redirect(body),
        "dnat" => dnat(body, place.family()),
        "mangle" => mangle(body),
        "notrack" => Some(Target::NoTrack),
        // Counting, logging, copies, and what a flow table does for packets after the first.
        "counter" | "log" | "flow" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "last"
        | "dup" => Some(Target::Continue),
        _ => None,
    };
    match known {
        Some(target) => Ok(target),
        None => Ok(Target::Unknown(printed(place, statement)?)),
    }
}

/// What the sender is told, in the words of iptables.
fn reject(body: &Value<'_>, family: Family) -> String {
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    let code = body.get("expr").and_then(Value::as_str).unwrap_or("port-unreachable");
    if kind == "tcp reset" {
        return "tcp-reset".to_owned();
    }
    match (family, code) {
        (Family::Ipv4, "no-route") => "icmp-net-unreachable".to_owned(),
        (Family::Ipv4, code) => format!("icmp-{code}"),
        (Family::Ipv6, "admin-prohibited") => "icmp6-adm-prohibited".to_owned(),
        // `icmpx host-unreachable` (`icmp_code_v6` in net/netfilter/nft_reject.c).
        (Family::Ipv6, "host-unreachable") => "icmp6-addr-unreachable".to_owned(),
        (Family::Ipv6, code) => format!("icmp6-{code}"),
    }
}

fn redirect(body: &Value<'_>) -> Option<Target> {
    match body.get("port") {
        None => Some(Target::Redirect(None)),
        Some(port) => Some(Target::Redirect(Some(u16::try_from(port.as_u64()?).ok()?))),
    }
}

/// `dnat to ADDRESS[:PORT]`; ranges and maps are not read here.
fn dnat(body: &Value<'_>, family: Family) -> Option<Target> {
    let address = match body.get("addr") {
        None => None,
        Some(address) => {
            let address: std::net::IpAddr = address.as_str()?.parse().ok()?;
            Some(address).filter(|address| Family::of(*address) == family)?.into()
        }
    };
    let port = match body.get("port") {
        None => None,
        Some(port) => Some(u16::try_from(port.as_u64()?).ok()?),
    };
    Some(Target::Dnat { address, port })
}

/// A mark, as a function of a mark: `(of & keep) ^ flip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marked {
    of: Option<Whose>,
    keep: u32,
    flip: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Packet,
    Connection,
}

fn mangle(body: &Value<'_>) -> Option<Target> {
    let (word, key) = single(body.get("key")?)?;
    let whose = match (word, key.get("key").and_then(Value::as_str)) {
        ("meta", Some("mark")) => Whose::Packet,
        ("ct", Some("mark")) => Whose::Connection,
        // Nothing that rules test here.
        ("meta", Some("priority" | "nftrace" | "secmark"))
        | ("ct", Some("label" | "secmark" | "event" | "helper"))
        | ("tcp option", _) => return Some(Target::Continue),
        ("payload", _) if harmless(key) => return Some(Target::Continue),
        _ => return None,
    };
    let value = marked(body.get("value")?)?;
    // What is kept of nothing is nothing: a constant.
    let keep = if value.of.is_some() { value.keep } else { 0 };
    let set = Masked { value: value.flip, mask: !keep };
    match (whose, value.of) {
        (Whose::Packet, None | Some(Whose::Packet)) => Some(Target::SetMark(set)),
        (Whose::Connection, None | Some(Whose::Connection)) => Some(Target::SetConnMark(set)),
        (Whose::Packet, Some(_)) if (keep, value.flip) == (u32::MAX, 0) => {
            Some(Target::RestoreMark(u32::MAX))
        }
        (Whose::Connection, Some(_)) if (keep, value.flip) == (u32::MAX, 0) => {
            Some(Target::SaveMark(u32::MAX))
        }
        _ => None,
    }
}

/// Header fields that no rule here reads.
fn harmless(payload: &Value<'_>) -> bool {
    let field = payload.get("field").and_then(Value::as_str);
    matches!(field, Some("dscp" | "ecn" | "ttl" | "hoplimit" | "flowlabel" | "checksum" | "priority"))
}

fn marked(value: &Value<'_>) -> Option<Marked> {
    if let Some(number) = constant(value, Kind::Number) {
        return Some(Marked { of: None, keep: 0, flip: u32::try_from(number).ok()? });
    }
    let (word, body) = single(value)?;
    if let "meta" | "ct" = word {
        let of = if word == "meta" { Whose::Packet } else { Whose::Connection };
        return (body.get("key")?.as_str()? == "mark").then_some(Marked {
            of: Some(of),
            keep: u32::MAX,
            flip: 0,
        });
    }
    let parts = body.as_array()?;
    let (first, rest) = parts.split_first()?;
    // `a | b | c` is one list since nft 1.1.
    rest.iter().try_fold(marked(first)?, |left, right| {
        let right = marked(right).filter(|right| right.of.is_none())?.flip;
        Some(match word {
            "&" => Marked { keep: left.keep & right, flip: left.flip & right, ..left },
            "|" => Marked { keep: left.keep & !right, flip: left.flip | right, ..left },
            "^" => Marked { flip: left.flip ^ right, ..left },
            _ => return None,
        })
    })
}

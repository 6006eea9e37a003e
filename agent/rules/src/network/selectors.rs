//! Whether a policy routing rule applies to a packet, and what else its words say.
//!
//! It reads the words of `ip rule`; looking a table up is the business of `Network`.

use std::net::IpAddr;

use ipnet::IpNet;
use model::node_state::RoutingRule;

use super::{Query, Tri};
use crate::packet::Device;

/// No table (`RT_TABLE_UNSPEC`).
const UNSPECIFIED: u32 = 0;

/// Whether a rule's selectors fit, its inversion (`not`) included.
pub(super) fn applies(rule: &RoutingRule, query: &Query<'_>) -> Tri {
    let plain = selected(rule, query);
    plain.not_if(rule.other.iter().any(|word| word == "not"))
}

fn selected(rule: &RoutingRule, query: &Query<'_>) -> Tri {
    if let Some(from) = rule.from
        && !from.contains(&query.src)
    {
        return Tri::No;
    }
    let mut selected = Tri::Yes;
    for selector in &rule.other {
        match selects(selector, query) {
            Tri::No => return Tri::No,
            Tri::Unknown => selected = Tri::Unknown,
            Tri::Yes => {}
        }
    }
    selected
}

/// A selector of a policy routing rule in the words of `ip rule`.
fn selects(selector: &str, query: &Query<'_>) -> Tri {
    let Some((key, value)) = selector.split_once(' ') else {
        return match selector {
            // Turned round as a whole (`applies`); does nothing (`is_nothing`).
            "not" | "nop" => Tri::Yes,
            _ => Tri::Unknown,
        };
    };
    match key {
        "fwmark" => match value.split_once('/') {
            Some((value, mask)) => match (number(value), number(mask)) {
                (Some(value), Some(mask)) => Tri::of(query.mark & mask == value & mask),
                _ => Tri::Unknown,
            },
            // A mark whose mask was not kept: only a mark with all or none of its bits tells.
            None => match number(value) {
                Some(value) if query.mark == value => Tri::Yes,
                Some(value) if value != 0 && query.mark & value == 0 => Tri::No,
                _ => Tri::Unknown,
            },
        },
        // Only a sender bound to an interface asks for one (`fib_rule_match`, `flowi_oif`).
        "oif" => Tri::No,
        // What becomes of the look-up (`suppressed`) or stands in its place (`is_action`), not when the rule applies.
        "suppress_prefixlength" | "action" | "goto" => Tri::Yes,
        "to" => {
            let net = value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
            net.map_or(Tri::Unknown, |net| Tri::of(net.contains(&query.dst)))
        }
        "iif" => match query.input {
            Device::Absent => Tri::of(value == "lo"),
            Device::Named(name) => Tri::of(**name == *value),
            Device::Unknown => Tri::Unknown,
        },
        _ => Tri::Unknown,
    }
}

/// Whether a rule does something other than look up a table of its own; it may be another's (`l3mdev`).
pub(super) fn is_action(rule: &RoutingRule) -> bool {
    rule.table == UNSPECIFIED
        || rule.other.iter().any(|text| text.starts_with("action ") || text.starts_with("goto "))
}

/// Whether a rule does nothing at all (`FR_ACT_NOP`), as read from `ip` or from the kernel.
pub(super) fn is_nothing(rule: &RoutingRule) -> bool {
    rule.other.iter().any(|text| matches!(text.as_str(), "nop" | "action nop" | "action 3"))
}

/// Whether it is the one rule of all virtual routers, as read from `ip` or from the kernel (`FRA_L3MDEV`).
pub(super) fn is_of_virtual_routers(rule: &RoutingRule) -> bool {
    rule.other.iter().any(|text| matches!(text.as_str(), "l3mdev" | "attribute 19"))
}

/// The prefix length up to which a rule disregards what its table gives.
pub(super) fn suppressed(rule: &RoutingRule) -> Option<i64> {
    rule.other.iter().find_map(|text| text.strip_prefix("suppress_prefixlength ")?.parse().ok())
}

pub(super) fn describe(rule: &RoutingRule) -> String {
    let from = rule.from.map_or_else(|| "all".to_owned(), |net| net.to_string());
    let other: String = rule.other.iter().flat_map(|text| [" ", text]).flat_map(str::escape_debug).collect();
    format!("{}: from {from}{other} lookup {}", rule.priority, rule.table)
}

fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

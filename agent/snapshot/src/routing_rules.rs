//! Policy routing rules, as `ip -j rule` prints them.
//!
//! Selectors beyond the source are kept as words; what they mean is for the walker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::flow::Family;
use model::node_state::RoutingRule;
use serde_json::Value;

use crate::error::{SnapshotError, Source};
use crate::json::{self, Entry};

/// Reads `ip -j rule`, or `ip -j -6 rule` for IPv6.
///
/// `from all` becomes the whole family, so that rules of both families can lie in one list.
pub fn routing_rules(text: &str, family: Family) -> Result<Vec<RoutingRule>, SnapshotError> {
    json::list(Source::RoutingRules, text, |entry| {
        let priority = entry.number("priority").unwrap_or_default();
        let from = prefix(entry, "src", "srclen", family)?;
        let everything = match family {
            Family::Ipv4 => IpNet::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            Family::Ipv6 => IpNet::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        };
        let mut other = Vec::new();
        if let Some(to) = prefix(entry, "dst", "dstlen", family)? {
            other.push(format!("to {to}"));
        }
        if let Some(mark) = entry.number("fwmark") {
            other.push(format!("fwmark {mark:#x}/{:#x}", entry.number("fwmask").unwrap_or(u32::MAX)));
        }
        other.extend(entry.fields().filter_map(selector));
        let table = match entry.get("table") {
            Some(value) => json::table(value).ok_or_else(|| entry.error("a table with an unknown name"))?,
            // Rules that do not look a table up (goto, unreachable …) say so in `other`.
            None => 0,
        };
        Ok(vec![RoutingRule { priority, from: from.or_else(|| everything.ok()), table, other }])
    })
}

fn prefix(
    entry: &Entry<'_>,
    address: &str,
    length: &str,
    family: Family,
) -> Result<Option<IpNet>, SnapshotError> {
    let Some(text) = entry.text(address).filter(|text| !matches!(*text, "all" | "default")) else {
        return Ok(None);
    };
    let full = if family == Family::Ipv4 { 32 } else { 128 };
    let length = entry.number(length).unwrap_or(full);
    let address: Option<IpAddr> = text.parse().ok();
    let net =
        address.zip(u8::try_from(length).ok()).and_then(|(address, length)| IpNet::new(address, length).ok());
    net.map(Some).ok_or_else(|| entry.error("an address that is no prefix"))
}

/// Everything not read elsewhere, in the words of `ip rule`.
fn selector((key, value): (&str, &Value)) -> Option<String> {
    match key {
        "priority" | "src" | "srclen" | "dst" | "dstlen" | "fwmark" | "fwmask" | "table" | "protocol" => None,
        "suppress_prefixlen" => Some(format!("suppress_prefixlength {}", plain(value))),
        _ => Some(format!("{} {}", key.escape_debug(), plain(value)).trim_end().to_owned()),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.escape_debug().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_kept_in_words() {
        let text = r#"[{"priority":0,"src":"all","table":"local"},
            {"priority":32761,"src":"10.5.0.0","srclen":16,"ipproto":"tcp","goto":32766},
            {"priority":32762,"src":"all","table":"main","suppress_prefixlen":0},
            {"priority":32763,"src":"10.3.0.0","srclen":16,"action":"unreachable"},
            {"priority":32764,"not":null,"src":"10.1.0.0","srclen":16,"dst":"10.2.0.0","dstlen":16,"iif":"br0","table":"100"},
            {"priority":32765,"src":"10.1.2.3","fwmark":"0x7","fwmask":"0xff","table":"100","protocol":"kernel"}]"#;
        let view: Vec<_> = routing_rules(text, Family::Ipv4)
            .unwrap()
            .into_iter()
            .map(|rule| (rule.priority, rule.from.unwrap().to_string(), rule.table, rule.other.join(", ")))
            .collect();
        let row =
            |priority, from: &str, table, other: &str| (priority, from.to_owned(), table, other.to_owned());
        assert_eq!(
            view,
            [
                row(0, "0.0.0.0/0", 255, ""),
                row(32761, "10.5.0.0/16", 0, "goto 32766, ipproto tcp"),
                row(32762, "0.0.0.0/0", 254, "suppress_prefixlength 0"),
                row(32763, "10.3.0.0/16", 0, "action unreachable"),
                row(32764, "10.1.0.0/16", 100, "to 10.2.0.0/16, iif br0, not"),
                row(32765, "10.1.2.3/32", 100, "fwmark 0x7/0xff"),
            ]
        );
    }
}

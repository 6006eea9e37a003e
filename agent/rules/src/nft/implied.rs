//! Conditions that nft does not write because a statement implies them.
//!
//! `ip dscp set cs1` in a table of both families is done to IPv4 packets alone, `reject with tcp reset` to TCP; the kernel
//! holds the condition, nft leaves it out of what it prints. A rule without it would do too much.

use model::flow::Family;

use super::fields::{self, Read};
use super::tree::Value;
use crate::ir::{Match, Test};

const TCP: u8 = 6;

/// What a statement or an expression implies; `None`: that the packet is none of those walked.
pub(super) fn conditions(item: &Value<'_>, family: Family) -> Option<Vec<Match>> {
    let mut protocols = Vec::new();
    gather(item, family, &mut protocols).then(|| {
        let is = |protocol| Match { negate: false, test: Test::Protocol(protocol) };
        protocols.into_iter().map(is).collect()
    })
}

/// Adds the protocols that an item implies; false if it implies what no packet here is.
fn gather(item: &Value<'_>, family: Family, protocols: &mut Vec<u8>) -> bool {
    match item {
        Value::Array(parts) => parts.iter().all(|part| gather(part, family, protocols)),
        Value::Object(pairs) => pairs.iter().all(|(word, body)| {
            let protocol = match (word, body.get("protocol").and_then(Value::as_str)) {
                ("payload", Some(protocol)) => {
                    if fields::read(item, family) == Read::Nothing {
                        return false;
                    }
                    fields::transport(protocol)
                }
                ("ct" | "exthdr" | "ip option", _) => return fields::read(item, family) != Read::Nothing,
                ("reject", _) => match body.get("type").and_then(Value::as_str) {
                    Some("icmp") => return family == Family::Ipv4,
                    Some("icmpv6") => return family == Family::Ipv6,
                    Some("tcp reset") => Some(TCP),
                    _ => None,
                },
                _ => return gather(body, family, protocols),
            };
            protocols.extend(protocol.filter(|protocol| !protocols.contains(protocol)));
            true
        }),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implied(text: &str, family: Family) -> Option<Vec<Test>> {
        let value: Value<'_> = serde_json::from_str(text).expect("JSON");
        conditions(&value, family).map(|list| list.into_iter().map(|item| item.test).collect())
    }

    #[test]
    fn what_is_done_to_a_header_is_done_where_it_is() {
        let dscp = r#"{"mangle":{"key":{"payload":{"protocol":"ip","field":"dscp"}},"value":"cs1"}}"#;
        assert_eq!(implied(dscp, Family::Ipv4), Some(vec![]));
        assert_eq!(implied(dscp, Family::Ipv6), None);
        let port = r#"{"jhash":{"mod":2,"expr":{"concat":[{"payload":{"protocol":"tcp","field":"sport"}},
            {"payload":{"protocol":"tcp","field":"dport"}}]}}}"#;
        assert_eq!(implied(port, Family::Ipv6), Some(vec![Test::Protocol(TCP)]));
        let ping = r#"{"set":{"op":"add","elem":{"payload":{"protocol":"icmp","field":"type"}},"set":"@s"}}"#;
        assert_eq!(implied(ping, Family::Ipv4), None);
    }

    #[test]
    fn what_a_sender_is_told_fits_its_packet() {
        let told = |kind: &str| format!(r#"{{"reject":{{"type":"{kind}"}}}}"#);
        assert_eq!(implied(&told("icmp"), Family::Ipv6), None);
        assert_eq!(implied(&told("icmpx"), Family::Ipv6), Some(vec![]));
        assert_eq!(implied(&told("tcp reset"), Family::Ipv4), Some(vec![Test::Protocol(TCP)]));
        assert_eq!(implied("{\"reject\":null}", Family::Ipv4), Some(vec![]));
    }
}

//! No text, however broken, makes a reader panic.

use model::flow::Family;
use proptest::prelude::*;

/// Runs every reader; only panics matter here.
fn read_all(text: &str) {
    let results = [
        snapshot::links(text).is_ok(),
        snapshot::addresses(text).is_ok(),
        snapshot::routes(text, Family::Ipv4).is_ok(),
        snapshot::routing_rules(text, Family::Ipv6).is_ok(),
        snapshot::listeners(text).is_ok(),
    ];
    let settings = snapshot::sysctls(text).len();
    assert!(settings <= text.lines().count(), "{results:?}");
}

/// JSON of the shape the readers expect, with values they do not.
fn near_miss() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "ifname",
        "ifindex",
        "dst",
        "src",
        "srclen",
        "table",
        "gateway",
        "addr_info",
        "nexthops",
        "linkinfo",
        "flags",
        "master",
        "fwmark",
        "local",
        "prefixlen",
        "type",
        "via",
        "link",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "-1",
        "1e99",
        "null",
        "[]",
        "{}",
        "[{}]",
        r#""x""#,
        r#""default""#,
        r#""10.0.0.1""#,
        r#""::1/129""#,
        r#""0xffffffffff""#,
        r#"[{"local":"10.0.0.1","prefixlen":200}]"#,
        "99999999999999999999",
    ]);
    prop::collection::vec((key, value), 0..8).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("[{{{}}}]", fields.join(","))
    })
}

proptest! {
    #[test]
    fn any_text(text in ".{0,400}") {
        read_all(&text);
    }

    #[test]
    fn nearly_right_json(text in near_miss()) {
        read_all(&text);
    }

    #[test]
    fn nearly_right_sockets(text in "( [0-9]: [0-9A-F]{0,33}:[0-9A-F]{0,5} [0-9A-F:]{0,9} 0A [0-9A-F:]{0,9}\n){0,4}") {
        read_all(&text);
    }
}

//! What holds for any nftables listing: no text and no expression makes the reader or the walker panic or run for ever,
//! rules that cannot match change nothing, and to learn a fact never turns one certain outcome into another.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

use model::flow::{Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind};
use model::time::Timestamp;
use model::walk::{Outcome, RulesStamp, Walk};
use proptest::prelude::*;
use rules::Host;
use serde_json::{Value, json};

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

fn walk(text: String) -> Walk {
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    let state = NodeState {
        nftables: text,
        addresses: vec![address("lo", "127.0.0.1/8"), address("eth0", "192.0.2.2/24")],
        routes: vec![Route {
            table: 254,
            destination: "0.0.0.0/0".parse().unwrap(),
            kind: RouteKind::Unicast,
            gateway: None,
            device: Some("eth0".to_owned()),
            prefer_src: None,
            metric: 0,
        }],
        ..NodeState::default()
    };
    let packet = Packet {
        origin: Origin::External,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: "192.0.2.7".parse().unwrap(),
        src_port: None,
        dst: "198.51.100.1:80".parse().unwrap(),
    };
    Host::new(&state).walk(&packet, STAMP)
}

fn listing(rules: &[(String, Vec<Value>)]) -> String {
    let chain = |name: &str, hook: Value| {
        let mut chain = json!({"family": "inet", "table": "t", "name": name, "handle": 1});
        chain.as_object_mut().unwrap().extend(hook.as_object().unwrap().clone());
        json!({ "chain": chain })
    };
    let mut objects = vec![
        json!({"table": {"family": "inet", "name": "t"}}),
        chain("forward", json!({"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"})),
        chain("nat", json!({"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"})),
        chain("a", json!({})),
        chain("b", json!({})),
        json!({"set": {"family": "inet", "table": "t", "name": "s", "type": "ipv4_addr", "elem": ["198.51.100.1"]}}),
        json!({"map": {"family": "inet", "table": "t", "name": "m", "type": "ipv4_addr", "map": "verdict",
            "elem": [["198.51.100.1", {"jump": {"target": "a"}}], ["198.51.100.2", {"drop": null}]]}}),
    ];
    for (chain, statements) in rules {
        objects.push(json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": 9, "expr": statements}}));
    }
    json!({ "nftables": objects }).to_string()
}

/// A condition that holds for the packet, one that does not, and one that is not modelled.
fn holds() -> Value {
    json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}})
}

fn fails() -> Value {
    json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}})
}

fn unknown() -> Value {
    json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "ttl"}}, "right": 1}})
}

fn daddr() -> Value {
    json!({"payload": {"protocol": "ip", "field": "daddr"}})
}

fn conditions() -> impl Strategy<Value = Vec<Value>> {
    let one = prop::sample::select(vec![
        holds(),
        fails(),
        unknown(),
        unknown(),
        json!({"match": {"op": "==", "left": daddr(), "right": "@s"}}),
        json!({"match": {"op": "!=", "left": {"&": [{"meta": {"key": "mark"}}, 1]}, "right": 0}}),
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "related"]}}),
        json!({"counter": {"packets": 1, "bytes": 1}}),
    ]);
    prop::collection::vec(one, 0..3)
}

fn action() -> impl Strategy<Value = Vec<Value>> {
    let mark =
        json!({"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 1]}}});
    let jump = |to: &str| json!({"jump": {"target": to}});
    let choice = json!({"vmap": {"key": {"numgen": {"mode": "random", "mod": 3, "offset": 0}},
        "data": {"set": [[0, {"drop": null}], [1, {"goto": {"target": "b"}}]]}}});
    prop::sample::select(vec![
        vec![],
        vec![json!({"accept": null})],
        vec![json!({"drop": null})],
        vec![json!({"reject": null})],
        vec![json!({"return": null})],
        vec![jump("a")],
        vec![jump("b")],
        vec![json!({"goto": {"target": "b"}})],
        vec![mark.clone()],
        vec![mark.clone(), json!({"drop": null})],
        vec![mark, jump("b")],
        vec![json!({"vmap": {"key": daddr(), "data": "@m"}})],
        vec![choice],
        vec![json!({"log": null})],
    ])
}

fn rules() -> impl Strategy<Value = Vec<(String, Vec<Value>)>> {
    let chain = prop::sample::select(vec!["forward", "forward", "a", "b"]);
    let rule = (chain, conditions(), action())
        .prop_map(|(chain, conditions, action)| (chain.to_owned(), [conditions, action].concat()));
    prop::collection::vec(rule, 0..12)
}

/// Any JSON, in words that expressions use.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "match",
        "left",
        "right",
        "op",
        "==",
        "in",
        "vmap",
        "key",
        "data",
        "set",
        "map",
        "elem",
        "val",
        "dnat",
        "addr",
        "port",
        "mangle",
        "value",
        "meta",
        "mark",
        "ct",
        "state",
        "concat",
        "range",
        "prefix",
        "len",
        "numgen",
        "mod",
        "offset",
        "jump",
        "target",
        "a",
        "@s",
        "@m",
        "*",
        "eth*",
        "198.51.100.1",
        "&",
        "|",
        "payload",
        "protocol",
        "ip",
        "field",
        "daddr",
        "drop",
        "accept",
        "fib",
        "flags",
        "type",
        "\u{e9}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..5).prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let pair = (word.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(pair, 0..4).prop_map(|pairs| {
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_is_walked(rules in prop::collection::vec(prop::collection::vec(anything(), 0..4), 0..8), more in anything()) {
        let rules: Vec<_> = ["forward", "nat", "a"]
            .iter()
            .flat_map(|chain| rules.iter().map(|rule| ((*chain).to_owned(), rule.clone())))
            .collect();
        prop_assert!(!walk(listing(&rules)).branches.is_empty());
        let objects = json!({"nftables": [more, {"rule": more}, {"set": more}]}).to_string();
        prop_assert!(!walk(objects).branches.is_empty());
    }

    #[test]
    fn a_cut_listing_is_read(rules in rules(), at in any::<prop::sample::Index>()) {
        let text = listing(&rules);
        let cut = at.index(text.len());
        let walk = walk(text.get(..cut).unwrap_or_default().to_owned());
        // What was cut off may decide: nothing passes for certain.
        prop_assert!(cut == 0 || !matches!(walk.outcome, Outcome::Forwarded | Outcome::Local));
    }

    #[test]
    fn a_rule_that_cannot_match_changes_nothing(rules in rules(), at in any::<prop::sample::Index>()) {
        let result = |walk: &Walk| {
            let branches: Vec<_> =
                walk.branches.iter().map(|branch| (branch.destination, branch.outcome)).collect();
            (walk.outcome, branches)
        };
        let before = result(&walk(listing(&rules)));
        let mut more = rules.clone();
        more.insert(at.index(rules.len() + 1), ("forward".to_owned(), vec![unknown(), fails(), json!({"drop": null})]));
        prop_assert_eq!(before, result(&walk(listing(&more))));
    }

    #[test]
    fn knowing_more_never_contradicts(rules in rules()) {
        let before = walk(listing(&rules));
        for known in [holds(), fails()] {
            let learnt: Vec<_> = rules
                .iter()
                .map(|(chain, statements)| {
                    let known = |item: &Value| if *item == unknown() { known.clone() } else { item.clone() };
                    (chain.clone(), statements.iter().map(known).collect())
                })
                .collect();
            if before.outcome != Outcome::Unknown {
                prop_assert_eq!(before.outcome, walk(listing(&learnt)).outcome);
            }
        }
    }
}

//! What holds for any rules: no text makes the reader or the walker panic or run for ever, and rules that cannot match
//! change nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, Outcome, RulesStamp, Walk};
use proptest::prelude::*;
use rules::Host;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

fn state(text: &str) -> NodeState {
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    NodeState {
        iptables: vec![SavedRules {
            backend: Backend::IptablesNft,
            family: Family::Ipv4,
            text: text.to_owned(),
        }],
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
    }
}

fn walk(text: &str, origin: Origin) -> Walk {
    let packet = Packet {
        origin,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: "192.0.2.2".parse().unwrap(),
        src_port: None,
        dst: "198.51.100.1:80".parse().unwrap(),
    };
    Host::new(&state(text)).walk(&packet, STAMP)
}

/// A rule's words, sensible and not.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "-s",
        "-d",
        "10.0.0.0/8",
        "198.51.100.1/32",
        "!",
        "-p",
        "tcp",
        "udp",
        "-m",
        "comment",
        "--comment",
        "\"a b\"",
        "\"",
        "mark",
        "--mark",
        "0x1/0x1",
        "conntrack",
        "--ctstate",
        "NEW",
        "--dport",
        "80",
        "multiport",
        "--dports",
        "1,2:3",
        "statistic",
        "--mode",
        "random",
        "--probability",
        "0.5",
        "set",
        "--match-set",
        "x",
        "limit",
        "-j",
        "-g",
        "A",
        "B",
        "ACCEPT",
        "DROP",
        "REJECT",
        "RETURN",
        "DNAT",
        "--to-destination",
        "10.0.0.1:80",
        "MARK",
        "--set-xmark",
        "0x1/0x1",
        "MASQUERADE",
        "NFQUEUE",
        "-i",
        "eth+",
        "-o",
        "é",
    ]);
    prop::collection::vec(word, 0..10).prop_map(|words| words.join(" "))
}

/// Rules that parse: a condition that is true, false or unknown, and a target.
fn rule() -> impl Strategy<Value = String> {
    let chain = prop::sample::select(vec!["FORWARD", "A", "B", "C"]);
    let condition = prop::sample::select(vec![
        "",
        "-p tcp",
        "-p udp",
        "-m geoip --x 1",
        "-m mark --mark 0x1/0x1",
        "-m statistic --mode random --probability 0.5",
        "-m conntrack --ctstate NEW",
    ]);
    let target = prop::sample::select(vec![
        "-j ACCEPT",
        "-j DROP",
        "-j REJECT",
        "-j RETURN",
        "-j A",
        "-j B",
        "-g C",
        "-j MARK --set-xmark 0x1/0x1",
        "-j LOG",
        "",
    ]);
    (chain, condition, target)
        .prop_map(|(chain, condition, target)| format!("-A {chain} {condition} {target}"))
}

fn filter(rules: &[String]) -> String {
    let declared = ":FORWARD ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]";
    format!("*filter\n{declared}\n{}\nCOMMIT\n", rules.join("\n"))
}

/// The outcome and where it leads, without how it came about.
fn result(walk: &Walk) -> (Outcome, Vec<(String, Outcome)>) {
    let branches =
        walk.branches.iter().map(|branch| (branch.destination.to_string(), branch.outcome)).collect();
    (walk.outcome, branches)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read(text in "(\\*|:|-A |\\[|#|COMMIT|[ -~é\\n\"\\\\]){0,200}") {
        let walk = walk(&text, Origin::External);
        prop_assert!(!walk.branches.is_empty());
    }

    #[test]
    fn any_words_are_walked(rules in prop::collection::vec(words(), 0..12), origin in prop::sample::select(vec![Origin::Node, Origin::External])) {
        let rules: String = rules.iter().flat_map(|words| ["-A FORWARD ", words, "\n-A OUTPUT ", words, "\n-A A ", words, "\n"]).collect();
        for table in ["filter", "mangle", "nat"] {
            let text = format!("*{table}\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}COMMIT\n");
            let walk = walk(&text, origin);
            prop_assert!(!walk.branches.is_empty());
        }
    }

    #[test]
    fn a_rule_that_cannot_match_changes_nothing(rules in prop::collection::vec(rule(), 0..14), at in any::<prop::sample::Index>()) {
        let before = result(&walk(&filter(&rules), Origin::External));
        let mut more = rules.clone();
        let chain = ["FORWARD", "A", "B", "C"][at.index(4)];
        more.insert(at.index(rules.len() + 1), format!("-A {chain} -p udp -m geoip --x 2 -j DROP"));
        prop_assert_eq!(before, result(&walk(&filter(&more), Origin::External)));
    }

    /// Learning whether an unknown rule matches never turns one certain outcome into another.
    #[test]
    fn knowing_more_never_contradicts(rules in prop::collection::vec(rule(), 0..12)) {
        let unknown = walk(&filter(&rules), Origin::External);
        for known in ["-p tcp", "-p udp"] {
            let learnt: Vec<String> = rules.iter().map(|rule| rule.replace("-m geoip --x 1", known)).collect();
            let learnt = walk(&filter(&learnt), Origin::External);
            if unknown.outcome != Outcome::Unknown {
                prop_assert_eq!(unknown.outcome, learnt.outcome);
            }
        }
    }
}

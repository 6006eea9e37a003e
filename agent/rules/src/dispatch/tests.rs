//! Walks with and without the short cut are the same to the last step.

use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, RulesStamp, Walk};
use proptest::prelude::*;

use super::{Dispatch, Keys, LONG};
use crate::Host;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

fn host(text: &str) -> Host {
    Host::new(&NodeState {
        iptables: vec![SavedRules {
            backend: Backend::IptablesNft,
            family: Family::Ipv4,
            text: text.to_owned(),
        }],
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
    })
}

fn walk(host: &Host, to: &str) -> Walk {
    let packet = Packet {
        origin: Origin::External,
        in_interface: Some("eth1".to_owned()),
        protocol: Protocol::Tcp,
        src: "192.0.2.7".parse().unwrap(),
        src_port: None,
        dst: to.parse().unwrap(),
    };
    host.walk(&packet, STAMP)
}

/// First and last of each run, and whether it goes by address.
fn runs(rules: &[String]) -> Vec<(usize, usize, bool)> {
    let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{}\nCOMMIT\n", rules.join("\n"));
    let host = host(&text);
    let runs = host.dispatch.runs.values().flatten();
    runs.map(|run| (run.first, run.end, matches!(run.keys, Keys::Addresses(_)))).collect()
}

fn addressed(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("-A FORWARD -d 10.0.0.{number}/32 -j DROP")).collect()
}

#[test]
fn runs_are_neighbours_with_one_destination_each() {
    assert_eq!(runs(&addressed(LONG - 1)), []);
    assert_eq!(runs(&addressed(LONG)), [(0, LONG, true)]);
    let mut parted = addressed(2 * LONG);
    parted.insert(LONG, "-A FORWARD ! -d 10.0.0.1/32 -j RETURN".to_owned());
    assert_eq!(runs(&parted), [(0, LONG, true), (LONG + 1, 2 * LONG + 1, true)]);
    let ports: Vec<String> =
        (0..LONG).map(|port| format!("-A FORWARD -p tcp -m tcp --dport {port} -j DROP")).collect();
    assert_eq!(runs(&ports), [(0, LONG, false)]);
    let wide = vec!["-A FORWARD -d 10.0.0.0/31 -p tcp -m tcp --dport 1:2 -j DROP".to_owned(); LONG];
    assert_eq!(runs(&wide), []);
}

/// Many of one kind in a row, so that runs come about, with few destinations, so that they are met.
fn rules() -> impl Strategy<Value = Vec<String>> {
    let chain = prop::sample::select(vec!["FORWARD", "PREROUTING", "A", "B"]);
    let condition = prop::sample::select(vec![
        "-d 10.0.0.1/32",
        "-d 10.0.0.1/32 -p tcp -m tcp --dport 80",
        "-d 10.0.0.4/32 -p udp",
        "-d 10.0.0.5/32",
        "-p tcp -m tcp --dport 80",
        "-p tcp -m tcp --dport 81",
        "-p tcp -m tcp ! --dport 80",
        "! -d 10.0.0.1/32",
        "-d 10.0.0.0/24",
    ]);
    let target = prop::sample::select(vec![
        "-j DROP",
        "-j RETURN",
        "-j A",
        "-g B",
        "-j MARK --set-xmark 0x1/0x1",
        "-j MARK --set-xmark 0x2/0x2",
        "",
    ]);
    let group = (chain, prop::collection::vec((condition, target), 1..5), 1..40_usize);
    let group = group.prop_map(|(chain, rules, count)| {
        let of_chain = |(condition, target): &(&str, &str)| format!("-A {chain} {condition} {target}");
        rules.iter().cycle().take(count).map(of_chain).collect::<Vec<String>>()
    });
    // Few that cannot be told: what would be given up for want of room may differ.
    let open = prop::sample::select(vec![
        "-A FORWARD -d 10.0.0.2/32 -m geoip --x 1 -j DROP",
        "-A A -d 10.0.0.3/32 -m statistic --mode random --probability 0.5 -j B",
        "-A PREROUTING -d 10.0.0.1/32 -m geoip --x 1 -j A",
    ]);
    let groups = prop::collection::vec(group, 1..6);
    (groups, prop::collection::vec((open, any::<prop::sample::Index>()), 0..3)).prop_map(|(groups, open)| {
        let mut rules: Vec<String> = groups.concat();
        for (rule, at) in open {
            rules.insert(at.index(rules.len() + 1), rule.to_owned());
        }
        rules
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn short_cuts_change_nothing(rules in rules(), other in 1..6_u8, port in 79..83_u16) {
        let translated = format!("-A PREROUTING -d 10.0.0.{other}/32 -j DNAT --to-destination 10.0.0.1:80");
        let text = format!(
            "*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n{0}\nCOMMIT\n\
             *nat\n:PREROUTING ACCEPT [0:0]\n{translated}\nCOMMIT\n",
            rules.join("\n"),
        );
        let indexed = host(&text);
        let mut linear = host(&text);
        linear.dispatch = Dispatch::default();
        for address in 1..7 {
            let to = format!("10.0.0.{address}:{port}");
            prop_assert_eq!(walk(&indexed, &to), walk(&linear, &to));
        }
    }
}

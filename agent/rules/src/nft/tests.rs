//! Listings of nft, read and walked.

use std::fmt::Write as _;

use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind};
use model::time::Timestamp;
use model::walk::{Masquerade, Outcome, RulesStamp, Walk};

use super::parse;
use crate::Host;
use crate::ir::{Target, Test};

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

/// A listing of one `inet` table with a chain for what is forwarded and one that can be called.
fn listing(extra: &str, rules: &[&str]) -> String {
    let rules = rules.iter().zip(10..).fold(String::new(), |mut text, (rule, handle)| {
        let (chain, rule) = rule.split_once(" <- ").unwrap_or(("forward", rule));
        let _ = write!(
            text,
            r#",{{"rule":{{"family":"inet","table":"t","chain":"{chain}","handle":{handle},"expr":[{rule}]}}}}"#
        );
        text
    });
    format!(
        r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{{"table":{{"family":"inet","name":"t","handle":1}}}}{extra},
        {{"chain":{{"family":"inet","table":"t","name":"forward","handle":1,"type":"filter","hook":"forward","prio":0,"policy":"accept"}}}},
        {{"chain":{{"family":"inet","table":"t","name":"nat","handle":2,"type":"nat","hook":"prerouting","prio":-100,"policy":"accept"}}}},
        {{"chain":{{"family":"inet","table":"t","name":"snat","handle":3,"type":"nat","hook":"postrouting","prio":100,"policy":"accept"}}}},
        {{"chain":{{"family":"inet","table":"t","name":"c","handle":4}}}}{rules}]}}"#
    )
}

fn walk_listing(text: &str) -> Walk {
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().expect("an address"),
    };
    let state = NodeState {
        nftables: text.to_owned(),
        addresses: vec![address("lo", "127.0.0.1/8"), address("eth0", "192.0.2.2/24")],
        routes: vec![Route {
            table: 254,
            destination: "0.0.0.0/0".parse().expect("a network"),
            kind: RouteKind::Unicast,
            gateway: None,
            device: Some("eth0".to_owned()),
            prefer_src: None,
            metric: 0,
        }],
        sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        ..NodeState::default()
    };
    let packet = Packet {
        origin: Origin::External,
        in_interface: Some("eth0".to_owned()),
        protocol: Protocol::Tcp,
        src: "198.51.100.7".parse().expect("an address"),
        src_port: None,
        dst: "203.0.113.1:80".parse().expect("an address"),
    };
    Host::new(&state).walk(&packet, STAMP)
}

fn walk(rules: &[&str]) -> Walk {
    walk_listing(&listing("", rules))
}

/// Whether a condition lets its rule drop the packet.
#[track_caller]
fn decides(condition: &str, outcome: Outcome) {
    let walk = walk(&[&format!(r#"{condition},{{"drop":null}}"#)]);
    assert_eq!(walk.outcome, outcome, "{condition}: {:?}", walk.gaps);
}

fn matches(left: &str, op: &str, right: &str) -> String {
    format!(r#"{{"match":{{"op":"{op}","left":{left},"right":{right}}}}}"#)
}

const DADDR: &str = r#"{"payload":{"protocol":"ip","field":"daddr"}}"#;
const DPORT: &str = r#"{"payload":{"protocol":"tcp","field":"dport"}}"#;

#[test]
fn conditions_hold_as_in_the_kernel() {
    for (left, op, right, holds) in [
        (DADDR, "==", r#""203.0.113.1""#, true),
        (DADDR, "!=", r#""203.0.113.1""#, false),
        (DADDR, "==", r#"{"prefix":{"addr":"203.0.113.0","len":24}}"#, true),
        (DADDR, "==", r#"{"range":["203.0.113.2","203.0.113.9"]}"#, false),
        (DADDR, "==", r#"{"set":["192.0.2.1",{"prefix":{"addr":"203.0.113.0","len":24}}]}"#, true),
        (DADDR, "!=", r#"{"set":["192.0.2.1"]}"#, true),
        (DPORT, "==", "80", true),
        (DPORT, ">=", "81", false),
        (DPORT, "<", "81", true),
        (r#"{"payload":{"protocol":"udp","field":"dport"}}"#, "!=", "53", false),
        (r#"{"payload":{"protocol":"ip6","field":"daddr"}}"#, "!=", r#""fd00::1""#, false),
        (r#"{"payload":{"protocol":"icmp","field":"type"}}"#, "!=", r#""echo-request""#, false),
        (r#"{"meta":{"key":"l4proto"}}"#, "==", r#"{"set":["tcp","udp"]}"#, true),
        (r#"{"meta":{"key":"nfproto"}}"#, "==", r#""ipv6""#, false),
        (r#"{"meta":{"key":"iifname"}}"#, "==", r#""eth*""#, true),
        (r#"{"meta":{"key":"iifname"}}"#, "==", r#"{"set":["cali*","lo"]}"#, false),
        (r#"{"meta":{"key":"oifname"}}"#, "!=", r#""eth0""#, false),
        (r#"{"&":[{"meta":{"key":"mark"}},16384]}"#, "!=", "0", false),
        (r#"{"ct":{"key":"state"}}"#, "in", r#"["established","new"]"#, true),
        (r#"{"ct":{"key":"state"}}"#, "!", r#""new""#, false),
        (r#"{"ct":{"key":"state"}}"#, "==", r#"{"set":["new"]}"#, true),
        (r#"{"ct":{"key":"status"}}"#, "in", r#""dnat""#, false),
        (r#"{"ct":{"key":"status"}}"#, "!=", r#""dnat""#, true),
        (r#"{"fib":{"result":"oif","flags":["saddr","iif"]}}"#, "==", "false", false),
        (r#"{"fib":{"result":"oif","flags":["saddr","mark","iif"]}}"#, "==", r#""0""#, false),
        (r#"{"ct":{"key":"direction"}}"#, "==", r#""original""#, true),
        (r#"{"fib":{"result":"type","flags":["saddr"]}}"#, "==", r#""local""#, false),
        (r#"{"fib":{"result":"type","flags":["daddr"]}}"#, "!=", r#""local""#, true),
        (
            r#"{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]}"#,
            "==",
            r#""syn""#,
            true,
        ),
    ] {
        let outcome = if holds { Outcome::Dropped } else { Outcome::Forwarded };
        decides(&matches(left, op, right), outcome);
    }
    let key = format!(r#"{{"concat":[{DADDR},{DPORT}]}}"#);
    let elements = |port: &str| {
        format!(r#"{{"set":[{{"concat":[{{"prefix":{{"addr":"203.0.113.0","len":24}}}},{port}]}}]}}"#)
    };
    decides(&matches(&key, "==", &elements("80")), Outcome::Dropped);
    decides(&matches(&key, "==", &elements("81")), Outcome::Forwarded);
}

#[test]
fn what_is_not_modelled_is_unknown() {
    for condition in [
        r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"ttl"}},"right":1}}"#,
        r#"{"limit":{"rate":10,"burst":5,"per":"minute"}}"#,
        r#"{"xt":{"type":"match","name":"geoip"}}"#,
        r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"@nobody"}}"#,
    ] {
        decides(condition, Outcome::Unknown);
    }
    assert_eq!(walk(&[r#"{"queue":{"num":3}}"#]).outcome, Outcome::Unknown);
    assert_eq!(walk(&[r#"{"surprise":1}"#]).outcome, Outcome::Unknown);
    // A limit before nothing but a log line decides nothing.
    let logs = walk(&[r#"{"limit":{"rate":10,"burst":5,"per":"minute"}},{"log":{"prefix":"x"}}"#]);
    assert_eq!(logs.outcome, Outcome::Forwarded);
}

#[test]
fn verdict_maps_lead_where_they_say() {
    let map = r#",{"map":{"family":"inet","name":"m","table":"t","type":["ipv4_addr","inet_service"],"map":"verdict",
        "elem":[[{"elem":{"val":{"concat":["203.0.113.1",80]},"comment":"ns/svc:p"}},{"goto":{"target":"c"}}],[{"concat":["203.0.113.2",80]},{"drop":null}]]}}"#;
    let rule = format!(r#"{{"vmap":{{"key":{{"concat":[{DADDR},{DPORT}]}},"data":"@m"}}}}"#);
    let found = walk_listing(&listing(
        map,
        &[&rule, r#"c <- {"reject":{"type":"icmpx","expr":"admin-prohibited"}}"#],
    ));
    assert_eq!(found.outcome, Outcome::Rejected);
    assert_eq!(found.branches[0].reject_with.as_deref(), Some("icmp-admin-prohibited"));
    assert_eq!(found.branches[0].terminal_rule.as_ref().and_then(|rule| rule.handle), Some(11));
    // goto does not come back: what follows in the chain is not seen.
    let back = walk_listing(&listing(map, &[&rule, r#"{"drop":null}"#]));
    assert_eq!(back.outcome, Outcome::Forwarded);
}

#[test]
fn a_generator_is_one_branch_for_each_way() {
    let to = |key: &str| {
        format!(
            r#"nat <- {{"dnat":{{"family":"ip","addr":{{"map":{{"key":{key},"data":{{"set":[[0,{{"concat":["10.0.0.1",8080]}}],[1,{{"concat":["10.0.0.2",8080]}}]]}}}}}}}}}}"#
        )
    };
    let found = walk(&[&to(r#"{"numgen":{"mode":"random","mod":2,"offset":0}}"#)]);
    let destinations: Vec<String> =
        found.branches.iter().map(|branch| branch.destination.to_string()).collect();
    assert_eq!(destinations, ["10.0.0.1:8080", "10.0.0.2:8080"]);
    // A value that the map does not hold leaves the destination alone.
    let found = walk(&[&to(r#"{"jhash":{"mod":3,"expr":{"payload":{"protocol":"ip","field":"saddr"}}}}"#)]);
    assert_eq!(found.branches.len(), 3, "{:?}", found.branches);
}

#[test]
fn what_one_rule_changes_it_sees_itself() {
    let mark = r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},16384]}}}"#;
    let masquerade = r#"{"match":{"op":"!=","left":{"&":[{"meta":{"key":"mark"}},16384]},"right":0}},
        {"mangle":{"key":{"meta":{"key":"mark"}},"value":{"^":[{"meta":{"key":"mark"}},16384]}}},{"masquerade":{"flags":"fully-random"}}"#;
    let found = walk(&[mark, &format!("snat <- {masquerade}")]);
    assert_eq!((found.outcome, found.masquerade()), (Outcome::Forwarded, Masquerade::Yes));
    let found = walk(&[&format!("snat <- {masquerade}")]);
    assert_eq!(found.masquerade(), Masquerade::No);
}

#[test]
fn a_set_that_packets_add_to_is_not_what_it_was() {
    let set =
        r#",{"set":{"family":"inet","name":"s","table":"t","type":"ipv4_addr","elem":["198.51.100.9"]}}"#;
    let asks = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@s"}},{"drop":null}"#;
    let adds = r#"c <- {"set":{"op":"add","elem":{"payload":{"protocol":"ip","field":"saddr"}},"set":"@s"}}"#;
    assert_eq!(walk_listing(&listing(set, &[asks])).outcome, Outcome::Forwarded);
    assert_eq!(walk_listing(&listing(set, &[asks, adds])).outcome, Outcome::Unknown);
}

#[test]
fn a_map_that_packets_add_to_is_not_what_it_was() {
    let map =
        r#",{"map":{"family":"inet","name":"m","table":"t","type":"ipv4_addr","map":"verdict","elem":[]}}"#;
    let asks = r#"{"vmap":{"key":{"payload":{"protocol":"ip","field":"saddr"}},"data":"@m"}}"#;
    let adds = r#"c <- {"map":{"op":"add","elem":{"payload":{"protocol":"ip","field":"saddr"}},"data":1,"map":"@m"}}"#;
    assert_eq!(walk_listing(&listing(map, &[asks])).outcome, Outcome::Forwarded);
    assert_eq!(walk_listing(&listing(map, &[asks, adds])).outcome, Outcome::Unknown);
}

/// Conditions that the kernel holds and nft does not print.
#[test]
fn what_a_statement_implies_is_a_condition() {
    let mangle = |protocol: &str, field: &str| {
        format!(
            r#"{{"mangle":{{"key":{{"payload":{{"protocol":"{protocol}","field":"{field}"}}}},"value":1}}}}"#
        )
    };
    let adds = |protocol: &str, field: &str| {
        format!(
            r#"{{"set":{{"op":"add","elem":{{"payload":{{"protocol":"{protocol}","field":"{field}"}}}},"set":"@s"}}}}"#
        )
    };
    for (statement, done) in [
        (mangle("ip", "dscp"), true),
        (mangle("ip6", "dscp"), false),
        (mangle("udp", "checksum"), false),
        (adds("tcp", "dport"), true),
        (adds("ip6", "saddr"), false),
        (adds("icmp", "type"), false),
    ] {
        decides(&statement, if done { Outcome::Dropped } else { Outcome::Forwarded });
    }
    let reject =
        |kind: &str| walk(&[&format!(r#"{{"reject":{{"type":"{kind}","expr":"no-route"}}}}"#)]).outcome;
    assert_eq!(
        ["icmp", "icmpx", "icmpv6", "tcp reset"].map(reject),
        [Outcome::Rejected, Outcome::Rejected, Outcome::Forwarded, Outcome::Rejected]
    );
}

#[test]
fn a_table_that_is_switched_off_decides_nothing() {
    let drops = |flags: &str| {
        format!(
            r#",{{"table":{{"family":"ip","name":"off"{flags}}}}},{{"chain":{{"family":"ip","table":"off","name":"f",
            "type":"filter","hook":"forward","prio":0,"policy":"drop"}}}}"#
        )
    };
    let outcome = |flags: &str| walk_listing(&listing(&drops(flags), &[])).outcome;
    assert_eq!(outcome(""), Outcome::Dropped);
    assert_eq!(outcome(r#","flags":["dormant"]"#), Outcome::Forwarded);
    assert_eq!(outcome(r#","flags":"dormant""#), Outcome::Forwarded);
}

#[test]
fn tables_of_the_other_family_and_given_ones_are_left_out() {
    let text = r#"{"nftables":[{"table":{"family":"ip","name":"filter"}},
        {"chain":{"family":"ip","table":"filter","name":"c","type":"filter","hook":"input","prio":0,"policy":"drop"}},
        {"table":{"family":"bridge","name":"b"}},
        {"chain":{"family":"bridge","table":"b","name":"c","type":"filter","hook":"input","prio":0,"policy":"drop"}},
        {"table":{"family":"arp","name":"a"}}]}"#;
    let listing = parse(text, |_, _| false);
    assert_eq!(listing.tables, ["ip filter", "bridge b", "arp a"]);
    assert_eq!(listing.unwalked, ["bridge b"]);
    let [four, six] = &listing.sets;
    assert_eq!((four.tables.len(), six.tables.len()), (1, 0));
    let given = parse(text, |family, name| (family, name) == (Family::Ipv4, "filter"));
    assert!(given.sets[0].tables.is_empty());
}

#[test]
fn text_that_is_no_listing_is_a_problem_with_its_place() {
    let what = |text: &str| {
        let listing = parse(text, |_, _| false);
        let problem = listing.sets[0].problems.first().expect("a problem").clone();
        (problem.line, problem.what)
    };
    assert_eq!(what("{}").1, "not a listing of nft: it has no \"nftables\"");
    assert_eq!(what("{\"nftables\":[\n{\"table\":").0, 2);
    assert_eq!(
        what(r#"{"nftables":[{"rule":{"family":"ip"}}]}"#),
        (1, "object 1: a name is missing".to_owned())
    );
    let deep = format!("{{\"nftables\":[{}", "[".repeat(100_000));
    assert!(what(&deep).1.contains("recursion limit"));
}

#[test]
fn what_is_read_before_the_fault_is_kept() {
    let text = listing("", &[r#"{"drop":null}"#]);
    let cut = text.len() - 1;
    let read = parse(text.get(..cut).expect("ASCII"), |_, _| false);
    let table = read.sets[0].table("t").expect("the table");
    assert!(matches!(table.rules.first().map(|rule| &rule.target), Some(Target::Drop)));
    assert!(!read.sets[0].problems.is_empty());
    assert_eq!(walk_listing(text.get(..cut).expect("ASCII")).outcome, Outcome::Dropped);
    let open = listing("", &[]);
    assert_eq!(walk_listing(open.get(..open.len() - 1).expect("ASCII")).outcome, Outcome::Unknown);
}

#[test]
fn an_unknown_test_keeps_its_words() {
    let text = listing(
        "",
        &[
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"ttl"}},"right":1}},{"drop":null}"#,
        ],
    );
    let read = parse(&text, |_, _| false);
    let [set, _] = &read.sets;
    let unknown = set.matches.iter().find_map(|item| match item.test {
        Test::Unknown(span) => Some(set.text(span)),
        _ => None,
    });
    assert_eq!(unknown, Some("ip ttl 1"));
}

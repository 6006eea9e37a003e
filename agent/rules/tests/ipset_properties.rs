//! What holds for any sets: no text makes the reader panic, what is asked of what was read always has an answer, and
//! learning a member never turns a yes into a no where there are no exceptions.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, Outcome, RulesStamp, Walk};
use proptest::prelude::*;
use rules::Host;
use rules::ipset::Sets;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

fn walk(sets: &str, sides: &str) -> Walk {
    let text =
        format!("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set s {sides} -j DROP\nCOMMIT\n");
    let state = NodeState {
        iptables: vec![SavedRules { backend: Backend::IptablesNft, family: Family::Ipv4, text }],
        ipsets: Some(sets.to_owned()),
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
        origin: Origin::Pod,
        in_interface: Some("cni0".to_owned()),
        protocol: Protocol::Tcp,
        src: "10.0.0.1".parse().unwrap(),
        src_port: Some(40_000),
        dst: "10.0.0.2:80".parse().unwrap(),
    };
    Host::new(&state).walk(&packet, STAMP)
}

/// Words of `ipset save`, in any order and any number.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "create",
        "add",
        "s",
        "t",
        "hash:ip",
        "hash:net",
        "hash:ip,port",
        "hash:net,iface",
        "hash:net,port,net",
        "list:set",
        "bitmap:port",
        "bitmap:ip",
        "family",
        "inet",
        "inet6",
        "netmask",
        "bitmask",
        "timeout",
        "0",
        "24",
        "33",
        "999",
        "-1",
        "10.0.0.1",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "fe80::1",
        "10.0.0.1,tcp:80",
        "10.0.0.1,80",
        "10.0.0.0/8,eth0",
        ",",
        "\"",
        "\"a b\"",
        "comment",
        "nomatch",
        "wildcard",
        "\n",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

fn member() -> impl Strategy<Value = String> {
    let address = (0_u8..3, 0_u8..3).prop_map(|(a, b)| format!("10.0.{a}.{b}"));
    (address, 8_u8..=32).prop_map(|(address, length)| format!("{address}/{length}"))
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Sets::parse(&text);
        let _ = walk(&text, "src");
    }

    #[test]
    fn any_words_are_read_and_asked(words in words(), sides in "(src|dst)(,(src|dst)){0,6}") {
        let _ = walk(&words, &sides);
    }

    #[test]
    fn a_member_more_never_takes_one_away(members in prop::collection::vec(member(), 0..12), more in member()) {
        let text = |members: &[String]| {
            let lines: Vec<_> = members.iter().map(|member| format!("add s {member}\n")).collect();
            format!("create s hash:net family inet\n{}", lines.concat())
        };
        let before = walk(&text(&members), "dst").outcome;
        let after = walk(&text(&[&members[..], &[more]].concat()), "dst").outcome;
        prop_assert!(before != Outcome::Dropped || after == Outcome::Dropped, "{before:?}, then {after:?}");
    }
}

#[test]
fn what_is_kept_of_a_huge_text_is_bounded() {
    const MEMBERS: u32 = 1_000_000;
    let mut text = String::from("create s hash:net family inet\n");
    for number in 0..MEMBERS + 10 {
        let [_, a, b, c] = number.to_be_bytes();
        text.extend([format!("add s 11.{a}.{b}.{c}\n")]);
    }
    let walk = walk(&text, "src");
    let told: Vec<_> = walk.gaps.iter().map(|gap| gap.why.as_str()).collect();
    assert!(
        told.iter().any(|why| why.contains("10 members beyond the first 1000000 were left out")),
        "{told:?}"
    );
    assert_eq!(walk.outcome, Outcome::Unknown, "what was left out may be what is asked for");
}

#[test]
fn long_lines_and_many_problems_are_told_in_short() {
    let line = format!("add s {}\n", "x".repeat(100_000));
    let sets = Sets::parse(&line.repeat(300));
    assert_eq!(sets.problems().len(), 101);
    assert!(sets.problems().iter().all(|problem| problem.excerpt.len() < 200 && problem.what.len() < 200));
    assert_eq!(sets.problems()[100].what, "200 more lines could not be read");
}

//! Packets through whatever was read, and what holds of every answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::drift::{AddressKind, Intended};
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, Link, NodeState, Route, RouteKind};
use model::objects::Key;
use model::time::Timestamp;
use model::walk::{Outcome, RulesStamp};
use rules::Host;
use rules::ir::RuleSet;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };
/// Problems that are kept of one text, and the entry that counts the others.
const MOST_PROBLEMS: usize = 100 + 1;

/// Where the seeds send to: an address that a proxy serves, one of this host, one elsewhere.
const TO: [&str; 6] = [
    "10.96.0.1:80",
    "192.0.2.2:30080",
    "10.244.1.5:8080",
    "[fd00:96::1]:80",
    "[2001:db8::2]:30080",
    "[fd00:244::5]:8080",
];

/// Interfaces, addresses and routes of a small node.
pub fn network() -> NodeState {
    let link = |index, name: &str, kind: &str| Link {
        index,
        name: name.to_owned(),
        up: true,
        master: None,
        peer_index: None,
        kind: kind.to_owned(),
        mtu: 1500,
    };
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().expect("an address"),
    };
    let route = |destination: &str, device: &str| Route {
        table: 254,
        destination: destination.parse().expect("a network"),
        kind: RouteKind::Unicast,
        gateway: None,
        device: Some(device.to_owned()),
        prefer_src: None,
        metric: 0,
    };
    NodeState {
        links: vec![link(1, "lo", ""), link(2, "eth0", ""), link(3, "cni0", "bridge")],
        addresses: vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "192.0.2.2/24"),
            address("eth0", "2001:db8::2/64"),
            address("cni0", "10.244.1.1/24"),
            address("cni0", "fd00:244::1/64"),
            address("kube-ipvs0", "10.96.0.1/32"),
        ],
        routes: vec![
            route("0.0.0.0/0", "eth0"),
            route("10.244.1.0/24", "cni0"),
            route("::/0", "eth0"),
            route("fd00:244::/64", "cni0"),
        ],
        ..NodeState::default()
    }
}

/// Walks a handful of packets, and compares with Services that are wanted.
pub fn all(host: &Host) {
    host.rule_sets().iter().for_each(problems);
    packets().for_each(|packet| one(host, &packet));
    let node = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    let drift = host.drift(&wanted(), &[node]);
    assert!(drift.compared <= 2, "{drift:?}");
}

/// Asserts that two readings of one state come to the same answers. Gaps count the objects of what they are about, and so
/// differ.
pub fn same(one: &Host, other: &Host) {
    for packet in packets() {
        let [one, other] = [one, other].map(|host| {
            let mut walk = host.walk(&packet, STAMP);
            walk.gaps.clear();
            walk.branches.iter_mut().for_each(|branch| branch.gaps.clear());
            walk
        });
        assert_eq!(one, other);
    }
}

/// Of all combinations some: what is tried is multiplied by them.
fn packets() -> impl Iterator<Item = Packet> {
    let kinds = [
        (Origin::Pod, Protocol::Tcp),
        (Origin::External, Protocol::Udp),
        (Origin::Node, Protocol::Tcp),
        (Origin::External, Protocol::Sctp),
    ];
    TO.iter().zip(kinds.into_iter().cycle()).map(|(to, (origin, protocol))| {
        let dst: SocketAddr = to.parse().expect("an address and port");
        Packet { origin, in_interface: None, protocol, src: source(dst, origin), src_port: None, dst }
    })
}

/// What could not be read is told, and within bounds.
fn problems(set: &RuleSet) {
    assert!(set.problems.len() <= MOST_PROBLEMS, "{} problems", set.problems.len());
}

fn source(dst: SocketAddr, origin: Origin) -> IpAddr {
    let source = match (Family::of(dst.ip()), origin) {
        (Family::Ipv4, Origin::Pod) => "10.244.1.7",
        (Family::Ipv4, Origin::Node) => "192.0.2.2",
        (Family::Ipv4, Origin::External) => "198.51.100.7",
        (Family::Ipv6, Origin::Pod) => "fd00:244::7",
        (Family::Ipv6, Origin::Node) => "2001:db8::2",
        (Family::Ipv6, Origin::External) => "2001:db8:1::7",
    };
    source.parse().expect("an address")
}

fn one(host: &Host, packet: &Packet) {
    let walk = host.walk(packet, STAMP);
    assert!(!walk.branches.is_empty(), "an answer without a way: {walk:?}");
    let outcomes = || walk.branches.iter().map(|branch| branch.outcome);
    let first = walk.branches[0].outcome;
    let same = outcomes().all(|outcome| outcome == first);
    assert_eq!(walk.outcome, if same { first } else { Outcome::Unknown }, "{walk:?}");
    for branch in &walk.branches {
        let unknown = branch.outcome == Outcome::Unknown;
        assert!(!unknown || !branch.gaps.is_empty(), "unknown, and nothing says why: {branch:?}");
    }
    assert_eq!(host.walk(packet, STAMP), walk, "the same question has the same answer");
}

fn wanted() -> [Intended; 2] {
    let intended = |kind, at: &str| Intended {
        service: Key::new("shop", "api"),
        port: String::new(),
        kind,
        at: at.parse().expect("an address and port"),
        protocol: Protocol::Tcp,
        sends_to: ["10.244.1.5:8080".parse().expect("an address and port")].into(),
        some_suffice: false,
        required: true,
    };
    [intended(AddressKind::ClusterIp, "10.96.0.1:80"), intended(AddressKind::NodePort, "0.0.0.0:30080")]
}

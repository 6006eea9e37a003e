//! What holds for any virtual servers: no text makes the reader or the walker panic, and what is kept is bounded.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

use model::flow::{Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind};
use model::time::Timestamp;
use model::walk::{Outcome, RulesStamp, Walk};
use proptest::prelude::*;
use rules::Host;
use rules::ipvs::VirtualServers;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

fn walk(servers: &str, origin: Origin) -> Walk {
    let state = NodeState {
        ipvs: Some(servers.to_owned()),
        addresses: vec![InterfaceAddress {
            interface: "kube-ipvs0".to_owned(),
            address: "10.96.0.1/32".parse().unwrap(),
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
        sysctls: [("net.ipv4.vs.conntrack".to_owned(), "1".to_owned())].into(),
        ..NodeState::default()
    };
    let packet = Packet {
        origin,
        in_interface: (origin != Origin::Node).then(|| "cni0".to_owned()),
        protocol: Protocol::Tcp,
        src: "10.244.1.5".parse().unwrap(),
        src_port: Some(40_000),
        dst: "10.96.0.1:80".parse().unwrap(),
    };
    Host::new(&state).walk(&packet, STAMP)
}

/// Words of the three listings, in any order and any number.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "IP",
        "Prot",
        "->",
        "RemoteAddress:Port Forward",
        "TCP",
        "UDP",
        "SCTP",
        "FWM",
        "-A",
        "-a",
        "-t",
        "-u",
        "-f",
        "-6",
        "-r",
        "-s",
        "-m",
        "-g",
        "-i",
        "-w",
        "-p",
        "-M",
        "-b",
        "-o",
        "-x",
        "--sctp-service",
        "--tun-type",
        "rr",
        "sh",
        "mh",
        "fo",
        "persistent",
        "mask",
        "ops",
        "pe",
        "(sh-port)",
        "IPv6",
        "Masq",
        "Route",
        "Tunnel",
        "Local",
        "0",
        "1",
        "-1",
        "99999999999",
        "10.96.0.1:80",
        "10.96.0.1:0",
        "127.0.0.1:80",
        "0A600001:0050",
        "0A600001:0000",
        "[fd00::1]:80",
        "[fd00:0096:0000:0000:0000:0000:0000:0001]:0051",
        "web:http",
        "00000001",
        "\n",
        "\n",
    ]);
    prop::collection::vec(word, 0..80).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = VirtualServers::parse(&text);
        let _ = walk(&text, Origin::Pod);
    }

    #[test]
    fn any_words_are_read_and_walked(words in words()) {
        for origin in [Origin::Pod, Origin::Node] {
            let _ = walk(&words, origin);
        }
    }

    #[test]
    fn every_real_server_that_takes_connections_is_a_branch(weights in prop::collection::vec(0_u32..3, 0..40)) {
        let real = |(number, weight): (usize, &u32)| {
            format!("-a -t 10.96.0.1:80 -r 10.0.0.{number}:8080 -m -w {weight}\n")
        };
        let real: Vec<String> = weights.iter().enumerate().map(real).collect();
        let found = walk(&format!("-A -t 10.96.0.1:80 -s wrr\n{}", real.concat()), Origin::Pod);
        let taking = weights.iter().filter(|weight| **weight > 0).count();
        prop_assert_eq!(found.branches.len(), taking.max(1));
        let outcome = if taking > 0 { Outcome::Forwarded } else { Outcome::Rejected };
        prop_assert_eq!(found.outcome, outcome);
    }
}

#[test]
fn what_is_kept_of_a_huge_listing_is_bounded() {
    const KEPT: usize = 500_000;
    let mut text = String::from("-A -t 10.96.0.1:80 -s rr\n");
    text.push_str(&"-a -t 10.96.0.1:80 -r 10.0.0.1:80 -m -w 0\n".repeat(KEPT + 10));
    let servers = VirtualServers::parse(&text);
    assert_eq!(servers.servers[0].destinations.len(), KEPT - 1);
    let told: Vec<_> = servers.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told, ["11 servers beyond the first 500000 were left out"]);
    let found = walk(&text, Origin::Pod);
    assert!(found.gaps.iter().any(|gap| gap.why.contains("were left out")), "{:?}", found.gaps.first());
}

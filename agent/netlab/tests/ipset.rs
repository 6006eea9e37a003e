//! Sets against the kernel: what a walk finds in them is what `ipset test` finds, and what a rule that asks them does to
//! real packets. Needs root.
//!
//! Sets, rules and packets are random. Types that this kernel was built without are named on stderr.

#[path = "ipset/random.rs"]
mod random;
#[path = "support/root.rs"]
mod root;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use kernel::{Namespaces, read_state};
use model::Timestamp;
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{NodeState, Route, RouteKind, SavedRules};
use model::walk::{Backend, Outcome, RulesStamp};
use netlab::{Lab, LabSpec, Netns, NodeSpec};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use random::{Case, KINDS, cases, own_port};
use rules::Host;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };
/// Sets of one round; with a rule each they are read and parsed at once.
const SETS: usize = 60;

fn lab(name: &str) -> Lab {
    let node = NodeSpec::new(
        "node-1",
        "10.200.0.11".parse().expect("address"),
        "10.244.1.0/24".parse().expect("cidr"),
    );
    Lab::new(LabSpec { name: name.to_owned(), nodes: vec![node] }).expect("a lab")
}

/// The types this kernel has; the others are named.
fn known(netns: &Netns) -> Vec<&'static str> {
    let mut known = Vec::new();
    for kind in KINDS {
        let create = ["ipset", "create", "probe", kind.name];
        let options: Vec<&str> = kind.options.split_ascii_whitespace().collect();
        if known.contains(&kind.name) {
            continue;
        }
        if netns.run(&[&create[..], &options].concat()).is_ok() {
            known.push(kind.name);
            netns.run(&["ipset", "destroy", "probe"]).expect("destroy");
        } else {
            eprintln!("not compared: {}, which this kernel does not have", kind.name);
        }
    }
    assert!(known.len() >= 8, "{known:?}");
    known
}

/// Runs rounds of random cases until `rounds` have passed; a failure is made smaller and printed.
fn rounds(count: u32, known: &[&str], round: impl FnMut(&[(u16, Case)]) -> Result<(), String>) {
    let round = RefCell::new(round);
    let config =
        Config { cases: count, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&cases(SETS), |cases| {
        let numbered: Vec<(u16, Case)> =
            (0..).zip(cases).filter(|(_, case)| known.contains(&case.kind.name)).collect();
        round.borrow_mut()(&numbered).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        // Not `error` itself: it holds all sets of the round.
        panic!("{}", error.to_string().lines().next().unwrap_or_default());
    }
}

fn destroy(netns: &Netns) {
    // Sets of sets let go of their members first.
    netns.run(&["ipset", "flush"]).expect("flush");
    netns.run(&["ipset", "destroy"]).expect("destroy");
}

fn fill(netns: &Netns, cases: &[(u16, Case)]) {
    destroy(netns);
    let (lists, plain): (Vec<_>, Vec<_>) = cases.iter().partition(|(_, case)| case.is_list());
    let sets = plain.iter().map(|(number, case)| case.sets(*number));
    let sets: Vec<String> =
        sets.chain(lists.iter().map(|(number, case)| case.list(*number, cases))).collect();
    // The same member twice is no error.
    netns.feed(&["ipset", "-exist", "restore"], &sets.concat()).expect("restore");
}

#[test]
fn members_are_those_that_ipset_finds() {
    if !root::available("sets against ipset") {
        return;
    }
    let lab = lab("ipset-test");
    let netns = &lab.node("node-1").expect("node").netns;
    let known = known(netns);
    let mut asked = 0;
    let mut held = 0;
    rounds(12, &known, |cases| {
        fill(netns, cases);
        let saved = netns.run(&["ipset", "save"]).expect("save");
        let mut questions = String::new();
        let mut found = Vec::new();
        for v6 in [false, true] {
            let of_family: Vec<&(u16, Case)> = cases.iter().filter(|(_, case)| case.v6 == v6).collect();
            let host = Host::new(&forwarding(v6, &of_family, &saved));
            assert_eq!(host.problems().count(), 0);
            // `ipset test` knows neither negation nor dimensions beside the set's own.
            let plain =
                of_family.iter().filter(|(_, case)| case.skew >= 0 && !case.excepted && !case.is_list());
            for (number, case) in plain {
                for probe in &case.probes {
                    let (from, to) = case.ends(*probe, *number);
                    let input = format!("c{number}");
                    let protocol = probe.protocol();
                    let question = case.question(from, to, protocol, [&input, "eth0"]);
                    // It gives the ports of TCP and UDP whatever is asked for (`bitmap_port_uadt`).
                    if case.kind.name == "bitmap:port" && protocol == Protocol::Sctp {
                        continue;
                    }
                    questions.extend([format!("test s{number} {question}\n")]);
                    let packet = Packet {
                        origin: Origin::Pod,
                        in_interface: Some(input),
                        protocol,
                        src: from.ip(),
                        src_port: Some(from.port()),
                        dst: to,
                    };
                    let outcome = host.walk(&packet, STAMP).outcome;
                    found.push((format!("s{number} {question}"), case.negate, outcome));
                }
            }
        }
        // Answers come on stderr, one for each question.
        let answers = netns.feed(&["sh", "-c", "exec 2>&1 >/dev/null ipset -"], &questions).expect("ipset");
        let answers: Vec<&str> = answers.lines().collect();
        assert_eq!(answers.len(), found.len(), "{answers:?}");
        for ((question, negate, outcome), answer) in found.iter().zip(answers) {
            assert!(answer.contains(" is in set ") || answer.contains(" is NOT in set "), "{answer}");
            let member = answer.contains(" is in set ");
            let expected = if member == *negate { Outcome::Forwarded } else { Outcome::Dropped };
            asked += 1;
            held += u32::from(member);
            if *outcome != expected {
                let (set, _) = question.split_once(' ').expect("a set");
                let members: Vec<&str> =
                    saved.lines().filter(|line| line.contains(&format!(" {set} "))).collect();
                return Err(format!(
                    "{question}: {answer:?}, but the walk {outcome:?} ({negate}): {members:?}"
                ));
            }
        }
        Ok(())
    });
    eprintln!("ipset test: {asked} questions, {held} of them about members");
    assert!(asked > 3000 && held > asked / 20 && held < asked * 19 / 20, "{asked} asked, {held} held");
}

/// Rules of FORWARD, one for each case, which drop what comes by the case's own interface and fits.
fn forwarding(v6: bool, cases: &[&(u16, Case)], saved: &str) -> NodeState {
    let rules: Vec<String> = cases
        .iter()
        .map(|(number, case)| format!("-A FORWARD -i c{number} {} -j DROP\n", case.condition(*number)))
        .collect();
    let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{}COMMIT\n", rules.concat());
    let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
    let route = |destination: &str| Route {
        table: 254,
        destination: destination.parse().expect("cidr"),
        kind: RouteKind::Unicast,
        gateway: None,
        device: Some("eth0".to_owned()),
        prefer_src: None,
        metric: 0,
    };
    NodeState {
        iptables: vec![SavedRules { backend: Backend::IptablesNft, family, text }],
        ipsets: Some(saved.to_owned()),
        routes: vec![route("0.0.0.0/0"), route("::/0")],
        sysctls: ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
            .map(|name| (name.to_owned(), "1".to_owned()))
            .into(),
        ..NodeState::default()
    }
}

/// Datagrams between addresses of this host, which OUTPUT drops: the sender is told at once (`EPERM`).
#[test]
fn packets_meet_what_the_walk_says() {
    if !root::available("sets against packets") {
        return;
    }
    let lab = lab("ipset-packets");
    let netns = &lab.node("node-1").expect("node").netns;
    let known = known(netns);
    netns.ip("route add local 10.0.0.0/16 dev lo\nroute add local fd00::/64 dev lo\n").expect("routes");
    netns.sysctl("net.ipv6.ip_nonlocal_bind", "1").expect("sysctl");
    let (mut sent, mut dropped) = (0, 0);
    for backend in ["nft", "legacy"] {
        rounds(6, &known, |cases| {
            for tool in ["iptables", "ip6tables"] {
                netns.run(&[&format!("{tool}-{backend}"), "-F"]).expect("flush");
            }
            fill(netns, cases);
            for (tool, v6) in [("iptables", false), ("ip6tables", true)] {
                let of_family = cases.iter().filter(|(_, case)| case.v6 == v6);
                let rules: Vec<String> = of_family
                    .map(|(number, case)| {
                        let port = own_port(*number);
                        format!(
                            "-A OUTPUT -p udp -m udp --sport {port} {} -j DROP\n",
                            case.condition(*number)
                        )
                    })
                    .collect();
                let text = format!("*filter\n{}COMMIT\n", rules.concat());
                netns.feed(&[&format!("{tool}-{backend}-restore")], &text).expect("rules");
            }
            let host = host(netns);
            let outcome = netns.enter(|| {
                for (number, case) in cases {
                    for probe in &case.probes {
                        let (from, to) = case.ends(*probe, *number);
                        let socket = bind(from);
                        let really = match socket.send_to(b"x", to) {
                            Ok(_) => false,
                            Err(error) if error.kind() == ErrorKind::PermissionDenied => true,
                            Err(error) => panic!("{from} to {to}: {error}"),
                        };
                        let packet = Packet {
                            origin: Origin::Node,
                            in_interface: None,
                            protocol: Protocol::Udp,
                            src: from.ip(),
                            src_port: Some(from.port()),
                            dst: to,
                        };
                        let walk = host.walk(&packet, STAMP);
                        sent += 1;
                        dropped += u32::from(really);
                        let expected = if really { Outcome::Dropped } else { Outcome::Local };
                        if walk.outcome != expected {
                            let rule = case.condition(*number);
                            return Err(format!(
                                "{from} to {to}, {rule}: dropped {really}, but the walk says {:?} {:?}\n{}",
                                walk.outcome,
                                walk.gaps,
                                case.sets(*number)
                            ));
                        }
                    }
                }
                Ok(())
            });
            outcome.expect("enter")
        });
        for tool in ["iptables", "ip6tables"] {
            netns.run(&[&format!("{tool}-{backend}"), "-F"]).expect("flush");
        }
        // Or the other back-end's rules are walked as well, which is right, and slow.
        destroy(netns);
    }
    eprintln!("sets and packets: {sent} sent, {dropped} dropped");
    assert!(sent > 3000 && dropped > sent / 10 && dropped < sent * 9 / 10, "{sent} sent, {dropped} dropped");
}

/// A process that another test starts holds a copy of the socket of before until it becomes its program.
fn bind(from: SocketAddr) -> UdpSocket {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UdpSocket::bind(from) {
            Ok(socket) => return socket,
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            Err(error) => panic!("bind {from}: {error}"),
        }
    }
}

fn host(netns: &Netns) -> Host {
    let inode = std::fs::metadata(netns.path()).expect("the namespace").ino();
    let namespaces = Namespaces::open().expect("namespaces");
    let known = namespaces.all().find(|known| u64::from(known.netns.inode) == inode).expect("the node");
    let state = read_state(known);
    assert_eq!(state.gaps, vec![]);
    let host = Host::new(&state);
    assert_eq!(host.problems().count(), 0);
    host
}

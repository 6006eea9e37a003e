//! States of kube-proxy's IPVS mode, as its own unit tests check them: read without remainder, and walked.
//!
//! The tests state no packets. What is expected here follows from the virtual servers as the corpus lists them beside
//! the texts, from the sets of source ranges, and from the filter for ports that nobody serves.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

#[path = "support/archive.rs"]
mod archive;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use archive::{cases, unpack};
use model::ServiceProxy;
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, Outcome, RulesStamp, Walk};
use rules::Host;
use rules::ipset::Sets;
use rules::ipvs::VirtualServers;
use rules::ir::{Target, Test};
use serde_json::Value;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };
/// A port that no Service of the corpus has.
const NOBODYS: u16 = 7;

#[test]
fn sets_hold_what_the_states_list() {
    let Some(folder) = unpack("ipvs") else { return };
    let mut members = 0;
    for case in cases(folder.path(), "ipvs") {
        let sets = Sets::parse(case["ipset_save_kernel"].as_str().unwrap());
        assert_eq!(sets.problems(), [], "{}", case["id"]);
        let listed = case["ipsets"].as_object().unwrap();
        assert_eq!(sets.names().count(), listed.len(), "{}", case["id"]);
        let entries = listed.values().filter_map(|set| set["entries"].as_array());
        let expected: usize = entries.map(Vec::len).sum();
        assert_eq!(sets.members(), expected, "{}", case["id"]);
        members += expected;
    }
    eprintln!("kube-proxy corpus: {members} members of sets read");
    assert!(members > 0, "the corpus holds no sets");
}

#[test]
fn listings_of_virtual_servers_say_what_the_states_list() {
    let Some(folder) = unpack("ipvs") else { return };
    let mut count = 0;
    for case in cases(folder.path(), "ipvs") {
        let read = |key: &str| {
            let servers = VirtualServers::parse(case[key].as_str().unwrap());
            assert_eq!(servers.problems, [], "{}", case["id"]);
            servers
        };
        let saved = read("rendered_ipvsadm_save_n");
        assert_eq!(read("rendered_ipvsadm_Ln"), saved, "{}", case["id"]);
        let listed = case["virtual_servers"].as_array().cloned().unwrap_or_default();
        assert_eq!(saved.servers.len(), listed.len(), "{}", case["id"]);
        for server in &listed {
            let of = |found: &&rules::ipvs::Server| found.address() == Some(address(server));
            let found = saved.servers.iter().find(of).unwrap();
            let real: BTreeSet<_> =
                found.destinations.iter().map(|real| (real.address, real.weight)).collect();
            let expected: BTreeSet<_> =
                real_servers(server).map(|(to, weight)| (to, u32::try_from(weight).unwrap())).collect();
            assert_eq!(real, expected, "{} {server}", case["id"]);
            assert_eq!(found.persistent, server["flags"] == 1, "{} {server}", case["id"]);
            count += 1;
        }
    }
    eprintln!("kube-proxy corpus: {count} virtual servers read");
    assert!(count > 0, "the corpus holds no virtual servers");
}

#[test]
fn packets_go_where_the_virtual_servers_send_them() {
    let Some(folder) = unpack("ipvs") else { return };
    let (mut compared, mut left_out, mut wrong) = (0, 0, Vec::new());
    for case in cases(folder.path(), "ipvs") {
        if case["kernel_load_stderr"].is_string() {
            // Rules with `-m ipvs`, which could not be loaded where the corpus was made.
            left_out += 1;
            continue;
        }
        let host = Host::new(&node(&case));
        assert_eq!(host.problems().count(), 0, "{} {:?}", case["id"], host.problems().next());
        everything_is_understood(&case, &host);
        let listed = case["virtual_servers"].as_array().cloned().unwrap_or_default();
        for server in &listed {
            let (protocol, ip, port) = address(server);
            for (origin, src) in senders(ip) {
                let walk = host.walk(&packet(origin, src, protocol, SocketAddr::new(ip, port)), STAMP);
                compared += 1;
                if ip.is_loopback() {
                    // An external address of a test; no packet from outside gets to it.
                    assert_eq!(walk.outcome, Outcome::Dropped, "{} {server}", case["id"]);
                    continue;
                }
                if let Err(difference) = compare(server, &walk) {
                    wrong.push(format!("{} {server} from {src}: {difference}", case["id"]));
                }
                let other = packet(origin, src, protocol, SocketAddr::new(ip, NOBODYS));
                let walk = host.walk(&other, STAMP);
                compared += 1;
                // Addresses of the device are guarded from 1.26 on; the node's own are not IPVS'.
                let expected = if held(&case).contains(&ip) { Outcome::Rejected } else { Outcome::Local };
                if walk.outcome != expected || !walk.gaps.is_empty() {
                    wrong.push(format!(
                        "{} {ip}:{NOBODYS} from {src}: {:?} {:?}",
                        case["id"], walk.outcome, walk.gaps
                    ));
                }
            }
        }
    }
    eprintln!("kube-proxy corpus: {compared} packets to IPVS compared, {left_out} states left out");
    assert!(compared > 0, "the corpus holds no virtual servers");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn compare(server: &Value, walk: &Walk) -> Result<(), String> {
    let story = || {
        let found: Vec<_> =
            walk.branches.iter().map(|branch| (branch.destination.to_string(), branch.outcome)).collect();
        format!("walked to {found:?}, gaps {:?}", walk.gaps)
    };
    if !walk.gaps.is_empty() || walk.proxy.mode != ServiceProxy::Ipvs || !walk.proxy.knows_destination {
        return Err(format!("{} {:?}", story(), walk.proxy));
    }
    let expected: BTreeSet<SocketAddr> =
        real_servers(server).filter(|(_, weight)| *weight > 0).map(|(to, _)| to).collect();
    if expected.is_empty() {
        let refused = walk.terminal_rule().is_some_and(|rule| rule.backend == Backend::Ipvs);
        return if walk.outcome == Outcome::Rejected && refused { Ok(()) } else { Err(story()) };
    }
    let found: BTreeSet<SocketAddr> = walk.branches.iter().map(|branch| branch.destination).collect();
    let arrives = walk.branches.iter().all(|branch| {
        matches!(branch.outcome, Outcome::Forwarded | Outcome::Local) && branch.dnat_rule.is_some()
    });
    if found == expected && arrives { Ok(()) } else { Err(story()) }
}

/// kube-proxy writes nothing that is not modelled.
fn everything_is_understood(case: &Value, host: &Host) {
    for set in host.rule_sets() {
        for rule in set.tables.iter().flat_map(|table| &table.rules) {
            let unknown = matches!(rule.target, Target::Unknown(_))
                || set.matches_of(rule).iter().any(|item| matches!(item.test, Test::Unknown(_)));
            assert!(!unknown, "{}: not modelled: {}", case["id"], set.text(rule.text));
        }
    }
}

/// A pod of another node and a client from outside.
fn senders(to: IpAddr) -> [(Origin, IpAddr); 2] {
    let of = |v4: &str, v6: &str| if to.is_ipv4() { v4.parse().unwrap() } else { v6.parse().unwrap() };
    [(Origin::Pod, of("10.77.0.9", "fd00:10::9")), (Origin::External, of("203.0.113.2", "2001:db8:ffff::2"))]
}

fn packet(origin: Origin, src: IpAddr, protocol: u8, dst: SocketAddr) -> Packet {
    let protocol = Protocol::from_number(protocol).unwrap();
    Packet { origin, in_interface: Some("eth0".to_owned()), protocol, src, src_port: Some(40_000), dst }
}

fn address(server: &Value) -> (u8, IpAddr, u16) {
    let protocol = match server["protocol"].as_str().unwrap() {
        "TCP" => 6,
        "UDP" => 17,
        _ => 132,
    };
    let ip = server["address"].as_str().unwrap().parse().unwrap();
    (protocol, ip, u16::try_from(server["port"].as_u64().unwrap()).unwrap())
}

fn real_servers(server: &Value) -> impl Iterator<Item = (SocketAddr, u64)> {
    server["real_servers"].as_array().into_iter().flatten().map(|real| {
        let ip = real["address"].as_str().unwrap().parse().unwrap();
        let port = u16::try_from(real["port"].as_u64().unwrap()).unwrap();
        (SocketAddr::new(ip, port), real["weight"].as_u64().unwrap())
    })
}

/// What the proxy's device holds.
fn held(case: &Value) -> BTreeSet<IpAddr> {
    let list = case["interface_addresses"]["kube-ipvs0"].as_array().into_iter().flatten();
    list.map(|ip| ip.as_str().unwrap().parse().unwrap()).collect()
}

fn node(case: &Value) -> NodeState {
    let family = if case["ip_family"].as_str().unwrap().eq_ignore_ascii_case("ipv6") {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    let address = |interface: &str, ip: IpAddr| InterfaceAddress {
        interface: interface.to_owned(),
        address: ip.into(),
    };
    let held = held(case);
    let servers = case["virtual_servers"].as_array().into_iter().flatten();
    // Node ports are served on addresses of the node's own.
    let own: BTreeSet<IpAddr> =
        servers.map(|server| self::address(server).1).filter(|ip| !held.contains(ip)).collect();
    let mut addresses: Vec<_> = held.into_iter().map(|ip| address("kube-ipvs0", ip)).collect();
    addresses.extend(own.into_iter().map(|ip| address("eth0", ip)));
    let route = |destination: &str| Route {
        table: 254,
        destination: destination.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: None,
        device: Some("eth0".to_owned()),
        prefer_src: None,
        metric: 0,
    };
    let text = case["iptables_save_kernel"].as_str().unwrap().to_owned();
    NodeState {
        iptables: vec![SavedRules { backend: Backend::IptablesLegacy, family, text }],
        ipsets: Some(case["ipset_save_kernel"].as_str().unwrap().to_owned()),
        ipvs: Some(case["rendered_ipvsadm_save_n"].as_str().unwrap().to_owned()),
        addresses,
        routes: vec![route("0.0.0.0/0"), route("::/0")],
        sysctls: ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.vs.conntrack"]
            .map(|name| (name.to_owned(), "1".to_owned()))
            .into(),
        ..NodeState::default()
    }
}

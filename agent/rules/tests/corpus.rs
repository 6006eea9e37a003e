//! The packet tables of kube-proxy's own unit tests, walked through the rules they are about.
//!
//! Expectations come from a tracer, not from a kernel: it runs PREROUTING for every source and all filter chains
//! whatever the hook. Flows for which a real path differs by that alone are left out, and counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail where it stands")]

#[path = "support/archive.rs"]
mod archive;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use archive::{cases, unpack};
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, Masquerade, Outcome, RulesStamp, Walk};
use rules::Host;
use rules::ir::{Target, Test};
use serde_json::Value;

#[test]
fn walks_agree_with_kube_proxys_own_expectations() {
    let Some(folder) = unpack("iptables") else { return };
    let mut compared = 0;
    let mut excluded: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases(folder.path(), "iptables") {
        if case["kind"] != "flows" {
            continue;
        }
        let saves = [
            (Backend::IptablesLegacy, case["rules"].as_str()),
            (Backend::IptablesNft, case["rules_formats"]["iptables_nft_save"].as_str()),
        ];
        for (backend, text) in saves.into_iter().filter_map(|(backend, text)| Some((backend, text?))) {
            let saved = SavedRules { backend, family: family(&case), text: text.to_owned() };
            let host = Host::new(&NodeState { iptables: vec![saved], ..node(&case) });
            assert_eq!(host.problems().count(), 0, "{} {:?}", case["id"], host.problems().next());
            for flow in case["flows"].as_array().into_iter().flatten() {
                let packet = packet(flow, &case);
                if let Some(reason) = excluded_because(flow, &packet) {
                    *excluded.entry(reason).or_default() += 1;
                    continue;
                }
                let walk = host.walk(&packet, STAMP);
                compared += 1;
                if let Err(difference) = compare(flow, &walk) {
                    wrong.push(format!("{} {:?} {}: {difference}", case["id"], backend, flow));
                }
            }
        }
    }
    eprintln!("kube-proxy corpus: {compared} flows compared, excluded {excluded:?}");
    assert!(compared > 0, "the corpus holds no flows");
    assert!(wrong.is_empty(), "{} of {compared} flows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn walks_of_nftables_agree_with_kube_proxys_own_expectations() {
    let Some(folder) = unpack("nftables") else { return };
    let mut compared = 0;
    let mut excluded: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut texts = 0;
    for case in cases(folder.path(), "nftables") {
        let state = NodeState { nftables: listing(&case), ..node(&case) };
        let host = Host::new(&state);
        assert_eq!(host.problems().count(), 0, "{} {:?}", case["id"], host.problems().next());
        texts += printed_as_nft_does(&case, &host);
        everything_is_understood(&case, &host);
        for flow in case["flows"].as_array().into_iter().flatten() {
            let packet = packet(flow, &case);
            if let Some(reason) = excluded_of_nftables(&case, flow, &packet) {
                *excluded.entry(reason).or_default() += 1;
                continue;
            }
            let walk = host.walk(&packet, STAMP);
            compared += 1;
            if let Err(difference) = compare(flow, &walk).and_then(|()| owned(&case, &walk)) {
                wrong.push(format!("{} {}: {difference}", case["id"], flow));
            }
        }
    }
    eprintln!(
        "kube-proxy corpus: {compared} nftables flows compared, excluded {excluded:?}, {texts} rules printed"
    );
    assert!(compared > 0 && texts > 0, "the corpus holds no flows");
    assert!(wrong.is_empty(), "{} of {compared} flows differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What `nft -j list ruleset` printed.
fn listing(case: &Value) -> String {
    match &case["rules_formats"]["nft_json"] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Every rule reads as in the listing of the kernel's own printer.
fn printed_as_nft_does(case: &Value, host: &Host) -> usize {
    let listed: std::collections::HashSet<&str> =
        case["rules_formats"]["nft_list_ruleset"].as_str().unwrap().lines().map(str::trim).collect();
    let mut count = 0;
    for set in host.rule_sets() {
        for rule in set.tables.iter().flat_map(|table| &table.rules) {
            let text = set.text(rule.text);
            assert!(listed.contains(text), "{}: nft does not print {text:?}", case["id"]);
            count += 1;
        }
    }
    count
}

/// kube-proxy writes nothing that is not modelled.
fn everything_is_understood(case: &Value, host: &Host) {
    for set in host.rule_sets() {
        for rule in set.tables.iter().flat_map(|table| &table.rules) {
            let unknown = matches!(rule.target, Target::Unknown(_))
                || set.matches_of(rule).iter().any(|item| matches!(item.test, Test::Unknown(_)));
            assert!(!unknown, "{}: not modelled: {}", case["id"], set.text(rule.text));
        }
        assert!(set.sets.iter().all(|held| !held.incomplete), "{}: a set that is not understood", case["id"]);
    }
}

/// A rule that decides is kube-proxy's, and names a Service that exists.
fn owned(case: &Value, walk: &Walk) -> Result<(), String> {
    let objects = case["objects"].to_string();
    let rules = walk.branches.iter().flat_map(|branch| [&branch.dnat_rule, &branch.terminal_rule]).flatten();
    for rule in rules {
        if rule.owner != "kube-proxy" || rule.handle.is_none() {
            return Err(format!("whose rule is it: {rule:?}"));
        }
        // A rule for all ClusterIPs is no one's.
        if rule.chain == "cluster-ips-check" {
            continue;
        }
        let name =
            rule.object.strip_prefix("service ").ok_or_else(|| format!("for which Service: {rule:?}"))?;
        let (namespace, rest) = name.split_once('/').unwrap_or_default();
        let service = rest.split(':').next().unwrap_or_default();
        for word in [namespace, service] {
            // Cases with rules written by hand have no objects.
            if case["objects"]["services"].as_array().is_some_and(|services| !services.is_empty())
                && !objects.contains(&format!("\"{word}\""))
            {
                return Err(format!("{word:?} of {name:?} is no object: {rule:?}"));
            }
        }
    }
    Ok(())
}

/// Flows whose expectation no kernel would meet, and why; one by one.
fn excluded_of_nftables(case: &Value, flow: &Value, packet: &Packet) -> Option<&'static str> {
    let early = case["id"] == "nftables-1.32.13-testtracepacketv4-L916"
        && flow["name"] == "local, mark for masquerade"
        && packet.origin == Origin::Node;
    early.then_some(
        "up to 1.32 OUTPUT asks for endpoints at -110, before DNAT, and drops; the tracer never runs OUTPUT",
    )
}

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

/// The node the upstream tests assume: its own addresses on one interface, pods behind another, all else by default.
fn node(case: &Value) -> NodeState {
    let address = |interface: &str, address: String| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    let mut addresses = vec![address("lo", "127.0.0.1/8".to_owned()), address("lo", "::1/128".to_owned())];
    for ip in node_addresses(case) {
        let length = if ip.is_ipv4() { 24 } else { 64 };
        addresses.push(address("eth0", format!("{ip}/{length}")));
    }
    let route = |destination: &str, device: &str| Route {
        table: 254,
        destination: destination.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: None,
        device: Some(device.to_owned()),
        prefer_src: None,
        metric: 0,
    };
    let settings =
        ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.route_localnet"];
    NodeState {
        addresses,
        routes: vec![
            route("0.0.0.0/0", "eth0"),
            route("::/0", "eth0"),
            route("10.0.0.0/8", "cni0"),
            route("fd00:10::/64", "cni0"),
        ],
        sysctls: settings.map(|name| (name.to_owned(), "1".to_owned())).into(),
        ..NodeState::default()
    }
}

fn family(case: &Value) -> Family {
    if case["ip_family"] == "ipv6" { Family::Ipv6 } else { Family::Ipv4 }
}

fn node_addresses(case: &Value) -> Vec<IpAddr> {
    let list = case["node_ips"].as_array().into_iter().flatten();
    list.map(|ip| ip.as_str().unwrap().parse().unwrap()).collect()
}

fn packet(flow: &Value, case: &Value) -> Packet {
    let ip = |key: &str| flow[key].as_str().unwrap().parse::<IpAddr>().unwrap();
    let src = ip("sourceIP");
    let pods = case["local_pod_cidr"].as_str().unwrap_or_default().parse::<ipnet::IpNet>();
    let origin = if node_addresses(case).contains(&src) || src.is_loopback() {
        Origin::Node
    } else if pods.is_ok_and(|pods| pods.contains(&src)) {
        Origin::Pod
    } else {
        Origin::External
    };
    Packet {
        origin,
        in_interface: None,
        protocol: flow["protocol"].as_str().unwrap_or("TCP").parse::<Protocol>().unwrap(),
        src,
        src_port: None,
        dst: SocketAddr::new(ip("destIP"), u16::try_from(flow["destPort"].as_u64().unwrap()).unwrap()),
    }
}

/// Flows whose expectation no kernel would meet, and why.
fn excluded_because(flow: &Value, packet: &Packet) -> Option<&'static str> {
    let refused = flow["output"] == "DROP" || flow["output"] == "REJECT";
    (packet.origin == Origin::Node && refused && !packet.dst.ip().is_loopback()).then_some(
        "the tracer applies KUBE-EXTERNAL-SERVICES to what the node itself sends; OUTPUT does not call it",
    )
}

fn compare(flow: &Value, walk: &Walk) -> Result<(), String> {
    let output = flow["output"].as_str().unwrap();
    let passes = |walk: &Walk| {
        walk.branches.iter().all(|branch| matches!(branch.outcome, Outcome::Forwarded | Outcome::Local))
    };
    let found: Vec<String> = walk.branches.iter().map(|branch| branch.destination.to_string()).collect();
    let story = || format!("walked to {:?} at {found:?}, gaps {:?}", walk.outcome, walk.gaps);
    let agrees = match output {
        "DROP" => walk.outcome == Outcome::Dropped,
        "REJECT" => walk.outcome == Outcome::Rejected,
        "" | "ACCEPT" => passes(walk) && !walk.translated(),
        endpoints => {
            let mut expected: Vec<&str> = endpoints.split(", ").collect();
            let mut found: Vec<&str> = found.iter().map(String::as_str).collect();
            expected.sort_unstable();
            found.sort_unstable();
            passes(walk) && expected == found
        }
    };
    if !agrees || !walk.gaps.is_empty() {
        return Err(story());
    }
    let masquerade = walk.branches.iter().any(|branch| branch.masquerade == Masquerade::Yes);
    if matches!(walk.outcome, Outcome::Forwarded | Outcome::Local) && masquerade != (flow["masq"] == true) {
        return Err(format!("masquerade {masquerade}; {}", story()));
    }
    Ok(())
}

//! Walks of small rule sets, outcome by outcome.

use model::flow::{Family, Origin, Packet, Protocol};
use model::gap::Gap;
use model::node_state::{InterfaceAddress, Link, NodeState, Part, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Action, Backend, Masquerade, Outcome, RulesStamp, Walk};

use crate::Host;

mod bounds;
mod ipvs;
mod routes;
mod sets;

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

/// A node 192.0.2.2 with a pod bridge 10.244.1.0/24 and pods of another node behind 192.0.2.3.
fn node(rules: &str) -> NodeState {
    let route = |destination: &str, device: &str, gateway: Option<&str>| Route {
        table: 254,
        destination: destination.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        device: Some(device.to_owned()),
        prefer_src: None,
        metric: 0,
    };
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    let link = |index, name: &str, kind: &str| Link {
        index,
        name: name.to_owned(),
        up: true,
        master: None,
        peer_index: None,
        kind: kind.to_owned(),
        mtu: 1500,
    };
    NodeState {
        iptables: vec![saved(Backend::IptablesNft, rules)],
        links: vec![link(1, "lo", ""), link(2, "eth0", ""), link(3, "cni0", "bridge")],
        addresses: vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "192.0.2.2/24"),
            address("cni0", "10.244.1.1/24"),
        ],
        routes: vec![
            route("0.0.0.0/0", "eth0", Some("192.0.2.1")),
            route("192.0.2.0/24", "eth0", None),
            route("10.244.1.0/24", "cni0", None),
            route("10.244.2.0/24", "eth0", Some("192.0.2.3")),
        ],
        sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        ..NodeState::default()
    }
}

fn saved(backend: Backend, text: &str) -> SavedRules {
    SavedRules { backend, family: Family::Ipv4, text: text.to_owned() }
}

fn filter(rules: &str) -> String {
    format!(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}\nCOMMIT\n"
    )
}

fn packet(origin: Origin, src: &str, dst: &str) -> Packet {
    Packet {
        origin,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: src.parse().unwrap(),
        src_port: None,
        dst: dst.parse().unwrap(),
    }
}

fn walk(state: &NodeState, packet: &Packet) -> Walk {
    Host::new(state).walk(packet, STAMP)
}

/// Pod to a pod of another node through FORWARD.
fn forward(rules: &str) -> Walk {
    walk(&node(&filter(rules)), &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"))
}

const KUBE: &str = r#"*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-XPGD46QRK7WJZT7O - [0:0]
:KUBE-SVC-XPGD46QRK7WJZT7O - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-SEP-B - [0:0]
[7:420] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment "ns1/svc1:p80" -m tcp --dport 30080 -j KUBE-EXT-XPGD46QRK7WJZT7O
-A KUBE-EXT-XPGD46QRK7WJZT7O -m comment --comment "masquerade traffic for ns1/svc1:p80 external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-XPGD46QRK7WJZT7O -j KUBE-SVC-XPGD46QRK7WJZT7O
-A KUBE-SVC-XPGD46QRK7WJZT7O ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.244.1.5:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment "ns1/svc1:p80 -> 10.244.2.7:8080" -j KUBE-SEP-B
-A KUBE-SEP-A -s 10.244.1.5/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.1.5:8080
-A KUBE-SEP-B -s 10.244.2.7/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-A KUBE-SEP-B -p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.244.2.7:8080
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.11/32 -p tcp -m comment --comment "ns1/empty has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"#;

fn destinations(walk: &Walk) -> Vec<String> {
    walk.branches.iter().map(|branch| branch.destination.to_string()).collect()
}

#[test]
fn a_service_has_one_branch_for_each_endpoint() {
    let walk = walk(&node(KUBE), &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:80"));
    assert_eq!(walk.outcome, Outcome::Forwarded, "{walk:#?}");
    assert_eq!(destinations(&walk), ["10.244.1.5:8080", "10.244.2.7:8080"]);
    assert_eq!(walk.masquerade(), Masquerade::No);
    let [near, far] = &walk.branches[..] else { panic!("two branches: {walk:#?}") };
    assert_eq!((near.out_interface.as_deref(), near.gateway), (Some("cni0"), None));
    assert_eq!(
        (far.out_interface.as_deref(), far.gateway),
        (Some("eth0"), Some("192.0.2.3".parse().unwrap()))
    );
    let dnat = near.dnat_rule.as_ref().unwrap();
    assert_eq!(dnat.text, "-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.1.5:8080");
    assert_eq!((dnat.owner.as_str(), dnat.object.as_str()), ("kube-proxy", "service ns1/svc1:p80"));
    assert_eq!(near.steps[0].packets, Some(7));
    assert!(near.gaps.is_empty() && walk.gaps.is_empty());
}

#[test]
fn hairpin_and_outside_sources_are_masqueraded() {
    let hairpin = walk(&node(KUBE), &packet(Origin::Pod, "10.244.1.5", "10.96.0.10:80"));
    let masquerade: Vec<_> = hairpin.branches.iter().map(|branch| branch.masquerade).collect();
    assert_eq!(masquerade, [Masquerade::Yes, Masquerade::No]);
    assert_eq!(hairpin.masquerade(), Masquerade::Maybe);
    let outside = walk(&node(KUBE), &packet(Origin::External, "192.0.2.9", "192.0.2.2:30080"));
    assert_eq!((outside.outcome, outside.masquerade()), (Outcome::Forwarded, Masquerade::Yes));
}

#[test]
fn a_node_process_goes_through_output_and_leaves_by_the_endpoints_route() {
    let walk = walk(&node(KUBE), &packet(Origin::Node, "192.0.2.2", "10.96.0.10:80"));
    assert_eq!((walk.outcome, walk.masquerade()), (Outcome::Forwarded, Masquerade::Yes));
    let devices: Vec<_> =
        walk.branches.iter().map(|branch| branch.out_interface.as_deref().unwrap()).collect();
    assert_eq!(devices, ["cni0", "eth0"]);
    assert!(walk.branches[0].steps.iter().all(|step| step.hook != "PREROUTING"));
}

#[test]
fn a_service_without_endpoints_is_rejected_on_every_way_that_asks() {
    for (origin, src) in [(Origin::Pod, "10.244.1.9"), (Origin::Node, "192.0.2.2")] {
        let walk = walk(&node(KUBE), &packet(origin, src, "10.96.0.11:80"));
        assert_eq!(walk.outcome, Outcome::Rejected);
        assert_eq!(walk.branches[0].reject_with.as_deref(), Some("icmp-port-unreachable"));
        assert_eq!(walk.terminal_rule().unwrap().object, "service ns1/empty");
    }
}

#[test]
fn the_rules_show_who_serves_services() {
    let facts = walk(&node(KUBE), &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:81")).proxy;
    assert_eq!(facts.mode, model::ServiceProxy::Iptables);
    assert_eq!((facts.services, facts.knows_destination, facts.knows_address), (2, false, true));
    assert_eq!(facts.evidence[0], "IPv4: nat PREROUTING and OUTPUT jump to KUBE-SERVICES");
    let unhooked = KUBE.replace("-j KUBE-SERVICES", "-j ACCEPT");
    let facts = walk(&node(&unhooked), &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:80")).proxy;
    assert_eq!((facts.mode, facts.services, facts.evidence.len()), (model::ServiceProxy::None, 0, 0));
}

#[test]
fn a_chain_policy_decides_what_no_rule_does() {
    let rules =
        filter("-A FORWARD -p udp -j ACCEPT").replace(":FORWARD ACCEPT [0:0]", ":FORWARD DROP [5:300]");
    let walk = walk(&node(&rules), &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"));
    assert_eq!(walk.outcome, Outcome::Dropped);
    let terminal = walk.terminal_rule().unwrap();
    assert_eq!((terminal.text.as_str(), terminal.chain.as_str()), ("policy DROP", "FORWARD"));
    assert_eq!(walk.branches[0].steps.last().unwrap().packets, Some(5));
}

#[test]
fn return_and_goto_leave_a_chain_as_in_the_kernel() {
    assert_eq!(
        forward("-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -j RETURN\n-A A -j ACCEPT").outcome,
        Outcome::Dropped
    );
    // B returns to FORWARD's policy: A was left for good by the goto, FORWARD goes on after its jump.
    assert_eq!(
        forward("-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -g B\n-A A -j ACCEPT\n-A B -p udp -j DROP")
            .outcome,
        Outcome::Dropped
    );
    assert_eq!(forward("-A FORWARD -g A\n-A FORWARD -j DROP\n-A A -j RETURN").outcome, Outcome::Forwarded);
}

#[test]
fn what_cannot_be_told_is_unknown_and_quotes_the_rule() {
    let walk = forward("-A FORWARD -m geoip --source-country XX -j DROP");
    assert_eq!(walk.outcome, Outcome::Unknown);
    assert_eq!(
        walk.gaps,
        [Gap::new(
            "a rule of filter FORWARD",
            "cannot be evaluated: -A FORWARD -m geoip --source-country XX -j DROP",
        )]
    );
    assert!(walk.terminal_rule().is_none());
}

#[test]
fn an_unknown_that_makes_no_difference_is_none() {
    for harmless in [
        "-A FORWARD -m geoip --source-country XX -j ACCEPT",
        "-A FORWARD -m geoip --source-country XX -j LOG",
        "-A FORWARD -m geoip --source-country XX -j A\n-A A -p udp -j DROP",
        "-A FORWARD -p udp -m geoip --source-country XX -j DROP",
    ] {
        let walk = forward(harmless);
        assert_eq!(walk.outcome, Outcome::Forwarded, "{harmless}");
    }
    let walk = forward("-A FORWARD -m geoip --source-country XX -j DROP\n-A FORWARD -j DROP");
    assert_eq!((walk.outcome, walk.terminal_rule()), (Outcome::Dropped, None));
    let walk = forward("-A FORWARD -m geoip --source-country XX -j REJECT\n-A FORWARD -j DROP");
    assert_eq!(walk.outcome, Outcome::Unknown);
}

#[test]
fn doubts_inside_doubts_are_not_forgotten() {
    let rules = "-A FORWARD -m geoip --x 1 -j A\n-A A -m geoip --x 2 -j DROP";
    let walk = forward(rules);
    assert_eq!(walk.outcome, Outcome::Unknown);
    assert!(walk.gaps.iter().any(|gap| gap.why.contains("--x 1")), "{:?}", walk.gaps);
}

#[test]
fn chains_that_call_one_another_for_ever_are_given_up() {
    for rules in ["-A FORWARD -j A\n-A A -j B\n-A B -j A", "-A FORWARD -j A\n-A A -g B\n-A B -g A"] {
        assert_eq!(forward(rules).outcome, Outcome::Unknown, "{rules}");
    }
}

#[test]
fn tables_that_are_not_walked_leave_a_loss_final_and_a_pass_open() {
    let mut state = node(&filter("-A FORWARD -p tcp --dport 81 -j DROP"));
    state.foreign_nft_tables = vec!["inet firewalld".into()];
    let passes = walk(&state, &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"));
    assert_eq!(passes.outcome, Outcome::Unknown);
    assert_eq!(passes.gaps, [Gap::new("nftables", "tables not walked: inet firewalld")]);
    let lost = walk(&state, &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:81"));
    assert_eq!(lost.outcome, Outcome::Dropped);
    assert_eq!(lost.gaps.len(), 1);
}

#[test]
fn both_back_ends_are_walked_and_their_order_matters_only_where_it_does() {
    let mut state = node(&filter("-A FORWARD -p tcp --dport 80 -j ACCEPT"));
    state.iptables.push(saved(Backend::IptablesLegacy, &filter("-A FORWARD -p tcp --dport 80 -j DROP")));
    let asked = packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80");
    let lost = walk(&state, &asked);
    assert_eq!(
        (lost.outcome, lost.terminal_rule().unwrap().backend),
        (Outcome::Dropped, Backend::IptablesLegacy)
    );
    state.iptables[0] = saved(Backend::IptablesNft, &filter("-A FORWARD -p tcp --dport 80 -j REJECT"));
    let either = walk(&state, &asked);
    assert_eq!(either.outcome, Outcome::Unknown);
    assert!(either.gaps.iter().any(|gap| gap.what.starts_with("order of chains")));
}

#[test]
fn connection_marks_need_a_connection() {
    let rules = |raw: &str| {
        format!(
            "*raw\n:PREROUTING ACCEPT [0:0]\n{raw}\nCOMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n\
             -A PREROUTING -j MARK --set-xmark 0x7/0xff\n-A PREROUTING -j CONNMARK --save-mark\n\
             -A PREROUTING -j MARK --set-xmark 0x0/0xff\n-A PREROUTING -j CONNMARK --restore-mark\nCOMMIT\n\
             *filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x7/0xff -j DROP\nCOMMIT\n"
        )
    };
    let asked = packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80");
    let of = |raw| walk(&node(&rules(raw)), &asked).outcome;
    assert_eq!(of(""), Outcome::Dropped);
    assert_eq!(of("-A PREROUTING -j CT --notrack"), Outcome::Forwarded);
    assert_eq!(of("-A PREROUTING -m conntrack --ctstate NEW -j CT --notrack"), Outcome::Dropped);
    assert_eq!(of("-A PREROUTING -m conntrack --ctstate INVALID -j DROP"), Outcome::Dropped);
}

#[test]
fn affinity_adds_no_destination_and_a_verdict_by_history_is_open() {
    let affinity = KUBE.replacen(
        "-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment",
        "-A KUBE-SVC-XPGD46QRK7WJZT7O -m recent --rcheck --seconds 10800 --reap --name A --mask 255.255.255.255 --rsource -j KUBE-SEP-A\n\
         -A KUBE-SVC-XPGD46QRK7WJZT7O -m comment",
        1,
    );
    assert_ne!(affinity, KUBE);
    let found = walk(&node(&affinity), &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:80"));
    assert_eq!(found.outcome, Outcome::Forwarded);
    assert_eq!(
        (destinations(&found), &found.gaps[..]),
        (["10.244.1.5:8080", "10.244.2.7:8080"].map(String::from).to_vec(), &[][..])
    );
    let guarded =
        forward("-A FORWARD -m recent --update --seconds 60 --hitcount 4 --name ssh --rsource -j DROP");
    assert_eq!(guarded.outcome, Outcome::Unknown);
    assert!(guarded.gaps[0].why.contains("--hitcount 4"), "{:?}", guarded.gaps);
}

#[test]
fn fingerprints_follow_rules_and_not_counters() {
    let of = |rules: &str| Host::new(&node(rules)).fingerprint();
    assert_eq!(of(KUBE), of(&KUBE.replace("[7:420]", "[8:480]")));
    assert_ne!(of(KUBE), of(&KUBE.replace("10.244.1.5:8080", "10.244.1.6:8080")));
}

//! The policy stand-in and the faults, by what connections do. Needs root.

#[path = "support/root.rs"]
mod root;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::Ipv4Net;
use model::Key;
use model::walk::Backend;
use netlab::policy::{Admitted, Isolation, PodDecision};
use netlab::{ConnectOutcome, ForwardPolicy, Lab, LabSpec, Listen, NodeSpec, PodSpec, PolicyEngine};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(300);

fn lab() -> Lab {
    let node = |number: u8| {
        let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
        NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr)
    };
    let mut lab = Lab::new(LabSpec { name: "policy".into(), nodes: vec![node(1), node(2)] }).expect("a lab");
    for (name, node, last) in [("friend", 1, 5), ("stranger", 1, 6), ("server", 2, 5), ("near", 1, 7)] {
        let spec = PodSpec::new(Key::new("shop", name), format!("node-{node}"), [10, 244, node, last].into());
        let pod = lab.pod(spec).expect("a pod");
        if name == "server" || name == "near" {
            pod.listen(Listen::on(8080, name)).expect("listen");
        }
    }
    lab
}

fn outcome(lab: &Lab, from: &str, to: &str) -> ConnectOutcome {
    let to = lab.get_pod(&Key::new("shop", to)).expect("pod").address();
    let result = lab.connect(&Key::new("shop", from), SocketAddr::new(to, 8080), SECOND).expect("attempt");
    result.outcome
}

fn host(address: [u8; 4]) -> Ipv4Net {
    Ipv4Net::new(address.into(), 32).expect("prefix")
}

#[test]
fn a_denied_peer_is_refused_and_an_admitted_one_connects() {
    if !root::available("policy rules") {
        return;
    }
    let lab = lab();
    let mut engine = PolicyEngine::new("10.96.0.0/16".parse().expect("cidr"));
    for backend in [Backend::IptablesNft, Backend::IptablesLegacy] {
        engine.backend = backend;
        let only_friend = |pod: &str| PodDecision {
            pod: Key::new("shop", pod),
            ingress: vec![Isolation {
                policy: Key::new("shop", "only-friend"),
                admitted: vec![Admitted::tcp(host([10, 244, 1, 5]), 8080)],
            }],
            egress: Vec::new(),
        };
        engine.apply(&lab, &[only_friend("server"), only_friend("near")]).expect("apply");
        for target in ["server", "near"] {
            assert_eq!(outcome(&lab, "friend", target), ConnectOutcome::Connected, "{backend:?} {target}");
            assert_eq!(outcome(&lab, "stranger", target), ConnectOutcome::Refused, "{backend:?} {target}");
        }
        let tool = if backend == Backend::IptablesNft { "iptables-nft-save" } else { "iptables-legacy-save" };
        let saved = lab.node("node-2").expect("node").netns.run(&[tool]).expect("save");
        let comment = "rule to REJECT traffic destined for POD name:server namespace: shop";
        assert!(saved.contains(comment), "{saved}");
        let first = saved.lines().find(|line| line.starts_with("-A FORWARD")).expect("a rule");
        assert!(first.ends_with("-j KUBE-ROUTER-FORWARD"), "{first}");

        // Nothing may leave the friend; everybody may enter the server again.
        let locked = PodDecision {
            pod: Key::new("shop", "friend"),
            ingress: Vec::new(),
            egress: vec![Isolation { policy: Key::new("shop", "locked"), admitted: Vec::new() }],
        };
        engine.apply(&lab, &[locked]).expect("apply");
        assert_eq!(outcome(&lab, "friend", "server"), ConnectOutcome::Refused, "{backend:?}");
        assert_eq!(outcome(&lab, "stranger", "server"), ConnectOutcome::Connected, "{backend:?}");

        for node in lab.nodes() {
            engine.remove(node).expect("remove");
            let saved = node.netns.run(&[tool]).expect("save");
            assert!(!saved.contains("KUBE-"), "{saved}");
        }
        assert_eq!(outcome(&lab, "friend", "server"), ConnectOutcome::Connected, "{backend:?}");
    }
}

#[test]
fn a_forward_policy_drops_in_silence() {
    if !root::available("faults") {
        return;
    }
    let lab = lab();
    let node = lab.node("node-1").expect("node");
    let to: SocketAddr = "10.244.2.5:8080".parse().expect("address");
    let from = Key::new("shop", "friend");
    node.set_forward_policy(Backend::IptablesNft, ForwardPolicy::Drop).expect("set");
    assert_eq!(lab.connect(&from, to, SHORT).expect("attempt").outcome, ConnectOutcome::TimedOut);
    node.set_forward_policy(Backend::IptablesNft, ForwardPolicy::Accept).expect("set");
    assert_eq!(lab.connect(&from, to, SECOND).expect("attempt").outcome, ConnectOutcome::Connected);
    node.insert_filter_rule(Backend::IptablesNft, "FORWARD", "-p tcp --dport 8080 -j DROP").expect("insert");
    node.set_forward_policy(Backend::IptablesNft, ForwardPolicy::Accept).expect("set");
    assert_eq!(lab.connect(&from, to, SHORT).expect("attempt").outcome, ConnectOutcome::TimedOut);
}

#[test]
fn a_lost_route_and_forwarding_turned_off_lose_packets() {
    if !root::available("faults") {
        return;
    }
    let lab = lab();
    let (one, two) = (lab.node("node-1").expect("node"), lab.node("node-2").expect("node"));
    let to: SocketAddr = "10.244.2.5:8080".parse().expect("address");
    let from = Key::new("shop", "friend");
    one.forget_pods_of(two).expect("forget");
    assert_eq!(lab.connect(&from, to, SHORT).expect("attempt").outcome, ConnectOutcome::TimedOut);
    one.stop_forwarding().expect("stop");
    assert_eq!(lab.connect(&from, to, SHORT).expect("attempt").outcome, ConnectOutcome::TimedOut);
}

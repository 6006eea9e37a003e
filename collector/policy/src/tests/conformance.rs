//! Situations of the Kubernetes end-to-end tests for NetworkPolicy (`test/e2e/network/netpol`), as reachability of
//! pods a, b and c in namespaces x, y and z. The policies are written anew; the expectations are those of the tests.

use std::collections::BTreeSet;

use model::Protocol;
use model::explanation::PolicyVerdict;
use model::objects::{NetworkPolicy, PolicyRule};

use super::build::*;
use crate::{Connection, PolicyIndex, verdict};

const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const PODS: [&str; 3] = ["a", "b", "c"];

fn world() -> World {
    let mut world = World(model::ObjectSet::default());
    for (row, namespace) in NAMESPACES.into_iter().enumerate() {
        world = world.namespace(namespace, &format!("ns={namespace}"));
        for (column, pod) in PODS.into_iter().enumerate() {
            let name = format!("{namespace}/{pod}");
            let address = format!("10.0.{row}.{column}");
            world = world.pod(&name, &format!("pod={pod}"), &address, &format!("node-{column}")).ports(
                &name,
                &[
                    ("serve-80-tcp", 80, Protocol::Tcp),
                    ("serve-81-tcp", 81, Protocol::Tcp),
                    ("serve-80-udp", 80, Protocol::Udp),
                ],
            );
        }
    }
    world
}

fn all_pods() -> impl Iterator<Item = String> {
    NAMESPACES.into_iter().flat_map(|namespace| PODS.into_iter().map(move |pod| format!("{namespace}/{pod}")))
}

/// The pairs that cannot connect.
fn denied(policies: &[NetworkPolicy], port: u16, protocol: Protocol) -> BTreeSet<String> {
    let world = policies.iter().cloned().fold(world(), World::policy);
    let index = PolicyIndex::new(&world.0);
    let mut denied = BTreeSet::new();
    for src in all_pods() {
        for dst in all_pods() {
            let connection = Connection::direct(pod(&src), pod(&dst), port, protocol);
            match verdict(&index, &connection) {
                PolicyVerdict::Allow => {}
                PolicyVerdict::Deny => drop(denied.insert(format!("{src} {dst}"))),
                PolicyVerdict::Unknown => panic!("{src} {dst} cannot be told"),
            }
        }
    }
    denied
}

/// Pairs of different pods, as nothing keeps a pod from itself.
fn pairs(wanted: impl Fn(&str, &str) -> bool) -> BTreeSet<String> {
    let mut pairs = BTreeSet::new();
    for src in all_pods() {
        for dst in all_pods().filter(|dst| *dst != src && wanted(&src, dst)) {
            pairs.insert(format!("{src} {dst}"));
        }
    }
    pairs
}

fn in_x(pod: &str) -> bool {
    pod.starts_with("x/")
}

#[track_caller]
fn check(policies: &[NetworkPolicy], port: u16, protocol: Protocol, expected: impl Fn(&str, &str) -> bool) {
    assert_eq!(denied(policies, port, protocol), pairs(expected));
}

#[test]
fn default_deny_both_ways() {
    let mut policy = ingress("x/deny-all", "", vec![]);
    policy.isolates_egress = true;
    check(&[policy], 80, Protocol::Tcp, |src, dst| in_x(src) || in_x(dst));
}

#[test]
fn only_from_pods_of_the_own_namespace() {
    let policy = ingress("x/own", "pod=a", vec![rule(vec![pods("pod=b")], vec![])]);
    check(&[policy], 80, Protocol::Tcp, |src, dst| dst == "x/a" && src != "x/b");
}

#[test]
fn from_a_namespace_and_from_a_pod_or_both_at_once() {
    let both = ingress("x/and", "pod=a", vec![rule(vec![pods_in("ns=y", "pod=b")], vec![])]);
    check(&[both], 80, Protocol::Tcp, |src, dst| dst == "x/a" && src != "y/b");
    let either = ingress("x/or", "pod=a", vec![rule(vec![namespaces("ns=y"), pods("pod=b")], vec![])]);
    check(&[either], 80, Protocol::Tcp, |src, dst| dst == "x/a" && !src.starts_with("y/") && src != "x/b");
    let not = ingress("x/not", "pod=a", vec![rule(vec![namespaces("ns!=x")], vec![])]);
    check(&[not], 80, Protocol::Tcp, |src, dst| dst == "x/a" && in_x(src));
}

#[test]
fn stacked_policies_add_up() {
    let policies = [
        ingress("x/one", "pod=a", vec![rule(vec![namespaces("ns=y")], vec![tcp(80)])]),
        ingress("x/two", "pod=a", vec![rule(vec![namespaces("ns=y")], vec![tcp(81)])]),
    ];
    for port in [80, 81] {
        check(&policies, port, Protocol::Tcp, |src, dst| dst == "x/a" && !src.starts_with("y/"));
        check(&policies[..1], port, Protocol::Tcp, |src, dst| {
            dst == "x/a" && (port == 81 || !src.starts_with("y/"))
        });
    }
}

#[test]
fn everything_is_allowed_whatever_else_denies() {
    let policies = [ingress("x/deny", "", vec![]), ingress("x/allow", "", vec![PolicyRule::default()])];
    check(&policies, 80, Protocol::Tcp, |_, _| false);
}

#[test]
fn named_ports_in_both_directions() {
    let policy = ingress("x/named", "pod=a", vec![rule(vec![], vec![named("serve-80-tcp")])]);
    check(std::slice::from_ref(&policy), 80, Protocol::Tcp, |_, _| false);
    check(std::slice::from_ref(&policy), 81, Protocol::Tcp, |_, dst| dst == "x/a");
    check(&[policy], 80, Protocol::Udp, |_, dst| dst == "x/a");
    let policy = egress("x/named-out", "pod=a", vec![rule(vec![], vec![named("serve-80-tcp")])]);
    check(std::slice::from_ref(&policy), 80, Protocol::Tcp, |_, _| false);
    check(&[policy], 81, Protocol::Tcp, |src, _| src == "x/a");
}

#[test]
fn protocols_do_not_stand_for_each_other() {
    let policy = ingress("x/udp", "pod=a", vec![rule(vec![], vec![udp(80)])]);
    check(std::slice::from_ref(&policy), 80, Protocol::Udp, |_, _| false);
    check(&[policy], 80, Protocol::Tcp, |_, dst| dst == "x/a");
    let policy = ingress("x/sctp", "pod=a", vec![rule(vec![], vec![all(Protocol::Sctp)])]);
    check(&[policy], 80, Protocol::Tcp, |_, dst| dst == "x/a");
}

#[test]
fn egress_blocks_match_pods_after_translation() {
    let policy = egress("x/block", "pod=a", vec![rule(vec![block("10.0.1.1/32")], vec![])]);
    check(&[policy], 80, Protocol::Tcp, |src, dst| src == "x/a" && dst != "y/b");
    let holed = egress("x/holed", "pod=a", vec![rule(vec![block("10.0.0.0/16 10.0.1.1/32")], vec![])]);
    check(std::slice::from_ref(&holed), 80, Protocol::Tcp, |src, dst| src == "x/a" && dst == "y/b");
    let refill = egress("x/refill", "pod=a", vec![rule(vec![block("10.0.1.1/32")], vec![])]);
    check(&[holed, refill], 80, Protocol::Tcp, |_, _| false);
}

#[test]
fn both_ends_must_allow() {
    let policies = [
        egress("x/out", "pod=a", vec![rule(vec![namespaces("ns=y")], vec![])]),
        ingress("y/in", "pod=a", vec![rule(vec![namespaces("ns=z")], vec![])]),
    ];
    check(&policies, 80, Protocol::Tcp, |src, dst| {
        (src == "x/a" && !dst.starts_with("y/")) || (dst == "y/a" && !src.starts_with("z/"))
    });
}

//! What an answer says about the policies that deny.

use model::Protocol;
use model::explanation::PolicyEffect;
use model::objects::NetworkPolicy;

use super::build::*;
use crate::{NearMiss, RuleMiss};

/// The first policy's effect, rule and words for web/client to shop/api on a port.
fn told(policy: NetworkPolicy, port: u16, protocol: Protocol) -> (PolicyEffect, Option<u32>, String) {
    let world = World::new().service("shop/api", "app=api", 80, 8080).policy(policy);
    let found = world.detailed(&pod("web/client"), &pod("shop/api"), port, protocol).answer();
    let part = found.ingress.policies.into_iter().chain(found.egress.policies).next().unwrap();
    (part.effect, part.rule, part.near_miss)
}

fn nearest(policy: NetworkPolicy, port: u16, protocol: Protocol) -> RuleMiss {
    let world = World::new().service("shop/api", "app=api", 80, 8080).policy(policy);
    let found = world.detailed(&pod("web/client"), &pod("shop/api"), port, protocol);
    let policies = [found.ingress.policies, found.egress.policies].concat();
    policies[0].nearest().unwrap().clone()
}

#[test]
fn near_misses_in_words() {
    use PolicyEffect::{NoRules, PeerMismatch, PortMismatch};
    let peer = |peer| ingress("shop/a", "", vec![rule(vec![peer], vec![])]);
    let port = |port| ingress("shop/a", "", vec![rule(vec![], vec![port])]);
    let cases = [
        (ingress("shop/a", "", vec![]), NoRules, ""),
        (
            peer(pods_in("name=web", "role=allowed-client")),
            PeerMismatch,
            "rule 1 admits pods with role=allowed-client in any namespace with name=web; web/client has role=client",
        ),
        (
            peer(namespaces("team=web")),
            PeerMismatch,
            "rule 1 admits all pods in any namespace with team=web; namespace web has no label team",
        ),
        (
            peer(pods_in("name=other", "tier=x,role=client")),
            PeerMismatch,
            "rule 1 admits pods with tier=x,role=client in any namespace with name=other; namespace web has name=web and web/client has no label tier",
        ),
        (peer(pods("")), PeerMismatch, "rule 1 admits all pods in shop; web/client is in web"),
        (
            peer(block("10.0.0.0/8 10.244.0.0/16")),
            PeerMismatch,
            "rule 1 admits sources in 10.0.0.0/8 except 10.244.0.0/16; web/client (10.244.1.9) is in the exception 10.244.0.0/16",
        ),
        (
            peer(block("192.0.2.0/24")),
            PeerMismatch,
            "rule 1 admits sources in 192.0.2.0/24; web/client (10.244.1.9) is outside",
        ),
        (
            peer(block("fd00::/8")),
            PeerMismatch,
            "rule 1 admits sources in fd00::/8; web/client (10.244.1.9) is not an IPv6 address",
        ),
        (
            port(tcp(80)),
            PortMismatch,
            "rule 1 admits web/client on 80/tcp only; 80 is the port of Service shop/api; policies see the pod's port, 8080",
        ),
        (
            port(tcp(9090)),
            PortMismatch,
            "rule 1 admits web/client on 9090/tcp only; the connection goes to 8080/tcp",
        ),
        (
            port(named("https")),
            PortMismatch,
            "rule 1 admits web/client on https/tcp only; shop/api declares no port named https",
        ),
        (
            ingress("shop/a", "", vec![rule(vec![pods_in("", "role=x")], vec![tcp(81)])]),
            PeerMismatch,
            "rule 1 admits pods with role=x in any namespace; web/client has role=client, and it admits 81/tcp only, not 8080/tcp",
        ),
    ];
    for (policy, effect, words) in cases {
        let rule = (effect != NoRules).then_some(1);
        assert_eq!(told(policy, 8080, Protocol::Tcp), (effect, rule, words.to_owned()));
    }
    assert_eq!(
        told(port(tcp(8080)), 8080, Protocol::Udp).2,
        "rule 1 admits web/client on 8080/tcp only; the connection is UDP, and a port without `protocol` means TCP"
    );
    assert_eq!(
        told(egress("web/a", "", vec![rule(vec![block("192.0.2.0/24")], vec![])]), 8080, Protocol::Tcp).2,
        "rule 1 admits destinations in 192.0.2.0/24; shop/api (10.244.2.14) is outside"
    );
}

#[test]
fn mistakes_can_be_told_apart() {
    let port = |port| nearest(ingress("shop/a", "", vec![rule(vec![], vec![port])]), 8080, Protocol::Tcp);
    assert_eq!(
        port(tcp(80)).misses,
        [NearMiss::ServicePort { service: key("shop/api"), service_port: 80, pod_port: 8080 }]
    );
    assert_eq!(port(udp(8080)).misses, [NearMiss::Protocol { rule: Protocol::Udp, asked: Protocol::Tcp }]);
    assert_eq!(
        port(named("dns")).misses,
        [NearMiss::NamedPortMissing {
            name: "dns".to_owned(),
            protocol: Protocol::Tcp,
            declared: vec![(53, Protocol::Udp)]
        }]
    );
    let miss =
        nearest(ingress("shop/a", "", vec![rule(vec![namespaces("team=web")], vec![])]), 8080, Protocol::Tcp);
    assert!(matches!(&miss.misses[..], [NearMiss::NamespaceLabels { namespace, .. }] if namespace == "web"));
    assert!(!miss.admits_peer && miss.admits_port);
}

#[test]
fn the_nearest_rule_is_told() {
    let rules = vec![
        rule(vec![block("192.0.2.0/24")], vec![]),
        rule(vec![pods_in("name=other", "role=other")], vec![]),
        rule(vec![pods_in("name=web", "role=other"), block("198.51.100.0/24")], vec![]),
        rule(vec![pods_in("name=web", "role=other")], vec![tcp(1)]),
    ];
    assert_eq!(told(ingress("shop/a", "", rules.clone()), 8080, Protocol::Tcp).1, Some(3));
    // A rule that admits the peer is nearest whatever the port.
    let rules = [rules, vec![rule(vec![namespaces("name=web")], vec![tcp(1)])]].concat();
    let (effect, number, _) = told(ingress("shop/a", "", rules), 8080, Protocol::Tcp);
    assert_eq!((effect, number), (PolicyEffect::PortMismatch, Some(5)));
}

#[test]
fn a_denial_lists_every_policy_that_isolates() {
    let world = World::new()
        .policy(ingress("shop/default-deny", "", vec![]))
        .policy(ingress("shop/allow-web", "app=api", vec![rule(vec![pods_in("name=web", "role=x")], vec![])]))
        .policy(ingress("shop/elsewhere", "app=other", vec![]));
    let found = world.usual().answer();
    let names: Vec<&str> = found.ingress.policies.iter().map(|part| part.policy.as_str()).collect();
    assert_eq!(names, ["shop/allow-web", "shop/default-deny"]);
    assert!(found.ingress.policies.iter().all(|part| part.kind == "NetworkPolicy"));
    assert_eq!(found.destination, Some(key("shop/api")));
}

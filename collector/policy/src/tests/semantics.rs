//! One table or test for each point of the semantics that bite.

use model::Protocol;
use model::explanation::PolicyVerdict::{Allow, Deny, Unknown};
use model::objects::{Peer, PolicyRule, Selector};

use super::build::*;
use crate::{Doubt, End, Note, Outcome};

#[test]
fn each_direction_is_isolated_apart_and_both_must_allow() {
    assert_eq!(World::new().verdict(), Allow, "nothing isolates");
    let deny_in = World::new().policy(ingress("shop/deny", "", vec![]));
    let found = deny_in.usual();
    assert_eq!((found.egress.effect, found.ingress.effect), (Allow, Deny));
    assert_eq!((found.egress.isolated, found.ingress.isolated), (false, true));
    let deny_out = World::new().policy(egress("web/deny", "", vec![]));
    let found = deny_out.usual();
    assert_eq!((found.egress.effect, found.ingress.effect), (Deny, Allow));
    // A policy of the other direction, or of another namespace or pod, isolates nothing here.
    for policy in [
        egress("shop/out", "", vec![]),
        ingress("web/in", "", vec![]),
        ingress("shop/other", "app=other", vec![]),
    ] {
        assert_eq!(World::new().policy(policy).verdict(), Allow);
    }
}

#[test]
fn rules_are_a_union_over_policies_and_rules() {
    let world = World::new().policy(ingress("shop/deny", "", vec![])).policy(ingress(
        "shop/allow",
        "app=api",
        vec![rule(vec![pods("x=y")], vec![]), rule(vec![namespaces("name=web")], vec![])],
    ));
    let found = world.usual();
    assert_eq!(found.ingress.effect, Allow);
    let answer = found.answer();
    assert_eq!(answer.ingress.policies.len(), 1, "only those that admit");
    assert_eq!(
        (answer.ingress.policies[0].policy.as_str(), answer.ingress.policies[0].rule),
        ("shop/allow", Some(2))
    );
    assert_eq!(found.ingress.policies[1].outcome, Outcome::NoRules);
}

#[test]
fn an_empty_rule_admits_everybody_and_no_rule_nobody() {
    let everybody = World::new().policy(ingress("shop/a", "", vec![PolicyRule::default()]));
    for src in [pod("web/client"), address("203.0.113.9"), node("node-1")] {
        assert_eq!(everybody.detailed(&src, &pod("shop/api"), 1, Protocol::Sctp).verdict(), Allow);
    }
    let nobody = World::new().policy(ingress("shop/a", "", vec![]));
    for src in [pod("web/client"), address("203.0.113.9"), node("node-1")] {
        assert_eq!(nobody.detailed(&src, &pod("shop/api"), 1, Protocol::Tcp).verdict(), Deny);
    }
}

#[test]
fn selectors_of_peers() {
    let both = Peer::Pods { namespaces: Some(selector("name=web")), pods: Some(selector("role=admin")) };
    let cases = [
        ("an empty pod selector is the policy's own namespace", vec![pods("")], Deny),
        ("a pod selector alone is the policy's own namespace", vec![pods("role=client")], Deny),
        ("an empty namespace selector is every namespace", vec![namespaces("")], Allow),
        ("both in one entry: and", vec![both], Deny),
        ("two entries: or", vec![namespaces("name=web"), pods("role=admin")], Allow),
        ("labels fit in the right namespace", vec![pods_in("name=web", "role=client")], Allow),
        ("labels fit in the wrong namespace", vec![pods_in("name=shop", "role=client")], Deny),
        ("the name label is always there", vec![namespaces("kubernetes.io/metadata.name=web")], Allow),
        ("not in matches an absent key", vec![pods_in("", "tier!=x")], Allow),
        ("not in with the value", vec![pods_in("", "role!=client")], Deny),
        ("does not exist", vec![pods_in("", "!tier")], Allow),
        ("does not exist, and it does", vec![pods_in("", "!role")], Deny),
        ("exists", vec![pods_in("", "role")], Allow),
        ("all requirements together", vec![pods_in("", "role=client,tier")], Deny),
        ("an empty pod selector in any namespace", vec![pods_in("", "")], Allow),
        (
            "no selector of pods, an empty one of namespaces",
            vec![Peer::Pods { namespaces: Some(Selector::default()), pods: None }],
            Allow,
        ),
    ];
    for (what, peers, expected) in cases {
        let world = World::new().policy(ingress("shop/a", "app=api", vec![rule(peers, vec![])]));
        assert_eq!(world.verdict(), expected, "{what}");
    }
}

#[test]
fn selectors_never_match_the_outside() {
    let world = World::new().policy(ingress("shop/a", "", vec![rule(vec![namespaces("")], vec![])]));
    let found = world.detailed(&address("203.0.113.9"), &pod("shop/api"), 8080, Protocol::Tcp);
    assert_eq!(found.verdict(), Deny);
    let world = World::new().policy(egress("web/a", "", vec![rule(vec![namespaces("")], vec![])]));
    let found = world.detailed(&pod("web/client"), &address("203.0.113.9"), 443, Protocol::Tcp);
    assert_eq!(found.verdict(), Deny);
}

#[test]
fn ports_protocols_ranges_and_names() {
    let cases = [
        ("the port", vec![tcp(8080)], 8080, Protocol::Tcp, Allow),
        ("another port", vec![tcp(80)], 8080, Protocol::Tcp, Deny),
        ("one of several", vec![tcp(80), tcp(8080)], 8080, Protocol::Tcp, Allow),
        ("every port of the protocol", vec![all(Protocol::Tcp)], 8080, Protocol::Tcp, Allow),
        ("but of no other", vec![all(Protocol::Tcp)], 8080, Protocol::Udp, Deny),
        ("SCTP is not TCP", vec![all(Protocol::Sctp)], 8080, Protocol::Tcp, Deny),
        ("UDP alone still isolates TCP", vec![udp(8080)], 8080, Protocol::Tcp, Deny),
        ("a range's first", vec![range(8080, 8090)], 8080, Protocol::Tcp, Allow),
        ("a range's last", vec![range(8000, 8080)], 8080, Protocol::Tcp, Allow),
        ("outside a range", vec![range(8081, 8090)], 8080, Protocol::Tcp, Deny),
        ("a name", vec![named("http")], 8080, Protocol::Tcp, Allow),
        ("a name of another port", vec![named("http")], 80, Protocol::Tcp, Deny),
        ("a name the pod does not have", vec![named("https")], 8080, Protocol::Tcp, Deny),
        ("a name with another protocol", vec![named("dns")], 53, Protocol::Tcp, Deny),
    ];
    for (what, ports, port, protocol, expected) in cases {
        let world = World::new().policy(ingress("shop/a", "", vec![rule(vec![], ports.clone())]));
        let found = world.detailed(&pod("web/client"), &pod("shop/api"), port, protocol);
        assert_eq!(found.verdict(), expected, "ingress: {what}");
        let world = World::new().policy(egress("web/a", "", vec![rule(vec![], ports)]));
        let found = world.detailed(&pod("web/client"), &pod("shop/api"), port, protocol);
        assert_eq!(found.verdict(), expected, "egress, looked up on the destination: {what}");
    }
    let world = World::new().policy(egress("web/a", "", vec![rule(vec![], vec![named("http")])]));
    let found = world.detailed(&pod("web/client"), &address("203.0.113.9"), 8080, Protocol::Tcp);
    assert_eq!(found.verdict(), Deny, "a name never matches an address");
}

#[test]
fn blocks_and_their_holes() {
    let cases = [
        (vec!["10.244.2.0/24"], Allow),
        (vec!["10.244.2.14/32"], Allow),
        (vec!["10.245.0.0/16"], Deny),
        (vec!["10.244.0.0/16 10.244.2.0/24"], Deny),
        // A hole narrows its own entry only.
        (vec!["10.244.0.0/16 10.244.2.0/24", "10.244.2.14/32"], Allow),
        (vec!["fd00::/8"], Deny),
        (vec!["0.0.0.0/0"], Allow),
    ];
    for (blocks, expected) in cases {
        let peers = blocks.iter().map(|text| block(text)).collect();
        let world = World::new().policy(egress("web/a", "", vec![rule(peers, vec![])]));
        let found = world.usual();
        assert_eq!(found.verdict(), expected, "{blocks:?}");
        assert_eq!(
            found.egress.notes.is_empty(),
            expected == Deny,
            "a pod matched by address depends on the plugin"
        );
    }
    let world = World::new()
        .policy(egress("web/a", "", vec![rule(vec![block("10.244.0.0/16 10.244.2.0/24")], vec![])]))
        .policy(egress("web/b", "", vec![rule(vec![namespaces("")], vec![])]));
    let found = world.usual();
    assert_eq!(
        (found.verdict(), found.egress.notes.len()),
        (Allow, 0),
        "another policy admits without a block"
    );
}

#[test]
fn an_external_source_may_be_translated() {
    let world = World::new().policy(ingress(
        "shop/a",
        "",
        vec![rule(vec![block("203.0.113.0/24 203.0.113.7/32")], vec![])],
    ));
    let from = |text: &str| world.detailed(&address(text), &pod("shop/api"), 8080, Protocol::Tcp).ingress;
    let hit = from("203.0.113.9");
    assert_eq!(hit.effect, Allow);
    assert!(matches!(hit.notes[0], Note::BlockMatchesClient { .. }), "{:?}", hit.notes);
    for miss in ["198.51.100.1", "203.0.113.7"] {
        let found = from(miss);
        assert_eq!(found.effect, Unknown, "{miss}");
        assert!(matches!(found.doubts[0], Doubt::MaybeTranslated(_)), "{:?}", found.doubts);
    }
    // On the way out nothing stands between.
    let world = World::new().policy(egress("web/a", "", vec![rule(vec![block("203.0.113.0/24")], vec![])]));
    let found = world.detailed(&pod("web/client"), &address("198.51.100.1"), 443, Protocol::Tcp);
    assert_eq!(found.verdict(), Deny);
}

#[test]
fn a_service_address_is_not_what_policies_see() {
    let world = World::new().service("shop/api", "app=api", 80, 8080).policy(egress(
        "web/a",
        "",
        vec![rule(vec![block("10.96.0.0/12")], vec![])],
    ));
    let found = world.detailed(&pod("web/client"), &address("10.96.0.9"), 80, Protocol::Tcp);
    assert_eq!(found.egress.effect, Unknown);
    assert_eq!(found.egress.doubts, [Doubt::ServiceAddress("10.96.0.9".parse().unwrap())]);
}

#[test]
fn the_host_network_is_left_to_the_plugin() {
    let host = |world: World, name: &str| world.change(name, |pod| pod.host_network = true);
    let allow = |text: &str| ingress("shop/a", "", vec![rule(vec![pods_in("", text)], vec![])]);
    let world = host(World::new().policy(allow("role=client")), "web/client");
    assert_eq!(world.verdict(), Unknown, "as a peer whose labels fit");
    let world = host(World::new().policy(allow("role=other")), "web/client");
    assert_eq!(world.verdict(), Deny, "as a peer whose labels do not");
    let world = host(World::new().policy(ingress("shop/a", "", vec![])), "shop/api");
    assert_eq!(world.verdict(), Unknown, "as the subject");
    assert_eq!(host(World::new(), "shop/api").verdict(), Allow, "without any policy");
}

#[test]
fn a_node_and_its_own_pods_always_talk() {
    let world = World::new()
        .policy(ingress("shop/a", "", vec![]))
        .policy(egress("shop/b", "", vec![]))
        .pod("web/agent", "", "192.0.2.2", "node-2")
        .change("web/agent", |pod| pod.host_network = true);
    let to_api = |src: &End| world.detailed(src, &pod("shop/api"), 8080, Protocol::Tcp);
    for src in [node("node-2"), address("192.0.2.2"), pod("web/agent")] {
        let found = to_api(&src);
        assert_eq!(found.verdict(), Allow, "{src:?}");
        assert!(found.ingress.isolated);
        assert_eq!(found.ingress.notes, [Note::OwnNode { node: "node-2".to_owned() }]);
    }
    assert_eq!(to_api(&node("node-1")).verdict(), Deny, "another node is as foreign as anybody");
    let out = world.detailed(&pod("shop/api"), &node("node-2"), 10250, Protocol::Tcp);
    assert_eq!(out.verdict(), Allow);
    assert_eq!(world.detailed(&pod("shop/api"), &node("node-1"), 10250, Protocol::Tcp).verdict(), Deny);
}

#[test]
fn a_node_may_use_the_address_of_its_tunnel() {
    let by = |text: &str| {
        let world = World::new().policy(ingress("shop/a", "", vec![rule(vec![block(text)], vec![])]));
        world.detailed(&node("node-1"), &pod("shop/api"), 8080, Protocol::Tcp).ingress
    };
    assert_eq!(by("192.0.2.0/24").effect, Allow);
    assert_eq!(by("10.244.1.0/24").effect, Unknown);
    assert_eq!(by("198.51.100.0/24").effect, Deny);
}

#[test]
fn a_pod_always_reaches_itself() {
    let world = World::new().policy(ingress("shop/a", "", vec![])).policy(egress("shop/b", "", vec![]));
    let found = world.detailed(&pod("shop/api"), &address("10.244.2.14"), 8080, Protocol::Tcp);
    assert_eq!(found.verdict(), Allow);
    assert_eq!(found.egress.notes, [Note::Itself]);
}

#[test]
fn pods_that_ended_are_nobody() {
    let world = World::new()
        .pod("web/old", "role=client", "10.244.1.9", "node-1")
        .change("web/old", |pod| pod.phase = "Succeeded".to_owned())
        .policy(ingress("shop/a", "", vec![rule(vec![pods_in("", "role=client")], vec![])]));
    let found = world.detailed(&address("10.244.1.9"), &pod("shop/api"), 8080, Protocol::Tcp);
    assert_eq!(found.verdict(), Allow, "the address is the running pod's");
    let found = world.detailed(&pod("web/old"), &pod("shop/api"), 8080, Protocol::Tcp);
    assert_eq!(found.ingress.doubts, [Doubt::Finished(key("web/old"))]);
    let world = World::new().change("web/client", |pod| pod.phase = "Failed".to_owned()).policy(ingress(
        "shop/a",
        "",
        vec![rule(vec![pods_in("", "role=client")], vec![])],
    ));
    let found = world.detailed(&address("10.244.1.9"), &pod("shop/api"), 8080, Protocol::Tcp);
    assert_eq!(found.verdict(), Deny, "the address is nobody's, and selectors match pods only");
}

#[test]
fn each_family_is_its_own() {
    let world = World::new()
        .pod("web/client", "role=client", "10.244.1.9 fd00::9", "node-1")
        .policy(ingress("shop/a", "", vec![rule(vec![block("10.244.1.0/24")], vec![])]));
    assert_eq!(world.verdict(), Allow, "the API has IPv4 only, so that is what is used");
    let world = world.pod("shop/api", "app=api", "10.244.2.14 fd00::14", "node-2");
    let found = world.usual();
    assert_eq!(found.verdict(), Unknown, "either may be used");
    assert!(matches!(found.ingress.doubts[0], Doubt::EitherFamily(_)));
}

#[test]
fn what_is_missing_is_unknown_and_never_denied() {
    let select_web = || vec![rule(vec![namespaces("team=web")], vec![])];
    let mut world = World::new().policy(ingress("shop/a", "", select_web()));
    assert_eq!(world.verdict(), Deny, "the namespace is there without the label");
    world.0.namespaces.remove("web");
    let found = world.usual();
    assert_eq!(found.verdict(), Unknown);
    assert_eq!(found.ingress.doubts, [Doubt::NoSuchNamespace("web".to_owned())]);
    assert!(
        found.answer().ingress.policies[0]
            .near_miss
            .starts_with("cannot be told: the labels of namespace web")
    );

    let mut world = World::new().policy(ingress(
        "shop/a",
        "",
        vec![rule(vec![namespaces("kubernetes.io/metadata.name=web")], vec![])],
    ));
    world.0.namespaces.clear();
    assert_eq!(world.verdict(), Allow, "the name label is known without the object");

    let world = World::new().policy(ingress("shop/a", "", vec![]));
    let waiting = world.change("web/client", |pod| {
        pod.addresses.clear();
        pod.phase = "Pending".to_owned();
    });
    assert_eq!(waiting.verdict(), Unknown, "a pod without an address");
    let manifest = waiting.change("web/client", |pod| pod.phase.clear());
    assert_eq!(manifest.verdict(), Deny, "a manifest is judged by its labels");
    let found = manifest.detailed(&pod("web/nobody"), &pod("shop/api"), 8080, Protocol::Tcp);
    assert_eq!((found.verdict(), found.ingress.doubts.len()), (Unknown, 1), "no such pod");

    let mut world = World::new();
    world.0.coverage.policies = false;
    assert_eq!(world.verdict(), Unknown, "policies that were not read");

    let mut unread = ingress("shop/a", "app=other", vec![]);
    unread.unread = vec!["spec.podSelector.matchExpressions[0]".to_owned()];
    assert_eq!(World::new().policy(unread.clone()).verdict(), Unknown, "what it selects is not known");
    unread.unread = vec!["spec.ingress[0].from[0]".to_owned()];
    assert_eq!(World::new().policy(unread).verdict(), Allow, "it selects other pods");
}

#[test]
fn an_unlabelled_pod() {
    let any = || End::Unlabelled { namespace: "shop".to_owned() };
    let by = |peer: Peer| {
        let world = World::new().policy(ingress("shop/a", "app=api", vec![rule(vec![peer], vec![])]));
        world.detailed(&any(), &pod("shop/api"), 8080, Protocol::Tcp).verdict()
    };
    assert_eq!((by(pods("")), by(pods("app=api")), by(namespaces(""))), (Allow, Deny, Allow));
    assert_eq!(by(block("10.0.0.0/8")), Unknown, "its address is not known");
    let world = World::new().policy(egress("shop/out", "!app", vec![]));
    assert_eq!(
        world.detailed(&any(), &pod("shop/api"), 8080, Protocol::Tcp).verdict(),
        Deny,
        "it is selected too"
    );
}

//! The order and tie rules of cluster-wide policies, one test each, and what they share with NetworkPolicies.

use model::Protocol;
use model::explanation::PolicyEffect;
use model::explanation::PolicyVerdict::{self, Allow, Deny, Unknown};
use model::objects::Action::{Accept, Deny as Denies, Pass};
use model::objects::{
    ClusterPeer, ClusterPolicy, ClusterPolicyKind, ClusterPort, Directions, NamespacePeer, PolicyPortSpec,
    PolicyRule, Power,
};

use super::build::*;
use crate::{DecidedBy, Doubt, Note, Outcome};

fn verdict(policies: impl IntoIterator<Item = ClusterPolicy>) -> PolicyVerdict {
    world(policies).verdict()
}

fn world(policies: impl IntoIterator<Item = ClusterPolicy>) -> World {
    policies.into_iter().fold(World::new(), World::cluster)
}

/// A NetworkPolicy that admits everybody, and one that admits nobody.
fn open(world: World) -> World {
    world.policy(ingress("shop/open", "", vec![PolicyRule::default()]))
}

fn closed(world: World) -> World {
    world.policy(ingress("shop/closed", "", vec![]))
}

#[test]
fn tiers_are_asked_in_order() {
    let base = |action| baseline("base", 1, vec![does(action, "")]);
    let top = |action| admin("top", 1, vec![does(action, "")]);
    // Admin before NetworkPolicies.
    assert_eq!(closed(world([top(Accept)])).verdict(), Allow);
    assert_eq!(open(world([top(Denies)])).verdict(), Deny);
    // NetworkPolicies before Baseline.
    assert_eq!(closed(world([base(Accept)])).verdict(), Deny);
    assert_eq!(open(world([base(Denies)])).verdict(), Allow);
    // Admin before Baseline.
    assert_eq!(verdict([top(Accept), base(Denies)]), Allow);
    assert_eq!(verdict([top(Denies), base(Accept)]), Deny);
    // Baseline where nothing else speaks.
    assert_eq!(verdict([base(Denies)]), Deny);
    assert_eq!(verdict([base(Accept)]), Allow);
}

#[test]
fn the_lowest_priority_number_comes_first() {
    for make in [admin, baseline] {
        let policy = |name, priority, action| make(name, priority, vec![does(action, "")]);
        assert_eq!(verdict([policy("z", 1, Accept), policy("a", 2, Denies)]), Allow);
        assert_eq!(verdict([policy("z", 1, Denies), policy("a", 2, Accept)]), Deny);
        // Numbers, not texts.
        assert_eq!(verdict([policy("a", 9, Denies), policy("b", 10, Accept)]), Deny);
        // One that does not match is as if it were not there.
        let other = make("other", 0, vec![does(Accept, "role=other")]);
        assert_eq!(verdict([other, policy("z", 1, Denies)]), Deny);
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = |rules| admin("a", 1, rules);
    assert_eq!(verdict([policy(vec![does(Accept, "role=client"), does(Denies, "")])]), Allow);
    assert_eq!(verdict([policy(vec![does(Denies, "role=client"), does(Accept, "")])]), Deny);
    assert_eq!(verdict([policy(vec![does(Denies, "role=other"), does(Accept, "")])]), Allow);
    let found = world([policy(vec![does(Denies, "role=other"), does(Denies, "")])]).usual();
    assert_eq!(found.ingress.cluster[0].outcome, Outcome::Denies(2));
}

#[test]
fn accept_and_deny_are_final() {
    for (action, expected) in [(Accept, Allow), (Denies, Deny)] {
        let policies = [
            admin("first", 1, vec![does(action, "")]),
            admin("second", 2, vec![does(if expected == Allow { Denies } else { Accept }, "")]),
            baseline("base", 1, vec![does(if expected == Allow { Denies } else { Accept }, "")]),
        ];
        let found = world(policies).usual();
        assert_eq!(found.verdict(), expected);
        let asked: Vec<bool> = found.ingress.cluster.iter().map(|part| part.asked).collect();
        assert_eq!(asked, [true, false, false]);
    }
}

#[test]
fn pass_skips_the_rest_of_its_tier() {
    let passing = || admin("pass", 1, vec![does(Pass, "role=client")]);
    let denying = || admin("deny", 2, vec![does(Denies, "")]);
    assert_eq!(verdict([passing(), denying()]), Allow, "nothing behind");
    assert_eq!(open(world([passing(), denying()])).verdict(), Allow);
    assert_eq!(closed(world([passing(), denying()])).verdict(), Deny);
    let base = |action| baseline("base", 1, vec![does(action, "")]);
    assert_eq!(verdict([passing(), denying(), base(Denies)]), Deny, "Baseline is a tier of its own");
    assert_eq!(verdict([denying(), admin("late", 3, vec![does(Pass, "")])]), Deny);
    // Within one policy, too.
    let both = admin("both", 1, vec![does(Pass, "role=client"), does(Denies, "")]);
    assert_eq!(verdict([both]), Allow);
    // In the Baseline tier it leads to the default.
    let pass = baseline("pass", 1, vec![does(Pass, "")]);
    assert_eq!(verdict([pass, baseline("deny", 2, vec![does(Denies, "")])]), Allow);
}

#[test]
fn equal_priorities_are_undefined_where_they_differ() {
    let policy = |name, action| admin(name, 5, vec![does(action, "")]);
    let found = world([policy("a", Accept), policy("b", Denies)]).usual();
    assert_eq!(found.ingress.effect, Unknown);
    assert!(
        matches!(&found.ingress.doubts[..], [Doubt::SamePriority { priority: 5, policies, .. }] if *policies == ["a", "b"]),
        "{:?}",
        found.ingress.doubts
    );
    assert_eq!(verdict([policy("a", Denies), policy("b", Denies)]), Deny, "they agree");
    let elsewhere = admin("c", 5, vec![does(Denies, "role=other")]);
    assert_eq!(verdict([policy("a", Accept), elsewhere]), Allow, "only one of them matches");
    // Whichever is asked, a policy before them decides.
    let first = admin("first", 4, vec![does(Denies, "")]);
    assert_eq!(verdict([first, policy("a", Accept), policy("b", Pass)]), Deny);
    // Accept or Pass: the same where nothing behind denies.
    let pair = || [policy("a", Accept), policy("b", Pass)];
    assert_eq!(verdict(pair()), Allow);
    assert_eq!(closed(world(pair())).verdict(), Unknown);
    // Tiers do not mix.
    let base = baseline("base", 5, vec![does(Denies, "")]);
    assert_eq!(verdict([policy("a", Accept), base]), Allow);
}

#[test]
fn nothing_is_denied_for_lack_of_a_rule() {
    let none = || admin("none", 1, vec![does(Accept, "role=other")]);
    assert_eq!(verdict([none()]), Allow);
    assert!(!world([none()]).usual().ingress.isolated, "no isolation by these");
    assert_eq!(world([none()]).usual().ingress.decided_by, DecidedBy::Nothing);
    assert_eq!(closed(world([none()])).verdict(), Deny);
    assert_eq!(verdict([baseline("base", 1, vec![does(Accept, "role=other")])]), Allow);
    // Rules of one direction say nothing about the other.
    let mut egress_only = admin("out", 1, vec![]);
    egress_only.egress = vec![does(Denies, "")];
    let found = world([egress_only]).usual();
    assert_eq!((found.verdict(), found.ingress.cluster.len()), (Allow, 0));
}

#[test]
fn baseline_is_asked_for_each_direction_alone() {
    let mut base = baseline("base", 1, vec![does(Denies, "")]);
    base.subject.namespaces = selector("");
    base.egress = vec![does(Denies, "")];
    // The API is isolated for ingress, the client not at all.
    let found = open(world([base.clone()])).usual();
    assert_eq!((found.egress.effect, found.ingress.effect), (Deny, Allow));
    assert_eq!(found.egress.decided_by, DecidedBy::Tier(model::objects::Tier::Baseline));
    let out = World::new().cluster(base).policy(egress("web/open", "", vec![PolicyRule::default()]));
    let found = out.usual();
    assert_eq!((found.egress.effect, found.ingress.effect), (Allow, Deny));
}

#[test]
fn host_network_pods_are_neither_subjects_nor_pod_peers() {
    let deny = || world([admin("a", 1, vec![does(Denies, "")])]);
    let host = |world: World, name: &str| world.change(name, |pod| pod.host_network = true);
    assert_eq!(host(deny(), "shop/api").verdict(), Allow, "as the subject");
    assert_eq!(host(deny(), "web/client").verdict(), Allow, "as the peer");
    assert_eq!(deny().verdict(), Deny);
}

#[test]
fn nodes_and_networks_are_peers_on_the_way_out() {
    let out = |peer: ClusterPeer| {
        let mut policy = admin("out", 1, vec![]);
        policy.subject.namespaces = selector("kubernetes.io/metadata.name=web");
        policy.egress = vec![does_to(Denies, peer)];
        let mut world = world([policy]);
        world.0.nodes.get_mut("node-2").unwrap().meta.labels = labels("pool=a");
        world.pod("kube-system/proxy", "", "192.0.2.2", "node-2").change("kube-system/proxy", |pod| {
            pod.host_network = true;
        })
    };
    let nodes = |text: &str| out(ClusterPeer::Nodes(selector(text)));
    let to = |world: &World, dst: &crate::End| {
        world.detailed(&pod("web/client"), dst, 443, Protocol::Tcp).egress.effect
    };
    for (text, expected) in [("", Deny), ("pool=a", Deny), ("pool=b", Allow), ("!pool", Allow)] {
        assert_eq!(to(&nodes(text), &node("node-2")), expected, "{text}");
        assert_eq!(to(&nodes(text), &address("192.0.2.2")), expected, "by its address: {text}");
        assert_eq!(to(&nodes(text), &pod("kube-system/proxy")), expected, "a pod with that address: {text}");
    }
    assert_eq!(to(&nodes(""), &pod("shop/api")), Allow, "a pod is no node");
    assert_eq!(to(&nodes(""), &address("203.0.113.1")), Allow);
    assert_eq!(to(&nodes("pool"), &node("node-9")), Unknown, "a node that the objects do not hold");
    let mut unread = nodes("");
    unread.0.coverage.nodes = false;
    assert_eq!(to(&unread, &address("203.0.113.1")), Unknown, "it may be a node's");
    // A pod's own node is no exception here.
    let own = nodes("").detailed(&pod("web/client"), &node("node-1"), 10250, Protocol::Tcp);
    assert_eq!(own.egress.effect, Deny);

    let networks =
        |list: &[&str]| out(ClusterPeer::Networks(list.iter().map(|text| text.parse().unwrap()).collect()));
    for (list, expected) in [
        (&["10.244.2.0/24"][..], Deny),
        (&["192.0.2.0/24", "10.244.2.14/32"], Deny),
        (&["10.244.3.0/24"], Allow),
        (&["fd00::/8"], Allow),
        (&["::/0", "0.0.0.0/0"], Deny),
    ] {
        let found = networks(list).detailed(&pod("web/client"), &pod("shop/api"), 443, Protocol::Tcp).egress;
        assert_eq!(found.effect, expected, "pods by their address: {list:?}");
        assert!(found.notes.is_empty(), "which is defined here: {:?}", found.notes);
    }
    assert_eq!(to(&networks(&["203.0.113.0/24"]), &address("203.0.113.9")), Deny);
    assert_eq!(to(&networks(&["203.0.113.0/24"]), &address("198.51.100.1")), Allow);
}

#[test]
fn domain_names_are_not_resolved() {
    let allow = |names: &[&str]| {
        let mut policy = admin("names", 1, vec![]);
        policy.subject.namespaces = selector("kubernetes.io/metadata.name=web");
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        policy.egress = vec![
            does_to(Accept, ClusterPeer::DomainNames(names)),
            does_to(Denies, ClusterPeer::Networks(vec!["0.0.0.0/0".parse().unwrap()])),
        ];
        world([policy])
    };
    let to =
        |world: &World, dst: &crate::End| world.detailed(&pod("web/client"), dst, 443, Protocol::Tcp).egress;
    let outside = to(&allow(&["example.com"]), &address("203.0.113.9"));
    assert_eq!(outside.effect, Unknown);
    assert!(matches!(outside.doubts[0], Doubt::DomainNames { .. }), "{:?}", outside.doubts);
    let inside = to(&allow(&["*.example.com"]), &pod("shop/api"));
    assert_eq!(inside.effect, Deny);
    assert!(matches!(inside.notes[..], [Note::NamesOfOthers { .. }]), "{:?}", inside.notes);
    assert_eq!(to(&allow(&["*.cluster.local"]), &pod("shop/api")).effect, Unknown);
}

#[test]
fn named_ports_take_their_protocol_from_the_pod() {
    let named = |name: &str| {
        let mut rule = does(Denies, "");
        rule.ports = vec![ClusterPort { protocol: None, ports: PolicyPortSpec::Name(name.to_owned()) }];
        world([admin("a", 1, vec![rule])])
    };
    let to = |world: &World, port, protocol| {
        world.detailed(&pod("web/client"), &pod("shop/api"), port, protocol).verdict()
    };
    assert_eq!(to(&named("http"), 8080, Protocol::Tcp), Deny);
    assert_eq!(to(&named("http"), 8080, Protocol::Udp), Allow);
    assert_eq!(to(&named("dns"), 53, Protocol::Udp), Deny);
    assert_eq!(to(&named("dns"), 53, Protocol::Tcp), Allow);
    assert_eq!(to(&named("http"), 80, Protocol::Tcp), Allow);
}

#[test]
fn same_and_not_same_labels_of_the_first_version() {
    let older = |namespaces| {
        let peer = ClusterPeer::Pods { namespaces, pods: None };
        let mut policy = admin("anp", 1, vec![does_to(Denies, peer)]);
        policy.kind = ClusterPolicyKind::AdminNetworkPolicy;
        policy
    };
    let of = |web: &str, shop: &str, namespaces: NamespacePeer| {
        world([older(namespaces)]).namespace("web", web).namespace("shop", shop).verdict()
    };
    let same = |keys: &[&str]| NamespacePeer::SameLabels(keys.iter().map(|key| (*key).to_owned()).collect());
    let not =
        |keys: &[&str]| NamespacePeer::NotSameLabels(keys.iter().map(|key| (*key).to_owned()).collect());
    assert_eq!(of("t=1", "t=1", same(&["t"])), Deny);
    assert_eq!(of("t=1", "t=2", same(&["t"])), Allow);
    assert_eq!(of("", "", same(&["t"])), Allow, "it must have the label");
    assert_eq!(of("t=1,u=1", "t=1,u=2", same(&["t", "u"])), Allow, "all of them");
    assert_eq!(of("t=1", "t=1", same(&[])), Allow, "nothing is selected");
    assert_eq!(of("t=1", "t=2", not(&["t"])), Deny);
    assert_eq!(of("t=1", "t=1", not(&["t"])), Allow);
    assert_eq!(of("", "t=1", not(&["t"])), Allow, "it must have the label");
    assert_eq!(of("t=1,u=1", "t=1,u=2", not(&["t", "u"])), Deny, "one of them");
    assert_eq!(of("t=1", "t=1", not(&[])), Allow);
    assert_eq!(of("t=1", "", not(&["t"])), Unknown, "the subject has no value to differ from");
}

#[test]
fn both_generations_of_the_api_may_not_disagree() {
    let older = |action| {
        let mut policy = admin("older", 1, vec![does(action, "")]);
        policy.kind = ClusterPolicyKind::AdminNetworkPolicy;
        policy
    };
    let newer = |action| admin("newer", 9, vec![does(action, "")]);
    assert_eq!(verdict([older(Denies), newer(Denies)]), Deny);
    assert_eq!(verdict([older(Denies)]), Deny);
    let found = world([older(Denies), newer(Accept)]).usual();
    assert_eq!(found.verdict(), Unknown);
    assert!(matches!(found.ingress.doubts[..], [Doubt::BothApis { .. }]), "{:?}", found.ingress.doubts);
    let silent = admin("newer", 9, vec![does(Accept, "role=other")]);
    assert_eq!(verdict([older(Denies), silent]), Deny);
}

#[test]
fn a_service_leads_to_the_pod_itself_through_the_policies() {
    let judged = |world: &World, by_service| {
        let index = crate::PolicyIndex::new(&world.0);
        let own = pod("shop/api");
        let mut connection = crate::Connection::direct(own.clone(), own, 8080, Protocol::Tcp);
        connection.by_service = by_service;
        let found = crate::evaluate_detailed(&index, &connection);
        assert_eq!(found.verdict(), crate::verdict(&index, &connection));
        found
    };
    let denied = world([admin("a", 1, vec![does(Denies, "")])]);
    assert_eq!(judged(&denied, false).verdict(), Allow, "by its own address it stays within the pod");
    assert_eq!(judged(&denied, true).verdict(), Deny, "network-policy-api #390");
    let isolated = closed(World::new());
    assert_eq!(judged(&isolated, false).verdict(), Allow);
    let found = judged(&isolated, true);
    assert_eq!(found.verdict(), Unknown, "left to the plugin for NetworkPolicies");
    assert_eq!(found.ingress.doubts, [Doubt::Hairpin(key("shop/api"))]);
    assert_eq!(judged(&open(World::new()), true).verdict(), Allow);
}

#[test]
fn what_was_not_understood_decides_nothing() {
    let mut unread = admin("a", 1, vec![does(Accept, ""), does(Denies, "")]);
    unread.unread = vec!["spec.subject".to_owned()];
    assert_eq!(verdict([unread.clone()]), Unknown, "what it selects is not known");
    unread.unread = vec!["spec.egress".to_owned()];
    assert_eq!(verdict([unread.clone()]), Allow, "the other direction");
    unread.unread = vec!["spec.ingress[0]".to_owned()];
    unread.ingress[0].unread = true;
    assert_eq!(verdict([unread.clone()]), Unknown, "the first rule may be anything");
    unread.ingress.swap(0, 1);
    assert_eq!(verdict([unread]), Deny, "a rule before it decides");
    let mut world = world([]);
    world.0.coverage.cluster_policies.admin = false;
    let found = world.usual();
    assert_eq!(found.ingress.doubts, [Doubt::ClusterPoliciesNotRead(ClusterPolicyKind::AdminNetworkPolicy)]);
    // A subject whose namespace is not at hand.
    let mut by_label = admin("a", 1, vec![does(Denies, "")]);
    by_label.subject.namespaces = selector("team=shop");
    let mut world = World::new().cluster(by_label);
    assert_eq!(world.verdict(), Allow, "it is there without the label");
    world.0.namespaces.remove("shop");
    assert_eq!(world.verdict(), Unknown);
}

#[test]
fn policies_of_other_kinds_make_a_verdict_uncertain() {
    let kind = "CiliumNetworkPolicy";
    let of = |world: &World| {
        let found = world.usual();
        (found.ingress.effect, found.ingress.evaluated)
    };
    assert_eq!(of(&World::new().other(kind, "shop/a", |_| {})), (Unknown, Allow));
    assert_eq!(of(&closed(World::new()).other(kind, "shop/a", |_| {})), (Unknown, Deny));
    let mesh =
        |world: World| world.other("AuthorizationPolicy", "shop/a", |policy| policy.power = Power::Restricts);
    assert_eq!(of(&mesh(World::new())), (Unknown, Allow));
    assert_eq!(of(&mesh(closed(World::new()))), (Deny, Deny), "it can only deny as well");
    assert_eq!(of(&World::new().other(kind, "web/a", |_| {})), (Allow, Allow), "another namespace");
    assert_eq!(of(&World::new().other(kind, "a", |_| {})), (Unknown, Allow), "everywhere");
    let selecting = |text: &str| {
        let pods = selector(text);
        World::new().other(kind, "shop/a", |policy| policy.pods = Some(pods))
    };
    assert_eq!(of(&selecting("app=api")), (Unknown, Allow));
    assert_eq!(of(&selecting("app=other")), (Allow, Allow), "other pods");
    let out = World::new().other(kind, "shop/a", |policy| policy.directions = Directions::Egress);
    assert_eq!(of(&out), (Allow, Allow), "the other direction");
    let staged = World::new().other(kind, "shop/a", |policy| policy.power = Power::Elsewhere);
    assert_eq!(of(&staged), (Allow, Allow));
    let found = World::new().other(kind, "shop/a", |_| {}).other(kind, "shop/b", |_| {}).usual();
    assert_eq!(
        found.ingress.doubts[0].to_string(),
        "CiliumNetworkPolicy shop/a, shop/b are not evaluated here and may decide otherwise"
    );
    // A pod to itself stays within the pod.
    let own = World::new().other(kind, "shop/a", |_| {});
    assert_eq!(own.detailed(&pod("shop/api"), &pod("shop/api"), 1, Protocol::Tcp).verdict(), Allow);
}

#[test]
fn the_answer_lists_policies_in_the_order_they_are_asked() {
    let mut deny = does(Denies, "role=client");
    deny.name = "no-clients".to_owned();
    let policies = [
        admin("pass", 1, vec![does(Pass, "role=other")]),
        admin("deny", 2, vec![does(Accept, "role=other"), deny]),
        baseline("base", 1, vec![does(Accept, "")]),
    ];
    let found = open(world(policies)).usual();
    assert_eq!(found.verdict(), Deny);
    let answer = found.answer().ingress;
    let parts: Vec<(&str, &str, PolicyEffect, Option<u32>)> = answer
        .policies
        .iter()
        .map(|part| (part.kind.as_str(), part.policy.as_str(), part.effect, part.rule))
        .collect();
    assert_eq!(
        parts,
        [
            ("ClusterNetworkPolicy", "pass", PolicyEffect::PeerMismatch, Some(1)),
            ("ClusterNetworkPolicy", "deny", PolicyEffect::Denies, Some(2)),
            ("NetworkPolicy", "shop/open", PolicyEffect::Allows, Some(1)),
            ("ClusterNetworkPolicy", "base", PolicyEffect::Allows, Some(1)),
        ]
    );
    let words: Vec<&str> = answer.policies.iter().map(|part| part.near_miss.as_str()).collect();
    assert_eq!(
        words,
        [
            "rule 1 passes on pods with role=other in any namespace; web/client has role=client",
            "rule 2 (no-clients) denies pods with role=client in any namespace",
            "not asked: another policy decides before",
            "not asked: another policy decides before",
        ]
    );
    // An allowance lists those that admit, and only those.
    let accept = [admin("pass", 1, vec![does(Pass, "")]), admin("never", 2, vec![does(Accept, "")])];
    let answer = open(world(accept)).usual().answer().ingress;
    assert_eq!(answer.policies.iter().map(|part| part.policy.as_str()).collect::<Vec<_>>(), ["shop/open"]);
}

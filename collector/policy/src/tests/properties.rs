//! What must hold of every verdict: learning a fact never flips it, admitting more never denies, isolating more never
//! admits, the order of objects does not matter, and the plain evaluator says the same.

use std::collections::BTreeMap;

use model::explanation::PolicyVerdict::{self, Allow, Deny, Unknown};
use model::objects::{
    Action, ClusterPeer, ClusterPolicy, ClusterPolicyKind, ClusterPort, ClusterRule, ClusterSubject, Meta,
    Namespace, NamespacePeer, NetworkPolicy, Peer, PolicyPort, PolicyPortSpec, PolicyRule, Tier,
};
use model::{ObjectSet, PortRange, Protocol};
use proptest::prelude::*;

use super::build::*;
use super::naive;
use crate::matching::Direction;
use crate::patch::apply::apply;
use crate::reach::{By, Cell, Matrix, reach};
use crate::{
    Connection, DecidedBy, DetailedDirection, End, Outcome, PolicyIndex, evaluate_detailed, verdict,
};

/// Random cases of a property. `PROPTEST_CASES` (`cargo xtask test --long`) asks for more.
fn config(normal: u32, times: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u32>().ok());
    let cases = asked.map_or(normal, |cases| cases.saturating_mul(times));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn selectors() -> impl Strategy<Value = &'static str> {
    // Half of them take everything, or hardly a case would get to the rules.
    prop_oneof![Just(""), prop::sample::select(vec!["a=1", "a=2", "b=1", "!a", "b", "a!=1", "a=1,b=1"])]
}

fn peers() -> impl Strategy<Value = Peer> {
    prop_oneof![
        selectors().prop_map(pods),
        selectors().prop_map(namespaces),
        (selectors(), selectors()).prop_map(|(spaces, text)| pods_in(spaces, text)),
        prop::sample::select(vec![
            "10.0.0.0/8",
            "10.0.1.0/24",
            "10.0.0.0/8 10.0.1.0/24",
            "0.0.0.0/0",
            "fd00::/8"
        ])
        .prop_map(block),
    ]
}

fn ports() -> impl Strategy<Value = PolicyPort> {
    prop::sample::select(vec![tcp(80), udp(80), range(70, 90), named("http"), all(Protocol::Tcp), tcp(8080)])
}

fn rules() -> impl Strategy<Value = PolicyRule> {
    (prop::collection::vec(peers(), 0..3), prop::collection::vec(ports(), 0..2))
        .prop_map(|(peers, ports)| rule(peers, ports))
}

fn policies() -> impl Strategy<Value = NetworkPolicy> {
    let lists = || prop::collection::vec(rules(), 0..3);
    (0..2_u8, 0..20_u8, selectors(), any::<(bool, bool)>(), lists(), lists()).prop_map(
        |(space, number, selects, (isolates_ingress, isolates_egress), ingress, egress)| NetworkPolicy {
            meta: Meta { key: key(&format!("ns{space}/p{number}")), ..Meta::default() },
            pod_selector: selector(selects),
            isolates_ingress,
            isolates_egress,
            ingress,
            egress,
            unread: Vec::new(),
        },
    )
}

fn actions() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![Action::Accept, Action::Deny, Action::Pass])
}

fn spaces() -> impl Strategy<Value = NamespacePeer> {
    selectors().prop_map(|text| NamespacePeer::Selected(selector(text)))
}

fn networks() -> impl Strategy<Value = ClusterPeer> {
    let blocks =
        prop::sample::select(vec!["10.0.0.0/8", "10.0.1.0/24", "0.0.0.0/0", "fd00::/8", "192.0.2.0/24"]);
    prop::collection::vec(blocks, 1..3)
        .prop_map(|blocks| ClusterPeer::Networks(blocks.iter().map(|text| text.parse().unwrap()).collect()))
}

fn cluster_ports() -> impl Strategy<Value = ClusterPort> {
    let port = |protocol, first, last| ClusterPort {
        protocol: Some(protocol),
        ports: PolicyPortSpec::Range(PortRange { first, last }),
    };
    let named = ClusterPort { protocol: None, ports: PolicyPortSpec::Name("http".to_owned()) };
    prop::sample::select(vec![
        port(Protocol::Tcp, 80, 80),
        port(Protocol::Udp, 80, 80),
        port(Protocol::Tcp, 70, 90),
        port(Protocol::Tcp, 8080, 8080),
        named,
    ])
}

fn cluster_rules(ingress: bool) -> impl Strategy<Value = ClusterRule> {
    let pods = (spaces(), prop::option::of(selectors()))
        .prop_map(|(namespaces, pods)| ClusterPeer::Pods { namespaces, pods: pods.map(selector) });
    let peers = if ingress {
        pods.boxed()
    } else {
        prop_oneof![
            3 => pods,
            1 => networks(),
            1 => selectors().prop_map(|text| ClusterPeer::Nodes(selector(text))),
            1 => Just(ClusterPeer::DomainNames(vec!["example.com".to_owned()])),
        ]
        .boxed()
    };
    (actions(), prop::collection::vec(peers, 1..3), prop::collection::vec(cluster_ports(), 0..2)).prop_map(
        |(action, mut peers, ports)| {
            if action != Action::Accept {
                // Names are for rules that let through.
                peers.retain(|peer| !matches!(peer, ClusterPeer::DomainNames(_)));
                if peers.is_empty() {
                    peers.push(ClusterPeer::Networks(vec!["0.0.0.0/0".parse().unwrap()]));
                }
            }
            ClusterRule { name: String::new(), action, peers, ports, unread: false }
        },
    )
}

fn cluster_policies() -> impl Strategy<Value = ClusterPolicy> {
    let rules = |ingress| prop::collection::vec(cluster_rules(ingress), 0..4);
    let subject = (selectors(), prop::option::of(selectors()));
    let kinds = prop::sample::select(vec![
        ClusterPolicyKind::ClusterNetworkPolicy,
        ClusterPolicyKind::ClusterNetworkPolicy,
        ClusterPolicyKind::AdminNetworkPolicy,
    ]);
    (kinds, 0..20_u8, any::<bool>(), 0..3_u16, subject, rules(true), rules(false)).prop_map(
        |(kind, number, base, priority, (namespaces, pods), ingress, egress)| ClusterPolicy {
            meta: Meta { key: key(&format!("c{number}")), ..Meta::default() },
            kind,
            tier: if base && kind == ClusterPolicyKind::ClusterNetworkPolicy {
                Tier::Baseline
            } else {
                Tier::Admin
            },
            priority,
            subject: ClusterSubject { namespaces: selector(namespaces), pods: pods.map(selector) },
            ingress,
            egress,
            unread: Vec::new(),
        },
    )
}

#[derive(Clone, Debug)]
struct Case {
    set: ObjectSet,
    connection: Connection,
}

fn cases() -> impl Strategy<Value = Case> {
    let texts = || prop::sample::select(vec!["", "a=1", "a=2", "b=1", "a=1,b=1"]);
    let addresses = || prop::sample::select(vec!["10.0.0.1", "10.0.1.1", "10.0.1.2 fd00::2", "10.0.2.1"]);
    let pods = prop::collection::vec((0..2_u8, texts(), addresses(), any::<(bool, bool)>()), 2..4);
    let spaces = prop::collection::vec(texts(), 2);
    let ends = || {
        prop_oneof![
            4 => (0..3_usize).prop_map(Ok),
            1 => prop::sample::select(vec![address("203.0.113.9"), node("node-1"), End::Unlabelled { namespace: "ns0".to_owned() }]).prop_map(Err),
        ]
    };
    let policies = (
        prop::collection::vec(policies(), 0..6),
        prop_oneof![Just(Vec::new()), prop::collection::vec(cluster_policies(), 1..7)],
    );
    (pods, spaces, policies, ends(), ends()).prop_map(|(pods, spaces, (policies, cluster), src, dst)| {
        let mut world = World(ObjectSet::default()).node("node-1", "192.0.2.1", "10.0.0.0/24");
        world.0.nodes.get_mut("node-1").unwrap().meta.labels = labels("a=1");
        for (number, text) in spaces.iter().enumerate() {
            world = world.namespace(&format!("ns{number}"), text);
        }
        let mut keys = Vec::new();
        for (number, (space, text, addresses, (host, named))) in pods.into_iter().enumerate() {
            let name = format!("ns{space}/pod{number}");
            world = world.pod(&name, text, addresses, "node-1");
            if named {
                world = world.ports(&name, &[("http", 80, Protocol::Tcp)]);
            }
            // One of them on the host network is plenty.
            world = world.change(&name, |pod| {
                pod.host_network = host && number == 0;
                pod.node = Some(format!("node-{}", number % 2));
            });
            keys.push(key(&name));
        }
        for policy in policies {
            world = world.policy(policy);
        }
        for policy in cluster {
            world = world.cluster(policy);
        }
        let end = |choice: Result<usize, End>| match choice {
            Ok(number) => End::Pod(keys[number % keys.len()].clone()),
            Err(end) => end,
        };
        let connection = Connection::direct(end(src), end(dst), 80, Protocol::Tcp);
        Case { set: world.0, connection }
    })
}

fn of(case: &Case) -> PolicyVerdict {
    verdict(&PolicyIndex::new(&case.set), &case.connection)
}

/// What a part of a direction says has to fit what the direction says.
fn consistent(direction: &DetailedDirection) -> Result<(), TestCaseError> {
    prop_assert_eq!(direction.effect == Unknown, !direction.doubts.is_empty());
    let allows = |outcome| matches!(outcome, Outcome::Allows(_));
    match (direction.evaluated, direction.decided_by) {
        (Deny, DecidedBy::NetworkPolicies) => {
            prop_assert!(direction.isolated && !direction.policies.is_empty());
            for policy in &direction.policies {
                prop_assert!(!allows(policy.outcome));
                let told = policy.nearest().is_some_and(|miss| !miss.text.is_empty());
                prop_assert!(told || policy.outcome == Outcome::NoRules);
            }
        }
        (Allow, DecidedBy::NetworkPolicies) => {
            prop_assert!(direction.policies.iter().any(|policy| allows(policy.outcome)));
        }
        (Deny, DecidedBy::Tier(_)) => {
            // One of those that are asked denies, for sure or with others of its priority.
            let denies = |policy: &&crate::DetailedPolicy| {
                policy.asked && matches!(policy.outcome, Outcome::Denies(_) | Outcome::Unknown)
            };
            prop_assert!(direction.cluster.iter().any(|policy| denies(&policy)));
        }
        (Allow, DecidedBy::Tier(_)) => {
            let accepts = |policy: &&crate::DetailedPolicy| {
                policy.asked && matches!(policy.outcome, Outcome::Allows(_) | Outcome::Unknown)
            };
            prop_assert!(direction.cluster.iter().any(|policy| accepts(&policy)));
        }
        (Allow, DecidedBy::Nothing) => prop_assert!(!direction.isolated),
        (Allow, DecidedBy::Exemption) | (Unknown, DecidedBy::Unsure) => {}
        other => prop_assert!(false, "{:?}", other),
    }
    prop_assert!(direction.patch.is_none() || direction.evaluated == Deny);
    for policy in direction.all() {
        if let Some(miss) = policy.nearest() {
            prop_assert!(miss.distance > 0 || matches!(policy.outcome, Outcome::Unknown), "{:?}", miss);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(500, 1))]

    #[test]
    fn both_ways_of_asking_agree(case in cases()) {
        let detailed = evaluate_detailed(&PolicyIndex::new(&case.set), &case.connection);
        prop_assert_eq!(detailed.verdict(), of(&case));
        for direction in [&detailed.egress, &detailed.ingress] {
            consistent(direction)?;
        }
        // Told once or twice by one index, what was kept in between changes nothing.
        let index = PolicyIndex::new(&case.set);
        prop_assert_eq!(verdict(&index, &case.connection), verdict(&index, &case.connection));
        prop_assert_eq!(evaluate_detailed(&index, &case.connection), detailed);
    }

    #[test]
    fn learning_a_namespace_never_flips(case in cases(), labels in prop::sample::select(vec!["", "a=1", "b=1", "a=2"]), which in 0..2_u8) {
        let name = format!("ns{which}");
        let mut less = case.clone();
        less.set.namespaces.remove(&name);
        let before = of(&less);
        let mut more = less.clone();
        let mut meta = Meta { key: key(&name), labels: super::build::labels(labels), ..Meta::default() };
        meta.labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
        more.set.namespaces.insert(name, Namespace { meta });
        let after = of(&more);
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn learning_an_address_never_flips(case in cases(), which in 0..3_usize) {
        let mut less = case.clone();
        let Some(name) = less.set.pods.keys().nth(which).cloned() else { return Ok(()) };
        if let Some(pod) = less.set.pods.get_mut(&name) {
            pod.addresses.clear();
        }
        let (before, after) = (of(&less), of(&case));
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn learning_the_policies_never_flips(case in cases()) {
        let mut less = case.clone();
        less.set.coverage.policies = false;
        less.set.policies.clear();
        let (before, after) = (of(&less), of(&case));
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn understanding_a_policy_never_flips(case in cases(), which in 0..5_usize, field in prop::sample::select(vec!["spec.podSelector", "spec.ingress[0]"])) {
        let mut less = case.clone();
        let Some(policy) = less.set.policies.values_mut().nth(which) else { return Ok(()) };
        policy.unread.push(field.to_owned());
        let (before, after) = (of(&less), of(&case));
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn one_more_policy_never_denies_what_isolated_pods_were_allowed(case in cases(), policy in policies()) {
        let detailed = evaluate_detailed(&PolicyIndex::new(&case.set), &case.connection);
        let mut more = case.clone();
        let mut policy = policy;
        policy.meta.key.name = "added".to_owned();
        more.set.policies.insert(policy.meta.key.clone(), policy);
        let after = evaluate_detailed(&PolicyIndex::new(&more.set), &more.connection);
        for (before, after) in [(&detailed.egress, &after.egress), (&detailed.ingress, &after.ingress)] {
            if before.isolated && before.effect == Allow {
                prop_assert_eq!(after.effect, Allow);
            }
        }
    }
    #[test]
    fn learning_the_cluster_wide_policies_never_flips(case in cases()) {
        let mut less = case.clone();
        less.set.coverage.cluster_policies.cluster = false;
        less.set.coverage.cluster_policies.admin = false;
        less.set.cluster_policies.clear();
        let (before, after) = (of(&less), of(&case));
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn understanding_a_cluster_wide_policy_never_flips(case in cases(), which in 0..4_usize, rule in 0..2_usize) {
        let mut less = case.clone();
        let Some(policy) = less.set.cluster_policies.values_mut().nth(which) else { return Ok(()) };
        match policy.ingress.get_mut(rule) {
            Some(found) => {
                found.unread = true;
                policy.unread.push(format!("spec.ingress[{rule}]"));
            }
            None => policy.unread.push("spec.subject".to_owned()),
        }
        let (before, after) = (of(&less), of(&case));
        prop_assert!(before == Unknown || before == after, "{before:?} became {after:?}");
    }

    #[test]
    fn one_more_allowing_rule_never_closes(case in cases(), which in 0..5_usize, added in rules(), out in any::<bool>()) {
        let before = of(&case);
        let mut more = case;
        let Some(policy) = more.set.policies.values_mut().nth(which) else { return Ok(()) };
        // A rule for a direction that the policy does not isolate would say nothing.
        if out { policy.egress.push(added) } else { policy.ingress.push(added) }
        let after = of(&more);
        prop_assert!(before != Allow || after == Allow, "{before:?} became {after:?}");
        prop_assert!(after != Deny || before == Deny, "{before:?} became {after:?}");
    }

    #[test]
    fn one_more_accepting_rule_in_front_never_closes(case in cases(), which in 0..4_usize, added in cluster_rules(true)) {
        let before = of(&case);
        let mut more = case;
        // One that comes first for sure: the lowest number, alone.
        let mut added = added;
        added.action = Action::Accept;
        let mut first = admin("zz", 0, vec![added]);
        first.subject.namespaces = selector("");
        for policy in more.set.cluster_policies.values_mut() {
            policy.priority += 1;
            policy.kind = ClusterPolicyKind::ClusterNetworkPolicy;
        }
        let same: Vec<ClusterPolicy> = std::mem::take(&mut more.set.cluster_policies).into_values().collect();
        for (number, mut policy) in same.into_iter().enumerate() {
            policy.meta.key.name = format!("c{number}");
            more.set.cluster_policies.insert((policy.kind, policy.name().to_owned()), policy);
        }
        let before = if which == 0 { of(&more) } else { before.min_with(of(&more)) };
        more.set.cluster_policies.insert((first.kind, first.name().to_owned()), first);
        let after = of(&more);
        prop_assert!(before != Allow || after == Allow, "{before:?} became {after:?}");
    }

    #[test]
    fn one_more_selecting_policy_never_opens_beyond_its_rules(case in cases(), added in policies()) {
        let index = PolicyIndex::new(&case.set);
        let before = evaluate_detailed(&index, &case.connection);
        let mut more = case.clone();
        let mut added = added;
        added.meta.key.name = "added".to_owned();
        let key = added.meta.key.clone();
        more.set.policies.insert(key.clone(), added);
        let after = evaluate_detailed(&PolicyIndex::new(&more.set), &more.connection);
        for (before, after) in [(&before.egress, &after.egress), (&before.ingress, &after.ingress)] {
            let opened = before.evaluated == Deny && after.evaluated != Deny;
            let by_itself = after.policies.iter().any(|policy| {
                policy.policy == key && matches!(policy.outcome, Outcome::Allows(_) | Outcome::Unknown)
            });
            // A pod that a policy isolates is out of reach of the Baseline tier.
            let baseline = before.decided_by == DecidedBy::Tier(Tier::Baseline);
            prop_assert!(!opened || by_itself || baseline && after.isolated, "{before:?} became {after:?}");
        }
    }

    #[test]
    fn the_order_of_objects_never_matters(case in cases(), turn in 1..7_u8) {
        // Policies have no order but that of their names, so names are what is turned around.
        let mut turned = case.clone();
        turned.set.policies = case
            .set
            .policies
            .values()
            .enumerate()
            .map(|(number, policy)| {
                let mut policy = policy.clone();
                policy.meta.key.name = format!("t{}", (number * usize::from(turn)) % 7 + number * 100);
                policy.meta.key.name = policy.meta.key.name.chars().rev().collect();
                (policy.meta.key.clone(), policy)
            })
            .collect();
        turned.set.cluster_policies = case
            .set
            .cluster_policies
            .values()
            .enumerate()
            .map(|(number, policy)| {
                let mut policy = policy.clone();
                policy.meta.key.name = format!("{}c", 100 - number);
                ((policy.kind, policy.name().to_owned()), policy)
            })
            .collect();
        prop_assert_eq!(of(&turned), of(&case));
        // Rules of a NetworkPolicy, its peers and its ports are a union as well.
        for policy in turned.set.policies.values_mut() {
            for rules in [&mut policy.ingress, &mut policy.egress] {
                rules.reverse();
                for rule in rules {
                    rule.peers.reverse();
                    rule.ports.reverse();
                }
            }
        }
        prop_assert_eq!(of(&turned), of(&case));
    }

    #[test]
    fn a_patch_admits_what_was_denied(case in cases()) {
        let detailed = evaluate_detailed(&PolicyIndex::new(&case.set), &case.connection);
        for (direction, found) in [(Direction::Egress, &detailed.egress), (Direction::Ingress, &detailed.ingress)] {
            let Some(patch) = &found.patch else { continue };
            let mut patched = case.clone();
            apply(&mut patched.set, patch, direction, case.connection.port, case.connection.protocol);
            let after = evaluate_detailed(&PolicyIndex::new(&patched.set), &patched.connection);
            let after = if direction == Direction::Egress { after.egress } else { after.ingress };
            prop_assert_eq!(after.evaluated, Allow, "{} {}: {}; {:?}", patch.kind.word(), &patch.policy, &patch.says, after);
        }
    }
}

proptest! {
    #![proptest_config(config(1_500, 5))]

    #[test]
    fn the_plain_evaluator_says_the_same(case in cases(), known in any::<bool>()) {
        let mut case = case;
        if !known {
            // A namespace that the objects do not hold.
            case.set.namespaces.remove("ns1");
        }
        if let Some(plain) = naive::verdict(&case.set, &case.connection) {
            prop_assert_eq!(of(&case), plain);
        }
    }
}

proptest! {
    #![proptest_config(config(300, 1))]

    #[test]
    fn all_ports_at_once_say_what_each_says(case in cases(), known in any::<bool>()) {
        let mut case = case;
        if !known {
            case.set.namespaces.remove("ns1");
        }
        let index = PolicyIndex::new(&case.set);
        let reach = reach(&index, &case.connection.src, &case.connection.dst);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            for port in [1, 69, 70, 79, 80, 81, 90, 91, 8079, 8080, 8081, 65535] {
                let connection = Connection { port, protocol, ..case.connection.clone() };
                let one = verdict(&index, &connection);
                prop_assert_eq!(reach.verdict(port, protocol), one, "{}/{}: {:?}", port, protocol, &reach);
            }
        }
    }

    #[test]
    fn a_matrix_says_what_pairs_say(case in cases()) {
        let index = PolicyIndex::new(&case.set);
        let pods = Matrix::new(&index, By::Pod);
        let spaces = Matrix::new(&index, By::Namespace);
        let keys: Vec<_> = case.set.pods.keys().collect();
        let mut expected: BTreeMap<(&str, &str), Cell> = BTreeMap::new();
        for (row, from) in keys.iter().enumerate() {
            for (column, cell) in pods.row(row).into_iter().enumerate() {
                let to = keys[column];
                if *from == to {
                    prop_assert_eq!(cell, None);
                    continue;
                }
                let pair = reach(&index, &End::Pod((*from).clone()), &End::Pod(to.clone()));
                let pair = Cell { every: pair.allowed.clone(), some: pair.allowed, unknown: pair.unknown };
                prop_assert_eq!(cell.as_ref(), Some(&pair));
                let both = expected.entry((&from.namespace, &to.namespace)).or_insert_with(|| pair.clone());
                *both = Cell {
                    every: both.every.intersection(&pair.every),
                    some: both.some.union(&pair.some),
                    unknown: both.unknown.union(&pair.unknown),
                };
            }
        }
        for (row, from) in spaces.groups().iter().enumerate() {
            for (to, cell) in spaces.groups().iter().zip(spaces.row(row)) {
                let (from, to) = (from.name.to_string(), to.name.to_string());
                prop_assert_eq!(cell.as_ref(), expected.get(&(from.as_str(), to.as_str())));
            }
        }
    }
}

/// The less certain of two verdicts.
trait MinWith {
    fn min_with(self, other: Self) -> Self;
}

impl MinWith for PolicyVerdict {
    fn min_with(self, other: Self) -> Self {
        if self == other { self } else { Unknown }
    }
}

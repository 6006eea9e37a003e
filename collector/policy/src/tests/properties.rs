//! What must hold of every verdict: learning a fact never flips it, and admitting more never denies.

use model::explanation::PolicyVerdict::{self, Allow, Deny, Unknown};
use model::objects::{Meta, Namespace, NetworkPolicy, Peer, PolicyPort, PolicyRule};
use model::{ObjectSet, Protocol};
use proptest::prelude::*;

use super::build::*;
use crate::{Connection, End, Outcome, PolicyIndex, evaluate_detailed, verdict};

fn selectors() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a=1", "a=2", "b=1", "!a", "b", "a!=1", "a=1,b=1"])
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
    (pods, spaces, prop::collection::vec(policies(), 0..5), ends(), ends()).prop_map(
        |(pods, spaces, policies, src, dst)| {
            let mut world = World(ObjectSet::default()).node("node-1", "192.0.2.1", "10.0.0.0/24");
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
                    pod.node = Some(format!("node-{number}"));
                });
                keys.push(key(&name));
            }
            for policy in policies {
                world = world.policy(policy);
            }
            let end = |choice: Result<usize, End>| match choice {
                Ok(number) => End::Pod(keys[number % keys.len()].clone()),
                Err(end) => end,
            };
            let connection = Connection { src: end(src), dst: end(dst), port: 80, protocol: Protocol::Tcp };
            Case { set: world.0, connection }
        },
    )
}

fn of(case: &Case) -> PolicyVerdict {
    verdict(&PolicyIndex::new(&case.set), &case.connection)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_of_asking_agree(case in cases()) {
        let detailed = evaluate_detailed(&PolicyIndex::new(&case.set), &case.connection);
        prop_assert_eq!(detailed.verdict(), of(&case));
        for direction in [&detailed.egress, &detailed.ingress] {
            prop_assert_eq!(direction.effect == Unknown, !direction.doubts.is_empty());
            if direction.effect == Deny {
                prop_assert!(direction.isolated && !direction.policies.is_empty());
                for policy in &direction.policies {
                    let told = policy.nearest().is_some_and(|miss| !miss.text.is_empty());
                    prop_assert!(told || policy.outcome == Outcome::NoRules);
                }
            }
        }
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
}

//! Decisions, object by object.

use std::collections::BTreeMap;

use model::objects::{
    Container, ContainerPort, IpBlock, Namespace, NetworkPolicy, ObjectSet, Peer, Pod, PolicyPort,
    PolicyPortSpec, PolicyRule, Selector,
};
use model::{Key, PortRange, Protocol};

use super::decide;
use crate::policy::{Admitted, PodDecision};

fn labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), name.to_owned())])
}

fn app(name: &str) -> Selector {
    Selector::equalities(&labels(name))
}

fn pod(objects: &mut ObjectSet, namespace: &str, name: &str, addresses: &[&str], web: Option<u16>) {
    let mut pod = Pod { phase: "Running".into(), ..Pod::default() };
    pod.meta.key = Key::new(namespace, name);
    pod.meta.labels = labels(name);
    pod.addresses = addresses.iter().map(|address| address.parse().expect("address")).collect();
    let ports = web.map(|port| ContainerPort {
        name: Some("web".into()),
        port,
        protocol: Protocol::Tcp,
        host_port: None,
    });
    pod.containers = vec![Container { ports: ports.into_iter().collect(), ..Container::default() }];
    objects.pods.insert(pod.meta.key.clone(), pod);
}

/// Two namespaces, labelled by their names; `shop/server` names 8080, `back/store` names 9090.
fn world() -> ObjectSet {
    let mut objects = ObjectSet::default();
    for name in ["shop", "back"] {
        let mut namespace = Namespace::default();
        namespace.meta.key = Key::new("", name);
        namespace.meta.labels = labels(name);
        objects.namespaces.insert(name.into(), namespace);
    }
    pod(&mut objects, "shop", "server", &["10.244.1.5", "fd00::5"], Some(8080));
    pod(&mut objects, "shop", "friend", &["10.244.1.6"], None);
    pod(&mut objects, "back", "store", &["10.244.2.5", "fd00::25"], Some(9090));
    objects
}

fn policy(
    objects: &mut ObjectSet,
    selected: Selector,
    ingress: Vec<PolicyRule>,
    egress: Option<Vec<PolicyRule>>,
) {
    let mut policy = NetworkPolicy {
        pod_selector: selected,
        isolates_ingress: egress.is_none(),
        isolates_egress: egress.is_some(),
        ingress,
        egress: egress.unwrap_or_default(),
        ..NetworkPolicy::default()
    };
    policy.meta.key = Key::new("shop", format!("policy-{}", objects.policies.len()));
    objects.policies.insert(policy.meta.key.clone(), policy);
}

fn tcp(ports: PolicyPortSpec) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports }
}

fn shown(admitted: &[Admitted]) -> Vec<String> {
    let one = |item: &Admitted| {
        let except = item.except.iter().fold(String::new(), |text, hole| format!("{text} -{hole}"));
        let protocol = item.protocol.map_or_else(String::new, |protocol| format!(" {}", protocol.lower()));
        let ports = item.ports.map_or_else(String::new, |range| format!(" {}-{}", range.first, range.last));
        format!("{}{except}{protocol}{ports}", item.peer)
    };
    admitted.iter().map(one).collect()
}

fn of<'a>(decisions: &'a [PodDecision], name: &str) -> &'a PodDecision {
    decisions.iter().find(|decision| decision.pod.name == name).expect("a decision")
}

#[test]
fn a_policy_without_rules_isolates_and_admits_nobody() {
    let mut objects = world();
    policy(&mut objects, Selector::default(), Vec::new(), None);
    let decisions = decide(&objects);
    assert_eq!(decisions.len(), 2, "pods of other namespaces are open: {decisions:?}");
    assert_eq!(of(&decisions, "server").ingress[0].admitted, []);
    assert_eq!(of(&decisions, "server").egress, []);
}

#[test]
fn an_empty_rule_admits_everybody_of_both_families() {
    let mut objects = world();
    policy(&mut objects, app("server"), vec![PolicyRule::default()], None);
    assert_eq!(shown(&of(&decide(&objects), "server").ingress[0].admitted), ["0.0.0.0/0", "::/0"]);
}

#[test]
fn blocks_keep_their_holes_and_ranges_their_ends() {
    let mut objects = world();
    let block = IpBlock {
        cidr: "10.0.0.0/8".parse().expect("cidr"),
        except: vec!["10.244.1.0/24".parse().expect("cidr")],
    };
    let ports = vec![
        tcp(PolicyPortSpec::Range(PortRange { first: 80, last: 90 })),
        PolicyPort { protocol: Protocol::Sctp, ports: PolicyPortSpec::All },
    ];
    policy(&mut objects, app("server"), vec![PolicyRule { peers: vec![Peer::Block(block)], ports }], None);
    assert_eq!(
        shown(&of(&decide(&objects), "server").ingress[0].admitted),
        ["10.0.0.0/8 -10.244.1.0/24 tcp 80-90", "10.0.0.0/8 -10.244.1.0/24 sctp"]
    );
}

#[test]
fn a_name_means_the_port_of_the_destination() {
    let mut objects = world();
    let web = || vec![tcp(PolicyPortSpec::Name("web".into()))];
    let everywhere = Peer::Pods { namespaces: Some(Selector::default()), pods: None };
    policy(
        &mut objects,
        app("friend"),
        Vec::new(),
        Some(vec![PolicyRule { peers: vec![everywhere], ports: web() }]),
    );
    policy(
        &mut objects,
        app("friend"),
        Vec::new(),
        Some(vec![PolicyRule { peers: Vec::new(), ports: web() }]),
    );
    policy(&mut objects, Selector::default(), vec![PolicyRule { peers: Vec::new(), ports: web() }], None);
    let decisions = decide(&objects);
    let friend = of(&decisions, "friend");
    let each = [
        "10.244.2.5/32 tcp 9090-9090",
        "fd00::25/128 tcp 9090-9090",
        "10.244.1.5/32 tcp 8080-8080",
        "fd00::5/128 tcp 8080-8080",
    ];
    assert_eq!(shown(&friend.egress[0].admitted), each);
    let mut any_peer = shown(&friend.egress[1].admitted);
    any_peer.sort_unstable();
    let mut expected = each.to_vec();
    expected.sort_unstable();
    assert_eq!(any_peer, expected, "without peers a name admits the same pods");
    assert_eq!(friend.ingress[0].admitted, [], "the friend lacks the name");
    assert_eq!(
        shown(&of(&decisions, "server").ingress[0].admitted),
        ["0.0.0.0/0 tcp 8080-8080", "::/0 tcp 8080-8080"]
    );
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let mut objects = world();
    let rule = |peer| vec![PolicyRule { peers: vec![peer], ports: Vec::new() }];
    let back = Peer::Pods { namespaces: Some(app("back")), pods: None };
    let own = Peer::Pods { namespaces: None, pods: Some(app("store")) };
    policy(&mut objects, app("server"), rule(back), None);
    policy(&mut objects, app("server"), rule(own), None);
    let decisions = decide(&objects);
    let server = of(&decisions, "server");
    assert_eq!(shown(&server.ingress[0].admitted), ["10.244.2.5/32", "fd00::25/128"]);
    assert_eq!(server.ingress[1].admitted, [], "the store is in another namespace");
}

#[test]
fn finished_and_host_network_pods_are_neither_subjects_nor_peers() {
    let mut objects = world();
    let anybody = Peer::Pods { namespaces: Some(Selector::default()), pods: None };
    policy(
        &mut objects,
        Selector::default(),
        vec![PolicyRule { peers: vec![anybody], ports: Vec::new() }],
        None,
    );
    objects.pods.get_mut(&Key::new("shop", "friend")).expect("pod").phase = "Succeeded".into();
    objects.pods.get_mut(&Key::new("back", "store")).expect("pod").host_network = true;
    let decisions = decide(&objects);
    assert_eq!(decisions.len(), 1, "{decisions:?}");
    assert_eq!(shown(&of(&decisions, "server").ingress[0].admitted), ["10.244.1.5/32", "fd00::5/128"]);
    objects.pods.get_mut(&Key::new("shop", "server")).expect("pod").host_network = true;
    assert_eq!(decide(&objects), []);
}

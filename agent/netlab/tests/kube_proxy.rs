//! The renderer against captures of a real kube-proxy, and its rules at work. The latter need root.

#[path = "support/capture.rs"]
mod capture;
#[path = "support/root.rs"]
mod root;

use std::collections::BTreeMap;
use std::time::Duration;

use model::objects::{Endpoint, EndpointSlice, Meta, Service, ServicePort, SlicePort, TargetPort};
use model::walk::Backend;
use model::{Family, Key, ObjectSet, Protocol};
use netlab::{ConnectOutcome, Error, KubeProxy, Lab, LabSpec, Listen, NodeSpec, PodSpec};

const SECOND: Duration = Duration::from_secs(1);

/// Chains whose rules kube-proxy writes in the random order of a Go map.
const UNORDERED: [&str; 6] = [
    "filter KUBE-SERVICES",
    "filter KUBE-EXTERNAL-SERVICES",
    "filter KUBE-PROXY-FIREWALL",
    "filter KUBE-NODEPORTS",
    "nat KUBE-NODEPORTS",
    "nat KUBE-SERVICES",
];

#[test]
fn rendered_loaded_and_saved_again_is_what_kube_proxy_wrote() {
    if !root::available("loading rules") {
        return;
    }
    let (mut objects, extras) = capture::objects();
    let sticky = Key::new("lab", "sticky");
    let error = proxy(extras.clone()).render(&objects, "node1").expect_err("session affinity");
    assert_eq!(
        error.to_string(),
        "service lab/sticky: spec.sessionAffinity: ClientIP is not supported by the lab"
    );
    assert!(matches!(error, Error::Unsupported { .. }));
    objects.services.remove(&sticky);

    let lab = Lab::from_objects("captured", &objects).expect("a lab");
    for name in ["node1", "node2"] {
        let node = lab.node(name).expect("node");
        let captured = capture::file(&format!("{name}.iptables-save"));
        let expected = comparable(&captured, &["lab/sticky"]);
        for (proxy, tool) in [
            (proxy(extras.clone()), "iptables-nft-save"),
            (proxy(extras.clone()).legacy(), "iptables-legacy-save"),
        ] {
            // Twice: the second load must change nothing.
            for _ in 0..2 {
                proxy.load(node, &objects).expect("load");
                let ours = comparable(&node.netns.run(&[tool]).expect("save"), &[]);
                for (chain, rules) in &expected {
                    assert_eq!(ours.get(chain), Some(rules), "{name}: {chain} ({tool})");
                }
                let surplus: Vec<_> = ours.keys().filter(|chain| !expected.contains_key(*chain)).collect();
                assert!(surplus.is_empty(), "{name}: {surplus:?} ({tool})");
            }
        }
    }
}

#[test]
fn a_service_that_went_leaves_no_chain_behind() {
    if !root::available("loading rules") {
        return;
    }
    let (mut objects, extras) = capture::objects();
    objects.services.remove(&Key::new("lab", "sticky"));
    let lab = Lab::from_objects("gone", &objects).expect("a lab");
    let node = lab.node("node1").expect("node");
    let proxy = proxy(extras);
    proxy.load(node, &objects).expect("load");
    proxy.load_without(node, &objects, &Key::new("lab", "three")).expect("load");
    let saved = node.netns.run(&["iptables-nft-save"]).expect("save");
    assert!(!saved.contains("lab/three"), "{saved}");
    assert!(saved.contains("lab/web"), "{saved}");
    proxy.flush(node).expect("flush");
    let saved = node.netns.run(&["iptables-nft-save"]).expect("save");
    assert!(!saved.contains("-A KUBE-SERVICES") && saved.contains("-A KUBE-SVC-"), "{saved}");
}

#[test]
fn a_cluster_address_leads_to_an_endpoint_on_the_other_node_and_an_empty_one_refuses_at_once() {
    if !root::available("loading rules") {
        return;
    }
    for backend in [Backend::IptablesNft, Backend::IptablesLegacy] {
        let mut lab = small_lab();
        let mut proxy = KubeProxy::new("10.244.0.0/16".parse().expect("cidr"));
        proxy.backend = backend;
        let objects = small_objects();
        for node in lab.nodes() {
            proxy.load(node, &objects).expect("load");
        }
        let far = pod(&mut lab, "far", 2, 5);
        let near = pod(&mut lab, "near", 1, 6);
        far.listen(Listen::on(8080, "far")).expect("listen");
        near.listen(Listen::on(8080, "near")).expect("listen");
        pod(&mut lab, "client", 1, 5);

        let client = Key::new("shop", "client");
        let service = "10.96.0.10:80".parse().expect("address");
        let mut answers: Vec<_> = (0..40)
            .map(|_| {
                let result = lab.connect(&client, service, SECOND).expect("attempt");
                assert_eq!(result.outcome, ConnectOutcome::Connected, "{backend:?}");
                String::from_utf8(result.answer).expect("text")
            })
            .collect();
        answers.sort();
        answers.dedup();
        // One chance in 2^39 that forty picks are all the same.
        assert_eq!(answers, ["far", "near"], "{backend:?}");

        let empty = lab.connect(&client, "10.96.0.11:80".parse().expect("address"), SECOND).expect("attempt");
        assert_eq!(empty.outcome, ConnectOutcome::Refused, "{backend:?}");
        assert!(empty.took < SECOND / 2, "{backend:?}: {:?}", empty.took);

        // A node port from outside the cluster, and a pod reaching itself through its Service.
        let node_port =
            lab.outside().connect("10.200.0.11:30010".parse().expect("address"), SECOND).expect("attempt");
        assert_eq!(node_port.outcome, ConnectOutcome::Connected, "{backend:?}");
        let hairpin = near.netns.connect(service, SECOND).expect("attempt");
        assert_eq!(hairpin.outcome, ConnectOutcome::Connected, "{backend:?}");

        let node = lab.node("node-1").expect("node");
        proxy.load_without(node, &objects, &Key::new("shop", "api")).expect("load");
        let lost = lab.connect(&client, service, Duration::from_millis(300)).expect("attempt");
        assert_eq!(lost.outcome, ConnectOutcome::TimedOut, "{backend:?}: nobody translates it any more");
    }
}

fn proxy(extras: BTreeMap<Key, netlab::kube_proxy::Extra>) -> KubeProxy {
    KubeProxy { extras, ..KubeProxy::new("10.244.0.0/16".parse().expect("cidr")) }
}

/// Rules by table and chain. What needs counters of nfacct is left out, and rules of the named Services.
fn comparable(saved: &str, without: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut dropped: Vec<String> = Vec::new();
    let mut table = "";
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(chain) = line.strip_prefix(':') {
            let name = chain.split(' ').next().expect("name");
            chains.entry(format!("{table} {name}")).or_default();
        } else if let Some(rule) = line.strip_prefix("-A ") {
            if without.iter().any(|service| rule.contains(service)) {
                dropped.extend(rule.split(' ').next().map(|chain| format!("{table} {chain}")));
                continue;
            }
            if rule.contains("localhost_nps_accepted_pkts") {
                continue;
            }
            let rule = rule.replace(" -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts", "");
            let (chain, rule) = rule.split_once(' ').expect("a chain and a rule");
            chains.entry(format!("{table} {chain}")).or_default().push(rule.to_owned());
        }
    }
    for chain in dropped {
        chains.retain(|name, rules| *name != chain || !rules.is_empty());
    }
    for name in UNORDERED {
        if let Some(rules) = chains.get_mut(name) {
            let last = rules.pop_if(|rule| rule.contains("this must be the last rule"));
            rules.sort();
            rules.extend(last);
        }
    }
    chains
}

fn small_lab() -> Lab {
    let node = |number: u8| {
        let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
        NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr)
    };
    Lab::new(LabSpec { name: "small".into(), nodes: vec![node(1), node(2)] }).expect("a lab")
}

fn pod(lab: &mut Lab, name: &str, node: u8, last: u8) -> netlab::Pod {
    lab.pod(PodSpec::new(Key::new("shop", name), format!("node-{node}"), [10, 244, node, last].into()))
        .expect("a pod")
}

fn small_objects() -> ObjectSet {
    let mut objects = ObjectSet::default();
    for (name, address, node_port) in [("api", "10.96.0.10", Some(30010)), ("empty", "10.96.0.11", None)] {
        let key = Key::new("shop", name);
        let port = ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            target: TargetPort::Number(8080),
            node_port,
        };
        let service = Service {
            meta: Meta { key: key.clone(), ..Meta::default() },
            cluster_ips: vec![address.parse().expect("address")],
            ports: vec![port],
            ..Service::default()
        };
        objects.services.insert(key, service);
    }
    let endpoint = |address: &str, node: &str| Endpoint {
        addresses: vec![address.parse().expect("address")],
        ready: true,
        serving: true,
        terminating: false,
        pod: None,
        node: Some(node.into()),
        hinted: false,
    };
    let key = Key::new("shop", "api-1");
    let slice = EndpointSlice {
        meta: Meta { key: key.clone(), ..Meta::default() },
        service: Some("api".into()),
        family: Some(Family::Ipv4),
        endpoints: vec![endpoint("10.244.1.6", "node-1"), endpoint("10.244.2.5", "node-2")],
        ports: vec![SlicePort { name: String::new(), port: Some(8080), protocol: Protocol::Tcp }],
    };
    objects.slices.insert(key, slice);
    objects
}

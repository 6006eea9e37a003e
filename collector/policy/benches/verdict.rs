//! Verdicts in clusters of 1,000 and of 10,000 pods with half as many policies: neither should take longer.

use std::cell::Cell;
use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use model::objects::{
    Container, ContainerPort, IpBlock, Key, KindCoverage, Meta, Namespace, NetworkPolicy, Operator, Peer,
    Pod, PolicyPort, PolicyPortSpec, PolicyRule, Requirement, Selector, Service, ServicePort, TargetPort,
};
use model::{ObjectSet, PortRange, Protocol};
use policy::{Connection, End, PolicyIndex};

/// Pods in the clusters compared.
const PODS: [u32; 2] = [1_000, 10_000];
const PODS_PER_NAMESPACE: u32 = 50;
const APPS: u32 = 10;
/// Connections asked about in turn, so that none stays in the processor's caches.
const CONNECTIONS: u32 = 1_000;

fn main() {
    divan::main();
}

/// The public answer with every policy and its nearest miss.
#[divan::bench(args = PODS, sample_size = 100)]
fn explained(bencher: Bencher<'_, '_>, pods: u32) {
    measure(bencher, pods, |index, connection| {
        black_box(policy::evaluate(index, connection));
    });
}

/// Allowed, denied or unknown, without reasons.
#[divan::bench(args = PODS, sample_size = 100)]
fn alone(bencher: Bencher<'_, '_>, pods: u32) {
    measure(bencher, pods, |index, connection| {
        black_box(policy::verdict(index, connection));
    });
}

/// Arranging the objects, once for each change of them.
#[divan::bench(args = PODS, sample_count = 20)]
fn index(bencher: Bencher<'_, '_>, pods: u32) {
    let set = cluster(pods);
    bencher.bench_local(|| PolicyIndex::new(black_box(&set)));
}

fn measure(bencher: Bencher<'_, '_>, pods: u32, ask: impl Fn(&PolicyIndex<'_>, &Connection)) {
    let set = cluster(pods);
    let index = PolicyIndex::new(&set);
    let connections: Vec<Connection> = (0..CONNECTIONS).map(|number| connection(number, pods)).collect();
    let at = Cell::new(0);
    bencher.bench_local(|| {
        let number: usize = at.get();
        at.set((number + 1) % connections.len());
        ask(&index, &connections[number]);
    });
}

/// Two of three within a namespace; one of two to the port policies admit.
fn connection(number: u32, pods: u32) -> Connection {
    let src = number * 7919 % pods;
    let near = src / PODS_PER_NAMESPACE * PODS_PER_NAMESPACE + number * 31 % PODS_PER_NAMESPACE;
    let dst = if number.is_multiple_of(3) { number * 104_729 % pods } else { near };
    let port = if number.is_multiple_of(2) { 8080 } else { 9090 };
    Connection::direct(End::Pod(key(src)), End::Pod(key(dst)), port, Protocol::Tcp)
}

fn key(pod: u32) -> Key {
    Key::new(format!("team-{}", pod / PODS_PER_NAMESPACE), format!("app-{}-{pod}", pod % APPS))
}

fn cluster(pods: u32) -> ObjectSet {
    let coverage = KindCoverage {
        services: true,
        pods: true,
        slices: true,
        policies: true,
        cluster_policies: model::objects::ClusterPolicyCoverage::default(),
        namespaces: true,
        nodes: true,
    };
    let mut set = ObjectSet { coverage, ..ObjectSet::default() };
    for pod in 0..pods {
        set.pods.insert(key(pod), self::pod(pod));
    }
    for number in 0..pods / PODS_PER_NAMESPACE {
        let name = format!("team-{number}");
        let meta = Meta {
            key: Key::new("", &name),
            labels: labels(&[("kubernetes.io/metadata.name", &name), ("tier", "apps")]),
            ..Meta::default()
        };
        set.namespaces.insert(name.clone(), Namespace { meta });
        for policy in policies(&name) {
            set.policies.insert(policy.meta.key.clone(), policy);
        }
        for app in 0..APPS {
            let service = service(&name, app);
            set.services.insert(service.meta.key.clone(), service);
        }
    }
    set
}

fn pod(number: u32) -> Pod {
    let app = format!("app-{}", number % APPS);
    let version = format!("v{}", number % 3);
    let port =
        ContainerPort { name: Some("http".to_owned()), port: 8080, protocol: Protocol::Tcp, host_port: None };
    let [_, high, middle, low] = number.to_be_bytes();
    Pod {
        meta: Meta {
            key: key(number),
            labels: labels(&[("app", &app), ("version", &version), ("part-of", "shop")]),
            ..Meta::default()
        },
        addresses: vec![std::net::IpAddr::from([10, high, middle, low])],
        node: Some(format!("node-{}", number % 100)),
        phase: "Running".to_owned(),
        containers: vec![Container { ports: vec![port], ..Container::default() }],
        ..Pod::default()
    }
}

fn service(namespace: &str, app: u32) -> Service {
    Service {
        meta: Meta { key: Key::new(namespace, format!("app-{app}")), ..Meta::default() },
        selector: labels(&[("app", &format!("app-{app}"))]),
        ports: vec![ServicePort {
            name: "http".to_owned(),
            port: 80,
            protocol: Protocol::Tcp,
            target: TargetPort::Name("http".to_owned()),
            node_port: None,
        }],
        ..Service::default()
    }
}

/// Twenty-five for a namespace: nothing but DNS and monitoring by default, and for each app who may come in and where
/// it may go. Each pod is selected by five of them.
fn policies(namespace: &str) -> Vec<NetworkPolicy> {
    let policy = |name: String, selects: Selector, ingress: Vec<PolicyRule>, egress: Vec<PolicyRule>| {
        let (isolates_ingress, isolates_egress) = (egress.is_empty(), ingress.is_empty());
        NetworkPolicy {
            meta: Meta { key: Key::new(namespace, name), ..Meta::default() },
            pod_selector: selects,
            isolates_ingress,
            isolates_egress,
            ingress,
            egress,
            unread: Vec::new(),
        }
    };
    let everything = Selector::default;
    let mut policies = vec![policy("default-deny".to_owned(), everything(), Vec::new(), Vec::new())];
    let port = PolicyPort { protocol: Protocol::Udp, ports: range(53) };
    let dns = PolicyRule { peers: vec![pods(Some("kube-system"), "kube-dns")], ports: vec![port] };
    policies.push(policy("dns".to_owned(), everything(), Vec::new(), vec![dns]));
    for version in ["v0", "v1", "v2"] {
        let scrape = PolicyRule { peers: vec![pods(Some("monitoring"), "prometheus")], ports: Vec::new() };
        policies.push(policy(
            format!("scrape-{version}"),
            equal("version", version),
            vec![scrape],
            Vec::new(),
        ));
    }
    for app in 0..APPS {
        let (own, next) = (format!("app-{app}"), format!("app-{}", (app + 1) % APPS));
        let http =
            || vec![PolicyPort { protocol: Protocol::Tcp, ports: PolicyPortSpec::Name("http".to_owned()) }];
        let outside = IpBlock { cidr: "192.0.2.0/24".parse().expect("a constant"), except: Vec::new() };
        let from = PolicyRule { peers: vec![pods(None, &next), Peer::Block(outside)], ports: http() };
        let other = PolicyRule { peers: vec![pods(Some("team-0"), "app-0")], ports: http() };
        let to = PolicyRule {
            peers: vec![pods(None, &own), pods(None, &next)],
            ports: vec![PolicyPort { protocol: Protocol::Tcp, ports: range(8080) }],
        };
        policies.push(policy(format!("{own}-in"), equal("app", &own), vec![from, other], Vec::new()));
        policies.push(policy(format!("{own}-out"), equal("app", &own), Vec::new(), vec![to]));
    }
    policies
}

const fn range(port: u16) -> PolicyPortSpec {
    PolicyPortSpec::Range(PortRange { first: port, last: port })
}

fn pods(namespace: Option<&str>, app: &str) -> Peer {
    Peer::Pods {
        namespaces: namespace.map(|name| equal("kubernetes.io/metadata.name", name)),
        pods: Some(equal("app", app)),
    }
}

fn equal(key: &str, value: &str) -> Selector {
    let requirement =
        Requirement { key: key.to_owned(), operator: Operator::In, values: vec![value.to_owned()] };
    Selector { requirements: vec![requirement] }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

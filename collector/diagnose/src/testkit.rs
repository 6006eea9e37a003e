//! A small cluster for tests: one client, one Service, its pods on another node, and nodes that answer as told.
//!
//! Answers are given to the probes that `next_probes` really asks for, so every test also checks that they are asked.

mod nodes;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::evidence::Location;
use model::objects::{
    Condition, Container, ContainerPort, Meta, Namespace, NetworkPolicy, Node, Peer, Pod, PolicyPort,
    PolicyPortSpec, PolicyRule, Selector, Service, ServicePort, TargetPort,
};
use model::question::{Destination, PortAsk, Source};
use model::walk::{Backend, ProxyFacts};
use model::{
    Case, DropRecord, Family, Gap, Key, Netns, NetnsOwner, NodeReport, ObjectSet, Outcome, Packet,
    ProbeOutcome, Protocol, Question, RecordId, RuleRef, ServiceProxy, Timestamp, Tuple,
};

use crate::facts::Facts;
use crate::ruling::Ruling;

/// The moment all test cases speak about.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// How long before it the objects last changed.
const CHANGED_MS: u64 = 600_000;

/// What the source's node does.
#[derive(Clone)]
enum Entry {
    Silent,
    Forwards,
    Stops(Outcome, RuleRef),
    StopsBranches(Outcome, RuleRef),
    Leaks,
    Holds,
    Unknown,
}

/// What the destination's node does.
#[derive(Clone)]
enum Arrival {
    Silent,
    Passes,
    Drops(RuleRef),
}

/// Builds a case.
#[derive(Clone)]
pub(crate) struct Build {
    objects: ObjectSet,
    question: Question,
    nodes: BTreeMap<String, NodeReport>,
    live: bool,
    entry: Entry,
    arrival: Arrival,
    listeners: BTreeMap<String, Vec<SocketAddr>>,
    drops: Vec<DropRecord>,
    proxy: ProxyFacts,
    unwalked: Vec<Gap>,
}

fn meta(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Meta {
    Meta {
        key: Key::new(namespace, name),
        uid: format!("uid-{name}"),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        changed_at: NOW.minus_ms(CHANGED_MS),
        deleting: false,
        source: "API".into(),
    }
}

fn pod(namespace: &str, name: &str, address: &str, node: &str, labels: &[(&str, &str)]) -> Pod {
    Pod {
        meta: meta(namespace, name, labels),
        node: Some(node.into()),
        addresses: vec![address.parse().expect("an address")],
        phase: "Running".into(),
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: "True".into(),
            reason: String::new(),
            message: String::new(),
        }],
        containers: vec![Container { name: "main".into(), ready: Some(true), ..Container::default() }],
        ..Pod::default()
    }
}

fn report(name: &str) -> NodeReport {
    NodeReport {
        name: name.into(),
        connected: true,
        last_seen: Some(NOW),
        agent_version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        service_proxy: Some(ServiceProxy::Iptables),
        sources: Vec::new(),
        lost: 0,
    }
}

/// A rule with an owner.
pub(crate) fn rule_ref(chain: &str, text: &str, owner: &str) -> RuleRef {
    RuleRef {
        backend: Backend::IptablesNft,
        family: Family::Ipv4,
        table: "filter".into(),
        chain: chain.into(),
        handle: None,
        text: text.into(),
        owner: owner.into(),
        object: String::new(),
    }
}

impl Build {
    /// web/client on node-1 asks shop/api:80; its pod shop/api-0 is on node-2 and the targetPort is 8080.
    pub(crate) fn shop() -> Self {
        let mut objects =
            ObjectSet { origin: model::objects::Origin::ApiServer, current_at: NOW, ..ObjectSet::default() };
        let service = Service {
            meta: meta("shop", "api", &[]),
            cluster_ips: vec!["10.96.12.7".parse().expect("an address")],
            ports: vec![ServicePort {
                name: "http".into(),
                port: 80,
                protocol: Protocol::Tcp,
                target: TargetPort::Number(8080),
                node_port: None,
            }],
            selector: BTreeMap::from([("app".to_owned(), "api".to_owned())]),
            ..Service::default()
        };
        objects.services.insert(service.key().clone(), service);
        for made in [
            pod("web", "client", "10.244.1.9", "node-1", &[("app", "client")]),
            pod("shop", "api-0", "10.244.2.10", "node-2", &[("app", "api")]),
        ] {
            objects.pods.insert(made.key().clone(), made);
        }
        for name in ["shop", "web"] {
            let labels = [("kubernetes.io/metadata.name", name)];
            let namespace = Namespace { meta: meta("", name, &labels) };
            objects.namespaces.insert(name.into(), namespace);
        }
        for (name, address) in [("node-1", "192.168.0.1"), ("node-2", "192.168.0.2")] {
            let node = Node {
                meta: meta("", name, &[]),
                addresses: vec![address.parse().expect("an address")],
                ..Node::default()
            };
            objects.nodes.insert(name.into(), node);
        }
        let question = Question {
            source_text: "web/client".into(),
            destination_text: "shop/api:80".into(),
            source: Source::Pod(Key::new("web", "client")),
            destination: Destination::Service(Key::new("shop", "api")),
            port: PortAsk::Number(80),
            protocol: Protocol::Tcp,
            since: NOW.minus_ms(3_600_000),
            notes: Vec::new(),
        };
        Self {
            objects,
            question,
            nodes: BTreeMap::new(),
            live: false,
            entry: Entry::Silent,
            arrival: Arrival::Silent,
            listeners: BTreeMap::new(),
            drops: Vec::new(),
            unwalked: Vec::new(),
            proxy: ProxyFacts {
                mode: ServiceProxy::Iptables,
                services: 12,
                knows_destination: true,
                knows_address: true,
                evidence: vec!["nat PREROUTING jumps to KUBE-SERVICES".into()],
            },
        }
    }

    /// The Service of the set.
    pub(crate) fn service(set: &mut ObjectSet) -> &mut Service {
        set.services.get_mut(&Key::new("shop", "api")).expect("the Service")
    }

    /// A pod of the set, by name in `shop`.
    pub(crate) fn pod<'a>(set: &'a mut ObjectSet, name: &str) -> &'a mut Pod {
        set.pods.get_mut(&Key::new("shop", name)).expect("the pod")
    }

    /// So many pods behind the Service.
    pub(crate) fn pods(mut self, number: u8) -> Self {
        for index in 0..number {
            let name = format!("api-{index}");
            let address = format!("10.244.2.{}", 10 + index);
            let made = pod("shop", &name, &address, "node-2", &[("app", "api")]);
            self.objects.pods.insert(made.key().clone(), made);
        }
        self
    }

    /// Changes the objects.
    pub(crate) fn objects(mut self, change: impl FnOnce(&mut ObjectSet)) -> Self {
        change(&mut self.objects);
        self
    }

    /// Changes the question.
    pub(crate) fn question(mut self, change: impl FnOnce(&mut Question)) -> Self {
        change(&mut self.question);
        self
    }

    /// Asks for a Service that is not there.
    pub(crate) fn missing(self, name: &str) -> Self {
        let (namespace, name) = name.split_once('/').expect("a namespace and a name");
        let key = Key::new(namespace, name);
        self.question(|question| question.destination = Destination::NoService(key))
    }

    /// Asks for another port.
    pub(crate) fn port(self, number: u16) -> Self {
        self.question(|question| question.port = PortAsk::Number(number))
    }

    /// Asks for a port by a name the Service lacks.
    pub(crate) fn port_name(self, name: &str) -> Self {
        self.question(|question| question.port = PortAsk::UnknownName(name.into()))
    }

    /// Declares a container port of a pod.
    pub(crate) fn declares(self, name: &str, port: u16) -> Self {
        self.objects(|set| {
            Self::pod(set, name).containers[0].ports.push(ContainerPort {
                name: None,
                port,
                protocol: Protocol::Tcp,
                host_port: None,
            });
        })
    }

    /// A policy that isolates every pod of a namespace for ingress and admits nothing.
    pub(crate) fn isolates(self, namespace: &str, name: &str) -> Self {
        self.policy(namespace, name, |policy| policy.isolates_ingress = true)
    }

    /// The same for egress.
    pub(crate) fn isolates_egress(self, namespace: &str, name: &str) -> Self {
        self.policy(namespace, name, |policy| policy.isolates_egress = true)
    }

    /// A policy that admits everybody into every pod of a namespace.
    pub(crate) fn admits_all(self, namespace: &str, name: &str) -> Self {
        self.policy(namespace, name, |policy| {
            policy.isolates_ingress = true;
            policy.ingress.push(PolicyRule::default());
        })
    }

    /// A policy that admits pods of any namespace with one label.
    pub(crate) fn admits_pods(self, namespace: &str, name: &str, key: &str, value: &str) -> Self {
        let selector = Selector::equalities([(&key.to_owned(), &value.to_owned())]);
        self.policy(namespace, name, |policy| {
            policy.isolates_ingress = true;
            let peer = Peer::Pods { namespaces: Some(Selector::default()), pods: Some(selector) };
            policy.ingress.push(PolicyRule { peers: vec![peer], ports: Vec::new() });
        })
    }

    /// A policy that admits everybody on one TCP port.
    pub(crate) fn admits_port(self, namespace: &str, name: &str, port: u16) -> Self {
        let ports = PolicyPortSpec::Range(model::PortRange { first: port, last: port });
        self.policy(namespace, name, |policy| {
            policy.isolates_ingress = true;
            let port = PolicyPort { protocol: Protocol::Tcp, ports };
            policy.ingress.push(PolicyRule { peers: Vec::new(), ports: vec![port] });
        })
    }

    /// Any policy.
    pub(crate) fn policy(self, namespace: &str, name: &str, change: impl FnOnce(&mut NetworkPolicy)) -> Self {
        self.objects(|set| {
            let mut policy = NetworkPolicy { meta: meta(namespace, name, &[]), ..NetworkPolicy::default() };
            change(&mut policy);
            set.policies.insert(policy.key().clone(), policy);
        })
    }

    /// Both nodes have agents.
    pub(crate) fn live(mut self) -> Self {
        self.live = true;
        for name in ["node-1", "node-2"] {
            self.nodes.insert(name.into(), report(name));
        }
        self
    }

    /// A node's agent has been silent for so long.
    pub(crate) fn silent(mut self, node: &str, ms: u64) -> Self {
        let report = self.nodes.get_mut(node).expect("a live node");
        report.connected = false;
        report.last_seen = Some(NOW.minus_ms(ms));
        self
    }

    /// The source's node translates to every intended endpoint and forwards.
    pub(crate) fn forwarded(mut self) -> Self {
        self.entry = Entry::Forwards;
        self
    }

    /// The source's node rejects the Service's address as kube-proxy does without endpoints.
    pub(crate) fn rejected_at_source(mut self) -> Self {
        let rule = rule_ref("KUBE-SERVICES", "-d 10.96.12.7/32 -p tcp --dport 80 -j REJECT", "kube-proxy");
        self.entry = Entry::Stops(Outcome::Rejected, rule);
        self
    }

    /// The source's node ends the untranslated packet by this rule.
    pub(crate) fn stopped_at_source(mut self, outcome: Outcome, rule: RuleRef) -> Self {
        self.entry = Entry::Stops(outcome, rule);
        self
    }

    /// The source's node translates, then drops by this rule.
    pub(crate) fn dropped_at_source(mut self, rule: RuleRef) -> Self {
        self.entry = Entry::StopsBranches(Outcome::Dropped, rule);
        self
    }

    /// No rule of the source's node translates the address.
    pub(crate) fn leaks_at_source(mut self) -> Self {
        self.entry = Entry::Leaks;
        self
    }

    /// The source's node takes the untranslated packet for its own.
    pub(crate) fn held_at_source(mut self) -> Self {
        self.entry = Entry::Holds;
        self
    }

    /// The source's node could not read this.
    pub(crate) fn unwalked(mut self, what: &str, why: &str) -> Self {
        self.unwalked.push(Gap::new(what, why));
        self
    }

    /// The source's node cannot say.
    pub(crate) fn unknown_at_source(mut self) -> Self {
        self.entry = Entry::Unknown;
        self
    }

    /// Changes what the rules say about a Service proxy.
    pub(crate) fn proxy(mut self, change: impl FnOnce(&mut ProxyFacts)) -> Self {
        change(&mut self.proxy);
        self
    }

    /// The destination's node passes the packet on.
    pub(crate) fn arrives(mut self) -> Self {
        self.arrival = Arrival::Passes;
        self
    }

    /// The destination's node drops the packet by this rule.
    pub(crate) fn dropped_at_destination(mut self, rule: RuleRef) -> Self {
        self.arrival = Arrival::Drops(rule);
        self
    }

    /// What a pod listens on.
    pub(crate) fn listens(mut self, name: &str, sockets: &[&str]) -> Self {
        let sockets = sockets.iter().map(|socket| socket.parse().expect("a socket address")).collect();
        self.listeners.insert(name.into(), sockets);
        self
    }

    /// The source's node dropped the untranslated packet, so long ago.
    pub(crate) fn drop_at_source(self, count: u64, ago_ms: u64) -> Self {
        let dst = SocketAddr::new("10.96.12.7".parse().expect("an address"), 80);
        self.dropped("node-1", NetnsOwner::Node, dst, "NETFILTER_DROP", count, ago_ms)
    }

    /// A node dropped the translated packet to a pod.
    pub(crate) fn drop_on(self, node: &str, name: &str, reason: &str, count: u64, ago_ms: u64) -> Self {
        let dst = self.endpoint(name);
        self.dropped(node, NetnsOwner::Node, dst, reason, count, ago_ms)
    }

    /// A pod had no socket for the packet.
    pub(crate) fn no_socket(self, name: &str, count: u64, ago_ms: u64) -> Self {
        let dst = self.endpoint(name);
        let owner = NetnsOwner::Pod { uid: None, addresses: vec![dst.ip()] };
        self.dropped("node-2", owner, dst, "NO_SOCKET", count, ago_ms)
    }

    fn endpoint(&self, name: &str) -> SocketAddr {
        SocketAddr::new(self.objects.pods[&Key::new("shop", name)].addresses[0], 8080)
    }

    /// Any drop of the client's packet.
    pub(crate) fn dropped(
        mut self,
        node: &str,
        owner: NetnsOwner,
        dst: SocketAddr,
        reason: &str,
        count: u64,
        ago_ms: u64,
    ) -> Self {
        let sequence = self.drops.len() as u64;
        self.drops.push(DropRecord {
            id: RecordId { node: node.into(), boot: "boot".into(), sequence },
            netns: Netns { cookie: 1, inode: 1, owner },
            tuple: Tuple { protocol: Protocol::Tcp, src: "10.244.1.9".parse().expect("an address"), dst },
            last_src_port: 40_000,
            reply: false,
            reason: reason.into(),
            location: Location { symbol: "nft_do_chain".into(), offset: 16 },
            in_interface: None,
            count,
            first_at: NOW.minus_ms(ago_ms + 3_000),
            last_at: NOW.minus_ms(ago_ms),
            walk: None,
        });
        self
    }

    /// The latest drop was walked when it happened, and ended so by this rule.
    pub(crate) fn walked(mut self, outcome: Outcome, rule: RuleRef) -> Self {
        let tuple = self.drops.last().expect("a drop").tuple;
        let packet = Packet {
            origin: model::Origin::Pod,
            in_interface: None,
            protocol: tuple.protocol,
            src: tuple.src,
            src_port: None,
            dst: tuple.dst,
        };
        let branch = nodes::branch(&packet, tuple.dst, outcome, Some(rule));
        if let ProbeOutcome::Walk(walk) = self.walk(&packet, vec![branch]) {
            self.drops.last_mut().expect("a drop").walk = Some(walk);
        }
        self
    }
}

/// What a cause found; panics with what it said otherwise.
pub(crate) fn found(case: &Case, rule: fn(&Facts<'_>) -> Ruling) -> model::Finding {
    match rule(&Facts::of(case)) {
        Ruling::Found(finding) => finding.inner,
        other => panic!("not found: {other:?}"),
    }
}

/// Why a cause is ruled out.
pub(crate) fn ruled_out(case: &Case, rule: fn(&Facts<'_>) -> Ruling) -> String {
    match rule(&Facts::of(case)) {
        Ruling::RuledOut(why) => why,
        other => panic!("not ruled out: {other:?}"),
    }
}

/// What a cause lacks.
pub(crate) fn cannot_tell(case: &Case, rule: fn(&Facts<'_>) -> Ruling) -> Gap {
    match rule(&Facts::of(case)) {
        Ruling::CannotTell(gap) => gap,
        other => panic!("can tell: {other:?}"),
    }
}

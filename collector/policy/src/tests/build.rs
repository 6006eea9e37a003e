//! Small objects for tests.

use std::collections::BTreeMap;

use model::explanation::PolicyVerdict;
use model::objects::{
    Action, ClusterPeer, ClusterPolicy, ClusterRule, ClusterSubject, Container, ContainerPort, Directions,
    IpBlock, Key, Meta, Namespace, NamespacePeer, NetworkPolicy, Node, Operator, OtherPolicy, Peer, Pod,
    PolicyPort, PolicyPortSpec, PolicyRule, Power, Requirement, Selector, Service, ServicePort, TargetPort,
    Tier,
};
use model::{ObjectSet, PortRange, Protocol};

use crate::{Connection, Detailed, End, PolicyIndex, evaluate_detailed, verdict};

/// `a=b,c=d` as labels.
pub(super) fn labels(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `a=b,!c,d,e!=f` as a selector.
pub(super) fn selector(text: &str) -> Selector {
    let requirement = |part: &str| {
        let (key, operator, value) = if let Some((key, value)) = part.split_once("!=") {
            (key, Operator::NotIn, Some(value))
        } else if let Some((key, value)) = part.split_once('=') {
            (key, Operator::In, Some(value))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, Operator::DoesNotExist, None)
        } else {
            (part, Operator::Exists, None)
        };
        let values = value.map(str::to_owned).into_iter().collect();
        Requirement { key: key.to_owned(), operator, values }
    };
    Selector { requirements: text.split(',').filter(|part| !part.is_empty()).map(requirement).collect() }
}

/// `ns/name` as a key.
pub(super) fn key(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    Key::new(namespace, name)
}

/// The lab: two namespaces, a client, an API, a node for each.
pub(super) struct World(pub(super) ObjectSet);

impl World {
    pub(super) fn new() -> Self {
        Self(ObjectSet::default())
            .namespace("web", "name=web")
            .namespace("shop", "")
            .node("node-1", "192.0.2.1", "10.244.1.0/24")
            .node("node-2", "192.0.2.2", "10.244.2.0/24")
            .pod("web/client", "role=client", "10.244.1.9", "node-1")
            .pod("shop/api", "app=api", "10.244.2.14", "node-2")
            .ports("shop/api", &[("http", 8080, Protocol::Tcp), ("dns", 53, Protocol::Udp)])
    }

    pub(super) fn namespace(mut self, name: &str, text: &str) -> Self {
        let mut labels = labels(text);
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        let meta = Meta { key: Key::new("", name), labels, ..Meta::default() };
        self.0.namespaces.insert(name.to_owned(), Namespace { meta });
        self
    }

    pub(super) fn node(mut self, name: &str, address: &str, range: &str) -> Self {
        let node = Node {
            meta: Meta { key: Key::new("", name), ..Meta::default() },
            addresses: vec![address.parse().unwrap()],
            pod_cidrs: vec![range.parse().unwrap()],
            conditions: Vec::new(),
        };
        self.0.nodes.insert(name.to_owned(), node);
        self
    }

    pub(super) fn pod(mut self, name: &str, text: &str, addresses: &str, node: &str) -> Self {
        let pod = Pod {
            meta: Meta { key: key(name), labels: labels(text), ..Meta::default() },
            addresses: addresses.split_whitespace().map(|address| address.parse().unwrap()).collect(),
            node: Some(node.to_owned()),
            phase: "Running".to_owned(),
            ..Pod::default()
        };
        self.0.pods.insert(key(name), pod);
        self
    }

    pub(super) fn ports(self, name: &str, ports: &[(&str, u16, Protocol)]) -> Self {
        let ports = ports
            .iter()
            .map(|(name, port, protocol)| ContainerPort {
                name: Some((*name).to_owned()),
                port: *port,
                protocol: *protocol,
                host_port: None,
            })
            .collect();
        self.change(name, |pod| pod.containers = vec![Container { ports, ..Container::default() }])
    }

    pub(super) fn change(mut self, name: &str, change: impl FnOnce(&mut Pod)) -> Self {
        change(self.0.pods.get_mut(&key(name)).unwrap());
        self
    }

    pub(super) fn service(mut self, name: &str, text: &str, port: u16, target: u16) -> Self {
        let service = Service {
            meta: Meta { key: key(name), ..Meta::default() },
            selector: labels(text),
            cluster_ips: vec!["10.96.0.9".parse().unwrap()],
            ports: vec![ServicePort {
                name: String::new(),
                port,
                protocol: Protocol::Tcp,
                target: TargetPort::Number(target),
                node_port: None,
            }],
            ..Service::default()
        };
        self.0.services.insert(key(name), service);
        self
    }

    pub(super) fn policy(mut self, policy: NetworkPolicy) -> Self {
        self.0.policies.insert(policy.meta.key.clone(), policy);
        self
    }

    pub(super) fn detailed(&self, src: &End, dst: &End, port: u16, protocol: Protocol) -> Detailed {
        let index = PolicyIndex::new(&self.0);
        let connection = Connection::direct(src.clone(), dst.clone(), port, protocol);
        let detailed = evaluate_detailed(&index, &connection);
        assert_eq!(
            detailed.verdict(),
            verdict(&index, &connection),
            "the short way agrees with the long one"
        );
        detailed
    }

    /// From web/client to shop/api on 8080/tcp.
    pub(super) fn usual(&self) -> Detailed {
        self.detailed(&pod("web/client"), &pod("shop/api"), 8080, Protocol::Tcp)
    }

    pub(super) fn verdict(&self) -> PolicyVerdict {
        self.usual().verdict()
    }
}

pub(super) fn pod(name: &str) -> End {
    End::Pod(key(name))
}

pub(super) fn address(text: &str) -> End {
    End::Address(text.parse().unwrap())
}

pub(super) fn node(name: &str) -> End {
    End::Node { name: name.to_owned() }
}

/// A policy that isolates for ingress.
pub(super) fn ingress(name: &str, selects: &str, rules: Vec<PolicyRule>) -> NetworkPolicy {
    NetworkPolicy {
        meta: Meta { key: key(name), ..Meta::default() },
        pod_selector: selector(selects),
        isolates_ingress: true,
        ingress: rules,
        ..NetworkPolicy::default()
    }
}

/// A policy that isolates for egress.
pub(super) fn egress(name: &str, selects: &str, rules: Vec<PolicyRule>) -> NetworkPolicy {
    NetworkPolicy {
        meta: Meta { key: key(name), ..Meta::default() },
        pod_selector: selector(selects),
        isolates_egress: true,
        egress: rules,
        ..NetworkPolicy::default()
    }
}

pub(super) fn rule(peers: Vec<Peer>, ports: Vec<PolicyPort>) -> PolicyRule {
    PolicyRule { peers, ports }
}

/// Pods of the policy's own namespace.
pub(super) fn pods(text: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: Some(selector(text)) }
}

/// Pods of other namespaces.
pub(super) fn pods_in(namespaces: &str, text: &str) -> Peer {
    Peer::Pods { namespaces: Some(selector(namespaces)), pods: Some(selector(text)) }
}

/// All pods of some namespaces.
pub(super) fn namespaces(text: &str) -> Peer {
    Peer::Pods { namespaces: Some(selector(text)), pods: None }
}

/// `10.0.0.0/8 10.1.0.0/16`: a block and its holes.
pub(super) fn block(text: &str) -> Peer {
    let mut parts = text.split_whitespace().map(|part| part.parse().unwrap());
    Peer::Block(IpBlock { cidr: parts.next().unwrap(), except: parts.collect() })
}

pub(super) fn tcp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports: PolicyPortSpec::Range(PortRange::single(port)) }
}

pub(super) fn udp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Udp, ports: PolicyPortSpec::Range(PortRange::single(port)) }
}

pub(super) fn range(first: u16, last: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports: PolicyPortSpec::Range(PortRange { first, last }) }
}

pub(super) fn named(name: &str) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports: PolicyPortSpec::Name(name.to_owned()) }
}

pub(super) fn all(protocol: Protocol) -> PolicyPort {
    PolicyPort { protocol, ports: PolicyPortSpec::All }
}

impl World {
    pub(super) fn cluster(mut self, policy: ClusterPolicy) -> Self {
        self.0.cluster_policies.insert((policy.kind, policy.name().to_owned()), policy);
        self
    }

    pub(super) fn other(mut self, kind: &str, name: &str, change: impl FnOnce(&mut OtherPolicy)) -> Self {
        let mut policy = OtherPolicy {
            meta: Meta { key: key(name), ..Meta::default() },
            api_version: "example.com/v1".to_owned(),
            kind: kind.to_owned(),
            everywhere: !name.contains('/'),
            pods: None,
            power: Power::Overrides,
            directions: Directions::Both,
        };
        change(&mut policy);
        self.0.other_policies.insert((kind.to_owned(), policy.meta.key.clone()), policy);
        self
    }
}

/// A ClusterNetworkPolicy about all pods of `shop`.
pub(super) fn admin(name: &str, priority: u16, ingress: Vec<ClusterRule>) -> ClusterPolicy {
    ClusterPolicy {
        meta: Meta { key: key(name), ..Meta::default() },
        priority,
        subject: ClusterSubject { namespaces: selector("kubernetes.io/metadata.name=shop"), pods: None },
        ingress,
        ..ClusterPolicy::default()
    }
}

/// The same in the Baseline tier.
pub(super) fn baseline(name: &str, priority: u16, ingress: Vec<ClusterRule>) -> ClusterPolicy {
    ClusterPolicy { tier: Tier::Baseline, ..admin(name, priority, ingress) }
}

/// A rule about pods of any namespace with these labels, or all.
pub(super) fn does(action: Action, text: &str) -> ClusterRule {
    does_to(action, ClusterPeer::Pods { namespaces: everywhere(), pods: Some(selector(text)) })
}

/// A rule about one peer.
pub(super) fn does_to(action: Action, peer: ClusterPeer) -> ClusterRule {
    ClusterRule { name: String::new(), action, peers: vec![peer], ports: Vec::new(), unread: false }
}

pub(super) fn everywhere() -> NamespacePeer {
    NamespacePeer::Selected(Selector::default())
}

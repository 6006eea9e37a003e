//! The cluster the oracle asks about: two nodes, six pods, Services in every state that decides differently.

use std::collections::BTreeMap;

use model::objects::{
    Endpoint, EndpointSlice, Meta, Service, ServicePort, ServiceType, SlicePort, TargetPort, TrafficPolicy,
};
use model::walk::Backend;
use model::{Family, Key, ObjectSet, Protocol};
use netlab::kube_proxy::Extra;
use netlab::{Lab, LabSpec, Listen, Netns, NodeSpec, PodSpec};

/// Pods that listen on 8080 and answer with their name.
pub const SERVERS: [&str; 3] = ["far", "near", "also"];
/// Ports of the nodes: served, without endpoints, local to node-2, source-ranged, and nobody's.
pub const NODE_PORTS: [u16; 5] = [30010, 30011, 30013, 30014, 30999];

pub fn lab(name: &str) -> Lab {
    let node = |number: u8| {
        let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
        NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr)
    };
    let mut lab = Lab::new(LabSpec { name: name.into(), nodes: vec![node(1), node(2)] }).expect("a lab");
    for (name, node, last) in
        [("client", 1, 5), ("near", 1, 6), ("also", 1, 7), ("far", 2, 5), ("other", 2, 6)]
    {
        let key = Key::new("shop", name);
        let address = [10, 244, node, last].into();
        let pod = lab.pod(PodSpec::new(key, format!("node-{node}"), address)).expect("a pod");
        if SERVERS.contains(&name) {
            pod.listen(Listen::on(8080, name)).expect("listen");
        }
    }
    // The kernel sends only so many ICMP errors a second; the oracle asks faster than that.
    let spaces: Vec<Netns> = lab.nodes().map(|node| node.netns.clone()).collect();
    for netns in spaces {
        netns.sysctl("net.ipv4.icmp_ratelimit", "0").expect("no limit");
        for (name, value) in [("icmp_msgs_per_sec", "1000000"), ("icmp_msgs_burst", "100000")] {
            if netns.enter(|| std::path::Path::new("/proc/sys/net/ipv4").join(name).exists()).expect("enter")
            {
                netns.sysctl(&format!("net.ipv4.{name}"), value).expect("no limit");
            }
        }
    }
    lab
}

/// Addresses to ask about; those of nodes and Services in every state, and some that nobody has.
pub fn destinations() -> Vec<String> {
    let mut all: Vec<String> = [
        // Service `api`: near, also and far; its other port; a port it lacks.
        "10.96.0.10:80",
        "10.96.0.10:9090",
        "10.96.0.10:81",
        // No endpoints; only on node-2 for traffic from inside; by external and load balancer address.
        "10.96.0.11:80",
        "10.96.0.12:80",
        "10.96.0.13:80",
        "203.0.113.13:80",
        "203.0.113.14:80",
        "198.51.100.10:80",
        "198.51.100.11:80",
        // No Service at all, pods directly, a port where nothing listens, an address of nobody.
        "10.96.0.99:80",
        "10.244.1.6:8080",
        "10.244.2.5:8080",
        "10.244.2.5:81",
        "192.0.2.1:80",
    ]
    .map(str::to_owned)
    .to_vec();
    for address in ["10.200.0.11", "10.200.0.12"] {
        all.extend(NODE_PORTS.map(|port| format!("{address}:{port}")));
    }
    all
}

/// Services in every state.
pub fn objects() -> ObjectSet {
    let mut set = ObjectSet::default();
    let all = ["near", "also", "far"];
    add(&mut set, "api", "10.96.0.10", Some(30010), &all, |service| {
        service.external_ips = vec!["198.51.100.10".parse().expect("address")];
        let metrics = ServicePort { name: "metrics".into(), port: 9090, ..service.ports[0].clone() };
        service.ports[0].name = "http".into();
        service.ports.push(ServicePort { target: TargetPort::Number(81), node_port: None, ..metrics });
    });
    add(&mut set, "empty", "10.96.0.11", Some(30011), &[], |service| {
        service.external_ips = vec!["198.51.100.11".parse().expect("address")];
    });
    add(&mut set, "inside", "10.96.0.12", None, &["far"], |service| {
        service.internal_policy = TrafficPolicy::Local;
    });
    add(&mut set, "outside", "10.96.0.13", Some(30013), &["far"], |service| {
        service.external_policy = TrafficPolicy::Local;
        service.load_balancer_ips = vec!["203.0.113.13".parse().expect("address")];
    });
    add(&mut set, "ranges", "10.96.0.14", Some(30014), &["near", "far"], |service| {
        service.load_balancer_ips = vec!["203.0.113.14".parse().expect("address")];
    });
    set.coverage.slices = true;
    set
}

/// Only the client and node-2 may use the load balancer of `ranges`.
pub fn extras() -> BTreeMap<Key, Extra> {
    let source_ranges =
        ["10.244.1.5/32", "10.200.0.12/32"].map(|range| range.parse().expect("prefix")).to_vec();
    BTreeMap::from([(Key::new("shop", "ranges"), Extra { source_ranges, ..Extra::default() })])
}

/// Removes all rules of a back-end, so that the next one is alone.
pub fn clear(netns: &Netns, backend: Backend) {
    if backend == Backend::IptablesNft {
        netns.run(&["nft", "flush", "ruleset"]).expect("flush");
        return;
    }
    for table in ["filter", "nat", "mangle"] {
        netns.run(&["iptables-legacy", "-t", table, "-F"]).expect("flush");
        netns.run(&["iptables-legacy", "-t", table, "-X"]).expect("remove");
    }
}

fn add(
    set: &mut ObjectSet,
    name: &str,
    address: &str,
    node_port: Option<u16>,
    pods: &[&str],
    change: impl FnOnce(&mut Service),
) {
    let key = Key::new("shop", name);
    let mut service = Service {
        meta: Meta { key: key.clone(), ..Meta::default() },
        kind: ServiceType::ClusterIp,
        cluster_ips: vec![address.parse().expect("address")],
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            target: TargetPort::Number(8080),
            node_port,
        }],
        ..Service::default()
    };
    change(&mut service);
    let place = |pod: &str| match pod {
        "near" => ("10.244.1.6", "node-1"),
        "also" => ("10.244.1.7", "node-1"),
        _ => ("10.244.2.5", "node-2"),
    };
    let endpoints = pods
        .iter()
        .map(|pod| Endpoint {
            addresses: vec![place(pod).0.parse().expect("address")],
            ready: true,
            serving: true,
            terminating: false,
            pod: Some(Key::new("shop", *pod)),
            node: Some(place(pod).1.into()),
            hinted: false,
        })
        .collect();
    let slice_key = Key::new("shop", format!("{name}-1"));
    let ports = service
        .ports
        .iter()
        .map(|port| {
            let TargetPort::Number(number) = port.target else { panic!("numbers only") };
            SlicePort { name: port.name.clone(), port: Some(number), protocol: port.protocol }
        })
        .collect();
    let slice = EndpointSlice {
        meta: Meta { key: slice_key.clone(), ..Meta::default() },
        service: Some(name.into()),
        family: Some(Family::Ipv4),
        endpoints,
        ports,
    };
    set.slices.insert(slice_key, slice);
    set.services.insert(key, service);
}

//! Which endpoints a Service port has on a node (`pkg/proxy/topology.go`, `CategorizeEndpoints`, without hints), and the
//! EndpointSlices that the controller would make of pods where the objects hold none.

use std::net::{IpAddr, SocketAddr};

use model::objects::{
    Endpoint, EndpointSlice, Meta, Pod, Service, ServicePort, ServiceType, SlicePort, TargetPort,
    TrafficPolicy,
};
use model::{Family, Key, ObjectSet};

/// The endpoints of one Service port, as one node sees them.
#[derive(Clone, Debug, Default)]
pub struct Categorized {
    /// For the Cluster traffic policy.
    pub cluster: Vec<SocketAddr>,
    /// For the Local one.
    pub local: Vec<SocketAddr>,
    /// Whether there is any usable one anywhere.
    pub any: bool,
}

impl Categorized {
    /// Both kinds, each endpoint once.
    pub fn reachable(&self) -> Vec<SocketAddr> {
        let mut all = [self.cluster.as_slice(), self.local.as_slice()].concat();
        all.sort();
        all.dedup();
        all
    }
}

/// Whether a Service takes traffic from outside.
pub fn externally_accessible(service: &Service) -> bool {
    service.ports.iter().any(|port| port.node_port.is_some())
        || !service.external_ips.is_empty()
        || !service.load_balancer_ips.is_empty()
}

pub fn categorize(objects: &ObjectSet, service: &Service, port: &ServicePort, node: &str) -> Categorized {
    let all = endpoints(objects, service, port);
    let external = externally_accessible(service);
    let uses_cluster = service.internal_policy == TrafficPolicy::Cluster || external;
    let uses_local = service.internal_policy == TrafficPolicy::Local
        || (external && service.external_policy == TrafficPolicy::Local);
    let here = |candidate: &Candidate| candidate.node.as_deref() == Some(node);
    let mut found =
        Categorized { any: all.iter().any(|candidate| candidate.ready), ..Categorized::default() };
    if uses_cluster {
        found.cluster = usable(&all, |_| true);
    }
    if uses_local {
        found.local = usable(&all, here);
    }
    found.any |= !found.cluster.is_empty() || !found.local.is_empty();
    found
}

/// The ready ones; if there are none, those that still serve while they terminate.
fn usable(all: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<SocketAddr> {
    let pick = |good: &dyn Fn(&Candidate) -> bool| {
        let mut picked: Vec<_> = all
            .iter()
            .filter(|candidate| wanted(candidate) && good(candidate))
            .map(|candidate| candidate.address)
            .collect();
        picked.sort();
        picked.dedup();
        picked
    };
    let ready = pick(&|candidate| candidate.ready);
    if ready.is_empty() { pick(&|candidate| candidate.serving && candidate.terminating) } else { ready }
}

struct Candidate {
    address: SocketAddr,
    ready: bool,
    serving: bool,
    terminating: bool,
    node: Option<String>,
}

fn endpoints(objects: &ObjectSet, service: &Service, port: &ServicePort) -> Vec<Candidate> {
    let slices = objects.slices_of(service.key()).filter(|slice| slice.family == Some(Family::Ipv4));
    slices
        .flat_map(|slice| {
            let number = slice
                .ports
                .iter()
                .find(|slice_port| slice_port.name == port.name && slice_port.protocol == port.protocol)
                .and_then(|slice_port| slice_port.port);
            slice.endpoints.iter().filter_map(move |endpoint| {
                Some(Candidate {
                    address: SocketAddr::new(*endpoint.addresses.first()?, number?),
                    ready: endpoint.ready,
                    serving: endpoint.serving,
                    terminating: endpoint.terminating,
                    node: endpoint.node.clone(),
                })
            })
        })
        .collect()
}

/// The same objects with the EndpointSlices that the controller would make of the pods, for Services that have a selector
/// and no slice. Only pods with an IPv4 address are endpoints; one without a `Ready` condition is not ready.
#[must_use]
pub fn with_slices(objects: &ObjectSet) -> ObjectSet {
    let mut with = objects.clone();
    for service in objects.services.values() {
        let made_by_hand = service.selector.is_empty() || service.kind == ServiceType::ExternalName;
        if made_by_hand || objects.slices_of(service.key()).next().is_some() {
            continue;
        }
        for (number, port) in service.ports.iter().enumerate() {
            let slice = slice_of(objects, service, port, number);
            with.slices.insert(slice.meta.key.clone(), slice);
        }
    }
    with.coverage.slices = true;
    with
}

/// One slice for each Service port: a named target port can have another number on every pod, and pods without the
/// port are not in it. The real controller groups pods by their numbers.
fn slice_of(objects: &ObjectSet, service: &Service, port: &ServicePort, number: usize) -> EndpointSlice {
    let selector = service.pod_selector();
    let pods = objects
        .pods_in(&service.key().namespace)
        .filter(|pod| !pod.finished() && selector.matches(pod.labels()));
    let mut target = None;
    let endpoints = pods
        .filter_map(|pod| {
            let resolved = match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => pod.named_port(name, port.protocol),
            }?;
            if *target.get_or_insert(resolved) != resolved {
                return None;
            }
            endpoint(service, pod)
        })
        .collect();
    EndpointSlice {
        meta: Meta {
            key: Key::new(service.key().namespace.clone(), format!("{}-lab{number}", service.key().name)),
            changed_at: service.meta.changed_at,
            source: service.meta.source.clone(),
            ..Meta::default()
        },
        service: Some(service.key().name.clone()),
        family: Some(Family::Ipv4),
        endpoints,
        ports: vec![SlicePort { name: port.name.clone(), port: target, protocol: port.protocol }],
    }
}

fn endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let address = pod.addresses.iter().find(|address| address.is_ipv4())?;
    let serving = pod.ready().unwrap_or(false);
    let ready = service.publish_not_ready || (serving && !pod.meta.deleting);
    Some(Endpoint {
        addresses: vec![IpAddr::clone(address)],
        ready,
        serving: serving || service.publish_not_ready,
        terminating: pod.meta.deleting,
        pod: Some(pod.key().clone()),
        node: pod.node.clone(),
    })
}

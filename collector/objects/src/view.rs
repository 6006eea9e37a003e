//! What a Service's endpoints are: from its slices, or, without any, worked out from the pods.
//!
//! It follows the EndpointSlice controller (`staging/src/k8s.io/endpointslice`, `podToEndpoint`, `getEndpointPorts`,
//! `ShouldPodBeInEndpoints`) and kube-proxy's reading of slices; it judges no Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::Family;
use model::objects::{
    Endpoint, EndpointSlice, Key, Meta, ObjectSet, Origin, Pod, Service, ServicePort, ServiceType, SlicePort,
    TargetPort,
};

/// One backend of a Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where the node sends the connection.
    pub address: SocketAddr,
    /// The pod behind it, if a pod is.
    pub pod: Option<Key>,
    /// Its node.
    pub node: Option<String>,
    /// Gets traffic.
    pub ready: bool,
    /// Answers its readiness probe, terminating or not.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
}

/// Where backends were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendSource {
    /// The Service's EndpointSlices.
    Slices,
    /// Worked out from the pods, because there are no slices to read.
    DerivedFromPods,
}

/// Why a selected pod is no endpoint at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It has ended.
    Finished,
    /// It has no address yet.
    NoAddress,
    /// It has no address of the asked family.
    NoAddressOfFamily,
    /// No container declares a port with the named target port's name and protocol.
    NoSuchPort,
    /// It comes from a manifest that says nothing of its state; it would be an endpoint on this port once it is ready.
    NoStatus {
        /// The port it would be reached on.
        port: u16,
    },
    /// The slices do not list it, although by its own state they should.
    NotInSlices,
}

/// The backends of one Service port in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// The endpoints in order of address, ready or not.
    pub endpoints: Vec<Backend>,
    /// Pods the selector matches, in any state.
    pub selected: Vec<Key>,
    /// Selected pods that are no endpoints, and why.
    pub left_out: Vec<(Key, LeftOut)>,
    /// Where the endpoints were taken from.
    pub from: BackendSource,
}

impl Backends {
    /// The endpoints that get traffic: the ready ones, or, if there are none, those that terminate but still serve
    /// (kube-proxy `CategorizeEndpoints`).
    pub fn eligible(&self) -> Vec<&Backend> {
        let ready: Vec<&Backend> = self.endpoints.iter().filter(|backend| backend.ready).collect();
        if !ready.is_empty() {
            return ready;
        }
        self.endpoints.iter().filter(|backend| backend.serving && backend.terminating).collect()
    }
}

/// The backends of one port of a Service. A Service that does not exist has none.
pub fn backends(set: &ObjectSet, service: &Key, port: &ServicePort, family: Family) -> Backends {
    let Some(object) = set.services.get(service) else {
        let from = BackendSource::Slices;
        return Backends { endpoints: Vec::new(), selected: Vec::new(), left_out: Vec::new(), from };
    };
    let pods = selected(set, object);
    let from = source(set, object);
    let slices = match from {
        BackendSource::Slices => set.slices_of(service).cloned().collect(),
        BackendSource::DerivedFromPods => derive(set, object),
    };
    let endpoints = from_slices(set, &slices, port, family);
    let left_out = pods
        .iter()
        .filter(|pod| !endpoints.iter().any(|backend| backend.pod.as_ref() == Some(pod.key())))
        .map(|pod| (pod.key().clone(), why_left_out(pod, port, family)))
        .collect();
    let selected = pods.into_iter().map(|pod| pod.key().clone()).collect();
    Backends { endpoints, selected, left_out, from }
}

/// The pods a Service's selector matches; none without a selector.
pub fn selected<'a>(set: &'a ObjectSet, service: &'a Service) -> Vec<&'a Pod> {
    if service.selector.is_empty() {
        return Vec::new();
    }
    let selector = service.pod_selector();
    set.pods_in(&service.meta.key.namespace).filter(|pod| selector.matches(pod.labels())).collect()
}

/// The port of a pod that a Service port leads to; `None` if it is named and the pod declares no such port.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => pod.named_port(name, port.protocol),
    }
}

/// The slices the controller would write for all Services with a selector.
pub fn derive_slices(set: &ObjectSet) -> Vec<EndpointSlice> {
    set.services.values().flat_map(|service| derive(set, service)).collect()
}

/// Slices are believed where they were read. Files may hold those of some Services only: the controller writes at
/// least an empty one for every selector, so a Service without any was not exported with its slices.
fn source(set: &ObjectSet, service: &Service) -> BackendSource {
    let has_slices = set.slices_of(&service.meta.key).next().is_some();
    let derived = match set.origin {
        Origin::ApiServer => !set.coverage.slices,
        Origin::Files => !has_slices,
    };
    if derived && !service.selector.is_empty() {
        BackendSource::DerivedFromPods
    } else {
        BackendSource::Slices
    }
}

/// Endpoints of slices as kube-proxy reads them: matched by port name and protocol, first address only, an address
/// listed twice counted once.
fn from_slices(
    set: &ObjectSet,
    slices: &[EndpointSlice],
    port: &ServicePort,
    family: Family,
) -> Vec<Backend> {
    let mut found: BTreeMap<SocketAddr, Backend> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.family == Some(family)) {
        let numbers: Vec<u16> = slice
            .ports
            .iter()
            .filter(|entry| entry.name == port.name && entry.protocol == port.protocol)
            .filter_map(|entry| entry.port)
            .collect();
        for endpoint in &slice.endpoints {
            let Some(address) = endpoint.addresses.first() else { continue };
            for number in &numbers {
                let backend = backend(set, endpoint, SocketAddr::new(*address, *number));
                // While a pod moves from one slice to another it may be in both; ready wins.
                found
                    .entry(backend.address)
                    .and_modify(|known| {
                        if backend.ready && !known.ready {
                            known.clone_from(&backend);
                        }
                    })
                    .or_insert(backend);
            }
        }
    }
    found.into_values().collect()
}

fn backend(set: &ObjectSet, endpoint: &Endpoint, address: SocketAddr) -> Backend {
    let owner = match &endpoint.pod {
        Some(key) => Some(key.clone()),
        None => set.pod_by_address(address.ip()).map(|pod| pod.key().clone()),
    };
    let node = endpoint.node.clone().or_else(|| set.pods.get(owner.as_ref()?)?.node.clone());
    Backend {
        address,
        pod: owner,
        node,
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
    }
}

fn why_left_out(pod: &Pod, port: &ServicePort, family: Family) -> LeftOut {
    let target = target_port(port, pod);
    let without_status = pod.phase.is_empty() && pod.conditions.is_empty() && pod.addresses.is_empty();
    match target {
        _ if pod.finished() => LeftOut::Finished,
        None => LeftOut::NoSuchPort,
        Some(port) if without_status => LeftOut::NoStatus { port },
        Some(_) if pod.addresses.is_empty() => LeftOut::NoAddress,
        Some(_) if !pod.addresses.iter().any(|address| Family::of(*address) == family) => {
            LeftOut::NoAddressOfFamily
        }
        Some(_) => LeftOut::NotInSlices,
    }
}

/// Name, protocol and number of each port: what tells two slices of a Service apart.
type PortsKey<'p> = Vec<(String, &'p str, Option<u16>)>;

/// The slices of one Service: one for each family and each set of port numbers its pods resolve to.
fn derive(set: &ObjectSet, service: &Service) -> Vec<EndpointSlice> {
    if service.selector.is_empty() || service.kind == ServiceType::ExternalName {
        return Vec::new();
    }
    let key = &service.meta.key;
    let pods = selected(set, service);
    let mut slices = Vec::new();
    for family in families(service, &pods) {
        let mut groups: BTreeMap<PortsKey<'_>, (Vec<SlicePort>, Vec<Endpoint>)> = BTreeMap::new();
        for pod in &pods {
            let Some(endpoint) = endpoint(service, pod, family) else { continue };
            let ports = ports(service, pod);
            let group =
                ports.iter().map(|port| (port.name.clone(), port.protocol.lower(), port.port)).collect();
            groups.entry(group).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
        }
        if groups.is_empty() {
            // The controller leaves one empty slice behind.
            groups.insert(Vec::new(), (Vec::new(), Vec::new()));
        }
        for (index, (ports, endpoints)) in groups.into_values().enumerate() {
            let word = match family {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            };
            let labels = [("kubernetes.io/service-name".to_owned(), key.name.clone())];
            let meta = Meta {
                key: Key::new(&key.namespace, format!("{}-{word}-{index}", key.name)),
                labels: BTreeMap::from(labels),
                changed_at: pods
                    .iter()
                    .map(|pod| pod.meta.changed_at)
                    .fold(service.meta.changed_at, Ord::max),
                source: service.meta.source.clone(),
                ..Meta::default()
            };
            let service = Some(key.name.clone());
            slices.push(EndpointSlice { meta, service, family: Some(family), endpoints, ports });
        }
    }
    slices
}

/// The families of the Service's addresses; without any, those of its pods.
fn families(service: &Service, pods: &[&Pod]) -> BTreeSet<Family> {
    let of = |addresses: &[IpAddr]| addresses.iter().copied().map(Family::of).collect::<BTreeSet<_>>();
    let own = of(&service.cluster_ips);
    if !own.is_empty() {
        return own;
    }
    let found: BTreeSet<Family> = pods.iter().flat_map(|pod| of(&pod.addresses)).collect();
    if found.is_empty() { BTreeSet::from([Family::Ipv4]) } else { found }
}

fn endpoint(service: &Service, pod: &Pod, family: Family) -> Option<Endpoint> {
    if pod.finished() {
        return None;
    }
    let address = *pod.addresses.iter().find(|address| Family::of(**address) == family)?;
    let serving = pod.ready().unwrap_or(false);
    let terminating = pod.meta.deleting;
    Some(Endpoint {
        addresses: vec![address],
        ready: service.publish_not_ready || (serving && !terminating),
        serving,
        terminating,
        pod: Some(pod.key().clone()),
        node: pod.node.clone(),
        hinted: false,
    })
}

/// A port whose name the pod does not declare is left out, as the controller does.
fn ports(service: &Service, pod: &Pod) -> Vec<SlicePort> {
    if service.ports.is_empty() && service.headless {
        return vec![SlicePort { name: String::new(), port: None, protocol: model::Protocol::Tcp }];
    }
    service
        .ports
        .iter()
        .filter_map(|port| {
            let number = target_port(port, pod)?;
            Some(SlicePort { name: port.name.clone(), port: Some(number), protocol: port.protocol })
        })
        .collect()
}

#[cfg(test)]
mod tests;

//! Which endpoints a Service port has on a node (`pkg/proxy/topology.go`, `CategorizeEndpoints`, without hints).
//! Slices are read as they are; making them from pods is the caller's business.

use std::net::SocketAddr;

use model::objects::{Service, ServicePort, TrafficPolicy};
use model::{Family, ObjectSet};

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

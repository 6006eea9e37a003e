//! What kube-proxy on a node should do for every Service, from the objects.
//!
//! It follows kube-proxy's reading of Services and slices (`pkg/proxy/topology.go` CategorizeEndpoints,
//! `pkg/proxy/serviceport.go`, `pkg/proxy/config`: `apis.LabelServiceProxyName`). Affinity and source ranges are not in it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::Family;
use model::drift::{AddressKind, Intended};
use model::objects::{ObjectSet, Service, ServicePort, ServiceType, TrafficPolicy};

use crate::view::{Backend, backends};

/// Services with this label are another proxy's (`pkg/proxy/apis/well_known_labels.go`).
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// Services with this label have no virtual address to serve, whatever `clusterIP` says (the same file's selector).
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What is wanted on a node of this name, Service by Service.
pub fn intended(set: &ObjectSet, node: &str) -> Vec<Intended> {
    let mut all = Vec::new();
    for service in set.services.values().filter(|service| served(service)) {
        for port in &service.ports {
            for (kind, address) in addresses(service, port) {
                all.push(wanted(set, service, port, kind, address, node));
            }
        }
    }
    all
}

fn served(service: &Service) -> bool {
    let labels = &service.meta.labels;
    !service.headless
        && service.kind != ServiceType::ExternalName
        && !service.cluster_ips.is_empty()
        && !labels.contains_key(OTHER_PROXY)
        && !labels.contains_key(HEADLESS)
}

fn addresses(service: &Service, port: &ServicePort) -> Vec<(AddressKind, SocketAddr)> {
    let at = |kind, address: &IpAddr| (kind, SocketAddr::new(*address, port.port));
    let families: BTreeSet<Family> = service.cluster_ips.iter().map(|ip| Family::of(*ip)).collect();
    let known = |address: &&IpAddr| families.contains(&Family::of(**address));
    let mut all: Vec<_> = service.cluster_ips.iter().map(|ip| at(AddressKind::ClusterIp, ip)).collect();
    all.extend(service.external_ips.iter().filter(known).map(|ip| at(AddressKind::ExternalIp, ip)));
    all.extend(service.load_balancer_ips.iter().filter(known).map(|ip| at(AddressKind::LoadBalancer, ip)));
    if let Some(number) = port.node_port {
        for family in families {
            let any = match family {
                Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            all.push((AddressKind::NodePort, SocketAddr::new(any, number)));
        }
    }
    all
}

fn wanted(
    set: &ObjectSet,
    service: &Service,
    port: &ServicePort,
    kind: AddressKind,
    at: SocketAddr,
    node: &str,
) -> Intended {
    let policy =
        if kind == AddressKind::ClusterIp { service.internal_policy } else { service.external_policy };
    let found = backends(set, service.key(), port, Family::of(at.ip()));
    let near = |backend: &&Backend| policy == TrafficPolicy::Cluster || backend.node.as_deref() == Some(node);
    let usable: Vec<&Backend> = found.endpoints.iter().filter(near).collect();
    let ready: Vec<&&Backend> = usable.iter().filter(|backend| backend.ready).collect();
    let chosen: BTreeSet<SocketAddr> = if ready.is_empty() {
        let last = usable.iter().filter(|backend| backend.serving && backend.terminating);
        last.map(|backend| backend.address).collect()
    } else {
        ready.iter().map(|backend| backend.address).collect()
    };
    let some_suffice = policy == TrafficPolicy::Cluster
        && set.slices_of(service.key()).flat_map(|slice| &slice.endpoints).any(|endpoint| endpoint.hinted);
    Intended {
        service: service.key().clone(),
        port: port.name.clone(),
        kind,
        at,
        protocol: port.protocol,
        sends_to: chosen,
        some_suffice,
        required: kind != AddressKind::LoadBalancer || !service.load_balancer_proxied.contains(&at.ip()),
    }
}

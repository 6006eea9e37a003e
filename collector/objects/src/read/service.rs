//! Services.
//!
//! Checks what the API server refuses (`pkg/apis/core/validation`, `validateService`), but for what only chooses among
//! endpoints; a node port outside the range is a finding, not a refusal, because the range is a server flag.

mod addresses;
mod ports;

use model::objects::{Service, ServiceType, TrafficPolicy};

use super::Input;
use super::address;
use super::fields::Fields;
use super::meta::{self, Scope};
use crate::names;

pub(super) use ports::{PROTOCOLS, port_or_name};

const POLICIES: &[(&str, TrafficPolicy)] =
    &[("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

/// The longest time that clients stick to an endpoint: a day (`MaxClientIPServiceAffinitySeconds`).
const MAX_AFFINITY_SECONDS: i64 = 86_400;

const SPEC: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamily",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "topologyKeys",
    "trafficDistribution",
    "type",
];

/// Reads a Service.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Service> {
    let meta = meta::read(top, input, Scope::Namespaced, names::label)?;
    let mut service = Service { meta, ..Service::default() };
    if let Some(spec) = top.child_or_empty("spec", SPEC, &[]) {
        read_spec(&spec, &mut service);
    }
    if let Some(balancer) =
        top.unchecked_child("status").and_then(|status| status.unchecked_child("loadBalancer"))
    {
        let ingress = balancer.unchecked_objects("ingress");
        service.load_balancer_ips = ingress.iter().filter_map(|entry| entry.address("ip")).collect();
        let proxied = ingress.iter().filter(|entry| entry.text("ipMode") == Some("Proxy"));
        service.load_balancer_proxied = proxied.filter_map(|entry| entry.address("ip")).collect();
    }
    Some(service)
}

fn read_spec(spec: &Fields<'_>, service: &mut Service) {
    service.kind = spec
        .word_or_empty(
            "type",
            &[
                ("ClusterIP", ServiceType::ClusterIp),
                ("NodePort", ServiceType::NodePort),
                ("LoadBalancer", ServiceType::LoadBalancer),
                ("ExternalName", ServiceType::ExternalName),
            ],
        )
        .unwrap_or_default();
    service.selector = spec.labels("selector");
    addresses::read(spec, service);
    service.external_name = spec.text_or_empty("externalName");
    if service.kind == ServiceType::ExternalName {
        check_external_name(spec, &service.external_name);
    }
    for (text, path) in spec.texts("externalIPs") {
        match address::parse(text).and_then(|address| address::reachable(address).map(|()| address)) {
            Ok(address) => service.external_ips.push(address),
            Err(reason) => spec.problems().refuse(path, reason),
        }
    }
    service.publish_not_ready = spec.flag("publishNotReadyAddresses").unwrap_or_default();
    // An alias leads nowhere inside; the registry drops its policy.
    let internal = spec.word("internalTrafficPolicy", POLICIES);
    service.internal_policy =
        internal.filter(|_| service.kind != ServiceType::ExternalName).unwrap_or_default();
    service.external_policy = spec.word_or_empty("externalTrafficPolicy", POLICIES).unwrap_or_default();
    ports::read(spec, service);
    check_affinity(spec);
    check_outside(spec, service);
}

fn check_external_name(spec: &Fields<'_>, name: &str) {
    // A final dot says that the name is complete.
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        spec.refuse("externalName", "is missing; a Service of type ExternalName needs it");
    } else if let Err(reason) = names::subdomain(name) {
        spec.refuse("externalName", reason);
    }
}

/// Read only to be refused: stickiness chooses among endpoints.
fn check_affinity(spec: &Fields<'_>) {
    let by_client = spec.word_or_empty("sessionAffinity", &[("None", false), ("ClientIP", true)]);
    let Some(config) = spec.unchecked_child("sessionAffinityConfig") else { return };
    let Some(client) = config.unchecked_child("clientIP") else { return };
    if let Some(seconds) = client.integer("timeoutSeconds")
        && by_client == Some(true)
        && !(1..=MAX_AFFINITY_SECONDS).contains(&seconds)
    {
        client.refuse("timeoutSeconds", format!("{seconds} is not in 1 to {MAX_AFFINITY_SECONDS}"));
    }
}

/// What only Services that can be reached from outside may have.
fn check_outside(spec: &Fields<'_>, service: &Service) {
    let balanced = service.kind == ServiceType::LoadBalancer;
    let outside = match service.kind {
        ServiceType::NodePort | ServiceType::LoadBalancer => true,
        ServiceType::ClusterIp => !spec.items("externalIPs").is_empty(),
        ServiceType::ExternalName => false,
    };
    let given = |key: &str| spec.value(key).is_some_and(|value| value.as_str() != Some(""));
    if !outside && given("externalTrafficPolicy") {
        spec.refuse("externalTrafficPolicy", "needs type NodePort or LoadBalancer, or externalIPs");
    }
    let checked_for_health = balanced && service.external_policy == TrafficPolicy::Local;
    match spec.integer("healthCheckNodePort").unwrap_or_default() {
        0 => {}
        _ if !checked_for_health => {
            spec.refuse("healthCheckNodePort", "needs type LoadBalancer and externalTrafficPolicy Local");
        }
        _ => drop(spec.port("healthCheckNodePort")),
    }
    let ranges = spec.texts("loadBalancerSourceRanges");
    if !balanced && !ranges.is_empty() {
        spec.refuse("loadBalancerSourceRanges", "needs type LoadBalancer");
    }
    for (text, path) in ranges {
        if let Err(reason) = address::parse_block(text.trim()) {
            spec.problems().refuse(path, reason);
        }
    }
    if spec.flag("allocateLoadBalancerNodePorts").is_some() && !balanced {
        spec.refuse("allocateLoadBalancerNodePorts", "needs type LoadBalancer");
    }
    if spec.text("loadBalancerClass").is_some() && !balanced {
        spec.refuse("loadBalancerClass", "needs type LoadBalancer");
    } else {
        spec.check("loadBalancerClass", names::qualified_name);
    }
}

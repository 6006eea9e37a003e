//! Services.
//!
//! Checks what the API server refuses (`pkg/apis/core/validation`, `ValidateService`) as far as connections depend
//! on it; a node port outside the range is a finding, not a refusal, because the range is a server flag.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::flow::Protocol;
use model::objects::{Service, ServicePort, ServiceType, TargetPort, TrafficPolicy};
use serde_json::Value;

use super::Input;
use super::fields::{Fields, not_a_port, not_an_address, parse_address, port_number, type_word};
use super::meta::{self, Scope};
use crate::names;

/// The words of the API for protocols.
pub(super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

const POLICIES: &[(&str, TrafficPolicy)] =
    &[("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

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

const PORT: &[&str] = &["appProtocol", "name", "nodePort", "port", "protocol", "targetPort"];

/// Reads a Service.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Service> {
    let meta = meta::read(top, input, Scope::Namespaced, names::label)?;
    let mut service = Service { meta, ..Service::default() };
    match top.child("spec", SPEC, &[]) {
        Some(spec) => read_spec(&spec, &mut service),
        None => top.refuse("spec", "`ports` is missing"),
    }
    if let Some(balancer) =
        top.unchecked_child("status").and_then(|status| status.unchecked_child("loadBalancer"))
    {
        service.load_balancer_ips =
            balancer.unchecked_objects("ingress").iter().filter_map(|entry| entry.address("ip")).collect();
    }
    Some(service)
}

fn read_spec(spec: &Fields<'_>, service: &mut Service) {
    service.kind = spec
        .word(
            "type",
            &[
                ("ClusterIP", ServiceType::ClusterIp),
                ("NodePort", ServiceType::NodePort),
                ("LoadBalancer", ServiceType::LoadBalancer),
                ("ExternalName", ServiceType::ExternalName),
            ],
        )
        .unwrap_or_default();
    read_cluster_ips(spec, service);
    service.selector = spec.text_map("selector");
    for (key, value) in &service.selector {
        for reason in [names::label_key(key), names::label_value(value)].into_iter().filter_map(Result::err) {
            spec.refuse("selector", reason);
        }
    }
    service.external_name = spec.text_or_empty("externalName");
    if service.kind == ServiceType::ExternalName && service.external_name.is_empty() {
        spec.refuse("externalName", "is missing; a Service of type ExternalName needs it");
    }
    service.external_ips = spec.addresses("externalIPs");
    service.publish_not_ready = spec.flag("publishNotReadyAddresses").unwrap_or_default();
    service.internal_policy = spec.word("internalTrafficPolicy", POLICIES).unwrap_or_default();
    service.external_policy = spec.word("externalTrafficPolicy", POLICIES).unwrap_or_default();
    read_ports(spec, service);
}

fn read_cluster_ips(spec: &Fields<'_>, service: &mut Service) {
    let mut texts = spec.texts("clusterIPs");
    if texts.is_empty() {
        texts.extend(spec.text("clusterIP").map(|text| (text, spec.at("clusterIP"))));
    }
    for (text, path) in texts {
        match (text, parse_address(text)) {
            ("", _) => {}
            ("None", _) => service.headless = true,
            (_, Some(address)) => service.cluster_ips.push(address),
            (_, None) => spec.problems().refuse(path, format!("{}, nor `None`", not_an_address(text))),
        }
    }
    if service.headless && !service.cluster_ips.is_empty() {
        spec.refuse("clusterIPs", "`None` stands alone");
    }
    let families: BTreeSet<bool> = service.cluster_ips.iter().map(IpAddr::is_ipv4).collect();
    if families.len() < service.cluster_ips.len() {
        spec.refuse("clusterIPs", "at most one address of each family is allowed");
    }
}

fn read_ports(spec: &Fields<'_>, service: &mut Service) {
    let entries = spec.objects("ports", PORT, &["port"]);
    // Headless Services may go without ports, and aliases have nothing to listen on.
    let needed = !service.headless && service.kind != ServiceType::ExternalName;
    if entries.is_empty() && spec.items("ports").is_empty() && needed {
        spec.refuse("ports", "at least one port is needed");
    }
    let several = entries.len() > 1;
    let mut names_seen = BTreeSet::new();
    let mut numbers_seen = BTreeSet::new();
    for entry in entries {
        let name = entry.text_or_empty("name");
        if name.is_empty() && several {
            entry.refuse("name", "is missing; each of several ports needs one");
        } else if !name.is_empty() {
            if let Err(reason) = names::label(&name) {
                entry.refuse("name", reason);
            }
            if !names_seen.insert(name.clone()) {
                entry.refuse("name", format!("`{name}` is given to two ports"));
            }
        }
        let protocol = entry.word("protocol", PROTOCOLS).unwrap_or_default();
        let port = entry.port("port");
        let target = port_or_name(&entry, "targetPort");
        let node_port = entry.integer("nodePort").filter(|number| *number != 0).and_then(|number| {
            let port = port_number(number);
            if port.is_none() {
                entry.refuse("nodePort", not_a_port(number));
            }
            port
        });
        let Some(port) = port else { continue };
        if !numbers_seen.insert((port, protocol)) {
            entry.refuse("port", format!("{port}/{protocol} is given twice"));
        }
        // A targetPort of 0 is what older clients send for "left out" (`SetDefaults_Service`).
        let target = target.unwrap_or(TargetPort::Number(port));
        service.ports.push(ServicePort { name, port, protocol, target, node_port });
    }
}

/// A number or the name of a container port.
pub(super) fn port_or_name(fields: &Fields<'_>, key: &str) -> Option<TargetPort> {
    match fields.value(key)? {
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or(-1);
            if number == 0 {
                return None;
            }
            let port = port_number(number);
            if port.is_none() {
                fields.refuse(key, not_a_port(number));
            }
            port.map(TargetPort::Number)
        }
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => match names::port_name(text) {
            Ok(()) => Some(TargetPort::Name(text.clone())),
            Err(reason) => {
                // `"80"` in quotes is a name to the API, and no valid one.
                let hint = text.parse::<u16>().ok().map(|port| format!("leave out the quotes: {port}"));
                fields.refuse_with_hint(key, reason, hint);
                None
            }
        },
        other => {
            fields.refuse(key, format!("must be a port or a port's name, not {}", type_word(other)));
            None
        }
    }
}

//! EndpointSlices (`discovery.k8s.io/v1`).
//!
//! Topology hints and zones are not read: they choose among endpoints, they do not make or break one.

use std::net::IpAddr;

use model::flow::Family;
use model::objects::{Endpoint, EndpointSlice, Key, SlicePort};

use super::Input;
use super::fields::{Fields, not_an_address, parse_address};
use super::meta::{self, Scope};
use super::service::PROTOCOLS;
use crate::names;

const ENDPOINT: &[&str] =
    &["addresses", "conditions", "deprecatedTopology", "hints", "hostname", "nodeName", "targetRef", "zone"];

/// Ties a slice to its Service; endpoints of a slice without it are nobody's.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressType {
    Ipv4,
    Ipv6,
    Fqdn,
}

impl AddressType {
    const fn family(self) -> Option<Family> {
        match self {
            Self::Ipv4 => Some(Family::Ipv4),
            Self::Ipv6 => Some(Family::Ipv6),
            Self::Fqdn => None,
        }
    }
}

/// Reads an EndpointSlice.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<EndpointSlice> {
    let meta = meta::read(top, input, Scope::Namespaced, names::subdomain)?;
    if top.value("addressType").is_none() {
        top.refuse("addressType", "is missing");
    }
    let kind = top.word(
        "addressType",
        &[("IPv4", AddressType::Ipv4), ("IPv6", AddressType::Ipv6), ("FQDN", AddressType::Fqdn)],
    );
    let family = kind.and_then(AddressType::family);
    let endpoints = top
        .objects("endpoints", ENDPOINT, &["addresses"])
        .iter()
        .map(|entry| endpoint(entry, kind, &meta.key.namespace))
        .collect();
    let ports = top
        .objects("ports", &["appProtocol", "name", "port", "protocol"], &[])
        .iter()
        .map(|entry| SlicePort {
            name: entry.text_or_empty("name"),
            port: entry.port("port"),
            protocol: entry.word("protocol", PROTOCOLS).unwrap_or_default(),
        })
        .collect();
    let service = meta.labels.get(SERVICE_NAME).filter(|name| !name.is_empty()).cloned();
    Some(EndpointSlice { meta, service, family, endpoints, ports })
}

fn endpoint(fields: &Fields<'_>, kind: Option<AddressType>, namespace: &str) -> Endpoint {
    let mut addresses = Vec::new();
    if kind != Some(AddressType::Fqdn) {
        for (text, path) in fields.texts("addresses") {
            match (parse_address(text), kind.and_then(AddressType::family)) {
                (Some(address), Some(family)) if Family::of(address) != family => {
                    fields.problems().refuse(path, format!("{address} is not an {family} address"));
                }
                (Some(address), _) => addresses.push(address),
                (None, _) => fields.problems().refuse(path, not_an_address(text)),
            }
        }
        if let Some(address) = addresses.iter().find(|address| never_an_endpoint(**address)) {
            fields.refuse("addresses", format!("{address} cannot be an endpoint"));
        }
    }
    let conditions = fields.child("conditions", &["ready", "serving", "terminating"], &[]);
    let condition = |key: &str| conditions.as_ref().and_then(|conditions| conditions.flag(key));
    // Absent means true for ready; serving then follows ready, and terminating is false (EndpointConditions).
    let ready = condition("ready").unwrap_or(true);
    let target = fields.unchecked_child("targetRef");
    let pod = target.filter(|target| target.text("kind") == Some("Pod")).and_then(|target| {
        let space = target.text("namespace").filter(|space| !space.is_empty()).unwrap_or(namespace);
        Some(Key::new(space, target.text("name")?))
    });
    Endpoint {
        addresses,
        ready,
        serving: condition("serving").unwrap_or(ready),
        terminating: condition("terminating").unwrap_or(false),
        pod,
        node: fields.text("nodeName").filter(|name| !name.is_empty()).map(str::to_owned),
    }
}

/// Unspecified, loopback, link-local and multicast addresses (`ValidateEndpointIP`).
fn never_an_endpoint(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local
}

//! EndpointSlices (`discovery.k8s.io/v1`).
//!
//! Checks what the API server refuses (`pkg/apis/discovery/validation`). Topology hints and zones are checked and not
//! kept: they choose among endpoints, they do not make or break one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use model::flow::Family;
use model::objects::{Endpoint, EndpointSlice, Key, SlicePort};

use super::fields::{Fields, not_a_port, port_number};
use super::meta::{self, Scope};
use super::service::PROTOCOLS;
use super::{Input, address};
use crate::names;

const ENDPOINT: &[&str] =
    &["addresses", "conditions", "deprecatedTopology", "hints", "hostname", "nodeName", "targetRef", "zone"];

/// Ties a slice to its Service; endpoints of a slice without it are nobody's.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// `maxEndpoints`, `maxAddresses`, `maxPorts` and `maxZoneHints` (the same for nodes) of the API server's validation.
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_HINTS: usize = 8;

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
    at_most(top, "endpoints", MAX_ENDPOINTS);
    at_most(top, "ports", MAX_PORTS);
    let endpoints = top
        .objects("endpoints", ENDPOINT, &["addresses"])
        .iter()
        .map(|entry| endpoint(entry, kind, &meta.key.namespace))
        .collect();
    let service = meta.labels.get(SERVICE_NAME).filter(|name| !name.is_empty()).cloned();
    Some(EndpointSlice {
        meta,
        service,
        family: kind.and_then(AddressType::family),
        endpoints,
        ports: ports(top),
    })
}

fn ports(top: &Fields<'_>) -> Vec<SlicePort> {
    let mut names_seen = BTreeSet::new();
    let mut ports = Vec::new();
    for entry in top.objects("ports", &["appProtocol", "name", "port", "protocol"], &[]) {
        let name = entry.text_or_empty("name");
        if !name.is_empty() {
            entry.check("name", names::label);
        }
        if !names_seen.insert(name.clone()) {
            let reason = if name.is_empty() {
                "is missing; of several ports only one may go without".to_owned()
            } else {
                format!("`{name}` is given to two ports")
            };
            entry.refuse("name", reason);
        }
        entry.check("appProtocol", names::qualified_name);
        let protocol = entry.word("protocol", PROTOCOLS).unwrap_or_default();
        let number = entry.integer("port");
        match number.map(|number| (number, port_number(number))) {
            None => ports.push(SlicePort { name, port: None, protocol }),
            Some((_, Some(port))) => ports.push(SlicePort { name, port: Some(port), protocol }),
            // The API server takes any number that fits its type.
            Some((number, None)) if i32::try_from(number).is_ok() => {
                entry.unread("port", format!("{}; this port of the slice leads nowhere", not_a_port(number)));
            }
            Some((number, None)) => entry.refuse("port", not_a_port(number)),
        }
    }
    ports
}

fn endpoint(fields: &Fields<'_>, kind: Option<AddressType>, namespace: &str) -> Endpoint {
    let conditions = fields.child("conditions", &["ready", "serving", "terminating"], &[]);
    let condition = |key: &str| conditions.as_ref().and_then(|conditions| conditions.flag(key));
    // Absent means true for ready; serving then follows ready, and terminating is false (EndpointConditions).
    let ready = condition("ready").unwrap_or(true);
    let target = fields.unchecked_child("targetRef");
    let pod = target.filter(|target| target.text("kind") == Some("Pod")).and_then(|target| {
        let space = target.text("namespace").filter(|space| !space.is_empty()).unwrap_or(namespace);
        Some(Key::new(space, target.text("name")?))
    });
    fields.check("nodeName", names::subdomain);
    fields.check("hostname", names::label);
    let hints = fields.unchecked_child("hints");
    if let Some(hints) = &hints {
        check_hints(hints, "forZones", names::label_value);
        check_hints(hints, "forNodes", names::subdomain);
    }
    Endpoint {
        addresses: addresses(fields, kind),
        ready,
        serving: condition("serving").unwrap_or(ready),
        terminating: condition("terminating").unwrap_or(false),
        pod,
        node: fields.text("nodeName").map(str::to_owned),
        hinted: hints.is_some(),
    }
}

fn addresses(fields: &Fields<'_>, kind: Option<AddressType>) -> Vec<IpAddr> {
    let texts = fields.texts("addresses");
    if texts.is_empty() && fields.value("addresses").is_some_and(serde_json::Value::is_array) {
        fields.refuse("addresses", "at least one address is needed");
    }
    at_most(fields, "addresses", MAX_ADDRESSES);
    let mut addresses = Vec::new();
    for (text, path) in texts {
        let parsed = match kind {
            // Of what kind they should be is not known.
            None => {
                addresses.extend(address::parse(text));
                continue;
            }
            Some(AddressType::Fqdn) => names::domain(text).map(|()| None),
            // Only IPv6 has to be written in one form; an IPv4 address there is told below.
            Some(AddressType::Ipv6) if text.parse::<Ipv4Addr>().is_err() => {
                address::parse_canonical(text).map(Some)
            }
            Some(_) => address::parse(text).map(Some),
        };
        match parsed {
            Ok(None) => {}
            Ok(Some(address)) => {
                if let Some(family) = kind.and_then(AddressType::family)
                    && family != Family::of(address)
                {
                    fields.refuse("addresses", format!("{address} is not an {family} address"));
                }
                if let Err(reason) = address::reachable(address) {
                    fields.problems().refuse(path, reason);
                }
                addresses.push(address);
            }
            Err(reason) => fields.problems().refuse(path, reason),
        }
    }
    addresses
}

fn check_hints(hints: &Fields<'_>, key: &str, check: fn(&str) -> Result<(), String>) {
    at_most(hints, key, MAX_HINTS);
    let mut seen = BTreeSet::new();
    for hint in hints.unchecked_objects(key) {
        let name = hint.text_or_empty("name");
        if let Err(reason) = check(&name) {
            hint.refuse("name", reason);
        }
        if !seen.insert(name.clone()) {
            hint.refuse("name", format!("`{}` is given twice", names::shown(&name)));
        }
    }
}

fn at_most(fields: &Fields<'_>, key: &str, most: usize) {
    let count = fields.value(key).and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    if count > most {
        fields.refuse(key, format!("has {count} entries; at most {most} are allowed"));
    }
}

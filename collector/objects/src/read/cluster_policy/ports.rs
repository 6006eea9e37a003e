//! The ports of cluster-wide policies: `protocols` of the newer kind, `ports` of the older ones.
//!
//! An entry that could not be read whole is left out; its rule counts as unread then.

use model::flow::PortRange;
use model::objects::{ClusterPolicyKind, ClusterPort, PolicyPortSpec};

use super::super::fields::Fields;
use super::super::service::PROTOCOLS;
use super::exactly_one;
use crate::names::{self, shown};

/// Reads the ports of a rule.
pub(super) fn read(kind: ClusterPolicyKind, rule: &Fields<'_>) -> Vec<ClusterPort> {
    match kind {
        ClusterPolicyKind::ClusterNetworkPolicy => {
            let entries = rule.objects("protocols", &["tcp", "udp", "sctp", "destinationNamedPort"], &[]);
            entries.iter().filter_map(protocol_entry).collect()
        }
        ClusterPolicyKind::AdminNetworkPolicy | ClusterPolicyKind::BaselineAdminNetworkPolicy => {
            let entries = rule.objects("ports", &["portNumber", "namedPort", "portRange"], &[]);
            entries.iter().filter_map(port_entry).collect()
        }
    }
}

/// One entry of `protocols` (`v1alpha2`).
fn protocol_entry(fields: &Fields<'_>) -> Option<ClusterPort> {
    let protocol = match exactly_one(fields, &["tcp", "udp", "sctp", "destinationNamedPort"])? {
        "destinationNamedPort" => return named(fields, "destinationNamedPort"),
        key => key,
    };
    let inner = fields.child(protocol, &["destinationPort"], &[])?;
    if inner.value("destinationPort").is_none() {
        inner.problems().refuse(inner.path(), "needs a destinationPort");
        return None;
    }
    let port = inner.child("destinationPort", &["number", "range"], &[])?;
    let ports = if exactly_one(&port, &["number", "range"])? == "number" {
        PortRange::single(port.port("number")?)
    } else {
        let range = port.child("range", &["start", "end"], &["start", "end"])?;
        let (first, last) = (range.port("start"), range.port("end"));
        let (first, last) = (first?, last?);
        if first >= last {
            port.refuse("range", format!("`start` {first} must lie before `end` {last}"));
            return None;
        }
        PortRange { first, last }
    };
    let protocol = protocol.parse().ok()?;
    Some(ClusterPort { protocol: Some(protocol), ports: PolicyPortSpec::Range(ports) })
}

/// One entry of `ports` (`v1alpha1`).
fn port_entry(fields: &Fields<'_>) -> Option<ClusterPort> {
    let (inner, ports) = match exactly_one(fields, &["portNumber", "namedPort", "portRange"])? {
        "namedPort" => return named(fields, "namedPort"),
        "portNumber" => {
            let inner = fields.child("portNumber", &["protocol", "port"], &["port"])?;
            let ports = inner.port("port").map(PortRange::single);
            (inner, ports)
        }
        _ => {
            let inner = fields.child("portRange", &["protocol", "start", "end"], &["start", "end"])?;
            let ports = match (inner.port("start"), inner.port("end")) {
                (Some(first), Some(last)) if first > last => {
                    // The schema leaves the order to the implementations.
                    inner.unread("end", format!("{last} lies before `start` {first}"));
                    None
                }
                (Some(first), Some(last)) => Some(PortRange { first, last }),
                _ => None,
            };
            (inner, ports)
        }
    };
    let protocol = match inner.text("protocol") {
        None => Some(model::Protocol::default()),
        Some(text) => {
            let known = PROTOCOLS.iter().find(|(word, _)| *word == text).map(|(_, protocol)| *protocol);
            if known.is_none() {
                // Any text to the schema.
                inner.unread("protocol", format!("`{}` is not one of TCP, UDP, SCTP", shown(text)));
            }
            known
        }
    };
    Some(ClusterPort { protocol: Some(protocol?), ports: PolicyPortSpec::Range(ports?) })
}

fn named(fields: &Fields<'_>, key: &str) -> Option<ClusterPort> {
    let name = fields.text(key)?;
    if let Err(reason) = names::port_name(name) {
        // Any text to the schema, but no container port can have such a name.
        fields.odd(key, format!("{reason}; no pod has it"));
    }
    Some(ClusterPort { protocol: None, ports: PolicyPortSpec::Name(name.to_owned()) })
}

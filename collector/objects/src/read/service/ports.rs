//! Ports of Services, and what ports of Services and NetworkPolicies have in common.

use std::collections::BTreeSet;

use model::flow::Protocol;
use model::objects::{Service, ServicePort, ServiceType, TargetPort};
use serde_json::Value;

use super::super::fields::{Fields, not_a_port, port_number, type_word};
use crate::names;

/// The words of the API for protocols.
pub(in super::super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

const PORT: &[&str] = &["appProtocol", "name", "nodePort", "port", "protocol", "targetPort"];

/// Reads the ports of a Service whose type and addresses are known.
pub(super) fn read(spec: &Fields<'_>, service: &mut Service) {
    let entries = spec.objects("ports", PORT, &["port"]);
    // Headless Services may go without ports, and aliases have nothing to listen on.
    let needed = !service.headless && service.kind != ServiceType::ExternalName;
    if needed && spec.value("ports").is_none_or(|ports| ports.as_array().is_some_and(Vec::is_empty)) {
        spec.refuse("ports", "at least one port is needed");
    }
    let several = entries.len() > 1;
    let mut names_seen = BTreeSet::new();
    let mut ports_seen = BTreeSet::new();
    let mut node_ports_seen = BTreeSet::new();
    for entry in entries {
        let name = entry.text_or_empty("name");
        if name.is_empty() && several {
            entry.refuse("name", "is missing; each of several ports needs one");
        } else if !name.is_empty() {
            entry.check("name", names::label);
            if !names_seen.insert(name.clone()) {
                entry.refuse("name", format!("`{name}` is given to two ports"));
            }
        }
        let protocol = entry.word_or_empty("protocol", PROTOCOLS).unwrap_or_default();
        let port = entry.port("port");
        let target = port_or_name(&entry, "targetPort");
        entry.check("appProtocol", names::qualified_name);
        let node_port = node_port(&entry, service.kind);
        if let Some(number) = node_port
            && !node_ports_seen.insert((number, protocol))
        {
            entry.refuse("nodePort", format!("{number}/{protocol} is given twice"));
        }
        let Some(port) = port else { continue };
        if !ports_seen.insert((port, protocol)) {
            entry.problems().refuse(entry.path(), format!("port {port}/{protocol} is given twice"));
        }
        // A targetPort of 0 is what older clients send for "left out" (`SetDefaults_Service`).
        let target = target.unwrap_or(TargetPort::Number(port));
        service.ports.push(ServicePort { name, port, protocol, target, node_port });
    }
}

/// 0 is what the API has for "to be allocated".
fn node_port(entry: &Fields<'_>, kind: ServiceType) -> Option<u16> {
    let number = entry.integer("nodePort").filter(|number| *number != 0)?;
    let port = port_number(number);
    if kind == ServiceType::ClusterIp {
        entry.refuse("nodePort", "needs type NodePort or LoadBalancer");
    } else if port.is_none() {
        entry.refuse("nodePort", not_a_port(number));
    }
    port
}

/// A number or the name of a container port; 0 and the empty name are left to the caller.
pub(in super::super) fn port_or_name(fields: &Fields<'_>, key: &str) -> Option<TargetPort> {
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

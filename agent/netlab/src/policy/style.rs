//! The styles, each whose rules it stands in for. They make text of decisions; the enforcer loads it.

pub mod calico;
pub mod kindnet;
pub mod kube_router;
pub mod kube_router_plain;

use model::Protocol;
use model::flow::PortRange;

/// A port range of iptables or ipset: `80` or `80:90`.
fn range(ports: PortRange) -> String {
    if ports.first == ports.last {
        ports.first.to_string()
    } else {
        format!("{}:{}", ports.first, ports.last)
    }
}

/// The iptables matches of a protocol and its destination ports, each with a blank before it; empty for everything.
fn destination(protocol: Option<Protocol>, ports: Option<PortRange>) -> String {
    let Some(protocol) = protocol else { return String::new() };
    let protocol = protocol.lower();
    match ports {
        None => format!(" -p {protocol}"),
        Some(ports) => format!(" -p {protocol} -m {protocol} --dport {}", range(ports)),
    }
}

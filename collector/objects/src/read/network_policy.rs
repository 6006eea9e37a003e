//! NetworkPolicies (`networking.k8s.io/v1`).
//!
//! Checks what the API server refuses (`pkg/apis/networking/validation`, `ValidateNetworkPolicySpec`). What remains
//! not understood, as in a policy from a newer server, is listed in `unread` so that no verdict rests on it.

use ipnet::IpNet;
use model::flow::PortRange;
use model::objects::{IpBlock, NetworkPolicy, Peer, PolicyPort, PolicyPortSpec, PolicyRule, TargetPort};

use serde_json::Value;

use super::fields::{Fields, misspells, not_a_port, port_number};
use super::meta::{self, Scope};
use super::service::{PROTOCOLS, port_or_name};
use super::{Input, address, selector, unread};
use crate::names::{self, shown};
use crate::problem::Problems;

/// Reads a NetworkPolicy.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<NetworkPolicy> {
    let meta = meta::read(top, input, Scope::Namespaced, names::subdomain)?;
    // What goes wrong in the spec is collected apart: it decides what counts as unread.
    let problems = Problems::default();
    let mut policy = NetworkPolicy { meta, ..NetworkPolicy::default() };
    let keys = &["podSelector", "policyTypes", "ingress", "egress"];
    // The API takes a spec without a pod selector as selecting all pods; a misspelt one must not do that.
    let misspelt = top
        .value("spec")
        .and_then(Value::as_object)
        .is_some_and(|map| map.keys().any(|key| misspells(key, "podSelector")));
    let required: &[&str] = if misspelt { &["podSelector"] } else { &[] };
    if let Some(spec) = top.noting_in(&problems).child_or_empty("spec", keys, required) {
        read_spec(&spec, &mut policy);
    }
    policy.unread = unread(top, problems);
    Some(policy)
}

fn read_spec(spec: &Fields<'_>, policy: &mut NetworkPolicy) {
    policy.pod_selector = selector::read(spec, "podSelector").unwrap_or_default();
    policy.ingress = rules(spec, "ingress", "from");
    policy.egress = rules(spec, "egress", "to");
    let types = spec.texts("policyTypes");
    if types.len() > 2 {
        spec.refuse("policyTypes", "there are only two, Ingress and Egress");
    }
    for (text, path) in types.iter().filter(|_| types.len() <= 2) {
        if !matches!(*text, "Ingress" | "Egress") {
            spec.problems().refuse(path.clone(), format!("`{}` is not one of Ingress, Egress", shown(text)));
        }
    }
    let lists = |word: &str| types.iter().any(|(text, _)| *text == word);
    // `SetDefaults_NetworkPolicy`: Ingress always, Egress only if there is an egress rule.
    policy.isolates_ingress = types.is_empty() || lists("Ingress");
    policy.isolates_egress = if types.is_empty() { !policy.egress.is_empty() } else { lists("Egress") };
    for (list, isolates) in [("ingress", policy.isolates_ingress), ("egress", policy.isolates_egress)] {
        if !isolates && !spec.items(list).is_empty() {
            spec.odd(list, "has rules, but `policyTypes` leaves this direction out; they do nothing");
        }
    }
}

fn rules(spec: &Fields<'_>, direction: &str, peers_key: &str) -> Vec<PolicyRule> {
    spec.objects(direction, &[peers_key, "ports"], &[])
        .iter()
        .map(|rule| PolicyRule {
            peers: rule
                .objects(peers_key, &["podSelector", "namespaceSelector", "ipBlock"], &[])
                .iter()
                .filter_map(peer)
                .collect(),
            ports: rule
                .objects("ports", &["protocol", "port", "endPort"], &[])
                .iter()
                .filter_map(policy_port)
                .collect(),
        })
        .collect()
}

fn peer(fields: &Fields<'_>) -> Option<Peer> {
    let given = ["namespaceSelector", "podSelector", "ipBlock"].map(|key| fields.value(key).is_some());
    let namespaces = selector::read(fields, "namespaceSelector");
    let pods = selector::read(fields, "podSelector");
    let block = fields.child("ipBlock", &["cidr", "except"], &["cidr"]).and_then(|block| ip_block(&block));
    match given {
        [false, false, false] => fields
            .problems()
            .refuse(fields.path(), "an entry needs a podSelector, a namespaceSelector or an ipBlock"),
        [false, false, true] => return block.map(Peer::Block),
        [_, _, true] => {
            fields.problems().refuse(fields.path(), "an ipBlock cannot stand beside a selector in one entry");
        }
        // A selector that is given and could not be read must not widen the peer to everybody.
        [by_namespace, by_pod, false] => {
            return (by_namespace == namespaces.is_some() && by_pod == pods.is_some())
                .then_some(Peer::Pods { namespaces, pods });
        }
    }
    None
}

fn ip_block(fields: &Fields<'_>) -> Option<IpBlock> {
    let block = |text: &str, path: String| {
        address::parse_block(text).map_err(|reason| fields.problems().refuse(path, reason)).ok()
    };
    let cidr = fields.text("cidr").and_then(|text| block(text, fields.at("cidr")));
    let mut except: Vec<IpNet> = Vec::new();
    for (text, path) in fields.texts("except") {
        let Some(hole) = block(text, path.clone()) else { continue };
        // A strict subset is wanted.
        if let Some(cidr) = cidr
            && (!cidr.contains(&hole) || cidr == hole)
        {
            fields.problems().refuse(path, format!("{hole} does not lie inside {cidr}"));
        }
        except.push(hole);
    }
    Some(IpBlock { cidr: cidr?, except })
}

fn policy_port(fields: &Fields<'_>) -> Option<PolicyPort> {
    let protocol = fields.word("protocol", PROTOCOLS);
    let port = port_or_name(fields, "port");
    match fields.value("port") {
        Some(Value::Number(number)) if number.as_i64() == Some(0) => {
            fields.refuse("port", not_a_port(0));
        }
        Some(Value::String(text)) if text.is_empty() => fields.refuse("port", "the name is empty"),
        _ => {}
    }
    let last = end_port(fields);
    // An entry that could not be read whole must not admit more than it says.
    let unread = |key: &str, read: bool| fields.value(key).is_some() && !read;
    if unread("protocol", protocol.is_some())
        || unread("port", port.is_some())
        || unread("endPort", last.is_some())
    {
        return None;
    }
    let ports = match (port, last) {
        (Some(TargetPort::Number(first)), last) => {
            PolicyPortSpec::Range(PortRange { first, last: last.unwrap_or(first) })
        }
        (Some(TargetPort::Name(name)), _) => PolicyPortSpec::Name(name),
        (None, _) => PolicyPortSpec::All,
    };
    Some(PolicyPort { protocol: protocol.unwrap_or_default(), ports })
}

/// The last port of a range that has a first one (KEP-2079).
fn end_port(fields: &Fields<'_>) -> Option<u16> {
    let last = fields.integer("endPort")?;
    let reason = match fields.value("port") {
        None => "needs `port`, the first port of the range".to_owned(),
        Some(Value::Number(first)) => match (first.as_i64(), port_number(last)) {
            (Some(first), _) if last < first => format!("{last} lies before `port` {first}"),
            (_, Some(last)) => return Some(last),
            (_, None) => not_a_port(last),
        },
        Some(_) => "cannot follow a port name".to_owned(),
    };
    fields.refuse("endPort", reason);
    None
}

//! NetworkPolicies (`networking.k8s.io/v1`).
//!
//! Checks what the API server refuses (`pkg/apis/networking/validation`, `ValidateNetworkPolicySpec`). What remains
//! not understood, as in a policy from a newer server, is listed in `unread` so that no verdict rests on it.

use ipnet::IpNet;
use model::flow::PortRange;
use model::objects::{IpBlock, NetworkPolicy, Peer, PolicyPort, PolicyPortSpec, PolicyRule, TargetPort};

use super::Input;
use super::fields::Fields;
use super::meta::{self, Scope};
use super::selector;
use super::service::{PROTOCOLS, port_or_name};
use crate::names::{self, shown};
use crate::nearest::within_two_edits;
use crate::problem::{Problems, Severity};

/// Reads a NetworkPolicy.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<NetworkPolicy> {
    let meta = meta::read(top, input, Scope::Namespaced, names::subdomain)?;
    // What goes wrong in the spec is collected apart: it decides what counts as unread.
    let problems = Problems::default();
    let mut policy = NetworkPolicy { meta, ..NetworkPolicy::default() };
    match top.value("spec") {
        Some(value) => {
            let keys = &["podSelector", "policyTypes", "ingress", "egress"];
            // The API takes a spec without a pod selector as selecting all pods; a misspelt one must not do that.
            let misspelt = value
                .as_object()
                .is_some_and(|map| map.keys().any(|key| within_two_edits(key, ["podSelector"]).is_some()));
            let required: &[&str] = if misspelt { &["podSelector"] } else { &[] };
            if let Some(spec) = Fields::of(value, top.at("spec"), &problems, keys, required) {
                read_spec(&spec, &mut policy);
            }
        }
        None => problems.refuse(top.at("spec"), "is missing"),
    }
    for problem in problems.into_inner() {
        if problem.severity != Severity::Odd && !policy.unread.contains(&problem.field) {
            policy.unread.push(problem.field.clone());
        }
        top.problems().add(problem);
    }
    Some(policy)
}

fn read_spec(spec: &Fields<'_>, policy: &mut NetworkPolicy) {
    policy.pod_selector = selector::read(spec, "podSelector").unwrap_or_default();
    policy.ingress = rules(spec, "ingress", "from");
    policy.egress = rules(spec, "egress", "to");
    let types = spec.texts("policyTypes");
    for (text, path) in &types {
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
    let namespaces = selector::read(fields, "namespaceSelector");
    let pods = selector::read(fields, "podSelector");
    let block = fields.child("ipBlock", &["cidr", "except"], &["cidr"]);
    match (block, &namespaces, &pods) {
        (Some(block), None, None) => ip_block(&block).map(Peer::Block),
        (Some(_), _, _) => {
            fields.refuse("ipBlock", "cannot stand beside a selector in one entry");
            None
        }
        (None, None, None) => {
            fields
                .problems()
                .refuse(fields.path(), "an entry needs a podSelector, a namespaceSelector or an ipBlock");
            None
        }
        (None, _, _) => Some(Peer::Pods { namespaces, pods }),
    }
}

fn ip_block(fields: &Fields<'_>) -> Option<IpBlock> {
    let cidr = fields.text("cidr").and_then(|text| block(fields, "cidr", text));
    let except: Vec<IpNet> = fields
        .texts("except")
        .into_iter()
        .enumerate()
        .filter_map(|(index, (text, _))| block(fields, &format!("except[{index}]"), text))
        .collect();
    let cidr = cidr?;
    for (index, hole) in except.iter().enumerate() {
        // A strict subset is wanted.
        if !cidr.contains(hole) || cidr == *hole {
            fields.refuse(&format!("except[{index}]"), format!("{hole} does not lie inside {cidr}"));
        }
    }
    Some(IpBlock { cidr, except })
}

fn block(fields: &Fields<'_>, key: &str, text: &str) -> Option<IpNet> {
    let block = text.parse::<IpNet>().ok();
    if block.is_none() {
        fields.refuse(key, format!("`{}` is not an address block such as 10.0.0.0/8", shown(text)));
    }
    // Host bits beyond the prefix are tolerated, as by `ParseCIDRSloppy`.
    block.map(|block| block.trunc())
}

fn policy_port(fields: &Fields<'_>) -> Option<PolicyPort> {
    let protocol = fields.word("protocol", PROTOCOLS);
    if fields.value("protocol").is_some() && protocol.is_none() {
        return None;
    }
    let port = port_or_name(fields, "port");
    if port.is_none() && fields.value("port").is_some() {
        if fields.value("port").and_then(serde_json::Value::as_i64) == Some(0) {
            fields.refuse("port", super::fields::not_a_port(0));
        }
        return None;
    }
    let end = fields.value("endPort").is_some().then(|| fields.port("endPort"));
    let ports = match (port, end) {
        (_, Some(None)) => return None,
        (None, Some(Some(_))) => {
            fields.refuse("endPort", "needs `port`, the first port of the range");
            return None;
        }
        (Some(TargetPort::Name(_)), Some(Some(_))) => {
            fields.refuse("endPort", "cannot follow a port name");
            return None;
        }
        (Some(TargetPort::Number(first)), Some(Some(last))) if last < first => {
            fields.refuse("endPort", format!("{last} lies before `port` {first}"));
            return None;
        }
        (Some(TargetPort::Number(first)), Some(Some(last))) => {
            PolicyPortSpec::Range(PortRange { first, last })
        }
        (Some(TargetPort::Number(port)), None) => PolicyPortSpec::Range(PortRange::single(port)),
        (Some(TargetPort::Name(name)), None) => PolicyPortSpec::Name(name),
        (None, None) => PolicyPortSpec::All,
    };
    Some(PolicyPort { protocol: protocol.unwrap_or_default(), ports })
}

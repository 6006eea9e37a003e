//! A change as a JSON patch of the object, written by hand: a handful of shapes, and keys in the order people write them.

use std::fmt::Write as _;

use ipnet::IpNet;
use model::Protocol;
use model::objects::{Action, ClusterPolicy, ClusterPolicyKind, Key};

use super::{Change, NewPeer, Patch, port_words};
use crate::detail::PolicyKind;
use crate::matching::{Direction, NAME_LABEL, Question};

/// A change of a NetworkPolicy; `first_rule` if it has none yet, so that the list may be missing.
pub(super) fn network(question: &Question<'_, '_>, policy: &Key, change: Change, first_rule: bool) -> Patch {
    let list = list(question.direction);
    let side = side(question.direction);
    let port = || network_port(question.port, question.protocol);
    let peers = |peer: &NewPeer| network_peers(&policy.namespace, peer);
    let port_words = port_words(question.port, question.protocol);
    let (says, operations) = match &change {
        Change::Port { rule } => (
            format!("add port {port_words} to rule {}", rule + 1),
            vec![(format!("/spec/{list}/{rule}/ports/-"), port())],
        ),
        Change::Peer { rule, peer } => (
            format!("add to rule {}: {}", rule + 1, peer.words()),
            peers(peer).into_iter().map(|peer| (format!("/spec/{list}/{rule}/{side}/-"), peer)).collect(),
        ),
        Change::Rule { peer, .. } => {
            let rule = format!("{{\"{side}\":[{}],\"ports\":[{}]}}", peers(peer).join(","), port());
            let (path, value) = if first_rule {
                (format!("/spec/{list}"), format!("[{rule}]"))
            } else {
                (format!("/spec/{list}/-"), rule)
            };
            (format!("add a rule for {} on {port_words}", peer.words()), vec![(path, value)])
        }
    };
    let json = patch(&operations);
    Patch { kind: PolicyKind::NetworkPolicy, policy: policy.clone(), says, json, change }
}

/// A new rule of a cluster-wide policy.
pub(super) fn cluster(question: &Question<'_, '_>, policy: &ClusterPolicy, change: Change) -> Patch {
    let kind = policy.kind;
    let newer = kind == ClusterPolicyKind::ClusterNetworkPolicy;
    let (at, action, peer) = match &change {
        Change::Rule { at, action, peer } => (at.unwrap_or_default(), *action, peer.clone()),
        // Only rules are ever added to these.
        Change::Port { rule } | Change::Peer { rule, .. } => {
            (*rule, Action::Accept, NewPeer::Addresses(Vec::new()))
        }
    };
    let action_word = match action {
        Action::Accept if newer => "Accept",
        Action::Accept => "Allow",
        Action::Deny => "Deny",
        Action::Pass => "Pass",
    };
    let (port, protocol) = (question.port, question.protocol);
    let ports = if newer {
        format!("\"protocols\":[{{\"{protocol}\":{{\"destinationPort\":{{\"number\":{port}}}}}}}]")
    } else {
        format!("\"ports\":[{{\"portNumber\":{{\"protocol\":\"{}\",\"port\":{port}}}}}]", protocol.upper())
    };
    let value = format!(
        "{{\"action\":\"{action_word}\",\"{}\":[{}],{ports}}}",
        side(question.direction),
        cluster_peer(&peer)
    );
    let json = patch(&[(format!("/spec/{}/{at}", list(question.direction)), value)]);
    let verb = if action == Action::Pass { "passes" } else { "accepts" };
    let says = format!(
        "add, before rule {}, one that {verb} {} on {}",
        at + 1,
        peer.words(),
        port_words(port, protocol)
    );
    Patch { kind: PolicyKind::Cluster(kind), policy: policy.meta.key.clone(), says, json, change }
}

const fn list(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

const fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

fn patch(operations: &[(String, String)]) -> String {
    let operations: Vec<String> = operations
        .iter()
        .map(|(path, value)| format!("{{\"op\":\"add\",\"path\":\"{path}\",\"value\":{value}}}"))
        .collect();
    format!("[{}]", operations.join(","))
}

fn network_port(port: u16, protocol: Protocol) -> String {
    format!("{{\"protocol\":\"{}\",\"port\":{port}}}", protocol.upper())
}

fn network_peers(own: &str, peer: &NewPeer) -> Vec<String> {
    match peer {
        NewPeer::Pods { namespace, labels } => {
            let pods = format!("\"podSelector\":{}", selector(labels));
            vec![if namespace == own {
                format!("{{{pods}}}")
            } else {
                format!("{{\"namespaceSelector\":{},{pods}}}", by_name(namespace))
            }]
        }
        NewPeer::Addresses(blocks) => {
            blocks.iter().map(|block| format!("{{\"ipBlock\":{{\"cidr\":\"{block}\"}}}}")).collect()
        }
    }
}

fn cluster_peer(peer: &NewPeer) -> String {
    match peer {
        NewPeer::Pods { namespace, labels } => format!(
            "{{\"pods\":{{\"namespaceSelector\":{},\"podSelector\":{}}}}}",
            by_name(namespace),
            selector(labels)
        ),
        NewPeer::Addresses(blocks) => {
            let blocks: Vec<String> = blocks.iter().map(|block: &IpNet| format!("\"{block}\"")).collect();
            format!("{{\"networks\":[{}]}}", blocks.join(","))
        }
    }
}

fn by_name(namespace: &str) -> String {
    selector(&[(NAME_LABEL.to_owned(), namespace.to_owned())])
}

fn selector(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return "{}".to_owned();
    }
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
    format!("{{\"matchLabels\":{{{}}}}}", labels.join(","))
}

/// A JSON string (RFC 8259, 7).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control.is_control() => {
                let mut units = [0; 2];
                for unit in control.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

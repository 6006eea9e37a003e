//! Nodes and Namespaces.
//!
//! Only addresses, pod ranges and conditions of a node matter here.

use ipnet::IpNet;
use model::objects::{Condition, Meta, Namespace, Node};

use super::Input;
use super::fields::{Fields, not_an_address, parse_address};
use super::meta::{self, Scope};
use crate::names::{self, shown};

/// Reads a Node.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Node> {
    let meta = meta::read(top, input, Scope::Cluster, names::subdomain)?;
    let mut node = Node { meta, ..Node::default() };
    if let Some(spec) = top.unchecked_child("spec") {
        let mut ranges = spec.texts("podCIDRs");
        if ranges.is_empty() {
            ranges.extend(spec.text("podCIDR").map(|text| (text, spec.at("podCIDR"))));
        }
        for (text, path) in ranges {
            match text.parse::<IpNet>() {
                Ok(range) => node.pod_cidrs.push(range),
                Err(_) => spec.problems().refuse(path, format!("`{}` is not an address range", shown(text))),
            }
        }
    }
    if let Some(status) = top.unchecked_child("status") {
        let mut addresses = Vec::new();
        for entry in status.unchecked_objects("addresses") {
            let rank = match entry.text("type") {
                Some("InternalIP") => 0,
                Some("ExternalIP") => 1,
                // Host names are not addresses.
                _ => continue,
            };
            let Some(text) = entry.text("address") else { continue };
            match parse_address(text) {
                Some(address) => addresses.push((rank, address)),
                None => entry.refuse("address", not_an_address(text)),
            }
        }
        addresses.sort_by_key(|(rank, _)| *rank);
        node.addresses = addresses.into_iter().map(|(_, address)| address).collect();
        node.conditions = conditions(&status);
    }
    Some(node)
}

/// Reads a Namespace. The API server sets the name label on every namespace, so a file may leave it out.
pub(super) fn namespace(top: &Fields<'_>, input: Input<'_>) -> Option<Namespace> {
    let mut meta: Meta = meta::read(top, input, Scope::Cluster, names::label)?;
    meta.labels.insert("kubernetes.io/metadata.name".to_owned(), meta.key.name.clone());
    Some(Namespace { meta })
}

/// Status conditions of pods and nodes.
pub(super) fn conditions(status: &Fields<'_>) -> Vec<Condition> {
    status
        .unchecked_objects("conditions")
        .into_iter()
        .filter_map(|entry| {
            Some(Condition {
                kind: entry.text("type")?.to_owned(),
                status: entry.text_or_empty("status"),
                reason: entry.text_or_empty("reason"),
                message: entry.text_or_empty("message"),
            })
        })
        .collect()
}

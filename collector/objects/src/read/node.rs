//! Nodes and Namespaces.
//!
//! Only addresses, pod ranges and conditions of a node matter here.

use model::objects::{Condition, Meta, Namespace, Node};

use super::fields::Fields;
use super::meta::{self, Scope};
use super::{Input, address};
use crate::names;

/// Reads a Node.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>) -> Option<Node> {
    let meta = meta::read(top, input, Scope::Cluster, names::subdomain)?;
    let mut node = Node { meta, ..Node::default() };
    if let Some(spec) = top.unchecked_child("spec") {
        read_pod_ranges(&spec, &mut node);
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
            // The API server takes any text here.
            match address::parse(entry.text("address").unwrap_or_default()) {
                Ok(address) => addresses.push((rank, address)),
                Err(reason) => entry.unread("address", reason),
            }
        }
        addresses.sort_by_key(|(rank, _)| *rank);
        node.addresses = addresses.into_iter().map(|(_, address)| address).collect();
        node.conditions = conditions(&status);
    }
    Some(node)
}

fn read_pod_ranges(spec: &Fields<'_>, node: &mut Node) {
    let first = spec.text("podCIDR").filter(|text| !text.is_empty());
    let mut texts = spec.texts("podCIDRs");
    // The older key wins where the two differ (`Convert_v1_NodeSpec_To_core_NodeSpec`).
    if let Some(first) = first
        && texts.first().is_none_or(|(text, _)| *text != first)
    {
        texts = vec![(first, spec.at("podCIDR"))];
    }
    let mut families = Vec::new();
    for (text, path) in texts {
        match address::parse_block(text) {
            Ok(range) => {
                families.push(range.addr().is_ipv4());
                node.pod_cidrs.push(range);
            }
            Err(reason) => spec.problems().refuse(path, reason),
        }
    }
    if !address::at_most_one_of_each_family(&families) {
        spec.refuse("podCIDRs", "at most one range of each family is allowed");
    }
}

/// Reads a Namespace. The API server sets the name label on every namespace, so a file may leave it out.
pub(super) fn namespace(top: &Fields<'_>, input: Input<'_>) -> Option<Namespace> {
    let mut meta: Meta = meta::read(top, input, Scope::Cluster, names::label)?;
    if let Some(spec) = top.unchecked_child("spec") {
        for (name, _) in spec.texts("finalizers") {
            for reason in [names::qualified_name(name), meta::standard_or_qualified(name)]
                .into_iter()
                .filter_map(Result::err)
            {
                spec.refuse("finalizers", reason);
            }
        }
    }
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

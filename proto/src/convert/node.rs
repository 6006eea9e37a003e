//! Nodes and drops as lists show them.

use model::{DropRecord, NetnsOwner, NodeReport, Timestamp};

use super::agent::source_state;
use super::explanation::{rfc3339, rule, saturated};
use super::walk::service_proxy;
use crate::v1;

/// The names a collector puts to a drop's addresses, and what it makes of it. All may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropNames {
    /// `NAMESPACE/NAME` of the pod in whose namespace it was dropped, if a pod's.
    pub netns_pod: String,
    /// `pod NAMESPACE/NAME` and the like of the sender.
    pub source: String,
    /// The same of the receiver.
    pub destination: String,
    /// `NAMESPACE/NAME` of the Service dialled.
    pub service: String,
    /// Catalogue id of the likely cause.
    pub cause_id: String,
    /// Its slug.
    pub cause: String,
}

/// A node as `ListNodes` shows it.
pub fn node(report: &NodeReport, now: Timestamp) -> v1::Node {
    v1::Node {
        name: report.name.clone(),
        connected: report.connected,
        last_seen_age_ms: report.last_seen.map(|at| saturated(at.age_ms(now))),
        agent_version: report.agent_version.clone(),
        kernel: report.kernel.clone(),
        service_proxy: report.service_proxy.map(|proxy| service_proxy(proxy).into()),
        sources: report.sources.iter().map(source_state).collect(),
        lost: saturated(report.lost),
    }
}

/// A drop as `ListDrops` shows it.
pub fn list_drop(record: &DropRecord, names: DropNames, now: Timestamp) -> v1::Drop {
    v1::Drop {
        node: record.id.node.clone(),
        netns_owner: match &record.netns.owner {
            NetnsOwner::Node => "node".to_owned(),
            NetnsOwner::Pod { .. } if !names.netns_pod.is_empty() => format!("pod {}", names.netns_pod),
            NetnsOwner::Pod { .. } => "pod".to_owned(),
            NetnsOwner::Unknown => "unknown".to_owned(),
        },
        protocol: record.tuple.protocol.upper().to_owned(),
        source_address: record.tuple.src.to_string(),
        source: names.source,
        destination_address: record.tuple.dst.ip().to_string(),
        destination_port: record.tuple.dst.port().into(),
        destination: names.destination,
        service: names.service,
        reply: record.reply,
        reason: record.reason.clone(),
        location: format!("{}+{:#x}", record.location.symbol, record.location.offset),
        in_interface: record.in_interface.clone().unwrap_or_default(),
        count: saturated(record.count),
        first_at: rfc3339(record.first_at),
        last_at: rfc3339(record.last_at),
        age_ms: saturated(record.last_at.age_ms(now)),
        rule: record.walk.as_ref().and_then(|walk| walk.terminal_rule()).map(rule),
        cause_id: names.cause_id,
        cause: names.cause,
    }
}

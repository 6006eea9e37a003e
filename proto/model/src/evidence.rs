//! What nodes report: drops that happened, and what each agent can see.

use serde::{Deserialize, Serialize};

use crate::flow::Tuple;
use crate::netns::Netns;
use crate::service_proxy::ServiceProxy;
use crate::time::Timestamp;
use crate::walk::Walk;

/// Names one record for ever: the node, its boot, and a number that only grows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    /// Node name.
    pub node: String,
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`) plus the agent's start time in milliseconds.
    pub boot: String,
    /// Grows by one for each record of this boot.
    pub sequence: u64,
}

/// A place in the kernel's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Function name from /proc/kallsyms, or the address in hex where that is hidden.
    pub symbol: String,
    /// Bytes past its start.
    pub offset: u32,
}

/// First packets of one flow that the kernel threw away for one reason at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// Global id; sending a record again changes nothing.
    pub id: RecordId,
    /// Where.
    pub netns: Netns,
    /// Which flow, as the packet looked at the drop: after destination translation, if there was one.
    pub tuple: Tuple,
    /// The source port of the latest packet.
    pub last_src_port: u16,
    /// TCP flags as (SYN, SYN+ACK): true if this was the answering half of the handshake.
    pub reply: bool,
    /// The kernel's drop reason by name, without its prefix: `NETFILTER_DROP`, `NO_SOCKET`.
    pub reason: String,
    /// The code that dropped it.
    pub location: Location,
    /// Interface the packet arrived on, if any.
    pub in_interface: Option<String>,
    /// Packets.
    pub count: u64,
    /// First packet of this record.
    pub first_at: Timestamp,
    /// Latest packet of this record.
    pub last_at: Timestamp,
    /// What the namespace's rules did to this packet when the flow was first dropped, if it was walked then.
    pub walk: Option<Box<Walk>>,
}

/// How well a source of evidence works on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SourceHealth {
    /// As designed.
    Ok,
    /// Works with something missing.
    Degraded,
    /// Does not work.
    Unavailable,
}

/// One source of evidence and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// `drops`, `iptables`, `routes`, `sockets`, `netns` …
    pub name: String,
    /// How well it works.
    pub health: SourceHealth,
    /// In words: what works, or what is missing and what that costs.
    pub detail: String,
}

/// What a node's agent says of itself, and what the collector knows of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Node name.
    pub name: String,
    /// Whether its agent's stream is up.
    pub connected: bool,
    /// When the agent was last heard of; `None` if never.
    pub last_seen: Option<Timestamp>,
    /// Agent version.
    pub agent_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Who serves Services there, as far as its rules tell; `None` before the rules were read.
    pub service_proxy: Option<ServiceProxy>,
    /// What it can and cannot see.
    pub sources: Vec<SourceState>,
    /// Packets whose detail was lost since the agent started: counted in the kernel, not in any record.
    pub lost: u64,
}

impl NodeReport {
    /// The state of one source, if reported.
    pub fn source(&self, name: &str) -> Option<&SourceState> {
        self.sources.iter().find(|source| source.name == name)
    }
}

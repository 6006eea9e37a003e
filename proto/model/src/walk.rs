//! What a node's programmed rules do to a packet, with every step kept.
//!
//! Made by the `rules` crate on the node, carried to the collector, argued about by `diagnose`.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::flow::{Family, Packet};
use crate::gap::Gap;
use crate::service_proxy::ServiceProxy;
use crate::time::Timestamp;

/// Which program interface wrote a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// iptables through nf_tables (`iptables-nft`).
    IptablesNft,
    /// iptables through its own kernel tables (`iptables-legacy`).
    IptablesLegacy,
    /// nftables proper.
    Nftables,
    /// IP virtual server.
    Ipvs,
}

impl Backend {
    /// The word of the `backend` field in walk results (design: both iptables kinds are "iptables").
    pub const fn word(self) -> &'static str {
        match self {
            Self::IptablesNft | Self::IptablesLegacy => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }
}

/// One rule, or a base chain's policy, as its own tool prints it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// Who holds it.
    pub backend: Backend,
    /// Address family of the table.
    pub family: Family,
    /// Table name: `filter`, `nat` …
    pub table: String,
    /// Chain name.
    pub chain: String,
    /// The nftables rule handle, where there is one.
    pub handle: Option<u64>,
    /// The rule without counters, as `iptables-save` or `nft` prints it; `policy DROP` for a chain policy.
    pub text: String,
    /// Whose rule it is: "kube-proxy", "kube-router", "firewalld" …; empty if nobody is known to write such a rule.
    pub owner: String,
    /// The object it stands for, as `kind ns/name` plus what it is: "service shop/api:http"; empty if none.
    pub object: String,
}

/// What happens to the packet in the end, on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It leaves the namespace towards `destinations`.
    Forwarded,
    /// It is delivered to a socket of this namespace.
    Local,
    /// It vanishes without an answer.
    Dropped,
    /// The sender is told: RST or ICMP error.
    Rejected,
    /// It cannot be told; a gap says why.
    Unknown,
}

/// Whether the source address is rewritten on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Masquerade {
    /// It stays.
    No,
    /// It becomes an address of the node.
    Yes,
    /// Depends on what could not be evaluated.
    Maybe,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// The rule matched and sent the packet into another chain.
    Jump(String),
    /// Back to the calling chain by an explicit RETURN.
    Return,
    /// Accepted by this table's hook.
    Accept,
    /// Dropped.
    Drop,
    /// Refused, with the text of `--reject-with`.
    Reject(String),
    /// Destination rewritten.
    Dnat(SocketAddr),
    /// Source to be rewritten on the way out.
    Masquerade,
    /// The packet's mark is now this.
    Mark(u32),
    /// A base chain ended with its policy.
    Policy(String),
    /// A set that the rule asks was asked: what about, and what it said.
    Membership(String),
    /// A route was chosen: device and gateway in words, or why there is none.
    Route(String),
    /// The rule could not be evaluated; the text says which part.
    Unknown(String),
}

/// One thing that happened to the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// The hook in the kernel's words: PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING, or ROUTE for a look-up.
    pub hook: String,
    /// The rule; none for a route look-up.
    pub rule: Option<RuleRef>,
    /// What it did.
    pub action: Action,
    /// The rule's packet counter when it was read, if it was.
    pub packets: Option<u64>,
}

/// One way the packet can go: an endpoint that may be picked, or the only way there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Branch {
    /// Where it would be sent; the address as asked when nothing translates it.
    pub destination: SocketAddr,
    /// What happens on this way.
    pub outcome: Outcome,
    /// Whether its source is rewritten.
    pub masquerade: Masquerade,
    /// The rule that rewrote the destination.
    pub dnat_rule: Option<RuleRef>,
    /// The rule or policy that decided, for anything but plain acceptance.
    pub terminal_rule: Option<RuleRef>,
    /// What the sender is told, for `Rejected`.
    pub reject_with: Option<String>,
    /// Device the packet leaves by, for `Forwarded`.
    pub out_interface: Option<String>,
    /// Next hop, for `Forwarded` through a gateway.
    pub gateway: Option<std::net::IpAddr>,
    /// Everything that happened, in order.
    pub steps: Vec<Step>,
    /// What could not be evaluated on this way.
    pub gaps: Vec<Gap>,
}

/// What of the node's rules speaks for or against a Service proxy serving it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProxyFacts {
    /// Who serves Services here, as far as the rules tell.
    pub mode: ServiceProxy,
    /// How many Service addresses (address, port, protocol) the rules know, rejected ones included.
    pub services: u32,
    /// Whether the asked destination address and port is one of them.
    pub knows_destination: bool,
    /// Whether the asked destination address is known with any port.
    pub knows_address: bool,
    /// What shows that a proxy serves the node: hooked chains, their writer's marks; empty if nothing does.
    pub evidence: Vec<String>,
}

/// Identity and age of the rules a walk used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RulesStamp {
    /// When they were read.
    pub read_at: Timestamp,
    /// Hash of all rules without their counters; equal rules have equal fingerprints.
    pub fingerprint: u64,
    /// When the agent first saw this fingerprint; the rules have not changed since.
    pub unchanged_since: Timestamp,
}

/// The whole result of walking one packet through one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Walk {
    /// The packet as asked.
    pub packet: Packet,
    /// What happens on every branch, or `Unknown` where branches differ or cannot be told.
    pub outcome: Outcome,
    /// All ways the packet can go; never empty.
    pub branches: Vec<Branch>,
    /// What the rules say about Services on this node.
    pub proxy: ProxyFacts,
    /// Which rules these were.
    pub rules: RulesStamp,
    /// What could not be read or evaluated, branch gaps included.
    pub gaps: Vec<Gap>,
}

impl Walk {
    /// The rule that decided, where one rule decided every branch.
    pub fn terminal_rule(&self) -> Option<&RuleRef> {
        same(self.branches.iter().map(|branch| branch.terminal_rule.as_ref()))
    }

    /// The rule that translated the destination, where it is the same on every branch.
    pub fn dnat_rule(&self) -> Option<&RuleRef> {
        same(self.branches.iter().map(|branch| branch.dnat_rule.as_ref()))
    }

    /// Whether the source is rewritten, over all branches.
    pub fn masquerade(&self) -> Masquerade {
        same(self.branches.iter().map(|branch| Some(branch.masquerade))).unwrap_or(Masquerade::Maybe)
    }

    /// Whether some branch sends the packet to another address than it asked for.
    pub fn translated(&self) -> bool {
        self.branches.iter().any(|branch| branch.destination != self.packet.dst)
    }

    /// Whether both walks took the same decision: outcome and deciding rule. Rules elsewhere may differ.
    pub fn decides_like(&self, other: &Self) -> bool {
        self.outcome == other.outcome && self.terminal_rule() == other.terminal_rule()
    }
}

/// The value all items share, if they do.
fn same<T: PartialEq>(mut items: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = items.next()??;
    items.all(|item| item.as_ref() == Some(&first)).then_some(first)
}

/// In words: what happened to the packet.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(chain) => write!(f, "goes to {chain}"),
            Self::Return => f.write_str("returns"),
            Self::Accept => f.write_str("accepts"),
            Self::Drop => f.write_str("drops"),
            Self::Reject(with) if with.is_empty() => f.write_str("rejects"),
            Self::Reject(with) => write!(f, "rejects with {with}"),
            Self::Dnat(to) => write!(f, "destination becomes {to}"),
            Self::Masquerade => f.write_str("source becomes the node's"),
            Self::Mark(mark) => write!(f, "mark becomes {mark:#x}"),
            Self::Policy(policy) => write!(f, "policy {policy}"),
            Self::Membership(told) => f.write_str(told),
            Self::Route(way) => write!(f, "route: {way}"),
            Self::Unknown(what) => write!(f, "cannot be told: {what}"),
        }
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // iptables-save begins every rule with the chain it is appended to, which is named already.
        let rule = self.text.strip_prefix("-A ").and_then(|rest| rest.strip_prefix(self.chain.as_str()));
        let rule = rule.map_or(self.text.as_str(), str::trim_start);
        write!(f, "{} {}  {}", self.table, self.chain, rule)
    }
}

//! One network namespace's programmed state as its own tools print it, before anything is made of it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::flow::{Family, Protocol};
use crate::gap::Gap;
use crate::time::Timestamp;
use crate::walk::Backend;

/// One `iptables-save` or `ip6tables-save` output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRules {
    /// Which back-end it was read from.
    pub backend: Backend,
    /// Which family.
    pub family: Family,
    /// The text as printed.
    pub text: String,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Index of the bridge or bond it belongs to.
    pub master: Option<u32>,
    /// Index of the veth peer, in the peer's namespace.
    pub peer_index: Option<u32>,
    /// Kind as `ip -d link` prints it: `veth`, `bridge`, `vxlan` …; empty for hardware and loopback.
    pub kind: String,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The interface's name.
    pub interface: String,
    /// Address with its prefix length.
    pub address: IpNet,
}

/// What a route does with a packet (`rtm_type` in rtnetlink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RouteKind {
    /// Send it on.
    Unicast,
    /// Deliver it here.
    Local,
    /// Deliver as broadcast.
    Broadcast,
    /// Deliver as multicast.
    Multicast,
    /// Silent loss.
    Blackhole,
    /// ICMP host unreachable.
    Unreachable,
    /// ICMP administratively prohibited.
    Prohibit,
    /// Go on in the next table.
    Throw,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Routing table number: 254 main, 255 local.
    pub table: u32,
    /// What it covers; 0.0.0.0/0 or ::/0 for a default route.
    pub destination: IpNet,
    /// What it does.
    pub kind: RouteKind,
    /// Next hop, if not directly connected.
    pub gateway: Option<IpAddr>,
    /// Outgoing interface name.
    pub device: Option<String>,
    /// Source address a local sender takes.
    pub prefer_src: Option<IpAddr>,
    /// Priority: lower wins among equal prefixes.
    pub metric: u32,
}

/// A policy routing rule (`ip rule`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRule {
    /// Order of evaluation, lowest first.
    pub priority: u32,
    /// Source it is limited to.
    pub from: Option<IpNet>,
    /// Table looked up.
    pub table: u32,
    /// Selectors beyond `from` that are not modelled, as text; a non-empty list makes the rule's match unknown.
    pub other: Vec<String>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Bound address and port; the unspecified address stands for all of them.
    pub local: SocketAddr,
    /// For an IPv6 wildcard: whether IPv4 is shut out (`IPV6_V6ONLY`); `None` when it could not be read.
    pub v6only: Option<bool>,
    /// Connections waiting to be accepted.
    pub queued: u32,
    /// How many may wait.
    pub backlog: u32,
    /// Process name, if known.
    pub process: Option<String>,
    /// Process id in the agent's pid namespace, if known.
    pub pid: Option<u32>,
}

impl Listener {
    /// Whether this socket takes connections to `address` and `port`. `None`: depends on an unread `v6only`.
    pub fn accepts(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<bool> {
        if self.protocol != protocol || self.local.port() != port {
            return Some(false);
        }
        let bound = self.local.ip();
        if bound == address {
            return Some(true);
        }
        match (bound.is_unspecified(), bound, address) {
            (true, IpAddr::V4(_), IpAddr::V4(_)) | (true, IpAddr::V6(_), IpAddr::V6(_)) => Some(true),
            (true, IpAddr::V6(_), IpAddr::V4(_)) => self.v6only.map(|only| !only),
            _ => Some(false),
        }
    }

    /// Whether it is bound to a loopback address, so that only the pod itself reaches it.
    pub const fn loopback_only(&self) -> bool {
        self.local.ip().is_loopback()
    }
}

/// A part of a namespace's state that a walk rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// Rules, of one family or of any.
    Rules(Option<Family>),
    /// Interface addresses.
    Addresses,
    /// Routes of a family.
    Routes(Family),
    /// Policy routing rules of a family.
    RoutingRules(Family),
    /// Sets of the kernel's ipset.
    Sets,
    /// IPVS' virtual servers.
    VirtualServers,
}

/// A part that was not read, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// Which.
    pub part: Part,
    /// Why; one of [`NodeState::gaps`].
    pub gap: Gap,
}

/// Everything read from one network namespace for a walk. A part that could not be read is empty and has a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// iptables rules, one entry for each back-end and family that holds tables.
    pub iptables: Vec<SavedRules>,
    /// What `nft -j list ruleset` prints; empty where it was not asked.
    #[serde(default)]
    pub nftables: String,
    /// nftables tables beyond those of iptables-nft that can decide over a packet. Those that `nftables` lacks, or that are
    /// not walked, stay doubtful.
    pub foreign_nft_tables: Vec<String>,
    /// What `ipset save` prints; `None` where it was not asked, because no rule names a set.
    #[serde(default)]
    pub ipsets: Option<String>,
    /// IPVS' virtual servers, as `/proc/net/ip_vs` shows or `ipvsadm -Sn` prints them; empty where there are none, `None`
    /// where they were not read.
    #[serde(default)]
    pub ipvs: Option<String>,
    /// Interfaces.
    pub links: Vec<Link>,
    /// Interface addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Routes of all tables.
    pub routes: Vec<Route>,
    /// Policy routing rules.
    pub routing_rules: Vec<RoutingRule>,
    /// Sysctls that change a packet's fate, by dotted name: `net.ipv4.ip_forward`.
    pub sysctls: std::collections::BTreeMap<String, String>,
    /// When reading began.
    pub read_at: Timestamp,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// Those of the gaps that leave a walk without something it rests on.
    #[serde(default)]
    pub unread: Vec<Unread>,
    /// Parts that nobody saved, in a state from files. A walk that needs one goes on with what is usual and says so; not one
    /// of [`Self::gaps`], because most walks need none of them.
    #[serde(default)]
    pub unsaved: Vec<Unread>,
}

impl NodeState {
    /// Notes why parts were not read.
    pub fn miss(&mut self, parts: impl IntoIterator<Item = Part>, gap: Gap) {
        self.unread.extend(parts.into_iter().map(|part| Unread { part, gap: gap.clone() }));
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }
}

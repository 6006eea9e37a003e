//! IPVS: virtual servers and the real ones they send to, lowered to the common form.
//!
//! Read from `/proc/net/ip_vs`, from what `ipvsadm -Sn` prints, or from `ipvsadm -Ln`. How a packet goes on once a real
//! server was picked is the walker's business; connections that exist already are not looked at.
//!
//! Facts: net/netfilter/ipvs (ip_vs_core.c, ip_vs_xmit.c, ip_vs_ctl.c and the schedulers), Linux 5.4 to 6.18. Not
//! modelled: FTP's second connections, `drop_packet`, thresholds of real servers (`-x`), the protocols AH and ESP.

mod lower;
mod read;

use std::net::{IpAddr, SocketAddr};

use model::flow::Family;
use model::gap::Gap;

use crate::ir::{Problem, RuleSet};

/// The name of the table that virtual servers are lowered to.
pub(crate) const TABLE: &str = "ipvs";

/// All virtual servers of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualServers {
    /// The servers, sorted by what they answer to.
    pub servers: Vec<Server>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// What it answers to.
    pub key: Key,
    /// The name of its scheduler.
    pub scheduler: String,
    /// Whether a client stays with its real server.
    pub persistent: bool,
    /// The scheduler's own flags as `ipvsadm` names them; `None` where the listing does not show them.
    pub flags: Option<Vec<String>>,
    /// Its line as `ipvsadm -Sn` prints it, or as near as the listing tells.
    pub line: String,
    /// The real servers, sorted by address.
    pub destinations: Vec<Destination>,
}

/// What a virtual server answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A packet mark; of packets of either family if none is told.
    Mark {
        /// The mark.
        mark: u32,
        /// The family, where the listing shows it.
        family: Option<Family>,
    },
    /// An address, and a port unless it is 0, which stands for all ports that have no server of their own.
    Address {
        /// Protocol number.
        protocol: u8,
        /// Address and port.
        address: SocketAddr,
    },
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Address and port; port 0 keeps the packet's.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: Method,
    /// Its share; 0 takes no new connections.
    pub weight: u32,
    /// Its line as `ipvsadm -Sn` prints it.
    pub line: String,
}

/// How packets get to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The destination address is rewritten (`Masq`).
    Masquerade,
    /// As they are, to the real server's hardware address (`Route`).
    Route,
    /// Wrapped into another packet (`Tunnel`).
    Tunnel,
    /// To this host, as they are (`Local`).
    Local,
}

impl VirtualServers {
    /// Reads a listing. Never fails: what cannot be read is listed in [`VirtualServers::problems`].
    pub fn parse(text: &str) -> Self {
        read::parse(text)
    }

    /// The rules of one family: what IPVS does to what is delivered to this host and to what it sends. `writer` is the
    /// program whose virtual servers they are, as far as is known.
    pub(crate) fn lower(&self, family: Family, writer: &'static str) -> RuleSet {
        lower::lower(self, family, writer)
    }
}

/// In place of virtual servers that were not read: whatever comes to this host may be theirs.
pub(crate) fn unread(family: Family, why: &Gap) -> RuleSet {
    lower::unread(family, why)
}

impl Key {
    /// Whether it may answer to packets of a family.
    fn is_of(self, family: Family) -> bool {
        match self {
            Self::Mark { family: own, .. } => own.is_none_or(|own| own == family),
            Self::Address { address, .. } => Family::of(address.ip()) == family,
        }
    }

    /// As /proc/net/ip_vs names it, with numbers people read: `TCP 10.96.0.1:80`, `FWM 7`.
    fn name(self) -> String {
        match self {
            Self::Mark { mark, .. } => format!("FWM {mark}"),
            Self::Address { protocol, address } => format!("{} {address}", read::protocol_name(protocol)),
        }
    }

    /// Its option and value for `ipvsadm`: `-t 10.96.0.1:80`.
    fn option(self) -> String {
        match self {
            Self::Mark { mark, family: Some(Family::Ipv6) } => format!("-f {mark} -6"),
            Self::Mark { mark, .. } => format!("-f {mark}"),
            Self::Address { protocol: 6, address } => format!("-t {address}"),
            Self::Address { protocol: 17, address } => format!("-u {address}"),
            Self::Address { address, .. } => format!("--sctp-service {address}"),
        }
    }
}

impl Server {
    /// The address and port it answers to, where it is one.
    pub fn address(&self) -> Option<(u8, IpAddr, u16)> {
        match self.key {
            Key::Address { protocol, address } => Some((protocol, address.ip(), address.port())),
            Key::Mark { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;

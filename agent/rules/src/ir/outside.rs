//! What rules ask and use that lies outside any rule set: sets of the kernel's ipset, and IPVS.
//!
//! Sets of nf_tables are inside; see `lookup`.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::Span;
use crate::ipvs::Method;

/// A question to a set of the kernel's ipset, which lies outside any rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSet {
    /// The set's name.
    pub name: Span,
    /// How many dimensions are named.
    pub dimensions: u8,
    /// For which of them, lowest bit first, the source counts.
    pub sources: u8,
    /// Whether exceptions count as held and what is held does not (`--return-nomatch`).
    pub excepted: bool,
    /// Whether the member's counters must have certain values too.
    pub counted: bool,
}

/// What a rule asks of IPVS about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Whether it took it at all.
    Any,
    /// The virtual server's address.
    Address(IpNet),
    /// The virtual server's port.
    Port(u16),
    /// The protocol.
    Protocol(u8),
}

/// A real server of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// Its address; port 0 keeps the packet's.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: Method,
}

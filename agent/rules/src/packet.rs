//! The packet as it is at one point of its way: what rules can test and change.
//!
//! It is not the question (`model::Packet`), which never changes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::flow::{Origin, Packet, Protocol};

/// The interface a packet came by or leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// None at this point of the way.
    Absent,
    /// This one.
    Named(Arc<str>),
    /// One that could not be told.
    Unknown,
}

/// The first packet of a connection on its way through a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) protocol: Protocol,
    pub(crate) src: IpAddr,
    pub(crate) src_port: Option<u16>,
    pub(crate) dst: SocketAddr,
    /// Destination before any translation.
    pub(crate) original: SocketAddr,
    /// Whether a local process sent it.
    pub(crate) local_sender: bool,
    pub(crate) input: Device,
    pub(crate) output: Device,
    pub(crate) mark: u32,
    pub(crate) ct_mark: u32,
    /// Whether connection tracking has had its turn.
    pub(crate) tracked: bool,
    /// Whether it is exempt from connection tracking.
    pub(crate) untracked: bool,
    /// Whether its destination was translated.
    pub(crate) translated: bool,
    /// Whether its source was (or certainly will be) translated.
    pub(crate) masqueraded: bool,
    /// Whether the nat chains that may change the destination have had their turn.
    pub(crate) dst_settled: bool,
    /// Whether the nat chains that may change the source have had their turn.
    pub(crate) src_settled: bool,
    /// The virtual server that IPVS took it for, if it did.
    pub(crate) served: Option<SocketAddr>,
}

impl Passing {
    /// The packet as it enters the host.
    pub(crate) fn entering(asked: &Packet, input: Device) -> Self {
        Self {
            protocol: asked.protocol,
            src: asked.src,
            src_port: asked.src_port,
            dst: asked.dst,
            original: asked.dst,
            local_sender: asked.origin == Origin::Node,
            input,
            output: Device::Absent,
            mark: 0,
            ct_mark: 0,
            tracked: false,
            untracked: false,
            translated: false,
            masqueraded: false,
            dst_settled: false,
            src_settled: false,
            served: None,
        }
    }

    /// Whether it belongs to a connection rules can ask about (`nf_ct_get`).
    pub(crate) const fn has_connection(&self) -> bool {
        self.tracked && !self.untracked
    }
}

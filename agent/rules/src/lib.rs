//! Reads netfilter rule sets and walks a packet through them as the kernel would.
//!
//! Pure: texts and values in, [`model::Walk`] out. It reads nothing from a host, keeps no time, and does not say why a
//! rule is there beyond naming its writer.
//!
//! [`Host`] is the entrance: parse a namespace's state once, walk any number of packets through it. Not modelled, and
//! therefore never the reason of an outcome: rp_filter and other source checks, neighbours, the state of links, and
//! connections that exist already.

#![forbid(unsafe_code)]

mod dispatch;
pub mod drift;
mod eval;
mod fingerprint;
pub mod hooks;
mod host;
pub mod ipset;
pub mod iptables;
pub mod ipvs;
pub mod ir;
mod network;
pub mod nft;
pub mod owner;
mod packet;
mod proxy;
mod report;
mod span;

pub use host::Host;

//! Reads this machine's kernel state: network namespaces and whose they are, rules, addresses, routes, sockets, sysctls.
//!
//! It reads and never writes, and it decides nothing: what the rules do to a packet is the business of `rules`, what
//! that means is the business of `diagnose`. Everything here blocks; an async caller puts it on a blocking thread.

mod addresses;
mod digest;
mod enter;
mod error;
mod ipset;
mod iptables;
mod ipvs;
mod links;
mod machine;
mod netns;
mod nft;
mod nl;
mod preflight;
mod routes;
mod sockets;
mod state;
mod sysctls;

pub use enter::{NetnsHandle, in_netns};
pub use error::Error;
pub use machine::{boot_id, kernel_release, now};
pub use netns::{Known, Namespaces};
pub use nft::{Kept, list_nftables, read_nftables};
pub use preflight::preflight;
pub use rules::nft::netlink::Interfaces;
pub use sockets::read_listeners;
pub use state::{
    Change, RulesToken, StampedState, StateReader, read_state, read_state_stamped, rules_changed, rules_token,
};

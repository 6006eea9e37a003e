//! Network namespaces, and to whom they belong.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A network namespace as one node's agent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Netns {
    /// The kernel's net cookie: never reused while the machine is up, unlike the inode number (`net/core/net_namespace.c`, 5.14+).
    pub cookie: u64,
    /// Inode number of the namespace file, as `lsns` and `ip netns` show it; 0 if not known.
    pub inode: u32,
    /// To whom it belongs.
    pub owner: NetnsOwner,
}

/// To whom a network namespace belongs. Agents know no pod names: the collector puts them to uid and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NetnsOwner {
    /// The namespace the agent runs in: the node itself.
    Node,
    /// A pod of the node.
    Pod {
        /// The pod's uid from its processes' cgroup path; absent where pods have no cgroup of their own (the lab).
        uid: Option<String>,
        /// Addresses on its interfaces, loopback and link-local left out.
        addresses: Vec<IpAddr>,
    },
    /// Neither could be shown.
    Unknown,
}

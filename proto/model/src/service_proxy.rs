//! Who makes Services work on a node. What its rules say about it is part of a walk.

use serde::{Deserialize, Serialize};

/// Who implements Services on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceProxy {
    /// kube-proxy through iptables-nft.
    Iptables,
    /// kube-proxy through iptables-legacy.
    IptablesLegacy,
    /// kube-proxy's nftables mode.
    Nftables,
    /// kube-proxy's IPVS mode.
    Ipvs,
    /// Another data plane.
    Other,
    /// Nobody.
    None,
}

//! Whether a node's rules can speak about a Service at all.
//!
//! Rules that show no Service proxy say nothing of what becomes of a Service's address: something else translates it before
//! they see it, or nothing does, and the two look alike. What is concluded from that, the causes say.

use std::net::SocketAddr;

use model::{Gap, Outcome, ServiceProxy, Walk};

/// Why a walk through a node's rules leaves open what becomes of a Service's address; `None` if it does not.
pub(super) fn blind(node: &str, walk: &Walk, dst: SocketAddr) -> Option<Gap> {
    let proxy = &walk.proxy;
    if proxy.knows_destination || walk.branches.iter().any(|branch| branch.destination != dst) {
        return None;
    }
    let what = format!("what {node} does to {dst}");
    let unwalked = walk.gaps.iter().find(|gap| gap.what == "nftables");
    // kube-proxy's IPVS mode gives every Service address to the device kube-ipvs0 of the node.
    let held = walk.branches.iter().any(|branch| branch.outcome == Outcome::Local);
    let why = match proxy.mode {
        ServiceProxy::Ipvs => "IPVS serves Services there, whose tables are not read".to_owned(),
        ServiceProxy::Other => "another data plane than netfilter serves Services there".to_owned(),
        _ if held => {
            format!(
                "the node holds {} itself, as with kube-proxy's IPVS mode, whose tables are not read",
                dst.ip()
            )
        }
        ServiceProxy::None => match unwalked {
            Some(gap) => format!("no iptables rule there shows a Service proxy; {}", gap.why),
            None => "none of its rules shows a Service proxy".to_owned(),
        },
        // Its mode is read from tables that are walked; others beside them may not be.
        ServiceProxy::Nftables => format!("nftables serves Services there; {}", unwalked?.why),
        ServiceProxy::Iptables | ServiceProxy::IptablesLegacy => return None,
    };
    Some(Gap::new(what, why))
}

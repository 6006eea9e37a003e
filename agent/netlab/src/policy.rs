//! A stand-in for a NetworkPolicy engine: programs the rules kube-router writes for decisions about pods.
//!
//! `decide` takes the decisions from objects; writing rules decides nothing about selectors or peers. The rules have the
//! names, comments, marks and order of kube-router 1.3 to 2.8 (`pkg/controllers/netpol`) with these differences: peers
//! are single `-s`/`-d` rules instead of ipsets, blocks with exceptions are written as the prefixes that are left, the
//! doubled `physdev` jumps are left out, since with `bridge-nf-call-iptables` the plain ones match bridged packets too,
//! and IPv6 is not programmed although decisions carry it.

mod carve;
mod decide;
mod render;

pub use decide::decide;

use ipnet::{IpNet, Ipv4Net};
use model::flow::PortRange;
use model::walk::Backend;
use model::{Key, Protocol};

use crate::error::Error;
use crate::kube_proxy::{restore_tool, save_tool};
use crate::lab::{Lab, Node};

/// What a policy admits: a peer, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The other side: source for ingress, destination for egress.
    pub peer: IpNet,
    /// Parts of the peer that this entry does not admit.
    pub except: Vec<IpNet>,
    /// The protocol; `None` admits everything from the peer.
    pub protocol: Option<Protocol>,
    /// The ports; `None` admits all of the protocol.
    pub ports: Option<PortRange>,
}

/// One policy that isolates a pod in one direction, with what it admits there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// The policy.
    pub policy: Key,
    /// What it admits; empty for a deny-all.
    pub admitted: Vec<Admitted>,
}

/// The decisions about one pod. A direction without a policy is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDecision {
    /// The pod.
    pub pod: Key,
    /// Policies that isolate it for incoming connections.
    pub ingress: Vec<Isolation>,
    /// Policies that isolate it for outgoing connections.
    pub egress: Vec<Isolation>,
}

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct PolicyEngine {
    /// The Services' address range, which the engine lets pass before translation.
    pub service_cidr: Ipv4Net,
    /// Through which interface rules are written.
    pub backend: Backend,
}

impl Admitted {
    /// Everything from or to one address.
    pub const fn all(peer: Ipv4Net) -> Self {
        Self { peer: IpNet::V4(peer), except: Vec::new(), protocol: None, ports: None }
    }

    /// One TCP port from or to a range.
    pub const fn tcp(peer: Ipv4Net, port: u16) -> Self {
        Self {
            peer: IpNet::V4(peer),
            except: Vec::new(),
            protocol: Some(Protocol::Tcp),
            ports: Some(PortRange::single(port)),
        }
    }
}

impl PolicyEngine {
    /// An engine that writes through iptables-nft.
    pub const fn new(service_cidr: Ipv4Net) -> Self {
        Self { service_cidr, backend: Backend::IptablesNft }
    }

    /// Programs every node for its own pods. Pods without a decision are open. Rules of an earlier call are replaced.
    pub fn apply(&self, lab: &Lab, decisions: &[PodDecision]) -> Result<(), Error> {
        for decision in decisions {
            lab.get_pod(&decision.pod)?;
        }
        for node in lab.nodes() {
            let pods: Vec<_> = lab.pods().filter(|pod| pod.spec.node == node.spec.name).collect();
            let saved = node.netns.run(&[save_tool(self.backend)])?;
            let text = render::render(self, &pods, decisions, &saved);
            node.netns.feed(&[restore_tool(self.backend), "--noflush"], &text)?;
        }
        Ok(())
    }

    /// Removes everything the engine wrote on a node.
    pub fn remove(&self, node: &Node) -> Result<(), Error> {
        let saved = node.netns.run(&[save_tool(self.backend)])?;
        node.netns.feed(&[restore_tool(self.backend), "--noflush"], &render::removal(&saved)).map(drop)
    }
}

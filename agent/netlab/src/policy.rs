//! Stand-ins for NetworkPolicy engines: the rules that kube-router, Calico or kindnet write for decisions about pods.
//!
//! `decide` takes the decisions from objects; [`Enforcer`] writes rules for them and decides nothing about selectors or
//! peers. No engine's code runs here and no engine's daemon: what is imitated is what they leave in the kernel, so that
//! walks and explanations meet rules of their shape. Each style's module names the version and the files it follows and
//! lists every difference. For a cluster's whole lab in kube-router's plain style there is [`PolicyEngine`].
//!
//! A node has rules of one style through one back-end at a time; before another takes over, `remove` the first.

mod carve;
mod decide;
mod enforcer;
mod filter;
mod plan;
mod sets;
mod style;

pub use decide::decide;
pub use enforcer::{Enforcer, PolicedPod, Style};

use ipnet::{IpNet, Ipv4Net};
use model::flow::PortRange;
use model::walk::Backend;
use model::{Key, Protocol};

use crate::error::Error;
use crate::lab::{Lab, Node, Pod};

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

/// An [`Enforcer`] in the style of kube-router without sets, for all nodes of a lab.
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
            let pods: Vec<_> =
                lab.pods().filter(|pod| pod.spec.node == node.spec.name).map(PolicedPod::from).collect();
            self.enforcer().sync(&node.netns, &pods, decisions)?;
        }
        Ok(())
    }

    /// Removes everything the engine wrote on a node.
    pub fn remove(&self, node: &Node) -> Result<(), Error> {
        self.enforcer().remove(&node.netns)
    }

    fn enforcer(&self) -> Enforcer {
        Enforcer::new(Style::KubeRouterPlain, vec![IpNet::V4(self.service_cidr)], self.backend)
    }
}

impl From<&Pod> for PolicedPod {
    fn from(pod: &Pod) -> Self {
        let interface = pod.host_interface.clone();
        Self { key: pod.spec.key.clone(), addresses: pod.addresses(), interface }
    }
}

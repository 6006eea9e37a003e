//! What kube-proxy writes for the objects at hand, in iptables mode, and loading it into a node's namespace.
//!
//! A stand-in for the real one (the dialect of 1.31 to 1.36, cluster-cidr detector, IPv4), checked against captures of
//! it. Left out: session affinity, topology hints, and the nfacct counters, whose kernel objects few tools can make.

mod endpoints;
mod load;
mod names;
mod render;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use model::walk::Backend;
use model::{Key, ObjectSet};

pub(crate) use load::{restore_tool, save_tool};
pub(crate) use names::hash;

use crate::error::Error;
use crate::lab::Node;

/// How kube-proxy is set up, and what the object model does not carry.
#[derive(Clone, Debug)]
pub struct KubeProxy {
    /// `--cluster-cidr`: what counts as a pod's address.
    pub cluster_cidr: Ipv4Net,
    /// Through which interface rules are written: `IptablesNft` or `IptablesLegacy`.
    pub backend: Backend,
    /// Per Service, what the model leaves out.
    pub extras: BTreeMap<Key, Extra>,
}

/// Fields of a Service that only a proxy uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// `spec.loadBalancerSourceRanges`.
    pub source_ranges: Vec<Ipv4Net>,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<u16>,
    /// `spec.sessionAffinity: ClientIP`, which is refused.
    pub session_affinity: bool,
}

impl KubeProxy {
    /// kube-proxy through iptables-nft.
    pub const fn new(cluster_cidr: Ipv4Net) -> Self {
        Self { cluster_cidr, backend: Backend::IptablesNft, extras: BTreeMap::new() }
    }

    /// The same through iptables-legacy.
    #[must_use]
    pub fn legacy(self) -> Self {
        Self { backend: Backend::IptablesLegacy, ..self }
    }

    /// The input of `iptables-restore --noflush` for a node: all chains of kube-proxy and their rules, without the jumps
    /// from the built-in chains.
    pub fn render(&self, objects: &ObjectSet, node: &str) -> Result<String, Error> {
        render::render(self, objects, node).map(|rules| rules.to_text())
    }

    /// Writes the rules for the objects into a node, replacing those of an earlier load. Rules of others stay.
    pub fn load(&self, node: &Node, objects: &ObjectSet) -> Result<(), Error> {
        let rules = render::render(self, objects, &node.spec.name)?;
        load::load(self.backend, &node.netns, &rules)
    }

    /// Writes the rules for the objects without one Service's: what a proxy that stopped syncing before the Service was
    /// made looks like.
    pub fn load_without(&self, node: &Node, objects: &ObjectSet, service: &Key) -> Result<(), Error> {
        let mut others = objects.clone();
        others.services.remove(service);
        self.load(node, &others)
    }

    /// Empties the chains that lead to Services, as somebody's `iptables -F` or a fight between two proxies does.
    pub fn flush(&self, node: &Node) -> Result<(), Error> {
        load::flush(self.backend, &node.netns)
    }
}

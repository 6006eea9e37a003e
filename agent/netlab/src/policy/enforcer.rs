//! The stand-in enforcer: one node, its pods and the decisions in; the rules of the chosen style in its kernel.
//!
//! It knows no lab, no objects and no other node, and runs nothing in the background: `sync` is called again when
//! something changed. It may be used with any network namespace whose packets to and from pods pass netfilter.

use std::net::IpAddr;

use ipnet::IpNet;
use model::walk::Backend;
use model::{Family, Key};

use super::PodDecision;
use super::filter::{self, Filter, Layout};
use super::sets::Sets;
use super::style::{calico, kindnet, kube_router, kube_router_plain};
use crate::error::Error;
use crate::netns::Netns;

/// Whose rules are written. Each style's module says which version it follows and where it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// kube-router's chains with plain addresses in the place of sets; refuses with an ICMP error.
    KubeRouterPlain,
    /// kube-router's chains and IP sets; refuses with an ICMP error.
    KubeRouter,
    /// Calico's chains and IP sets; drops.
    Calico,
    /// kindnet's nftables table, with rules in the place of its queue to user space; drops.
    Kindnet,
}

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicedPod {
    /// Namespace and name.
    pub key: Key,
    /// Its addresses; at most one of a family in a real cluster.
    pub addresses: Vec<IpAddr>,
    /// Its interface on the node, from which Calico makes names of chains.
    pub interface: String,
}

/// Programs nodes in one style.
#[derive(Clone, Debug)]
pub struct Enforcer {
    style: Style,
    service_cidrs: Vec<IpNet>,
    backend: Backend,
}

impl PolicedPod {
    /// Its addresses of one family.
    pub(crate) fn addresses_of(&self, family: Family) -> Vec<IpAddr> {
        self.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
    }
}

impl Style {
    /// The styles and the back-ends that they can be written through.
    pub const ALL: [(Self, Backend); 7] = [
        (Self::KubeRouterPlain, Backend::IptablesNft),
        (Self::KubeRouterPlain, Backend::IptablesLegacy),
        (Self::KubeRouter, Backend::IptablesNft),
        (Self::KubeRouter, Backend::IptablesLegacy),
        (Self::Calico, Backend::IptablesNft),
        (Self::Calico, Backend::IptablesLegacy),
        (Self::Kindnet, Backend::Nftables),
    ];

    /// What denied packets meet: `true` for an ICMP error, `false` for silence.
    pub const fn rejects(self) -> bool {
        matches!(self, Self::KubeRouterPlain | Self::KubeRouter)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::KubeRouterPlain => "kube-router with plain addresses",
            Self::KubeRouter => "kube-router",
            Self::Calico => "Calico",
            Self::Kindnet => "kindnet",
        }
    }

    const fn layout(self) -> &'static Layout {
        match self {
            Self::Calico => &calico::LAYOUT,
            _ => &kube_router::LAYOUT,
        }
    }

    /// Prefixes of the names of its IP sets.
    const fn set_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::KubeRouter => kube_router::SET_PREFIXES,
            Self::Calico => calico::SET_PREFIXES,
            Self::KubeRouterPlain | Self::Kindnet => &[],
        }
    }
}

impl Enforcer {
    /// An enforcer. `service_cidrs` are the ranges of Service addresses, which kube-router lets pass to the node.
    ///
    /// A back-end that the style cannot be written through is refused by `sync` and `remove`.
    pub const fn new(style: Style, service_cidrs: Vec<IpNet>, backend: Backend) -> Self {
        Self { style, service_cidrs, backend }
    }

    /// Programs a node for its own pods: `pods` are all of that node. Those without a decision are open; decisions about
    /// other pods do not matter here. Replaces what an earlier call wrote, each table in one step: packets meet the
    /// rules of before or of now. Sets are filled before the rules that use them come and destroyed after they went;
    /// a set that stays changes a moment before the rules do.
    pub fn sync(&self, node: &Netns, pods: &[PolicedPod], decisions: &[PodDecision]) -> Result<(), Error> {
        self.expect_backend()?;
        if self.style == Style::Kindnet {
            return node.feed(&["nft", "-f", "-"], &kindnet::render(pods, decisions)).map(drop);
        }
        let mut sets = Sets::default();
        let mut texts = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let saved = node.run(&[&filter::save(self.backend, family)])?;
            // The IPv4 frame is written for a node without pods too, as it always was; the other only where it is used.
            let used = family == Family::Ipv4 || pods.iter().any(|pod| !pod.addresses_of(family).is_empty());
            let text = if used {
                let filter = self.render(family, pods, decisions, &mut sets);
                Some(filter.replacing(self.style.layout(), &saved))
            } else {
                filter::removal(self.style.layout(), &saved)
            };
            texts.extend(text.map(|text| (family, text)));
        }
        sets.write(node)?;
        for (family, text) in &texts {
            self.restore(node, *family, text)?;
        }
        self.sweep(node, &sets)
    }

    /// Removes everything that `sync` wrote on a node. Doing it twice does nothing.
    pub fn remove(&self, node: &Netns) -> Result<(), Error> {
        self.expect_backend()?;
        if self.style == Style::Kindnet {
            return node.feed(&["nft", "-f", "-"], &kindnet::removal()).map(drop);
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let saved = node.run(&[&filter::save(self.backend, family)])?;
            if let Some(text) = filter::removal(self.style.layout(), &saved) {
                self.restore(node, family, &text)?;
            }
        }
        self.sweep(node, &Sets::default())
    }

    fn render(
        &self,
        family: Family,
        pods: &[PolicedPod],
        decisions: &[PodDecision],
        sets: &mut Sets,
    ) -> Filter {
        match self.style {
            Style::Calico => calico::render(family, pods, decisions, sets),
            Style::KubeRouter => kube_router::render(family, &self.service_cidrs, pods, decisions, sets),
            Style::KubeRouterPlain | Style::Kindnet => {
                kube_router_plain::render(family, &self.service_cidrs, pods, decisions)
            }
        }
    }

    fn restore(&self, node: &Netns, family: Family, text: &str) -> Result<(), Error> {
        node.feed(&[&filter::restore(self.backend, family), "--noflush"], text).map(drop)
    }

    fn sweep(&self, node: &Netns, sets: &Sets) -> Result<(), Error> {
        match self.style.set_prefixes() {
            // Does not need the tool then.
            [] => Ok(()),
            prefixes => sets.sweep(node, prefixes),
        }
    }

    fn expect_backend(&self) -> Result<(), Error> {
        if Style::ALL.contains(&(self.style, self.backend)) {
            return Ok(());
        }
        Err(Error::Unsupported {
            object: format!("policy style {}", self.style.name()),
            what: format!("back-end {:?}", self.backend),
        })
    }
}

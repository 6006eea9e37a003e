//! Rules, peers and ports of NetworkPolicies and cluster-wide policies as one: what it takes to match them is the same.
//!
//! Borrowed, and put together only while something is matched or told.

use ipnet::IpNet;
use model::Protocol;
use model::objects::{
    ClusterPeer, ClusterRule, NamespacePeer, NetworkPolicy, Peer, PolicyPortSpec, PolicyRule, Selector,
};

use crate::matching::Direction;

/// One rule.
#[derive(Clone, Copy)]
pub(crate) enum Rule<'a> {
    /// Of a NetworkPolicy in this namespace.
    Network { own: &'a str, rule: &'a PolicyRule },
    /// Of a cluster-wide policy.
    Cluster(&'a ClusterRule),
}

/// The namespaces a peer speaks of.
#[derive(Clone, Copy)]
pub(crate) enum Spaces<'a> {
    /// The policy's own.
    Own(&'a str),
    /// By labels.
    Selected(&'a Selector),
    /// Those with the subject's values of these labels.
    Same(&'a [String]),
    /// Those with another value than the subject for one of these labels, and all of them.
    NotSame(&'a [String]),
}

/// One peer.
#[derive(Clone, Copy)]
pub(crate) enum AnyPeer<'a> {
    Pods {
        spaces: Spaces<'a>,
        pods: Option<&'a Selector>,
        /// Whether it leaves out pods on the host network, by definition.
        never_host: bool,
    },
    Block {
        cidr: &'a IpNet,
        except: &'a [IpNet],
    },
    Networks(&'a [IpNet]),
    Nodes(&'a Selector),
    Names(&'a [String]),
}

/// One entry of ports.
#[derive(Clone, Copy)]
pub(crate) struct AnyPort<'a> {
    /// None for a name that takes its protocol from the pod.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) ports: &'a PolicyPortSpec,
}

impl<'a> Rule<'a> {
    /// The rules of a NetworkPolicy in one direction.
    pub(crate) fn of(policy: &'a NetworkPolicy, direction: Direction) -> impl Iterator<Item = Rule<'a>> {
        let own = policy.meta.key.namespace.as_str();
        rules(policy, direction).iter().map(move |rule| Rule::Network { own, rule })
    }

    pub(crate) fn peer_count(self) -> usize {
        match self {
            Rule::Network { rule, .. } => rule.peers.len(),
            Rule::Cluster(rule) => rule.peers.len(),
        }
    }

    pub(crate) fn peers(self) -> impl Iterator<Item = AnyPeer<'a>> {
        let (network, cluster, own) = match self {
            Rule::Network { own, rule } => (rule.peers.as_slice(), [].as_slice(), own),
            Rule::Cluster(rule) => ([].as_slice(), rule.peers.as_slice(), ""),
        };
        network
            .iter()
            .map(move |peer| AnyPeer::network(own, peer))
            .chain(cluster.iter().map(AnyPeer::cluster))
    }

    pub(crate) fn port_count(self) -> usize {
        match self {
            Rule::Network { rule, .. } => rule.ports.len(),
            Rule::Cluster(rule) => rule.ports.len(),
        }
    }

    pub(crate) fn ports(self) -> impl Iterator<Item = AnyPort<'a>> {
        let (network, cluster) = match self {
            Rule::Network { rule, .. } => (rule.ports.as_slice(), [].as_slice()),
            Rule::Cluster(rule) => ([].as_slice(), rule.ports.as_slice()),
        };
        let network =
            network.iter().map(|port| AnyPort { protocol: Some(port.protocol), ports: &port.ports });
        network.chain(cluster.iter().map(|port| AnyPort { protocol: port.protocol, ports: &port.ports }))
    }
}

impl<'a> AnyPeer<'a> {
    fn network(own: &'a str, peer: &'a Peer) -> Self {
        match peer {
            Peer::Pods { namespaces, pods } => AnyPeer::Pods {
                spaces: namespaces.as_ref().map_or(Spaces::Own(own), Spaces::Selected),
                pods: pods.as_ref(),
                never_host: false,
            },
            Peer::Block(block) => AnyPeer::Block { cidr: &block.cidr, except: &block.except },
        }
    }

    fn cluster(peer: &'a ClusterPeer) -> Self {
        match peer {
            ClusterPeer::Pods { namespaces, pods } => AnyPeer::Pods {
                spaces: match namespaces {
                    NamespacePeer::Selected(selector) => Spaces::Selected(selector),
                    NamespacePeer::SameLabels(keys) => Spaces::Same(keys),
                    NamespacePeer::NotSameLabels(keys) => Spaces::NotSame(keys),
                },
                pods: pods.as_ref(),
                never_host: true,
            },
            ClusterPeer::Networks(networks) => AnyPeer::Networks(networks),
            ClusterPeer::Nodes(selector) => AnyPeer::Nodes(selector),
            ClusterPeer::DomainNames(names) => AnyPeer::Names(names),
        }
    }
}

/// The rules of a NetworkPolicy in one direction.
pub(crate) fn rules(policy: &NetworkPolicy, direction: Direction) -> &[PolicyRule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

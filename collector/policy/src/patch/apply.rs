//! Changes applied to the model, so that a test can see that they admit.

use model::ObjectSet;
use model::objects::{
    Action, ClusterPeer, ClusterPort, ClusterRule, IpBlock, NamespacePeer, Peer, PolicyPort, PolicyPortSpec,
    PolicyRule, Selector,
};
use model::{PortRange, Protocol};

use super::{Change, NewPeer, Patch};
use crate::detail::PolicyKind;
use crate::matching::{Direction, NAME_LABEL};

/// Applies a patch for a connection to this port.
pub(crate) fn apply(set: &mut ObjectSet, patch: &Patch, direction: Direction, port: u16, protocol: Protocol) {
    let ports = PolicyPortSpec::Range(PortRange::single(port));
    match patch.kind {
        PolicyKind::NetworkPolicy => {
            let policy = set.policies.get_mut(&patch.policy).unwrap();
            let rules = match direction {
                Direction::Ingress => &mut policy.ingress,
                Direction::Egress => &mut policy.egress,
            };
            let port = PolicyPort { protocol, ports };
            match &patch.change {
                Change::Port { rule } => rules[*rule].ports.push(port),
                Change::Peer { rule, peer } => rules[*rule].peers.extend(network(peer)),
                Change::Rule { peer, .. } => {
                    rules.push(PolicyRule { peers: network(peer), ports: vec![port] });
                }
            }
        }
        PolicyKind::Cluster(kind) => {
            let policy = set.cluster_policies.get_mut(&(kind, patch.policy.name.clone())).unwrap();
            let rules = match direction {
                Direction::Ingress => &mut policy.ingress,
                Direction::Egress => &mut policy.egress,
            };
            let Change::Rule { at: Some(at), action, peer } = &patch.change else { panic!("{patch:?}") };
            assert_ne!(*action, Action::Deny);
            let rule = ClusterRule {
                name: String::new(),
                action: *action,
                peers: vec![cluster(peer)],
                ports: vec![ClusterPort { protocol: Some(protocol), ports }],
                unread: false,
            };
            rules.insert(*at, rule);
        }
    }
}

fn network(peer: &NewPeer) -> Vec<Peer> {
    match peer {
        NewPeer::Pods { namespace, labels } => {
            vec![Peer::Pods { namespaces: Some(by_name(namespace)), pods: Some(selector(labels)) }]
        }
        NewPeer::Addresses(blocks) => {
            blocks.iter().map(|cidr| Peer::Block(IpBlock { cidr: *cidr, except: Vec::new() })).collect()
        }
    }
}

fn cluster(peer: &NewPeer) -> ClusterPeer {
    match peer {
        NewPeer::Pods { namespace, labels } => ClusterPeer::Pods {
            namespaces: NamespacePeer::Selected(by_name(namespace)),
            pods: Some(selector(labels)),
        },
        NewPeer::Addresses(blocks) => ClusterPeer::Networks(blocks.clone()),
    }
}

fn by_name(namespace: &str) -> Selector {
    selector(&[(NAME_LABEL.to_owned(), namespace.to_owned())])
}

fn selector(labels: &[(String, String)]) -> Selector {
    Selector::equalities(labels.iter().map(|(key, value)| (key, value)))
}

//! An evaluator that does it the slow and plain way, to compare with: no index, no short cuts, no three values.
//!
//! Where something is not known it tries both ways, and where an order is left open it tries every order; what comes of
//! all trials is the verdict. Written from the API documentation and not from the evaluator beside it.

use std::net::IpAddr;

use ipnet::IpNet;
use model::explanation::PolicyVerdict;
use model::objects::{
    Action, ClusterPeer, ClusterPolicy, ClusterPolicyKind, NamespacePeer, NetworkPolicy, Peer, Pod,
    PolicyPortSpec, Selector, Tier,
};
use model::{ObjectSet, Protocol};

use crate::{Connection, End};

/// Trials of one direction; more unknowns than this and the case is not compared.
const TRIALS: usize = 4096;

/// The verdict, or `None` if there are too many unknowns to try.
pub(super) fn verdict(set: &ObjectSet, connection: &Connection) -> Option<PolicyVerdict> {
    let src = Who::of(set, &connection.src)?;
    let dst = Who::of(set, &connection.dst)?;
    let egress = direction(set, connection, &src, &dst, true)?;
    let ingress = direction(set, connection, &dst, &src, false)?;
    Some(match (egress, ingress) {
        (PolicyVerdict::Deny, _) | (_, PolicyVerdict::Deny) => PolicyVerdict::Deny,
        (PolicyVerdict::Allow, PolicyVerdict::Allow) => PolicyVerdict::Allow,
        _ => PolicyVerdict::Unknown,
    })
}

/// One end.
#[derive(Clone)]
enum Who<'a> {
    Pod(&'a Pod),
    Plain { namespace: &'a str },
    Node { name: &'a str },
    Outside(IpAddr),
}

impl<'a> Who<'a> {
    fn of(set: &'a ObjectSet, end: &'a End) -> Option<Self> {
        Some(match end {
            End::Pod(key) => Who::Pod(set.pods.get(key)?),
            End::Unlabelled { namespace } => Who::Plain { namespace },
            End::Node { name } => Who::Node { name },
            End::Address(address) => {
                let owns = |pod: &&Pod| !pod.host_network && pod.addresses.contains(address);
                if let Some(pod) = set.pods.values().find(owns) {
                    Who::Pod(pod)
                } else if let Some((name, _)) =
                    set.nodes.iter().find(|(_, node)| node.addresses.contains(address))
                {
                    Who::Node { name }
                } else {
                    Who::Outside(*address)
                }
            }
        })
    }

    fn namespace(&self) -> Option<&'a str> {
        match self {
            Who::Pod(pod) => Some(&pod.meta.key.namespace),
            Who::Plain { namespace } => Some(namespace),
            Who::Node { .. } | Who::Outside(_) => None,
        }
    }

    fn host(&self) -> bool {
        matches!(self, Who::Pod(pod) if pod.host_network)
    }

    fn addresses(&self, set: &ObjectSet) -> Vec<IpAddr> {
        match self {
            Who::Pod(pod) => pod.addresses.clone(),
            Who::Plain { .. } => Vec::new(),
            Who::Node { name } => set.nodes.get(*name).map(|node| node.addresses.clone()).unwrap_or_default(),
            Who::Outside(address) => vec![*address],
        }
    }
}

/// Answers to questions that the objects leave open, tried one after the other: a number whose digits are the answers.
struct Trial {
    rest: usize,
    asked: usize,
}

impl Trial {
    fn guess(&mut self, ways: usize) -> usize {
        let answer = self.rest % ways;
        self.rest /= ways;
        self.asked = self.asked.saturating_mul(ways);
        answer
    }

    fn known(&mut self, known: Option<bool>) -> bool {
        known.unwrap_or_else(|| self.guess(2) == 1)
    }
}

struct Asked<'a> {
    set: &'a ObjectSet,
    subject: &'a Who<'a>,
    peer: &'a Who<'a>,
    egress: bool,
    port: u16,
    protocol: Protocol,
    /// The family that the connection uses, where it may use either.
    ipv6: Option<bool>,
}

fn direction(
    set: &ObjectSet,
    connection: &Connection,
    subject: &Who<'_>,
    peer: &Who<'_>,
    egress: bool,
) -> Option<PolicyVerdict> {
    if subject.namespace().is_none() {
        return Some(PolicyVerdict::Allow);
    }
    if let (Who::Pod(one), Who::Pod(other)) = (subject, peer)
        && one.meta.key == other.meta.key
    {
        return Some(PolicyVerdict::Allow);
    }
    let (port, protocol) = (connection.port, connection.protocol);
    let families = |who: &Who<'_>| {
        let addresses = who.addresses(set);
        (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6))
    };
    let either = families(peer) == (true, true) && matches!(families(subject), (true, true) | (false, false));
    let (mut allowed, mut denied) = (false, false);
    let mut number = 0;
    let mut most = 1;
    // Every number below the product of the ways of the questions asked is a different trial; which questions are asked
    // depends on the answers, so that product is looked at anew each time.
    while number < most {
        if number >= TRIALS {
            return None;
        }
        let mut trial = Trial { rest: number, asked: 1 };
        let ipv6 = either.then(|| trial.guess(2) == 1);
        if decide(&Asked { set, subject, peer, egress, port, protocol, ipv6 }, &mut trial) {
            allowed = true;
        } else {
            denied = true;
        }
        most = most.max(trial.asked);
        number += 1;
    }
    Some(match (allowed, denied) {
        (true, true) => PolicyVerdict::Unknown,
        (true, false) => PolicyVerdict::Allow,
        (false, _) => PolicyVerdict::Deny,
    })
}

/// Whether a direction is allowed, in this trial.
fn decide(asked: &Asked<'_>, trial: &mut Trial) -> bool {
    match tier(asked, Tier::Admin, trial) {
        Some(Action::Accept) => return true,
        Some(Action::Deny) => return false,
        Some(Action::Pass) | None => {}
    }
    let mut isolated = false;
    let mut admitted = false;
    for policy in asked.set.policies.values() {
        let isolates = if asked.egress { policy.isolates_egress } else { policy.isolates_ingress };
        if !isolates || Some(policy.meta.key.namespace.as_str()) != asked.subject.namespace() {
            continue;
        }
        if !meets(asked.subject, &policy.pod_selector) {
            continue;
        }
        isolated = true;
        admitted |= network_admits(asked, policy, trial);
    }
    if isolated {
        let own_node = match (asked.subject, asked.peer) {
            (Who::Pod(pod), Who::Node { name }) if !pod.host_network => pod.node.as_deref() == Some(name),
            (Who::Pod(pod), Who::Pod(peer)) if !pod.host_network && peer.host_network => {
                peer.node.is_some() && pod.node == peer.node
            }
            _ => false,
        };
        // What policies do to a pod on the host network is left open, except that they cannot forbid what they admit.
        return admitted || own_node || asked.subject.host() && trial.guess(2) == 1;
    }
    !matches!(tier(asked, Tier::Baseline, trial), Some(Action::Deny))
}

fn meets(who: &Who<'_>, selector: &Selector) -> bool {
    match who {
        Who::Pod(pod) => selector.matches(&pod.meta.labels),
        _ => selector.matches(&std::collections::BTreeMap::new()),
    }
}

fn network_admits(asked: &Asked<'_>, policy: &NetworkPolicy, trial: &mut Trial) -> bool {
    let rules = if asked.egress { &policy.egress } else { &policy.ingress };
    let mut admitted = false;
    for rule in rules {
        let mut port = rule.ports.is_empty();
        for entry in &rule.ports {
            port |= entry.protocol == asked.protocol && port_meets(asked, &entry.ports, trial);
        }
        let mut peer = rule.peers.is_empty();
        for entry in &rule.peers {
            peer |= match entry {
                Peer::Pods { namespaces, pods } => {
                    let space = match (asked.peer.namespace(), namespaces) {
                        (None, _) => false,
                        (Some(namespace), None) => namespace == policy.meta.key.namespace,
                        (Some(namespace), Some(selector)) => {
                            trial.known(space_meets(asked.set, namespace, selector))
                        }
                    };
                    let pod = pods.as_ref().is_none_or(|selector| meets(asked.peer, selector));
                    // Whether a pod on the host network counts as one is left open.
                    space && pod && (!asked.peer.host() || trial.guess(2) == 1)
                }
                Peer::Block(block) => block_meets(asked, &block.cidr, &block.except, trial),
            };
        }
        admitted |= port && peer;
    }
    admitted
}

fn port_meets(asked: &Asked<'_>, ports: &PolicyPortSpec, trial: &mut Trial) -> bool {
    match ports {
        PolicyPortSpec::All => true,
        PolicyPortSpec::Range(range) => (range.first..=range.last).contains(&asked.port),
        PolicyPortSpec::Name(name) => match if asked.egress { asked.peer } else { asked.subject } {
            Who::Pod(pod) => pod.containers.iter().flat_map(|container| &container.ports).any(|port| {
                port.name.as_ref() == Some(name) && port.protocol == asked.protocol && port.port == asked.port
            }),
            Who::Plain { .. } => trial.guess(2) == 1,
            Who::Node { .. } | Who::Outside(_) => false,
        },
    }
}

fn space_meets(set: &ObjectSet, name: &str, selector: &Selector) -> Option<bool> {
    match set.namespaces.get(name) {
        Some(namespace) => Some(selector.matches(&namespace.meta.labels)),
        None if selector.requirements.is_empty() => Some(true),
        None => None,
    }
}

fn block_meets(asked: &Asked<'_>, cidr: &IpNet, except: &[IpNet], trial: &mut Trial) -> bool {
    let theirs = asked.subject.addresses(asked.set);
    let of_family = |address: &IpAddr| {
        asked.ipv6.is_none_or(|ipv6| ipv6 == address.is_ipv6())
            && (theirs.is_empty() || theirs.iter().any(|their| their.is_ipv4() == address.is_ipv4()))
    };
    let held = |address: &IpAddr| cidr.contains(address) && except.iter().all(|hole| !hole.contains(address));
    let usable: Vec<IpAddr> = asked.peer.addresses(asked.set).into_iter().filter(of_family).collect();
    if usable.is_empty() {
        return trial.guess(2) == 1;
    }
    let inside = usable.iter().filter(|address| held(address)).count();
    if inside == usable.len() {
        return true;
    }
    if inside > 0 {
        return trial.guess(2) == 1;
    }
    match asked.peer {
        // A client's address may be translated on the way in, and a node may use one of its tunnel.
        Who::Outside(_) if !asked.egress => trial.guess(2) == 1,
        Who::Node { name } if !asked.egress => {
            let node = asked.set.nodes.get(*name);
            let tunnel = node.is_some_and(|node| {
                node.pod_cidrs.iter().any(|range| range.contains(cidr) || cidr.contains(range))
            });
            tunnel && trial.guess(2) == 1
        }
        _ => false,
    }
}

/// What a tier does: every policy in order of priority, those of one priority in any order.
fn tier(asked: &Asked<'_>, tier: Tier, trial: &mut Trial) -> Option<Action> {
    if asked.subject.host() {
        return None;
    }
    let mut left: Vec<&ClusterPolicy> =
        asked.set.cluster_policies.values().filter(|policy| policy.tier == tier).collect();
    // The generations of the API each have an order; which comes first is open, if both say something.
    let mut first = None;
    for older in [false, true] {
        let mut own: Vec<&ClusterPolicy> = Vec::new();
        left.retain(|policy| {
            let of = (policy.kind != ClusterPolicyKind::ClusterNetworkPolicy) == older;
            if of {
                own.push(policy);
            }
            !of
        });
        let done = generation(asked, own, trial);
        first = match (first, done) {
            (None, done) => done,
            (first, None) => first,
            (Some(one), Some(other)) => Some(if trial.guess(2) == 0 { one } else { other }),
        };
    }
    first
}

fn generation(asked: &Asked<'_>, mut left: Vec<&ClusterPolicy>, trial: &mut Trial) -> Option<Action> {
    while let Some(lowest) = left.iter().map(|policy| policy.priority).min() {
        // Any of those that could be next.
        let next: Vec<usize> = (0..left.len()).filter(|index| left[*index].priority == lowest).collect();
        let chosen = next[trial.guess(next.len())];
        let policy = left.remove(chosen);
        if let Some(action) = policy_does(asked, policy, trial) {
            return Some(action);
        }
    }
    None
}

fn policy_does(asked: &Asked<'_>, policy: &ClusterPolicy, trial: &mut Trial) -> Option<Action> {
    let rules = if asked.egress { &policy.egress } else { &policy.ingress };
    let namespace = asked.subject.namespace()?;
    if rules.is_empty()
        || !policy.subject.pods.as_ref().is_none_or(|selector| meets(asked.subject, selector))
        || !trial.known(space_meets(asked.set, namespace, &policy.subject.namespaces))
    {
        return None;
    }
    for rule in rules {
        let mut port = rule.ports.is_empty();
        for entry in &rule.ports {
            port |= entry.protocol.is_none_or(|protocol| protocol == asked.protocol)
                && port_meets(asked, &entry.ports, trial);
        }
        let mut peer = false;
        for entry in &rule.peers {
            peer |= cluster_peer(asked, entry, trial);
        }
        if port && peer {
            return Some(rule.action);
        }
    }
    None
}

fn cluster_peer(asked: &Asked<'_>, peer: &ClusterPeer, trial: &mut Trial) -> bool {
    match peer {
        ClusterPeer::Pods { namespaces, pods } => {
            let Some(namespace) = asked.peer.namespace().filter(|_| !asked.peer.host()) else { return false };
            let NamespacePeer::Selected(selector) = namespaces else { panic!("not among the cases") };
            pods.as_ref().is_none_or(|selector| meets(asked.peer, selector))
                && trial.known(space_meets(asked.set, namespace, selector))
        }
        ClusterPeer::Nodes(selector) => {
            let name = match asked.peer {
                Who::Node { name } => *name,
                Who::Pod(pod) if pod.host_network => pod.node.as_deref().unwrap_or_default(),
                _ => return false,
            };
            match asked.set.nodes.get(name) {
                Some(node) => selector.matches(&node.meta.labels),
                None => selector.requirements.is_empty() || trial.guess(2) == 1,
            }
        }
        ClusterPeer::Networks(networks) => {
            let mut any = false;
            for network in networks {
                any |= block_meets(asked, network, &[], trial);
            }
            any
        }
        ClusterPeer::DomainNames(_) => match asked.peer {
            // Names of the cases are not those of pods.
            Who::Pod(pod) if !pod.host_network => false,
            Who::Plain { .. } => false,
            _ => trial.guess(2) == 1,
        },
    }
}

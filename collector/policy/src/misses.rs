//! What keeps the nearest rule of a policy from matching a connection.
//!
//! It runs only for policies that do not match, so that a verdict alone stays cheap. Rules are measured first; what the
//! nearest lacks is put together and into words for that one alone.

mod ports;

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use model::Family;
use model::objects::{Requirement, Selector};

use crate::connection::View;
use crate::detail::{LabelMiss, NearMiss, RuleMiss};
use crate::matching::{NAME_LABEL, Question, Truth, space_label};
use crate::rule::{AnyPeer, Rule, Spaces};
use crate::words;

/// How far apart kinds of mismatch are. Only their order matters: a wrong label is nearer than a wrong namespace,
/// and a peer that could never match is farthest.
const OTHER_NAMESPACE: u32 = 2;
const EXCEPT: u32 = 1;
const OUTSIDE: u32 = 4;
const OTHER_FAMILY: u32 = 5;
const NEVER: u32 = 8;
/// A label that is there with another value is nearer than one that is not there at all.
const OTHER_VALUE: u32 = 1;
const NO_LABEL: u32 = 2;

/// The rule nearest to matching: one that has the peer, then by distance, then by place.
pub(crate) fn nearest<'r>(
    question: &Question<'_, '_>,
    rules: impl Iterator<Item = (u32, Rule<'r>)>,
) -> Option<RuleMiss> {
    let all = rules.map(|(number, rule)| Candidate::of(question, number, rule));
    let nearest = all.min_by_key(|found| (!found.admits_peer, found.distance, found.number))?;
    Some(nearest.told(question))
}

/// A rule that does not match, measured.
struct Candidate<'r> {
    number: u32,
    rule: Rule<'r>,
    admits_peer: bool,
    admits_port: bool,
    /// Of its peers the nearest, counted from 1.
    peer: Option<(u32, AnyPeer<'r>)>,
    distance: u32,
}

impl<'r> Candidate<'r> {
    fn of(question: &Question<'_, '_>, number: u32, rule: Rule<'r>) -> Self {
        let admits_peer = question.peers(rule) == Truth::Yes;
        let admits_port = question.ports(rule) == Truth::Yes;
        let measured = || {
            let peers = (1..).zip(rule.peers()).map(|peer| (peer, distance(question, peer.1)));
            peers.min_by_key(|(_, distance)| *distance)
        };
        let (peer, to_peer) = match if admits_peer { None } else { measured() } {
            Some((peer, distance)) => (Some(peer), distance),
            None => (None, 0),
        };
        let to_ports = if admits_port { 0 } else { ports::distance(question, rule) };
        Self { number, rule, admits_peer, admits_port, peer, distance: to_peer + to_ports }
    }

    fn told(self, question: &Question<'_, '_>) -> RuleMiss {
        let Self { number, rule, admits_peer, admits_port, peer, distance } = self;
        // Most are a little over a hundred bytes long.
        let mut text = String::with_capacity(192);
        let _ = write!(text, "rule {number} {} ", words::verb(rule));
        let mut misses = Vec::new();
        let of_ports = if admits_port { Vec::new() } else { ports::misses(question, rule) };
        if let Some((place, peer)) = peer {
            words::peer(&mut text, question, peer);
            text.push_str("; ");
            misses = peer_misses(question, place, peer);
            words::misses(&mut text, question, &misses);
            if !admits_port {
                let _ = write!(text, ", and it {} ", words::verb(rule));
                words::ports(&mut text, rule);
                let _ = write!(text, " only, not {}/{}", question.port, question.protocol);
            }
        } else {
            let _ = write!(text, "{} on ", question.peer);
            words::ports(&mut text, rule);
            text.push_str(" only; ");
            words::misses(&mut text, question, &of_ports);
        }
        misses.extend(of_ports);
        RuleMiss { rule: number, admits_peer, admits_port, misses, text, distance }
    }
}

/// How far a peer is from matching.
fn distance(question: &Question<'_, '_>, peer: AnyPeer<'_>) -> u32 {
    match peer {
        AnyPeer::Pods { spaces, pods, never_host } => {
            let Some(namespace) = question.peer.namespace() else { return NEVER };
            let labels = question.peer.labels();
            let of_pod = |selector: &Selector| {
                selector.unmet(labels).map(|unmet| missing(labels.contains_key(&unmet.key))).sum::<u32>()
            };
            let host = if never_host && question.peer.host_pod().is_some() { NEVER } else { 0 };
            space_distance(question, namespace, spaces) + pods.map_or(0, of_pod) + host
        }
        AnyPeer::Block { cidr, except } => block_distance(question, cidr, except),
        AnyPeer::Networks(networks) => {
            networks.iter().map(|network| block_distance(question, network, &[])).min().unwrap_or(OUTSIDE)
        }
        AnyPeer::Nodes(selector) => match node_labels(question) {
            Some((_, labels)) => {
                selector.unmet(labels).map(|unmet| missing(labels.contains_key(&unmet.key))).sum()
            }
            None => NEVER,
        },
        AnyPeer::Names(_) => NEVER,
    }
}

const fn missing(there: bool) -> u32 {
    if there { OTHER_VALUE } else { NO_LABEL }
}

fn space_distance(question: &Question<'_, '_>, namespace: &str, spaces: Spaces<'_>) -> u32 {
    match spaces {
        Spaces::Own(own) if namespace == own => 0,
        Spaces::Own(_) => OTHER_NAMESPACE,
        Spaces::Selected(selector) => selector
            .requirements
            .iter()
            .filter(|requirement| !requirement.meets(label_of(question, namespace, requirement)))
            .map(|unmet| missing(label_of(question, namespace, unmet).is_some()))
            .sum(),
        Spaces::Same(keys) => u32::from(subject_label(question, namespace, keys, true).is_some()),
        Spaces::NotSame(keys) => u32::from(subject_label(question, namespace, keys, false).is_some()),
    }
}

/// A namespace's value of the label that a requirement is about, as far as it is known.
fn label_of<'q>(
    question: &'q Question<'_, '_>,
    namespace: &'q str,
    requirement: &Requirement,
) -> Option<&'q str> {
    space_label(question.index.set(), namespace, &requirement.key).unwrap_or_default()
}

fn block_distance(question: &Question<'_, '_>, cidr: &IpNet, except: &[IpNet]) -> u32 {
    match nearest_address(question, cidr) {
        None => OUTSIDE,
        Some(address) if Family::of(address) != Family::of(cidr.addr()) => OTHER_FAMILY,
        Some(address) if !cidr.contains(&address) => OUTSIDE,
        Some(address) if except.iter().any(|hole| hole.contains(&address)) => EXCEPT,
        Some(_) => 0,
    }
}

/// The address meant by a block: one of its family, if there is one.
fn nearest_address(question: &Question<'_, '_>, cidr: &IpNet) -> Option<IpAddr> {
    let mut usable = question.usable();
    let first = usable.next()?;
    let of_family = |address: &IpAddr| Family::of(*address) == Family::of(cidr.addr());
    Some(std::iter::once(first).chain(usable).find(of_family).unwrap_or(first))
}

type Labels = std::collections::BTreeMap<String, String>;

/// The node that the other end is, with its labels, as far as they are known.
fn node_labels<'q>(question: &'q Question<'_, '_>) -> Option<(&'q str, &'q Labels)> {
    let name = question.peer.is_node()?;
    Some((name, &question.index.set().nodes.get(name)?.meta.labels))
}

/// What one peer lacks.
fn peer_misses(question: &Question<'_, '_>, place: u32, peer: AnyPeer<'_>) -> Vec<NearMiss> {
    match peer {
        AnyPeer::Pods { spaces, pods, never_host } => pod_misses(question, place, spaces, pods, never_host),
        AnyPeer::Block { cidr, except } => block_miss(question, place, cidr, except).into_iter().collect(),
        AnyPeer::Networks(networks) => {
            let nearest = networks.iter().min_by_key(|network| block_distance(question, network, &[]));
            nearest.and_then(|network| block_miss(question, place, network, &[])).into_iter().collect()
        }
        AnyPeer::Nodes(selector) => match node_labels(question) {
            Some((node, labels)) => {
                let unmet = unmet(selector, labels);
                let miss = NearMiss::NodeLabels { peer: place, node: node.to_owned(), unmet };
                vec![miss]
            }
            None => vec![NearMiss::NotANode { peer: place }],
        },
        AnyPeer::Names(_) => vec![NearMiss::NotByName { peer: place }],
    }
}

fn unmet(selector: &Selector, labels: &Labels) -> Vec<LabelMiss> {
    selector
        .unmet(labels)
        .map(|requirement| LabelMiss::of(requirement, labels.get(&requirement.key)))
        .collect()
}

fn pod_misses(
    question: &Question<'_, '_>,
    place: u32,
    spaces: Spaces<'_>,
    pods: Option<&Selector>,
    never_host: bool,
) -> Vec<NearMiss> {
    let Some(namespace) = question.peer.namespace() else { return vec![NearMiss::NotAPod { peer: place }] };
    let mut misses = Vec::new();
    match spaces {
        Spaces::Own(own) if namespace == own => {}
        Spaces::Own(own) => {
            let (own, actual) = (own.to_owned(), namespace.to_owned());
            misses.push(NearMiss::OtherNamespace { peer: place, own, actual });
        }
        Spaces::Selected(selector) => {
            let unmet = namespace_unmet(question, namespace, selector);
            if !unmet.is_empty() {
                let namespace = namespace.to_owned();
                misses.push(NearMiss::NamespaceLabels { peer: place, namespace, unmet });
            }
        }
        Spaces::Same(keys) => misses.extend(subject_miss(question, place, namespace, keys, true)),
        Spaces::NotSame(keys) => misses.extend(subject_miss(question, place, namespace, keys, false)),
    }
    if let Some(selector) = pods {
        let unmet = unmet(selector, question.peer.labels());
        if !unmet.is_empty() {
            misses.push(NearMiss::PodLabels { peer: place, unmet });
        }
    }
    if never_host && question.peer.host_pod().is_some() {
        misses.push(NearMiss::OnHostNetwork { peer: place });
    }
    misses
}

fn namespace_unmet(question: &Question<'_, '_>, name: &str, selector: &Selector) -> Vec<LabelMiss> {
    let labels = question.index.set().namespaces.get(name).map(|found| &found.meta.labels);
    let unmet = |requirement: &&Requirement| !requirement.meets(label_of(question, name, requirement));
    let miss = |requirement: &Requirement| {
        let actual = labels.and_then(|labels| labels.get(&requirement.key));
        let own = (requirement.key == NAME_LABEL).then(|| name.to_owned());
        LabelMiss::of(requirement, own.as_ref().or(actual))
    };
    selector.requirements.iter().filter(unmet).map(miss).collect()
}

/// The first label by which a namespace is not the subject's, or is not another than it.
fn subject_label<'k>(
    question: &Question<'_, '_>,
    namespace: &str,
    keys: &'k [String],
    same: bool,
) -> Option<&'k String> {
    let set = question.index.set();
    let own = question.subject.namespace().unwrap_or_default();
    let value = |space: &str, key: &str| space_label(set, space, key).unwrap_or_default().map(str::to_owned);
    if same {
        return keys.iter().find(|key| {
            let theirs = value(namespace, key);
            theirs.is_none() || theirs != value(own, key)
        });
    }
    let lacking = keys.iter().find(|key| value(namespace, key).is_none());
    lacking.or_else(|| {
        let differs = keys.iter().any(|key| value(namespace, key) != value(own, key));
        keys.first().filter(|_| !differs)
    })
}

fn subject_miss(
    question: &Question<'_, '_>,
    place: u32,
    namespace: &str,
    keys: &[String],
    same: bool,
) -> Option<NearMiss> {
    let key = subject_label(question, namespace, keys, same)?;
    let set = question.index.set();
    let own = question.subject.namespace().unwrap_or_default();
    let value = |space: &str| space_label(set, space, key).unwrap_or_default().map(str::to_owned);
    Some(NearMiss::SubjectLabel {
        peer: place,
        namespace: namespace.to_owned(),
        key: key.clone(),
        same,
        own: value(own),
        actual: value(namespace),
    })
}

fn block_miss(question: &Question<'_, '_>, place: u32, cidr: &IpNet, except: &[IpNet]) -> Option<NearMiss> {
    let address = nearest_address(question, cidr)?;
    let (peer, cidr) = (place, *cidr);
    if matches!(question.peer, View::ServiceAddress(_)) {
        return None;
    }
    if Family::of(address) != Family::of(cidr.addr()) {
        return Some(NearMiss::OtherFamily { peer, cidr, address });
    }
    if !cidr.contains(&address) {
        return Some(NearMiss::OutsideBlock { peer, cidr, address });
    }
    let except = *except.iter().find(|hole| hole.contains(&address))?;
    Some(NearMiss::InsideExcept { peer, cidr, except, address })
}

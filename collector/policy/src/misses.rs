//! What keeps the nearest rule of a policy from admitting a connection.
//!
//! It runs only for policies that do not admit, so that a verdict alone stays cheap.

use std::fmt::Write as _;
use std::net::IpAddr;

use model::objects::{
    IpBlock, Key, Peer, PolicyPort, PolicyPortSpec, PolicyRule, Requirement, Selector, TargetPort,
};
use model::{Family, PortRange, Protocol};

use crate::connection::View;
use crate::detail::{LabelMiss, NearMiss, RuleMiss};
use crate::matching::{NAME_LABEL, Question, Truth};
use crate::words;

/// How far apart kinds of mismatch are. Only their order matters: a wrong label is nearer than a wrong namespace,
/// and a peer that could never match is farthest.
const OTHER_NAMESPACE: u32 = 2;
const EXCEPT: u32 = 1;
const OUTSIDE: u32 = 4;
const OTHER_FAMILY: u32 = 5;
const NEVER: u32 = 8;
const MISTAKEN_PORT: u32 = 1;
const OTHER_PORT: u32 = 2;

/// The rule nearest to admitting: one that admits the peer, then by distance, then by place.
pub(crate) fn nearest(question: &Question<'_, '_>, policy: &Key, rules: &[PolicyRule]) -> Option<RuleMiss> {
    let all = (1..).zip(rules).map(|(number, rule)| Candidate::of(question, policy, number, rule));
    let nearest = all.min_by_key(|found| (!found.admits_peer, found.distance, found.number))?;
    Some(nearest.told(question, policy))
}

/// A rule that does not admit, not yet put into words.
struct Candidate<'r> {
    number: u32,
    rule: &'r PolicyRule,
    admits_peer: bool,
    admits_port: bool,
    /// Of its peers the nearest, and what is missing there.
    peer: Option<(&'r Peer, Vec<NearMiss>)>,
    of_ports: Vec<NearMiss>,
    distance: u32,
}

impl<'r> Candidate<'r> {
    fn of(question: &Question<'_, '_>, policy: &Key, number: u32, rule: &'r PolicyRule) -> Self {
        let admits_peer = question.peers(policy, &rule.peers) == Truth::Yes;
        let admits_port = question.ports(&rule.ports) == Truth::Yes;
        let peers = if admits_peer { &[] } else { rule.peers.as_slice() };
        let nearest = (1..)
            .zip(peers)
            .map(|(place, peer)| (peer, peer_misses(question, policy, place, peer)))
            .min_by_key(|(_, (_, distance))| *distance);
        let (peer, to_peer) =
            nearest.map_or((None, 0), |(peer, (misses, distance))| (Some((peer, misses)), distance));
        let (of_ports, to_ports) =
            if admits_port { (Vec::new(), 0) } else { port_misses(question, &rule.ports) };
        Self { number, rule, admits_peer, admits_port, peer, of_ports, distance: to_peer + to_ports }
    }

    fn told(self, question: &Question<'_, '_>, policy: &Key) -> RuleMiss {
        let Self { number, rule, admits_peer, admits_port, peer, of_ports, distance } = self;
        // Most are a little over a hundred bytes long.
        let mut text = String::with_capacity(192);
        let _ = write!(text, "rule {number} admits ");
        let mut misses = Vec::new();
        if let Some((peer, of_peer)) = peer {
            words::peer(&mut text, peer, policy, question.direction);
            text.push_str("; ");
            words::misses(&mut text, question, &of_peer);
            if !admits_port {
                text.push_str(", and it admits ");
                words::ports(&mut text, &rule.ports);
                let _ = write!(text, " only, not {}/{}", question.port, question.protocol);
            }
            misses = of_peer;
        } else {
            let _ = write!(text, "{} on ", question.peer);
            words::ports(&mut text, &rule.ports);
            text.push_str(" only; ");
            words::misses(&mut text, question, &of_ports);
        }
        misses.extend(of_ports);
        RuleMiss { rule: number, admits_peer, admits_port, misses, text, distance }
    }
}

fn peer_misses(question: &Question<'_, '_>, policy: &Key, place: u32, peer: &Peer) -> (Vec<NearMiss>, u32) {
    match peer {
        Peer::Pods { namespaces, pods } => {
            selector_misses(question, policy, place, namespaces.as_ref(), pods.as_ref())
        }
        Peer::Block(block) => block_misses(question, place, block),
    }
}

fn selector_misses(
    question: &Question<'_, '_>,
    policy: &Key,
    place: u32,
    namespaces: Option<&Selector>,
    pods: Option<&Selector>,
) -> (Vec<NearMiss>, u32) {
    let Some(namespace) = question.peer.namespace() else {
        return (vec![NearMiss::NotAPod { peer: place }], NEVER);
    };
    let mut misses = Vec::new();
    let mut distance = 0;
    match namespaces {
        None if namespace == policy.namespace => {}
        None => {
            let (own, actual) = (policy.namespace.clone(), namespace.to_owned());
            misses.push(NearMiss::OtherNamespace { peer: place, own, actual });
            distance += OTHER_NAMESPACE;
        }
        Some(selector) => {
            let unmet = namespace_unmet(question, namespace, selector);
            if !unmet.is_empty() {
                distance += count(&unmet);
                misses.push(NearMiss::NamespaceLabels {
                    peer: place,
                    namespace: namespace.to_owned(),
                    unmet,
                });
            }
        }
    }
    if let Some(selector) = pods {
        let labels = question.peer.labels();
        let unmet: Vec<LabelMiss> = selector
            .unmet(labels)
            .map(|requirement| LabelMiss::of(requirement, labels.get(&requirement.key)))
            .collect();
        if !unmet.is_empty() {
            distance += count(&unmet);
            misses.push(NearMiss::PodLabels { peer: place, unmet });
        }
    }
    (misses, distance)
}

fn count(unmet: &[LabelMiss]) -> u32 {
    // A key that is there with another value is nearer than one that is not there at all.
    unmet.iter().map(|miss| if miss.actual.is_some() { 1 } else { 2 }).sum()
}

fn namespace_unmet(question: &Question<'_, '_>, name: &str, selector: &Selector) -> Vec<LabelMiss> {
    let labels = question.index.set().namespaces.get(name).map(|found| &found.meta.labels);
    let unmet = |requirement: &&Requirement| {
        let actual = labels.and_then(|labels| labels.get(&requirement.key));
        !requirement.meets(if requirement.key == NAME_LABEL {
            Some(name)
        } else {
            actual.map(String::as_str)
        })
    };
    let miss = |requirement: &Requirement| {
        let actual = labels.and_then(|labels| labels.get(&requirement.key));
        let own = (requirement.key == NAME_LABEL).then(|| name.to_owned());
        LabelMiss::of(requirement, own.as_ref().or(actual))
    };
    selector.requirements.iter().filter(unmet).map(miss).collect()
}

fn block_misses(question: &Question<'_, '_>, place: u32, block: &IpBlock) -> (Vec<NearMiss>, u32) {
    let addresses: Vec<IpAddr> = question.peer.usable(&question.subject).collect();
    let same_family = |address: &&IpAddr| Family::of(**address) == Family::of(block.cidr.addr());
    let Some(address) = addresses.iter().find(same_family).or(addresses.first()).copied() else {
        return (Vec::new(), OUTSIDE);
    };
    let cidr = block.cidr;
    if Family::of(address) != Family::of(cidr.addr()) {
        return (vec![NearMiss::OtherFamily { peer: place, cidr, address }], OTHER_FAMILY);
    }
    match block.except.iter().find(|hole| hole.contains(&address)) {
        _ if !cidr.contains(&address) => {
            (vec![NearMiss::OutsideBlock { peer: place, cidr, address }], OUTSIDE)
        }
        Some(except) => {
            let except = *except;
            (vec![NearMiss::InsideExcept { peer: place, cidr, except, address }], EXCEPT)
        }
        None => (Vec::new(), 0),
    }
}

fn port_misses(question: &Question<'_, '_>, ports: &[PolicyPort]) -> (Vec<NearMiss>, u32) {
    let mut mistakes: Vec<NearMiss> =
        ports.iter().filter_map(|entry| port_mistake(question, entry)).collect();
    if !mistakes.is_empty() {
        // A protocol forgotten or a Service port listed explains more than a port that is merely near.
        mistakes.sort_by_key(|miss| matches!(miss, NearMiss::OutsideRange { .. }));
        return (mistakes, MISTAKEN_PORT);
    }
    (vec![NearMiss::Port { ports: ports.to_vec(), asked: question.port }], OTHER_PORT)
}

/// The mistake behind one entry that does not admit, if it looks like one.
fn port_mistake(question: &Question<'_, '_>, entry: &PolicyPort) -> Option<NearMiss> {
    let asked = question.port;
    match &entry.ports {
        PolicyPortSpec::Name(name) => Some(named_port_mistake(question, entry.protocol, name)),
        PolicyPortSpec::All if entry.protocol != question.protocol => {
            Some(NearMiss::Protocol { rule: entry.protocol, asked: question.protocol })
        }
        PolicyPortSpec::Range(range) if range.contains(asked) && entry.protocol != question.protocol => {
            Some(NearMiss::Protocol { rule: entry.protocol, asked: question.protocol })
        }
        PolicyPortSpec::Range(range) if entry.protocol == question.protocol => service_port(question, *range)
            .or_else(|| {
                let near = range.first != range.last
                    && (range.first.checked_sub(1) == Some(asked)
                        || range.last.checked_add(1) == Some(asked));
                near.then_some(NearMiss::OutsideRange { range: *range, asked })
            }),
        PolicyPortSpec::All | PolicyPortSpec::Range(_) => None,
    }
}

fn named_port_mistake(question: &Question<'_, '_>, protocol: Protocol, name: &str) -> NearMiss {
    let name = name.to_owned();
    let View::Pod(pod) = question.destination() else { return NearMiss::NamedPortNotAPod { name } };
    match pod.named_port(&name, protocol) {
        Some(number) if number == question.port && protocol != question.protocol => {
            NearMiss::Protocol { rule: protocol, asked: question.protocol }
        }
        Some(number) => NearMiss::NamedPortElsewhere { name, number },
        None => {
            let declared = pod
                .declared_ports()
                .filter(|port| port.name.as_deref() == Some(&name))
                .map(|port| (port.port, port.protocol))
                .collect();
            NearMiss::NamedPortMissing { name, protocol, declared }
        }
    }
}

/// A Service of the destination whose port the rule lists, where the connection goes to the pod's port behind it.
fn service_port(question: &Question<'_, '_>, range: PortRange) -> Option<NearMiss> {
    let View::Pod(pod) = question.destination() else { return None };
    let set = question.index.set();
    model::ObjectSet::in_namespace(&set.services, &pod.meta.key.namespace)
        .filter(|(_, service)| {
            !service.selector.is_empty() && service.pod_selector().matches(&pod.meta.labels)
        })
        .find_map(|(key, service)| {
            let port = service.ports.iter().find(|port| {
                let target = match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Name(name) => pod.named_port(name, port.protocol),
                };
                port.protocol == question.protocol
                    && range.contains(port.port)
                    && target == Some(question.port)
            })?;
            let (service, service_port, pod_port) = (key.clone(), port.port, question.port);
            Some(NearMiss::ServicePort { service, service_port, pod_port })
        })
}

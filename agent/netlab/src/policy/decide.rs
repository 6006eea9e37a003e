//! From NetworkPolicy objects to decisions: selectors become addresses, port names become numbers.
//!
//! Independent of the product's own evaluator on purpose: what a kernel does with these decisions can then be compared
//! with what the product says of the same objects. It writes no rules; the styles do.
//!
//! Pods of the host's network and finished pods are neither subjects nor peers: the first have their node's address,
//! which a rule about the pod would apply to the whole node; the second's address may belong to another pod by now.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::PortRange;
use model::objects::{IpBlock, NetworkPolicy, ObjectSet, Peer, Pod, PolicyPort, PolicyPortSpec, PolicyRule};

use super::{Admitted, Isolation, PodDecision};

/// Decisions for every pod that a policy isolates, in the order of the pods' names.
pub fn decide(objects: &ObjectSet) -> Vec<PodDecision> {
    live(objects)
        .map(|pod| decide_pod(objects, pod))
        .filter(|decision| !decision.ingress.is_empty() || !decision.egress.is_empty())
        .collect()
}

fn decide_pod(objects: &ObjectSet, pod: &Pod) -> PodDecision {
    let mut decision = PodDecision { pod: pod.key().clone(), ingress: Vec::new(), egress: Vec::new() };
    for (_, policy) in ObjectSet::in_namespace(&objects.policies, &pod.key().namespace) {
        if !policy.pod_selector.matches(pod.labels()) {
            continue;
        }
        if policy.isolates_ingress {
            decision.ingress.push(isolation(objects, policy, &policy.ingress, Some(pod)));
        }
        if policy.isolates_egress {
            decision.egress.push(isolation(objects, policy, &policy.egress, None));
        }
    }
    decision
}

/// `to` is the destination of an ingress rule; for egress it is each peer.
fn isolation(
    objects: &ObjectSet,
    policy: &NetworkPolicy,
    rules: &[PolicyRule],
    to: Option<&Pod>,
) -> Isolation {
    let mut admitted = Vec::new();
    for rule in rules {
        if rule.peers.is_empty() {
            for everybody in [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())] {
                let block = IpBlock { cidr: everybody, except: Vec::new() };
                admit_block(objects, rule, &block, to, &mut admitted);
            }
        }
        for peer in &rule.peers {
            match peer {
                Peer::Block(block) => admit_block(objects, rule, block, to, &mut admitted),
                Peer::Pods { .. } => {
                    for pod in live(objects).filter(|pod| chosen(objects, policy, peer, pod)) {
                        for address in &pod.addresses {
                            admit_pod(rule, *address, to.unwrap_or(pod), &mut admitted);
                        }
                    }
                }
            }
        }
    }
    Isolation { policy: policy.key().clone(), admitted }
}

fn live(objects: &ObjectSet) -> impl Iterator<Item = &Pod> {
    objects.pods.values().filter(|pod| !pod.host_network && !pod.finished())
}

fn chosen(objects: &ObjectSet, policy: &NetworkPolicy, peer: &Peer, pod: &Pod) -> bool {
    let Peer::Pods { namespaces, pods } = peer else { return false };
    let namespace_matches = match namespaces {
        None => pod.key().namespace == policy.key().namespace,
        Some(selector) => objects
            .namespaces
            .get(&pod.key().namespace)
            .is_some_and(|namespace| selector.matches(&namespace.meta.labels)),
    };
    namespace_matches && pods.as_ref().is_none_or(|selector| selector.matches(pod.labels()))
}

/// A port's name says nothing about a block; out of a pod it admits the block's pods that have the name.
fn admit_block(
    objects: &ObjectSet,
    rule: &PolicyRule,
    block: &IpBlock,
    to: Option<&Pod>,
    admitted: &mut Vec<Admitted>,
) {
    let whole = Admitted { peer: block.cidr, except: block.except.clone(), protocol: None, ports: None };
    if rule.ports.is_empty() {
        admitted.push(whole.clone());
    }
    for port in &rule.ports {
        if to.is_some() || !matches!(port.ports, PolicyPortSpec::Name(_)) {
            admitted.extend(on_port(&whole, port, to));
            continue;
        }
        for pod in live(objects) {
            for address in &pod.addresses {
                let excepted = block.except.iter().any(|hole| hole.contains(address));
                if block.cidr.contains(address) && !excepted {
                    admitted.extend(on_port(&host(*address), port, Some(pod)));
                }
            }
        }
    }
}

fn admit_pod(rule: &PolicyRule, peer: IpAddr, to: &Pod, admitted: &mut Vec<Admitted>) {
    let peer = host(peer);
    admitted.extend(rule.ports.iter().filter_map(|port| on_port(&peer, port, Some(to))));
    if rule.ports.is_empty() {
        admitted.push(peer);
    }
}

fn host(address: IpAddr) -> Admitted {
    Admitted { peer: IpNet::from(address), except: Vec::new(), protocol: None, ports: None }
}

/// The peer on one port of the destination. A name that the destination lacks admits nothing.
fn on_port(peer: &Admitted, port: &PolicyPort, to: Option<&Pod>) -> Option<Admitted> {
    let ports = match &port.ports {
        PolicyPortSpec::All => None,
        PolicyPortSpec::Range(range) => Some(*range),
        PolicyPortSpec::Name(name) => Some(PortRange::single(to?.named_port(name, port.protocol)?)),
    };
    Some(Admitted { protocol: Some(port.protocol), ports, ..peer.clone() })
}

#[cfg(test)]
mod tests;

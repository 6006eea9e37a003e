//! What kube-proxy and a policy engine would program into the lab's nodes for the objects at hand.
//!
//! Policies are expanded to addresses here, selector by selector, and not by the product's own evaluator: the kernel's
//! verdict in a story is then independent of the one it is compared with.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use model::objects::{NetworkPolicy, ObjectSet, Peer, Pod, PolicyPortSpec, PolicyRule};
use model::{PortRange, Protocol};
use netlab::policy::{Admitted, Isolation, PodDecision, PolicyEngine};
use netlab::{KubeProxy, Lab};

/// The range that all pods of the lab's clusters lie in.
const CLUSTER_CIDR: &str = "10.244.0.0/16";
/// The range of Service addresses.
const SERVICE_CIDR: &str = "10.96.0.0/16";

/// Programs every node anew: Services, then policies.
pub fn everything(lab: &Lab, objects: &ObjectSet) -> Result<()> {
    services(lab, objects)?;
    policies(lab, objects)
}

/// The proxy that the lab's nodes run.
pub fn kube_proxy() -> Result<KubeProxy> {
    Ok(KubeProxy::new(CLUSTER_CIDR.parse().context("read the cluster range")?))
}

/// Services on every node.
pub fn services(lab: &Lab, objects: &ObjectSet) -> Result<()> {
    let proxy = kube_proxy()?;
    for node in lab.nodes() {
        proxy
            .load(node, objects)
            .with_context(|| format!("write the Service rules of {}", node.spec.name))?;
    }
    Ok(())
}

/// Policies on every node.
fn policies(lab: &Lab, objects: &ObjectSet) -> Result<()> {
    let engine = PolicyEngine::new(SERVICE_CIDR.parse().context("read the Service range")?);
    if objects.policies.is_empty() {
        for node in lab.nodes() {
            engine.remove(node)?;
        }
        return Ok(());
    }
    let decisions = lab
        .pods()
        .filter_map(|pod| objects.pods.get(&pod.spec.key))
        .map(|pod| decide(objects, pod))
        .collect::<Result<Vec<_>>>()?;
    engine.apply(lab, &decisions).context("write the policy rules")
}

fn decide(objects: &ObjectSet, pod: &Pod) -> Result<PodDecision> {
    let selecting = || {
        ObjectSet::in_namespace(&objects.policies, &pod.key().namespace)
            .map(|(_, policy)| policy)
            .filter(|policy| policy.pod_selector.matches(pod.labels()))
    };
    let isolation = |policy: &NetworkPolicy, rules: &[PolicyRule], to: Option<&Pod>| -> Result<Isolation> {
        let mut admitted = Vec::new();
        for rule in rules {
            expand(objects, policy, rule, to, &mut admitted)
                .with_context(|| format!("expand NetworkPolicy {}", policy.key()))?;
        }
        Ok(Isolation { policy: policy.key().clone(), admitted })
    };
    Ok(PodDecision {
        pod: pod.key().clone(),
        ingress: selecting()
            .filter(|policy| policy.isolates_ingress)
            .map(|policy| isolation(policy, &policy.ingress, Some(pod)))
            .collect::<Result<_>>()?,
        egress: selecting()
            .filter(|policy| policy.isolates_egress)
            .map(|policy| isolation(policy, &policy.egress, None))
            .collect::<Result<_>>()?,
    })
}

/// One rule as addresses and ports. `to` is the destination of an ingress rule; for egress it is each peer.
fn expand(
    objects: &ObjectSet,
    policy: &NetworkPolicy,
    rule: &PolicyRule,
    to: Option<&Pod>,
    admitted: &mut Vec<Admitted>,
) -> Result<()> {
    if rule.peers.is_empty() {
        admit(rule, Ipv4Net::default(), to, admitted);
        return Ok(());
    }
    for peer in &rule.peers {
        match peer {
            Peer::Block(block) => {
                let (IpNet::V4(cidr), []) = (block.cidr, block.except.as_slice()) else {
                    bail!(
                        "the lab's policy engine knows IPv4 blocks without exceptions only, not {}",
                        block.cidr
                    );
                };
                admit(rule, cidr, to, admitted);
            }
            Peer::Pods { namespaces, pods } => {
                let chosen = objects.pods.values().filter(|pod| {
                    let namespace_matches = match namespaces {
                        None => pod.key().namespace == policy.key().namespace,
                        Some(selector) => objects
                            .namespaces
                            .get(&pod.key().namespace)
                            .is_some_and(|namespace| selector.matches(&namespace.meta.labels)),
                    };
                    namespace_matches && pods.as_ref().is_none_or(|selector| selector.matches(pod.labels()))
                });
                for pod in chosen {
                    for address in &pod.addresses {
                        if let IpAddr::V4(address) = address {
                            admit(rule, Ipv4Net::from(*address), to.or(Some(pod)), admitted);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn admit(rule: &PolicyRule, peer: Ipv4Net, to: Option<&Pod>, admitted: &mut Vec<Admitted>) {
    if rule.ports.is_empty() {
        admitted.push(Admitted::all(peer));
    }
    for port in &rule.ports {
        let ports = match &port.ports {
            PolicyPortSpec::All => None,
            PolicyPortSpec::Range(range) => Some(*range),
            PolicyPortSpec::Name(name) => match to.and_then(|pod| named(pod, name, port.protocol)) {
                Some(range) => Some(range),
                // A name that the destination does not have admits nothing.
                None => continue,
            },
        };
        admitted.push(Admitted { peer, protocol: Some(port.protocol), ports });
    }
}

fn named(pod: &Pod, name: &str, protocol: Protocol) -> Option<PortRange> {
    pod.named_port(name, protocol).map(PortRange::single)
}

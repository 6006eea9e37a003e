//! Stand-in for kube-router without IP sets: for machines that lack them, and for stories in which rules are shown.
//!
//! The rules have the names, comments, marks and order of kube-router 1.3 to 1.6 (`pkg/controllers/netpol/pod.go` and
//! `policy.go`) with these differences:
//!
//! * peers are single `-s`/`-d` rules instead of sets, and blocks with exceptions the prefixes that are left;
//! * so a policy has a chain for each pod and direction, since it holds the pod's own address;
//! * a pod's chain has no version in its name, hence it is flushed and filled again where the real one makes a new one;
//! * the doubled `physdev` jumps are left out: with `bridge-nf-call-iptables` the plain ones match bridged packets too;
//! * IPv6 is written by the same rules through ip6tables. Those versions had none; what neighbours say to each other is
//!   let pass, as later versions do.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Family, Key};

use super::{destination, kube_router as frame};
use crate::kube_proxy::hash;
use crate::policy::carve::carve;
use crate::policy::enforcer::PolicedPod;
use crate::policy::filter::{Filter, comment};
use crate::policy::{Isolation, PodDecision};

pub fn render(
    family: Family,
    service_cidrs: &[IpNet],
    pods: &[PolicedPod],
    decisions: &[PodDecision],
) -> Filter {
    let mut filter = Filter::default();
    frame::begin(&mut filter, family, service_cidrs);
    for pod in pods {
        let decision = decisions.iter().find(|decision| decision.pod == pod.key);
        for address in pod.addresses_of(family) {
            one_pod(&mut filter, family, pod, address, decision);
        }
    }
    frame::end(&mut filter);
    filter
}

fn one_pod(
    filter: &mut Filter,
    family: Family,
    pod: &PolicedPod,
    address: IpAddr,
    decision: Option<&PodDecision>,
) {
    let chain = frame::pod_chain(&pod.key);
    frame::pod_jumps(filter, &pod.key, address, &chain);
    filter.chain(chain.clone());
    filter.add(
        &chain,
        &format!(
            "{} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            comment("rule for stateful firewall for pod")
        ),
    );
    filter.add(
        &chain,
        &format!("{} -m conntrack --ctstate INVALID -j DROP", comment("rule to drop invalid state for pod")),
    );
    if family == Family::Ipv6 {
        frame::neighbours(filter, &chain);
    }
    frame::local_node(filter, &chain, address);
    let mut policies = Vec::new();
    for (direction, flag, peer_flag, isolations) in [
        ("ingress", "-d", "-s", decision.map_or(&[][..], |decision| &decision.ingress)),
        ("egress", "-s", "-d", decision.map_or(&[][..], |decision| &decision.egress)),
    ] {
        if isolations.is_empty() {
            frame::default_policy(filter, &chain, direction, flag, address);
        }
        for isolation in isolations {
            let policy_chain = policy_chain(&isolation.policy, &pod.key, direction);
            let comment = comment(&format!("run through nw policy {}", isolation.policy.name));
            filter.add(&chain, &format!("{flag} {address} {comment} -j {policy_chain}"));
            policies.push((policy_chain, isolation, format!("{flag} {address}"), peer_flag));
        }
    }
    frame::verdict(filter, &chain, &pod.key, family);
    for (policy_chain, isolation, own, peer_flag) in policies {
        filter.chain(policy_chain.clone());
        policy_rules(filter, family, &policy_chain, isolation, &own, peer_flag);
    }
}

fn policy_rules(
    filter: &mut Filter,
    family: Family,
    chain: &str,
    isolation: &Isolation,
    own: &str,
    peer_flag: &str,
) {
    let Key { namespace, name } = &isolation.policy;
    let comment = comment(&format!(
        "rule to ACCEPT traffic from source pods to dest pods selected by policy name {name} namespace {namespace}"
    ));
    let of_family = |peer: &IpNet| Family::of(peer.addr()) == family;
    for admitted in isolation.admitted.iter().filter(|admitted| of_family(&admitted.peer)) {
        for peer in carve(admitted.peer, &admitted.except) {
            let ports = destination(admitted.protocol, admitted.ports);
            frame::admit(filter, chain, &format!("{own} {peer_flag} {peer}{ports} {comment}"));
        }
    }
}

/// One for each pod, since it holds the pod's own address where the real one has a set of them.
fn policy_chain(policy: &Key, pod: &Key, direction: &str) -> String {
    format!("KUBE-NWPLCY-{}", hash(&format!("{policy}{pod}{direction}")))
}

#[cfg(test)]
mod tests;

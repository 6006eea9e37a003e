//! Decisions to rules.

use std::collections::BTreeSet;
use std::fmt::Write;

use ipnet::IpNet;
use model::Key;

use super::carve::carve;
use super::{Admitted, Isolation, PodDecision, PolicyEngine};
use crate::kube_proxy::hash;
use crate::lab::Pod;

/// Built-in chain, the engine's chain, and the fixed part of kube-router's comment on the jump.
const TOP: [(&str, &str, &str); 3] = [
    ("INPUT", "KUBE-ROUTER-INPUT", "4IA2OSFRMVNDXBVV"),
    ("FORWARD", "KUBE-ROUTER-FORWARD", "TEMCG2JMHZYE7H7T"),
    ("OUTPUT", "KUBE-ROUTER-OUTPUT", "VEAAIY32XVBHCSCY"),
];
const DEFAULT: &str = "KUBE-NWPLCY-DEFAULT";
const OURS: [&str; 3] = ["KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-"];
const ADMITTED: &str = "0x10000/0x10000";
const PASSED: &str = "0x20000/0x20000";

/// Text for `iptables-restore --noflush` that replaces what is saved of the engine by what the decisions say.
pub fn render(engine: &PolicyEngine, pods: &[&Pod], decisions: &[PodDecision], saved: &str) -> String {
    let mut chains = BTreeSet::from([DEFAULT.to_owned()]);
    chains.extend(TOP.iter().map(|(_, chain, _)| (*chain).to_owned()));
    let mut rules = String::new();
    mark(&mut rules, DEFAULT, "rule to mark traffic matching a network policy", ADMITTED);
    cluster_ranges(engine, &mut rules);
    for pod in pods {
        let decision = decisions.iter().find(|decision| decision.pod == pod.spec.key);
        let chain = pod_chain(&pod.spec.key);
        pod_jumps(pod, &chain, &mut rules);
        pod_rules(pod, &chain, decision, &mut rules, &mut chains);
        chains.insert(chain);
    }
    for (_, chain, _) in TOP {
        let comment = "rule to explicitly ACCEPT traffic that comply to network policies";
        line(
            &mut rules,
            chain,
            &format!("-m comment --comment \"{comment}\" -m mark --mark {PASSED} -j ACCEPT"),
        );
    }
    let mut text = String::from("*filter\n");
    for chain in &chains {
        // Writing to a String cannot fail.
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    text.push_str(&rules);
    text.push_str(&remove_chains(saved, &chains));
    for (base, chain, id) in TOP {
        // The engine keeps its jumps in the first place: taken out and put in again.
        let jump = format!("-m comment --comment \"kube-router netpol - {id}\" -j {chain}");
        if saved.contains(&format!("-j {chain}\n")) {
            let _ = writeln!(text, "-D {base} {jump}");
        }
        let _ = writeln!(text, "-I {base} 1 {jump}");
    }
    text.push_str("COMMIT\n");
    text
}

/// Text that removes everything of the engine.
pub fn removal(saved: &str) -> String {
    let mut text = String::from("*filter\n");
    for (base, chain, id) in TOP {
        if saved.contains(&format!("-j {chain}\n")) {
            let _ = writeln!(text, "-D {base} -m comment --comment \"kube-router netpol - {id}\" -j {chain}");
        }
    }
    text.push_str(&remove_chains(saved, &BTreeSet::new()));
    text.push_str("COMMIT\n");
    text
}

fn remove_chains(saved: &str, keep: &BTreeSet<String>) -> String {
    let stale: Vec<_> = saved
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
        .filter(|chain| OURS.iter().any(|prefix| chain.starts_with(prefix)) && !keep.contains(*chain))
        .collect();
    let flushed = stale.iter().map(|chain| format!("-F {chain}\n"));
    let removed = stale.iter().map(|chain| format!("-X {chain}\n"));
    flushed.chain(removed).collect()
}

/// Before translation, Service addresses and node ports are nobody's pod.
fn cluster_ranges(engine: &PolicyEngine, rules: &mut String) {
    let input = "KUBE-ROUTER-INPUT";
    let cidr = engine.service_cidr;
    let comment =
        format!("allow traffic to primary/secondary cluster IP range - {}", hash("cluster IP range"));
    line(rules, input, &format!("-m comment --comment \"{comment}\" -d {cidr} -j RETURN"));
    for protocol in ["tcp", "udp"] {
        let comment =
            format!("allow LOCAL {} traffic to node ports - {}", protocol.to_uppercase(), hash(protocol));
        line(
            rules,
            input,
            &format!(
                "-p {protocol} -m comment --comment \"{comment}\" -m addrtype --dst-type LOCAL \
                 -m multiport --dports 30000:32767 -j RETURN"
            ),
        );
    }
}

fn pod_jumps(pod: &Pod, chain: &str, rules: &mut String) {
    let words = |direction: &str| {
        let Key { namespace, name } = &pod.spec.key;
        format!(
            "-m comment --comment \"rule to jump traffic {direction} POD name:{name} namespace: {namespace} to chain {chain}\""
        )
    };
    let address = pod.spec.address;
    let (to, from) = (words("destined to"), words("from"));
    line(rules, "KUBE-ROUTER-FORWARD", &format!("-d {address} {to} -j {chain}"));
    line(rules, "KUBE-ROUTER-OUTPUT", &format!("-d {address} {to} -j {chain}"));
    line(rules, "KUBE-ROUTER-INPUT", &format!("-s {address} {from} -j {chain}"));
    line(rules, "KUBE-ROUTER-FORWARD", &format!("-s {address} {from} -j {chain}"));
    line(rules, "KUBE-ROUTER-OUTPUT", &format!("-s {address} {from} -j {chain}"));
}

fn pod_rules(
    pod: &Pod,
    chain: &str,
    decision: Option<&PodDecision>,
    rules: &mut String,
    chains: &mut BTreeSet<String>,
) {
    let Key { namespace, name } = &pod.spec.key;
    let address = pod.spec.address;
    let mut add = |rule: &str| line(rules, chain, rule);
    add(
        "-m comment --comment \"rule for stateful firewall for pod\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    );
    add("-m comment --comment \"rule to drop invalid state for pod\" -m conntrack --ctstate INVALID -j DROP");
    add(&format!(
        "-m comment --comment \"rule to permit the traffic traffic to pods when source is the pod's local node\" \
         -m addrtype --src-type LOCAL -d {address} -j ACCEPT"
    ));
    let mut policies = String::new();
    for (direction, flag, peer_flag, isolations) in [
        ("ingress", "-d", "-s", decision.map_or(&[][..], |decision| &decision.ingress)),
        ("egress", "-s", "-d", decision.map_or(&[][..], |decision| &decision.egress)),
    ] {
        if isolations.is_empty() {
            let comment = format!("run through default {direction} network policy  chain");
            add(&format!("{flag} {address} -m comment --comment \"{comment}\" -j {DEFAULT}"));
        }
        for isolation in isolations {
            let policy_chain = policy_chain(&isolation.policy, &pod.spec.key, direction);
            let comment = format!("run through nw policy {}", isolation.policy.name);
            add(&format!("{flag} {address} -m comment --comment \"{comment}\" -j {policy_chain}"));
            let own = format!("{flag} {address}");
            policy_rules(&policy_chain, isolation, &own, peer_flag, &mut policies);
            chains.insert(policy_chain);
        }
    }
    let who = format!("POD name:{name} namespace: {namespace}");
    add(&format!(
        "-m comment --comment \"rule to log dropped traffic {who}\" -m mark ! --mark {ADMITTED} \
         -m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100"
    ));
    // "destined for" even where the pod is the source: so says the real one.
    add(&format!(
        "-m comment --comment \"rule to REJECT traffic destined for {who}\" -m mark ! --mark {ADMITTED} \
         -j REJECT --reject-with icmp-port-unreachable"
    ));
    add("-j MARK --set-xmark 0x0/0x10000");
    add(&format!(
        "-m comment --comment \"set mark to ACCEPT traffic that comply to network policies\" -j MARK --set-xmark {PASSED}"
    ));
    rules.push_str(&policies);
}

fn policy_rules(chain: &str, isolation: &Isolation, own: &str, peer_flag: &str, rules: &mut String) {
    let Key { namespace, name } = &isolation.policy;
    let comment = format!(
        "-m comment --comment \"rule to ACCEPT traffic from source pods to dest pods selected by policy name {name} namespace {namespace}\""
    );
    for admitted in isolation.admitted.iter().filter(|admitted| matches!(admitted.peer, IpNet::V4(_))) {
        for peer in carve(admitted.peer, &admitted.except) {
            let selected = format!("{own} {peer_flag} {peer}{} {comment}", ports(admitted));
            line(rules, chain, &format!("{selected} -j MARK --set-xmark {ADMITTED}"));
            line(rules, chain, &format!("{selected} -m mark --mark {ADMITTED} -j RETURN"));
        }
    }
}

fn ports(admitted: &Admitted) -> String {
    let Some(protocol) = admitted.protocol else { return String::new() };
    let protocol = protocol.lower();
    match admitted.ports {
        None => format!(" -p {protocol}"),
        Some(range) if range.first == range.last => {
            format!(" -p {protocol} -m {protocol} --dport {}", range.first)
        }
        Some(range) => format!(" -p {protocol} -m {protocol} --dport {}:{}", range.first, range.last),
    }
}

fn mark(rules: &mut String, chain: &str, comment: &str, mark: &str) {
    line(rules, chain, &format!("-m comment --comment \"{comment}\" -j MARK --set-xmark {mark}"));
}

fn line(rules: &mut String, chain: &str, rule: &str) {
    let _ = writeln!(rules, "-A {chain} {rule}");
}

fn pod_chain(pod: &Key) -> String {
    format!("KUBE-POD-FW-{}", hash(&format!("{}{}", pod.namespace, pod.name)))
}

/// One for each pod, since it holds the pod's own address where the real one has a set of them.
fn policy_chain(policy: &Key, pod: &Key, direction: &str) -> String {
    format!("KUBE-NWPLCY-{}", hash(&format!("{policy}{pod}{direction}")))
}

//! Stand-in for kube-router: its chains and IP sets, in the dialect of 2.0 to 2.6.
//!
//! Follows `pkg/controllers/netpol` of github.com/cloudnativelabs/kube-router: `network_policy_controller.go` (top-level
//! chains, KUBE-NWPLCY-DEFAULT and -COMMON), `pod.go` (a pod's chain), `policy.go` (policy chains and their sets). The
//! frame is shared with the style without sets. Names of chains and sets are hashed as there.
//!
//! A policy has one chain (`networkPolicyChainName`), and a pod that it isolates in both directions jumps there with
//! neither `-s` nor `-d` (`setupPodNetpolRules`). What the policy admits one way it then admits the other way too, where
//! the sets allow: an ingress rule marks what one of its pods sends to another, whatever its egress rules say. That is
//! more than the API asks for; it is kept, because nodes that run kube-router do it.
//!
//! Differences:
//!
//! * names of chains lack the version that the real one adds to replace chains by new ones; they are flushed and filled
//!   in one commit instead;
//! * peer sets are numbered by clause and not by the policy's rule, since decisions do not know rules, and a set holds
//!   what several rules admit alike;
//! * a block with exceptions has a set of its own, the exceptions being `nomatch`; the real one puts all blocks of a rule
//!   into one set, where one block's exception cuts another block;
//! * `0.0.0.0/0` without exceptions needs no set, with them it is two halves as there; `::/0` is two halves as well, and
//!   not `2000::/3` and `fd00::/8`;
//! * named ports are numbers, as the decisions have them, and divide a policy's pods into several target sets;
//! * the set of a policy's own pods holds those of the node, the real one those of the cluster: what the one chain admits
//!   beyond the API is here admitted between pods of one node alone;
//! * KUBE-POD-FW chains exist for all pods of the node, KUBE-NWPLCY chains only for policies that select one of them;
//! * no `physdev` jumps, no KUBE-NWPLCY-TAIL, no set of local pods, no NFLOG reader.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Family, Key};

use super::destination;
use crate::kube_proxy::hash;
use crate::policy::PodDecision;
use crate::policy::enforcer::PolicedPod;
use crate::policy::filter::{Filter, Jump, Layout, comment};
use crate::policy::plan::{Applied, Clause, Direction, Peers, Plan, PlannedPod, Share};
use crate::policy::sets::{IpSet, Sets};

pub const LAYOUT: Layout = Layout {
    prefixes: &["KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-"],
    // The fixed part of kube-router's comments.
    jumps: &[
        Jump { base: "INPUT", chain: "KUBE-ROUTER-INPUT", comment: "kube-router netpol - 4IA2OSFRMVNDXBVV" },
        Jump {
            base: "FORWARD",
            chain: "KUBE-ROUTER-FORWARD",
            comment: "kube-router netpol - TEMCG2JMHZYE7H7T",
        },
        Jump {
            base: "OUTPUT",
            chain: "KUBE-ROUTER-OUTPUT",
            comment: "kube-router netpol - VEAAIY32XVBHCSCY",
        },
    ],
};

/// `ipSetName` in `policy.go` puts `inet6:` before the names of IPv6 sets.
pub const SET_PREFIXES: &[&str] = &["KUBE-SRC-", "KUBE-DST-", "inet6:KUBE-SRC-", "inet6:KUBE-DST-"];

const DEFAULT: &str = "KUBE-NWPLCY-DEFAULT";
const COMMON: &str = "KUBE-NWPLCY-COMMON";
const ADMITTED: &str = "0x10000/0x10000";
const PASSED: &str = "0x20000/0x20000";
/// What kube-router creates sets with (`pkg/utils/ipset.go`); elements carry the timeout too.
const SET_OPTIONS: &str = "hashsize 1024 maxelem 65536 timeout 0";

pub fn render(
    family: Family,
    service_cidrs: &[IpNet],
    pods: &[PolicedPod],
    decisions: &[PodDecision],
    sets: &mut Sets,
) -> Filter {
    let plan = Plan::new(family, pods, decisions);
    let mut filter = Filter::default();
    begin(&mut filter, family, service_cidrs);
    common_chain(&mut filter, family);
    for ((policy, direction), shares) in &plan.policies {
        for (index, share) in shares.iter().enumerate() {
            policy_rules(&mut filter, sets, family, policy, *direction, index, share);
        }
    }
    for pod in &plan.pods {
        for address in &pod.addresses {
            pod_rules(&mut filter, family, pod, *address);
        }
    }
    end(&mut filter);
    filter
}

/// What applies to every pod and both directions (`ensureCommonPolicyChain`).
fn common_chain(filter: &mut Filter, family: Family) {
    filter.chain(COMMON);
    let invalid = comment("rule to drop invalid state for pod");
    filter.add(COMMON, &format!("{invalid} -m conntrack --ctstate INVALID -j DROP"));
    let established = comment("rule for stateful firewall for pod");
    filter.add(COMMON, &format!("{established} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
    let (protocol, flag) = match family {
        Family::Ipv4 => ("icmp", "--icmp-type"),
        Family::Ipv6 => ("ipv6-icmp", "--icmpv6-type"),
    };
    for (kind, words) in [
        ("echo-request", "allow icmp echo requests"),
        ("destination-unreachable", "allow icmp destination unreachable messages"),
        ("time-exceeded", "allow icmp ttl exceeded messages"),
    ] {
        filter.add(COMMON, &format!("-p {protocol} {} {flag} {kind} -j ACCEPT", comment(words)));
    }
    if family == Family::Ipv6 {
        neighbours(filter, COMMON);
    }
}

/// The real one puts each rule before those of before, so policies come last and in reverse.
fn pod_rules(filter: &mut Filter, family: Family, pod: &PlannedPod<'_>, address: IpAddr) {
    let key = &pod.pod.key;
    let chain = pod_chain(key);
    pod_jumps(filter, key, address, &chain);
    filter.chain(chain.clone());
    filter
        .add(&chain, &format!("{} -j {COMMON}", comment("rule to run through common network policy chain")));
    local_node(filter, &chain, address);
    for (direction, flag) in [(Direction::Egress, "-s"), (Direction::Ingress, "-d")] {
        if pod.applied(direction).is_empty() {
            default_policy(filter, &chain, direction.word(), flag, address);
        }
    }
    let mut policies: Vec<&Applied<'_>> = pod.ingress.iter().chain(&pod.egress).collect();
    policies.sort_by_key(|applied| applied.policy);
    policies.dedup_by_key(|applied| applied.policy);
    for applied in policies.into_iter().rev() {
        let isolates = |direction| pod.applied(direction).iter().any(|other| other.policy == applied.policy);
        let own = match (isolates(Direction::Ingress), isolates(Direction::Egress)) {
            (true, false) => format!("-d {address} "),
            (false, true) => format!("-s {address} "),
            _ => String::new(),
        };
        let comment = comment(&format!("run through nw policy {}", applied.policy.name));
        filter.add(&chain, &format!("{own}{comment} -j {}", policy_chain(applied.policy, family)));
    }
    verdict(filter, &chain, key, family);
}

fn policy_rules(
    filter: &mut Filter,
    sets: &mut Sets,
    family: Family,
    policy: &Key,
    direction: Direction,
    index: usize,
    share: &Share,
) {
    let chain = policy_chain(policy, family);
    filter.chain(chain.clone());
    let Key { namespace, name } = policy;
    let (own_prefix, peer_prefix) = match direction {
        Direction::Ingress => ("KUBE-DST-", "KUBE-SRC-"),
        Direction::Egress => ("KUBE-SRC-", "KUBE-DST-"),
    };
    // The first share's name is the real one's.
    let which = if index == 0 { String::new() } else { index.to_string() };
    let target = sets.add(
        set_name(own_prefix, &format!("{namespace}{name}{family}{which}"), family),
        set("hash:ip", family, share.pods.iter().map(|address| format!("{address} timeout 0")).collect()),
    );
    for (number, clause) in share.clauses.iter().enumerate() {
        let seed = format!("{namespace}{name}{}rule{which}{number}{family}", direction.word());
        let peers = peer_set(clause, family).map(|(kind, suffix, members)| {
            let name = set_name(peer_prefix, &format!("{seed}{suffix}"), family);
            sets.add(name, set(kind, family, members))
        });
        let words = words(direction, &clause.peers);
        let comment = comment(&format!(
            "rule to ACCEPT traffic from {words} selected by policy name {name} namespace {namespace}"
        ));
        let (source, other) = match direction {
            Direction::Ingress => (peers, Some(target.clone())),
            Direction::Egress => (Some(target.clone()), peers),
        };
        let in_set = |set: Option<String>, side: &str| {
            set.map(|set| format!(" -m set --match-set {set} {side}")).unwrap_or_default()
        };
        let ports = destination(clause.protocol, clause.ports);
        admit(filter, &chain, &format!("{comment}{}{}{ports}", in_set(source, "src"), in_set(other, "dst")));
    }
}

/// Kind of set, what its name ends with before it is hashed, and members; nothing for everybody.
fn peer_set(clause: &Clause, family: Family) -> Option<(&'static str, &'static str, Vec<String>)> {
    let member = |net: IpNet, option: &str| {
        halves(net, family).into_iter().map(|half| format!("{half} timeout 0{option}")).collect::<Vec<_>>()
    };
    match &clause.peers {
        Peers::Everybody => None,
        Peers::Hosts(hosts) => {
            Some(("hash:ip", "pod", hosts.iter().map(|host| format!("{host} timeout 0")).collect()))
        }
        Peers::Blocks(blocks) => {
            Some(("hash:net", "ipblock", blocks.iter().flat_map(|block| member(*block, "")).collect()))
        }
        Peers::Block { cidr, except } => {
            let holes = except.iter().filter(|hole| Family::of(hole.addr()) == family);
            let members =
                member(*cidr, "").into_iter().chain(holes.flat_map(|hole| member(*hole, " nomatch")));
            Some(("hash:net", "ipblock", members.collect()))
        }
    }
}

/// A set of networks refuses a prefix of length 0 (`hash_net4_uadt` in net/netfilter/ipset/ip_set_hash_net.c).
fn halves(net: IpNet, family: Family) -> Vec<IpNet> {
    if net.prefix_len() > 0 {
        return vec![net];
    }
    debug_assert_eq!(Family::of(net.addr()), family);
    net.subnets(1).map(Iterator::collect).unwrap_or_default()
}

const fn words(direction: Direction, peers: &Peers) -> &'static str {
    match (direction, peers) {
        (_, Peers::Hosts(_)) => "source pods to dest pods",
        (Direction::Ingress, Peers::Everybody) => "all sources to dest pods",
        (Direction::Ingress, _) => "specified ipBlocks to dest pods",
        (Direction::Egress, Peers::Everybody) => "source pods to all destinations",
        (Direction::Egress, _) => "source pods to specified ipBlocks",
    }
}

fn set(kind: &'static str, family: Family, members: Vec<String>) -> IpSet {
    IpSet { kind, family, options: SET_OPTIONS, members }
}

fn set_name(prefix: &str, text: &str, family: Family) -> String {
    let marker = if family == Family::Ipv6 { "inet6:" } else { "" };
    format!("{marker}{prefix}{}", hash(text))
}

fn policy_chain(policy: &Key, family: Family) -> String {
    format!("KUBE-NWPLCY-{}", hash(&format!("{}{}{family}", policy.namespace, policy.name)))
}

// The frame.

/// The chains every node has, and what kube-router lets pass to the node before translation: Service addresses and node
/// ports are nobody's pod.
pub fn begin(filter: &mut Filter, family: Family, service_cidrs: &[IpNet]) {
    for chain in LAYOUT.jumps.iter().map(|jump| jump.chain).chain([DEFAULT]) {
        filter.chain(chain);
    }
    let marks = comment("rule to mark traffic matching a network policy");
    filter.add(DEFAULT, &format!("{marks} -j MARK --set-xmark {ADMITTED}"));
    let input = "KUBE-ROUTER-INPUT";
    for cidr in service_cidrs.iter().filter(|cidr| Family::of(cidr.addr()) == family) {
        let words =
            format!("allow traffic to primary/secondary cluster IP range - {}", hash("cluster IP range"));
        filter.add(input, &format!("{} -d {cidr} -j RETURN", comment(&words)));
    }
    for protocol in ["tcp", "udp"] {
        let words =
            format!("allow LOCAL {} traffic to node ports - {}", protocol.to_uppercase(), hash(protocol));
        filter.add(
            input,
            &format!(
                "-p {protocol} {} -m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN",
                comment(&words)
            ),
        );
    }
}

pub fn end(filter: &mut Filter) {
    let words = comment("rule to explicitly ACCEPT traffic that comply to network policies");
    for jump in LAYOUT.jumps {
        filter.add(jump.chain, &format!("{words} -m mark --mark {PASSED} -j ACCEPT"));
    }
}

pub fn pod_chain(pod: &Key) -> String {
    format!("KUBE-POD-FW-{}", hash(&format!("{}{}", pod.namespace, pod.name)))
}

pub fn pod_jumps(filter: &mut Filter, pod: &Key, address: IpAddr, chain: &str) {
    let words = |direction: &str| {
        let Key { namespace, name } = pod;
        comment(&format!(
            "rule to jump traffic {direction} POD name:{name} namespace: {namespace} to chain {chain}"
        ))
    };
    let (to, from) = (words("destined to"), words("from"));
    for base in ["KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT"] {
        filter.add(base, &format!("-d {address} {to} -j {chain}"));
    }
    for base in ["KUBE-ROUTER-INPUT", "KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT"] {
        filter.add(base, &format!("-s {address} {from} -j {chain}"));
    }
}

/// Neighbour discovery (RFC 4861): between pods of one bridge it passes ip6tables too.
pub fn neighbours(filter: &mut Filter, chain: &str) {
    for kind in ["neighbor-solicitation", "neighbor-advertisement"] {
        let words = comment(&format!("allow icmp {} messages", kind.replace('-', " ")));
        filter.add(chain, &format!("-p ipv6-icmp {words} --icmpv6-type {kind} -j ACCEPT"));
    }
}

pub fn local_node(filter: &mut Filter, chain: &str, address: IpAddr) {
    let words = comment("rule to permit the traffic traffic to pods when source is the pod's local node");
    filter.add(chain, &format!("{words} -m addrtype --src-type LOCAL -d {address} -j ACCEPT"));
}

pub fn default_policy(filter: &mut Filter, chain: &str, direction: &str, flag: &str, address: IpAddr) {
    let words = comment(&format!("run through default {direction} network policy  chain"));
    filter.add(chain, &format!("{flag} {address} {words} -j {DEFAULT}"));
}

/// The end of a pod's chain: what no policy marked is refused.
pub fn verdict(filter: &mut Filter, chain: &str, pod: &Key, family: Family) {
    let who = format!("POD name:{} namespace: {}", pod.name, pod.namespace);
    let error = match family {
        Family::Ipv4 => "icmp-port-unreachable",
        Family::Ipv6 => "icmp6-port-unreachable",
    };
    let unmarked = format!("-m mark ! --mark {ADMITTED}");
    let log = comment(&format!("rule to log dropped traffic {who}"));
    let limit = "-m limit --limit 10/minute --limit-burst 10";
    filter.add(chain, &format!("{log} {unmarked} {limit} -j NFLOG --nflog-group 100"));
    // "destined for" even where the pod is the source: so says the real one.
    let reject = comment(&format!("rule to REJECT traffic destined for {who}"));
    filter.add(chain, &format!("{reject} {unmarked} -j REJECT --reject-with {error}"));
    filter.add(chain, "-j MARK --set-xmark 0x0/0x10000");
    let passed = comment("set mark to ACCEPT traffic that comply to network policies");
    filter.add(chain, &format!("{passed} -j MARK --set-xmark {PASSED}"));
}

/// A policy's pair of rules: mark what is admitted, and leave.
pub fn admit(filter: &mut Filter, chain: &str, matches: &str) {
    filter.add(chain, &format!("{matches} -j MARK --set-xmark {ADMITTED}"));
    filter.add(chain, &format!("{matches} -m mark --mark {ADMITTED} -j RETURN"));
}

//! Stand-in for Calico's iptables data plane: Felix's filter table and IP sets, in the dialect of 3.8 to 3.15.
//!
//! Follows github.com/projectcalico/felix, later calico/felix: `rules/static.go` (cali-INPUT, -FORWARD, -OUTPUT,
//! cali-wl-to-host), `rules/dispatch.go`, `rules/endpoints.go` (cali-tw-*, cali-fw-*), `rules/policy.go` (policy chains;
//! `AppendNegatedCIDRMatchBlock` for exceptions), and published `iptables-save` listings. Differences:
//!
//! * dispatch is by the pod's address, not by `-i`/`-o cali*`: behind a bridge, routed packets show the bridge. For the
//!   same reason nothing is matched by `cali+`, and the dispatch chains lack the last rule, which drops what comes from
//!   or goes to an unknown interface. They are flat, without the tree by prefix;
//! * between pods of one bridge neighbour discovery passes ip6tables; cali-FORWARD lets it pass, which the real one,
//!   whose pods are routed to, need not;
//! * only the filter table: no raw, mangle or nat, and no chains for host endpoints;
//! * hashes, in names and in the `cali:` comments, are of this program and in base 32; those of the jumps are the real
//!   ones'. Newer versions accept at the end of FORWARD instead of in cali-FORWARD;
//! * profiles are the namespace's alone, without the service account's; both admit everything;
//! * named ports are numbers, as the decisions have them, not `hash:ip,port` sets; pods for which a name means different
//!   numbers have a policy chain of their own;
//! * pod peers of one policy with the same ports are one set, whichever selectors chose them;
//! * `DefaultEndpointToHostAction` is ACCEPT, which is what the manifests set and not Felix's default.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Family, Key};

use super::range;
use crate::kube_proxy::hash;
use crate::policy::PodDecision;
use crate::policy::enforcer::PolicedPod;
use crate::policy::filter::{Filter, Jump, Layout, comment};
use crate::policy::plan::{Applied, Clause, Direction, Peers, Plan, PlannedPod};
use crate::policy::sets::{IpSet, Sets};

pub const LAYOUT: Layout = Layout {
    prefixes: &["cali-"],
    jumps: &[
        Jump { base: "INPUT", chain: "cali-INPUT", comment: "cali:Cz_u1IQiXIMmKD4c" },
        Jump { base: "FORWARD", chain: "cali-FORWARD", comment: "cali:wUHhoiAYhphO9Mso" },
        Jump { base: "OUTPUT", chain: "cali-OUTPUT", comment: "cali:tVnHkvAo15HuiPy0" },
    ],
};

pub const SET_PREFIXES: &[&str] = &["cali40s:", "cali60s:"];

/// `defaultMaxIPSetSize` of Felix.
const SET_OPTIONS: &str = "hashsize 1024 maxelem 1048576";
/// The longest name of a chain (`XT_EXTENSION_MAXNAMELEN` in include/uapi/linux/netfilter/x_tables.h, its end not
/// counted).
const CHAIN_LIMIT: usize = 28;

// The bits Felix takes of its default `IptablesMarkMask` (0xffff0000), in the order in which it takes them.
const ACCEPTED: &str = "0x10000/0x10000";
const PASS: &str = "0x20000";
const ALL_BLOCKS: &str = "0x40000";
const BLOCK_BITS: &str = "0xc0000";

/// Types of ICMPv6 that may reach the host: multicast listener discovery, router solicitation, neighbour discovery
/// (`filterWorkloadToHostChain` in `rules/static.go`).
const TO_HOST: [u8; 6] = [130, 131, 132, 133, 135, 136];
const NEIGHBOURS: [u8; 2] = [135, 136];

pub fn render(family: Family, pods: &[PolicedPod], decisions: &[PodDecision], sets: &mut Sets) -> Filter {
    let plan = Plan::new(family, pods, decisions);
    let mut chains = Chains { filter: Filter::default(), rules: 0 };
    frame(&mut chains, &plan);
    for pod in &plan.pods {
        endpoint(&mut chains, pod, Direction::Ingress);
        endpoint(&mut chains, pod, Direction::Egress);
        profile(&mut chains, &pod.pod.key.namespace);
    }
    for ((policy, direction), shares) in &plan.policies {
        for (index, share) in shares.iter().enumerate() {
            let chain = policy_chain(&Applied { policy, share: index }, *direction);
            chains.begin(&chain);
            for (number, clause) in share.clauses.iter().enumerate() {
                let set = format!("{policy}{}{index}.{number}", direction.word());
                clause_rules(&mut chains, sets, &chain, clause, *direction, family, &set);
            }
        }
    }
    chains.filter
}

/// Rules with the comment by which Felix knows its own.
struct Chains {
    filter: Filter,
    rules: usize,
}

impl Chains {
    fn begin(&mut self, chain: &str) {
        self.filter.chain(chain);
    }

    /// `before` are the matches that iptables prints before comments: interfaces, addresses, protocols.
    fn add(&mut self, chain: &str, before: &str, words: Option<&str>, rest: &str) {
        self.rules += 1;
        let mark = comment(&format!("cali:{}", hash(&format!("{chain} {} {before} {rest}", self.rules))));
        let words = words.map(|words| format!(" {}", comment(words))).unwrap_or_default();
        let before = if before.is_empty() { String::new() } else { format!("{before} ") };
        self.filter.add(chain, &format!("{before}{mark}{words} {rest}"));
    }
}

fn frame(chains: &mut Chains, plan: &Plan<'_>) {
    for chain in ["cali-from-wl-dispatch", "cali-to-wl-dispatch", "cali-wl-to-host"] {
        chains.begin(chain);
    }
    for jump in LAYOUT.jumps {
        chains.begin(jump.chain);
    }
    let accept = format!("-m mark --mark {ACCEPTED} -j ACCEPT");
    chains.add("cali-FORWARD", "", None, "-j MARK --set-xmark 0x0/0xe0000");
    if plan.family == Family::Ipv6 {
        for kind in NEIGHBOURS {
            chains.add(
                "cali-FORWARD",
                "-p ipv6-icmp",
                None,
                &format!("-m icmp6 --icmpv6-type {kind} -j ACCEPT"),
            );
        }
    }
    chains.add("cali-FORWARD", "", None, "-j cali-from-wl-dispatch");
    chains.add("cali-FORWARD", "", None, "-j cali-to-wl-dispatch");
    chains.add("cali-FORWARD", "", Some("Policy explicitly accepted packet."), &accept);
    for pod in &plan.pods {
        let (from, to) = (endpoint_chain(pod, Direction::Egress), endpoint_chain(pod, Direction::Ingress));
        for address in &pod.addresses {
            chains.add("cali-from-wl-dispatch", &format!("-s {address}"), None, &format!("-g {from}"));
            chains.add("cali-to-wl-dispatch", &format!("-d {address}"), None, &format!("-g {to}"));
            chains.add("cali-INPUT", &format!("-s {address}"), None, "-g cali-wl-to-host");
        }
    }
    chains.add("cali-INPUT", "", None, &accept);
    if plan.family == Family::Ipv6 {
        for kind in TO_HOST {
            let rest = format!("-m icmp6 --icmpv6-type {kind} -j ACCEPT");
            chains.add("cali-wl-to-host", "-p ipv6-icmp", None, &rest);
        }
    }
    chains.add("cali-wl-to-host", "", None, "-j cali-from-wl-dispatch");
    chains.add("cali-wl-to-host", "", Some("Configured DefaultEndpointToHostAction"), "-j ACCEPT");
    chains.add("cali-OUTPUT", "", None, &accept);
    for address in plan.pods.iter().flat_map(|pod| &pod.addresses) {
        chains.add("cali-OUTPUT", &format!("-d {address}"), None, "-j RETURN");
    }
}

/// What a pod gets (ingress) or sends (egress).
fn endpoint(chains: &mut Chains, pod: &PlannedPod<'_>, direction: Direction) {
    let chain = endpoint_chain(pod, direction);
    chains.begin(&chain);
    let mut add = |before: &str, words: Option<&str>, rest: &str| chains.add(&chain, before, words, rest);
    add("", None, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    add("", None, "-m conntrack --ctstate INVALID -j DROP");
    add("", None, "-j MARK --set-xmark 0x0/0x10000");
    if direction == Direction::Egress {
        let vxlan = "Drop VXLAN encapped packets originating in pods";
        add("-p udp", Some(vxlan), "-m multiport --dports 4789 -j DROP");
        add("-p 4", Some("Drop IPinIP encapped packets originating in pods"), "-j DROP");
    }
    let returns = format!("-m mark --mark {ACCEPTED} -j RETURN");
    let policies = pod.applied(direction);
    if !policies.is_empty() {
        add("", Some("Start of policies"), &format!("-j MARK --set-xmark 0x0/{PASS}"));
        for applied in policies {
            let jump = format!("-m mark --mark 0x0/{PASS} -j {}", policy_chain(applied, direction));
            add("", None, &jump);
            add("", Some("Return if policy accepted"), &returns);
        }
        add("", Some("Drop if no policies passed packet"), &format!("-m mark --mark 0x0/{PASS} -j DROP"));
    }
    add("", None, &format!("-j {}", profile_chain(&pod.pod.key.namespace, direction)));
    add("", Some("Return if profile accepted"), &returns);
    add("", Some("Drop if no profiles matched"), "-j DROP");
}

/// The profile of a namespace (`kns.NAME`) admits everything; it decides about pods that no policy isolates.
fn profile(chains: &mut Chains, namespace: &str) {
    for direction in [Direction::Ingress, Direction::Egress] {
        let chain = profile_chain(namespace, direction);
        if !chains.filter.has(&chain) {
            chains.begin(&chain);
            accept(chains, &chain, "", "");
        }
    }
}

fn clause_rules(
    chains: &mut Chains,
    sets: &mut Sets,
    chain: &str,
    clause: &Clause,
    direction: Direction,
    family: Family,
    set: &str,
) {
    let (flag, side) = match direction {
        Direction::Ingress => ("-s", "src"),
        Direction::Egress => ("-d", "dst"),
    };
    let protocol = clause.protocol.map(|protocol| format!("-p {}", protocol.lower())).unwrap_or_default();
    let ports =
        clause.ports.map(|ports| format!("-m multiport --dports {} ", range(ports))).unwrap_or_default();
    let before = |address: String| [address, protocol.clone()].join(" ").trim().to_owned();
    match &clause.peers {
        Peers::Everybody => accept(chains, chain, &protocol, &ports),
        Peers::Hosts(hosts) => {
            let name = add_set(sets, set, hosts, family);
            accept(chains, chain, &protocol, &format!("-m set --match-set {name} {side} {ports}"));
        }
        Peers::Blocks(blocks) => {
            for block in blocks {
                accept(chains, chain, &before(format!("{flag} {block}")), &ports);
            }
        }
        Peers::Block { cidr, except } => {
            let start = format!("-j MARK --set-xmark {ALL_BLOCKS}/{BLOCK_BITS}");
            chains.add(chain, "", None, &start);
            for hole in except.iter().filter(|hole| Family::of(hole.addr()) == family) {
                let clear = format!("-j MARK --set-xmark 0x0/{ALL_BLOCKS}");
                chains.add(chain, &format!("{flag} {hole}"), None, &clear);
            }
            let left = format!("{ports}-m mark --mark {ALL_BLOCKS}/{ALL_BLOCKS} ");
            accept(chains, chain, &before(format!("{flag} {cidr}")), &left);
        }
    }
}

/// Felix's pair of rules: mark what is admitted, and leave. `rest` ends with a blank unless it is empty.
fn accept(chains: &mut Chains, chain: &str, before: &str, rest: &str) {
    chains.add(chain, before, None, &format!("{rest}-j MARK --set-xmark {ACCEPTED}"));
    chains.add(chain, "", None, &format!("-m mark --mark {ACCEPTED} -j RETURN"));
}

fn add_set(sets: &mut Sets, seed: &str, hosts: &[IpAddr], family: Family) -> String {
    let prefix = match family {
        Family::Ipv4 => "cali40s:",
        Family::Ipv6 => "cali60s:",
    };
    let members = hosts.iter().map(|host| IpNet::from(*host).to_string()).collect();
    let set = IpSet { kind: "hash:net", family, options: SET_OPTIONS, members };
    sets.add(format!("{prefix}{}", hash(seed)), set)
}

fn endpoint_chain(pod: &PlannedPod<'_>, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "cali-tw-",
        Direction::Egress => "cali-fw-",
    };
    name(prefix, &pod.pod.interface)
}

fn policy_chain(applied: &Applied<'_>, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "cali-pi-_",
        Direction::Egress => "cali-po-_",
    };
    let Key { namespace, name } = applied.policy;
    let which = if applied.share == 0 { String::new() } else { format!(".{}", applied.share) };
    format!("{prefix}{}", hash(&format!("{namespace}/knp.default.{name}{which}")))
}

fn profile_chain(namespace: &str, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "cali-pri-",
        Direction::Egress => "cali-pro-",
    };
    name(prefix, &format!("kns.{namespace}"))
}

/// As `GetLengthLimitedID` of libcalico: the text where it fits, else an underscore and its hash.
fn name(prefix: &str, text: &str) -> String {
    if prefix.len() + text.len() <= CHAIN_LIMIT {
        format!("{prefix}{text}")
    } else {
        format!("{prefix}_{}", hash(text))
    }
}

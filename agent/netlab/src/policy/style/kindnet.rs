//! Stand-in for kindnet's network policies: its nftables table, with rules where kindnetd asks user space.
//!
//! Follows the table that sigs.k8s.io/kube-network-policies writes (`pkg/networkpolicy/controller.go`,
//! `syncNFTablesRules`, v0.5 to v0.8; its test `TestNetworkPolicies_SyncRules` has the listing), under the name and with
//! the DNS work-around that kindnet sets (`NetfilterBug1766Fix`). Only addresses of isolated pods of the node are looked
//! at, after translation, in postrouting; DNS questions in prerouting. Differences:
//!
//! * **the queue**: `queue flags bypass to 101` is `jump verdict` here, and what kindnetd decides about a packet is
//!   written as rules: chain `verdict`, a map from pod to chain for each direction and family, a chain for each isolated
//!   pod, sets of peers. What is denied is dropped, as kindnetd's verdict is, but by a rule one can see;
//! * exceptions of blocks are left out of the intervals, since a set of nftables has no `nomatch`;
//! * newer versions remember a verdict in a connection label, let only neighbour discovery of ICMPv6 pass, and look at
//!   what pods send to the node itself in input: none of it here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ipnet::IpNet;
use model::{Family, Key};

use crate::kube_proxy::hash;
use crate::policy::PodDecision;
use crate::policy::carve::carve;
use crate::policy::enforcer::PolicedPod;
use crate::policy::plan::{Clause, Direction, Peers, Plan, PlannedPod};

const TABLE: &str = "kindnet-network-policies";
/// The longest comment of a rule (`NFTNL_UDATA_COMMENT_MAXLEN` of libnftnl, its end not counted). Longer ones are cut.
const COMMENT_LIMIT: usize = 127;

/// The input of `nft -f`: one transaction that puts the table in the place of what was there.
pub fn render(pods: &[PolicedPod], decisions: &[PodDecision]) -> String {
    let mut table = Table::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        table.family(&Plan::new(family, pods, decisions));
    }
    format!("{}table inet {TABLE} {{\n{}}}\n", removal(), table.text())
}

/// The input of `nft -f` that removes the table, whether or not it is there.
pub fn removal() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

#[derive(Default)]
struct Table {
    /// Sets and maps: type and flags, then elements.
    sets: BTreeMap<String, (String, BTreeSet<String>)>,
    chains: BTreeMap<String, Vec<String>>,
}

/// A family's word in rules, type of address, and end of names.
const fn words(family: Family) -> (&'static str, &'static str, &'static str) {
    match family {
        Family::Ipv4 => ("ip", "ipv4_addr", "v4"),
        Family::Ipv6 => ("ip6", "ipv6_addr", "v6"),
    }
}

/// Which address of a packet is the pod's, and which the peer's.
const fn sides(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Ingress => ("daddr", "saddr"),
        Direction::Egress => ("saddr", "daddr"),
    }
}

impl Table {
    fn family(&mut self, plan: &Plan<'_>) {
        let (_, kind, end) = words(plan.family);
        self.sets.insert(format!("podips-{end}"), (format!("type {kind}"), BTreeSet::new()));
        for direction in [Direction::Egress, Direction::Ingress] {
            let map = format!("{}-{end}", direction.word());
            self.sets.insert(map, (format!("type {kind} : verdict"), BTreeSet::new()));
        }
        for pod in &plan.pods {
            for direction in [Direction::Egress, Direction::Ingress] {
                self.pod(plan, pod, direction);
            }
        }
    }

    /// A policy that admits the packet ends the pod's chain with `return`: the packet's other pod is still to be asked.
    fn pod(&mut self, plan: &Plan<'_>, pod: &PlannedPod<'_>, direction: Direction) {
        let applied = pod.applied(direction);
        if applied.is_empty() {
            return;
        }
        let (_, _, end) = words(plan.family);
        let chain = format!("pod-{}-{end}-{}", direction.word(), hash(&pod.pod.key.to_string()));
        let mut rules = Vec::new();
        for applied in applied {
            let share = &plan.policies[&(applied.policy, direction)][applied.share];
            for (number, clause) in share.clauses.iter().enumerate() {
                let seed = format!("{}{}{}.{number}", applied.policy, direction.word(), applied.share);
                let matches = self.clause(clause, direction, plan.family, &seed);
                rules.push(format!("{matches}return {}", comment(&format!("policy {}", applied.policy))));
            }
        }
        let Key { namespace, name } = &pod.pod.key;
        rules.push(format!("drop {}", comment(&format!("{} of pod {namespace}/{name}", direction.word()))));
        self.chains.insert(chain.clone(), rules);
        for address in &pod.addresses {
            self.element(&format!("podips-{end}"), address.to_string());
            self.element(&format!("{}-{end}", direction.word()), format!("{address} : jump {chain}"));
        }
    }

    fn element(&mut self, set: &str, element: String) {
        if let Some((_, elements)) = self.sets.get_mut(set) {
            elements.insert(element);
        }
    }

    /// The matches of a clause, with a blank after each.
    fn clause(&mut self, clause: &Clause, direction: Direction, family: Family, seed: &str) -> String {
        let (ip, kind, end) = words(family);
        let prefixes = match &clause.peers {
            Peers::Everybody => None,
            Peers::Hosts(hosts) => Some(hosts.iter().map(|host| IpNet::from(*host)).collect()),
            Peers::Blocks(blocks) => Some(blocks.clone()),
            Peers::Block { cidr, except } => Some(carve(*cidr, except)),
        };
        let mut matches = match prefixes {
            // The table serves both families; without it an IPv4 pod's chain would be the only thing to say so.
            None => format!("meta nfproto ipv{} ", &end[1..]),
            Some(prefixes) => {
                let set = format!("peers-{end}-{}", hash(seed));
                // Intervals of one set must not overlap.
                let elements = IpNet::aggregate(&prefixes).iter().map(ToString::to_string).collect();
                self.sets.insert(set.clone(), (format!("type {kind}; flags interval"), elements));
                format!("{ip} {} @{set} ", sides(direction).1)
            }
        };
        if let Some(protocol) = clause.protocol {
            let protocol = protocol.lower();
            let which = match clause.ports {
                None => format!("meta l4proto {protocol} "),
                Some(ports) if ports.first == ports.last => format!("{protocol} dport {} ", ports.first),
                Some(ports) => format!("{protocol} dport {}-{} ", ports.first, ports.last),
            };
            matches.push_str(&which);
        }
        matches
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, (kind, elements)) in &self.sets {
            let what = if kind.ends_with("verdict") { "map" } else { "set" };
            // An empty list of elements is a syntax error.
            let elements: Vec<_> = elements.iter().map(String::as_str).collect();
            let list = if elements.is_empty() {
                String::new()
            } else {
                format!("elements = {{ {} }}; ", elements.join(", "))
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what} {name} {{ {kind}; {list}}}");
        }
        // Before the chains that lead to them.
        for (name, rules) in &self.chains {
            let _ = writeln!(text, "chain {name} {{\n{}\n}}", rules.join("\n"));
        }
        let mut verdict = Vec::new();
        let mut asked = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let (ip, _, end) = words(family);
            for direction in [Direction::Egress, Direction::Ingress] {
                let own = sides(direction).0;
                verdict.push(format!("{ip} {own} vmap @{}-{end}", direction.word()));
                asked.push(format!("{ip} {own} @podips-{end} jump verdict"));
            }
        }
        let (verdict, asked) = (verdict.join("\n"), asked.join("\n"));
        let _ = write!(
            text,
            "chain verdict {{\n{verdict}\n}}\n\
             chain postrouting {{\ntype filter hook postrouting priority srcnat - 5; policy accept;\n\
             udp dport 53 accept\nmeta l4proto ipv6-icmp accept\nmeta skuid 0 accept\n\
             ct state established,related accept\n{asked}\n}}\n\
             chain prerouting {{\ntype filter hook prerouting priority dstnat + 5; policy accept;\n\
             meta l4proto != udp accept\nudp dport != 53 accept\n{asked}\n}}\n"
        );
        text
    }
}

/// Names come from objects: what would end the quoted text, or the line, is replaced.
fn comment(text: &str) -> String {
    let mut text: String =
        text.chars().map(|c| if c.is_control() || c == '"' || c == '\\' { '_' } else { c }).collect();
    while text.len() > COMMENT_LIMIT {
        text.pop();
    }
    format!("comment \"{text}\"")
}

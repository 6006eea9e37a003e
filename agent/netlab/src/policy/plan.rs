//! Decisions sorted by what rules with sets are made of: which pods share a policy's rules, and one clause for each rule.
//!
//! Decisions are per pod; the engines write a policy once and put its pods into a set. A policy whose named port means
//! different numbers for different pods is divided into shares. No rule text is made here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use model::flow::PortRange;
use model::{Family, Key, Protocol};

use super::enforcer::PolicedPod;
use super::{Admitted, Isolation, PodDecision};

/// Which way a policy looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

/// All that is to be enforced on a node in one address family.
#[derive(Debug)]
pub struct Plan<'a> {
    pub family: Family,
    /// The node's pods that have an address of the family, isolated or not.
    pub pods: Vec<PlannedPod<'a>>,
    /// What each policy that isolates one of them admits.
    pub policies: BTreeMap<(&'a Key, Direction), Vec<Share>>,
}

#[derive(Debug)]
pub struct PlannedPod<'a> {
    pub pod: &'a PolicedPod,
    pub addresses: Vec<IpAddr>,
    /// In the order of the decisions.
    pub ingress: Vec<Applied<'a>>,
    pub egress: Vec<Applied<'a>>,
}

/// A policy, and which share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    pub policy: &'a Key,
    pub share: usize,
}

/// Pods that a policy admits the same for.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    pub pods: Vec<IpAddr>,
    pub clauses: Vec<Clause>,
}

/// What one rule can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub protocol: Option<Protocol>,
    pub ports: Option<PortRange>,
    pub peers: Peers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// A set of networks refuses a prefix of length 0, so this one needs no set.
    Everybody,
    Hosts(Vec<IpAddr>),
    /// Blocks without exceptions.
    Blocks(Vec<IpNet>),
    /// One block with its exceptions. Alone, since an exception must not cut another block.
    Block {
        cidr: IpNet,
        except: Vec<IpNet>,
    },
}

impl Direction {
    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl<'a> Plan<'a> {
    pub fn new(family: Family, pods: &'a [PolicedPod], decisions: &'a [PodDecision]) -> Self {
        let mut plan = Plan { family, pods: Vec::new(), policies: BTreeMap::new() };
        for pod in pods {
            let addresses = pod.addresses_of(family);
            if addresses.is_empty() {
                continue;
            }
            let decision = decisions.iter().find(|decision| decision.pod == pod.key);
            let [ingress, egress] =
                [Direction::Ingress, Direction::Egress].map(|direction| match (decision, direction) {
                    (None, _) => Vec::new(),
                    (Some(decision), Direction::Ingress) => {
                        plan.apply(&decision.ingress, direction, &addresses)
                    }
                    (Some(decision), Direction::Egress) => {
                        plan.apply(&decision.egress, direction, &addresses)
                    }
                });
            plan.pods.push(PlannedPod { pod, addresses, ingress, egress });
        }
        plan
    }

    fn apply(
        &mut self,
        isolations: &'a [Isolation],
        direction: Direction,
        addresses: &[IpAddr],
    ) -> Vec<Applied<'a>> {
        let mut applied = Vec::new();
        for isolation in isolations {
            let clauses = clauses(&isolation.admitted, self.family);
            let shares = self.policies.entry((&isolation.policy, direction)).or_default();
            let share = shares.iter().position(|share| share.clauses == clauses).unwrap_or_else(|| {
                shares.push(Share { pods: Vec::new(), clauses });
                shares.len() - 1
            });
            shares[share].pods.extend(addresses);
            applied.push(Applied { policy: &isolation.policy, share });
        }
        applied
    }
}

impl PlannedPod<'_> {
    /// What isolates it in one direction.
    pub fn applied(&self, direction: Direction) -> &[Applied<'_>] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// One clause for each protocol, port range and kind of peer, in the order in which they first come.
fn clauses(admitted: &[Admitted], family: Family) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    for entry in admitted.iter().filter(|entry| Family::of(entry.peer.addr()) == family) {
        let clause = Clause { protocol: entry.protocol, ports: entry.ports, peers: peers(entry) };
        let joined = clauses.iter_mut().any(|other| {
            other.protocol == clause.protocol
                && other.ports == clause.ports
                && join(&mut other.peers, &clause.peers)
        });
        if !joined {
            clauses.push(clause);
        }
    }
    clauses
}

fn peers(entry: &Admitted) -> Peers {
    let block = entry.peer;
    if !entry.except.is_empty() {
        Peers::Block { cidr: block.trunc(), except: entry.except.iter().map(IpNet::trunc).collect() }
    } else if block.prefix_len() == 0 {
        Peers::Everybody
    } else if block.prefix_len() == block.max_prefix_len() {
        Peers::Hosts(vec![block.addr()])
    } else {
        Peers::Blocks(vec![block.trunc()])
    }
}

/// Puts more peers to those of a clause if one set can hold both; says whether it did.
fn join(peers: &mut Peers, more: &Peers) -> bool {
    match (peers, more) {
        (Peers::Hosts(hosts), Peers::Hosts(more)) => add_new(hosts, more),
        (Peers::Blocks(blocks), Peers::Blocks(more)) => add_new(blocks, more),
        (Peers::Everybody, Peers::Everybody) => true,
        _ => false,
    }
}

fn add_new<T: Copy + PartialEq>(there: &mut Vec<T>, more: &[T]) -> bool {
    for one in more {
        if !there.contains(one) {
            there.push(*one);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Clause, Direction, Peers, Plan};
    use crate::policy::enforcer::PolicedPod;
    use crate::policy::{Admitted, Isolation, PodDecision};
    use model::flow::PortRange;
    use model::{Family, Key, Protocol};

    fn pod(name: &str, addresses: &[&str]) -> PolicedPod {
        PolicedPod {
            key: Key::new("shop", name),
            addresses: addresses.iter().map(|address| address.parse().expect("address")).collect(),
            interface: format!("veth-{name}"),
        }
    }

    fn admitted(peer: &str, except: &[&str], port: u16) -> Admitted {
        Admitted {
            peer: peer.parse().expect("prefix"),
            except: except.iter().map(|hole| hole.parse().expect("prefix")).collect(),
            protocol: Some(Protocol::Tcp),
            ports: Some(PortRange::single(port)),
        }
    }

    fn ingress(pod: &str, admitted: Vec<Admitted>) -> PodDecision {
        let isolation = Isolation { policy: Key::new("shop", "web"), admitted };
        PodDecision { pod: Key::new("shop", pod), ingress: vec![isolation], egress: Vec::new() }
    }

    #[test]
    fn peers_of_one_kind_share_a_clause_and_blocks_with_exceptions_do_not() {
        let pods = [pod("server", &["10.0.0.1", "fd00::1"])];
        let decision = ingress(
            "server",
            vec![
                admitted("10.0.0.2/32", &[], 80),
                admitted("10.1.0.0/16", &[], 80),
                admitted("10.0.0.3/32", &[], 80),
                admitted("10.0.0.2/32", &[], 80),
                admitted("10.2.0.0/16", &["10.2.1.0/24"], 80),
                admitted("10.3.0.0/16", &["10.3.1.0/24"], 80),
                admitted("0.0.0.0/0", &[], 81),
                admitted("fd00::2/128", &[], 80),
            ],
        );
        let decisions = [decision];
        let plan = Plan::new(Family::Ipv4, &pods, &decisions);
        let policy = Key::new("shop", "web");
        let shares = &plan.policies[&(&policy, Direction::Ingress)];
        let peers: Vec<_> = shares[0].clauses.iter().map(|clause| clause.peers.clone()).collect();
        let net = |text: &str| text.parse().expect("prefix");
        assert_eq!(
            peers,
            [
                Peers::Hosts(vec![
                    "10.0.0.2".parse().expect("address"),
                    "10.0.0.3".parse().expect("address")
                ]),
                Peers::Blocks(vec![net("10.1.0.0/16")]),
                Peers::Block { cidr: net("10.2.0.0/16"), except: vec![net("10.2.1.0/24")] },
                Peers::Block { cidr: net("10.3.0.0/16"), except: vec![net("10.3.1.0/24")] },
                Peers::Everybody,
            ]
        );
        let six = Plan::new(Family::Ipv6, &pods, &decisions);
        assert_eq!(six.policies[&(&policy, Direction::Ingress)][0].clauses.len(), 1);
        assert_eq!(six.pods[0].addresses, ["fd00::1".parse::<std::net::IpAddr>().expect("address")]);
    }

    #[test]
    fn pods_for_which_a_name_means_another_port_are_another_share() {
        let pods = [
            pod("a", &["10.0.0.1"]),
            pod("b", &["10.0.0.2"]),
            pod("c", &["10.0.0.3"]),
            pod("d", &["fd00::4"]),
        ];
        let on = |pod: &str, port| ingress(pod, vec![admitted("10.9.0.0/16", &[], port)]);
        let decisions = [on("a", 80), on("b", 81), on("c", 80), on("d", 80)];
        let plan = Plan::new(Family::Ipv4, &pods, &decisions);
        let shares: Vec<_> = plan.pods.iter().map(|pod| pod.applied(Direction::Ingress)[0].share).collect();
        assert_eq!(shares, [0, 1, 0]);
        let policy = Key::new("shop", "web");
        let of = &plan.policies[&(&policy, Direction::Ingress)];
        assert_eq!(of[0].pods.len(), 2);
        let block = Peers::Blocks(vec!["10.9.0.0/16".parse().expect("prefix")]);
        let clause =
            Clause { protocol: Some(Protocol::Tcp), ports: Some(PortRange::single(81)), peers: block };
        assert_eq!(of[1].clauses, [clause]);
    }
}

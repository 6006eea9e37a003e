//! The smallest change of a policy that would admit a connection that policies deny: as a text to look at. Nothing here,
//! and nothing in this project, applies it.
//!
//! Smallest means: one entry in one list. A port to a rule that has the peer, a peer to a rule that has the port, else a
//! rule; of several policies to the one that comes nearest. Who else it lets in is the reader's to judge: labels that
//! others share admit those others too.

mod json;

use std::net::IpAddr;

use ipnet::IpNet;
use model::Protocol;
use model::explanation::PolicyVerdict;
use model::objects::{Action, ClusterPolicy, Key, Tier};

use crate::connection::View;
use crate::detail::{DecidedBy, DetailedDirection, DetailedPolicy, Outcome, PolicyKind};
use crate::evaluate;
use crate::index::Seen;
use crate::matching::{Direction, Question, Truth};
use crate::rule::Rule;
use crate::tiers;

/// Labels that controllers put on pods and that change with every roll-out.
const GENERATED: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// A change of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The policy's kind.
    pub kind: PolicyKind,
    /// The policy.
    pub policy: Key,
    /// What it does, in words: `add port 8080/tcp to rule 1`.
    pub says: String,
    /// The change as a JSON patch (RFC 6902).
    pub json: String,
    /// The same as what it is.
    pub(crate) change: Change,
}

impl Patch {
    /// The command that would apply it.
    pub fn command(&self) -> String {
        let (resource, namespace) = match self.kind {
            PolicyKind::NetworkPolicy => ("networkpolicy", format!(" -n {}", self.policy.namespace)),
            PolicyKind::Cluster(kind) => (kind.resource(), String::new()),
        };
        // Names of objects need no quotes; a quote within a label does.
        let json = self.json.replace('\'', r"'\''");
        format!("kubectl{namespace} patch {resource} {} --type=json -p '{json}'", self.policy.name)
    }
}

/// What is added; rules are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Port {
        rule: usize,
    },
    Peer {
        rule: usize,
        peer: NewPeer,
    },
    /// A rule at the end, or before the one that denies.
    Rule {
        at: Option<usize>,
        action: Action,
        peer: NewPeer,
    },
}

/// The other end, as a peer that means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NewPeer {
    Pods { namespace: String, labels: Vec<(String, String)> },
    Addresses(Vec<IpNet>),
}

/// The smallest change that turns a denial into an allowance in this direction.
pub(crate) fn smallest(
    question: &Question<'_, '_>,
    subject: Seen<'_>,
    direction: &DetailedDirection,
) -> Option<Patch> {
    let (admin, baseline) = direction.cluster.split_at(direction.before.min(direction.cluster.len()));
    match direction.decided_by {
        // One that may deny before makes any change behind it a gamble.
        DecidedBy::NetworkPolicies if !admin.iter().any(may_deny) => {
            of_network_policy(question, &direction.policies)
        }
        DecidedBy::Tier(Tier::Admin) => of_cluster_policy(question, subject, Tier::Admin, admin),
        DecidedBy::Tier(Tier::Baseline) if !admin.iter().any(may_deny) => {
            of_cluster_policy(question, subject, Tier::Baseline, baseline)
        }
        _ => None,
    }
}

fn may_deny(part: &DetailedPolicy) -> bool {
    part.asked && matches!(part.outcome, Outcome::Denies(_) | Outcome::Unknown)
}

fn of_network_policy(question: &Question<'_, '_>, policies: &[DetailedPolicy]) -> Option<Patch> {
    /// A rule is more than an entry.
    const WHOLE_RULE: u32 = 100;
    let cost = |part: &&DetailedPolicy| match part.nearest() {
        Some(miss) if miss.admits_peer || miss.admits_port => miss.distance,
        _ => WHOLE_RULE,
    };
    let part = policies.iter().min_by_key(cost)?;
    let rule = |number: u32| (number as usize).saturating_sub(1);
    let change = match part.nearest() {
        Some(miss) if miss.admits_peer => Change::Port { rule: rule(miss.rule) },
        Some(miss) if miss.admits_port => Change::Peer { rule: rule(miss.rule), peer: new_peer(question)? },
        _ => Change::Rule { at: None, action: Action::Accept, peer: new_peer(question)? },
    };
    let first_rule = part.outcome == Outcome::NoRules;
    Some(json::network(question, &part.policy, change, first_rule))
}

fn of_cluster_policy(
    question: &Question<'_, '_>,
    subject: Seen<'_>,
    tier: Tier,
    policies: &[DetailedPolicy],
) -> Option<Patch> {
    // Several of one priority would all have to be changed.
    let matches = |part: &&DetailedPolicy| {
        part.asked && !matches!(part.outcome, Outcome::PeerMismatch | Outcome::PortMismatch)
    };
    let mut matching = policies.iter().filter(matches);
    let part = matching.next()?;
    if matching.next().is_some() {
        return None;
    }
    let PolicyKind::Cluster(kind) = part.kind else { return None };
    let policy = question.index.set().cluster_policies.get(&(kind, part.policy.name.clone()))?;
    if full(policy, question.direction) {
        return None;
    }
    // Before every rule of it that may match.
    let at = tiers::rules(policy, question.direction)
        .iter()
        .position(|rule| rule.unread || question.rule(Rule::Cluster(rule)) != Truth::No)?;
    let peer = new_peer(question)?;
    // Passing is less than accepting, where what comes behind admits it.
    let passing = tier == Tier::Admin && evaluate::behind_admin(question, subject) == PolicyVerdict::Allow;
    let action = if passing { Action::Pass } else { Action::Accept };
    Some(json::cluster(question, policy, Change::Rule { at: Some(at), action, peer }))
}

/// Whether a policy can take no more rules.
fn full(policy: &ClusterPolicy, direction: Direction) -> bool {
    tiers::rules(policy, direction).len() >= policy.kind.rules_at_most()
}

fn new_peer(question: &Question<'_, '_>) -> Option<NewPeer> {
    let peer = question.peer;
    match peer {
        View::Pod(pod) if !pod.host_network => Some(NewPeer::Pods {
            namespace: pod.meta.key.namespace.clone(),
            labels: pod
                .meta
                .labels
                .iter()
                .filter(|(key, _)| !GENERATED.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }),
        View::Unlabelled { namespace } => {
            Some(NewPeer::Pods { namespace: namespace.to_owned(), labels: Vec::new() })
        }
        View::Pod(_) | View::Node { .. } | View::Address(_) => {
            let addresses: Vec<IpNet> = question.usable().map(host).collect();
            (!addresses.is_empty()).then_some(NewPeer::Addresses(addresses))
        }
        View::ServiceAddress(_) => None,
    }
}

/// One address as a block.
fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

impl NewPeer {
    fn words(&self) -> String {
        match self {
            Self::Pods { namespace, labels } if labels.is_empty() => format!("all pods of {namespace}"),
            Self::Pods { namespace, labels } => {
                let labels: Vec<String> =
                    labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("pods with {} in {namespace}", labels.join(","))
            }
            Self::Addresses(blocks) => {
                blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            }
        }
    }
}

fn port_words(port: u16, protocol: Protocol) -> String {
    format!("{port}/{protocol}")
}

#[cfg(test)]
pub(crate) mod apply;

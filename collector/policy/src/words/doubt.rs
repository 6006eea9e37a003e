//! Doubts and notes in words.

use std::fmt;

use model::objects::ClusterPolicyKind;

use super::Escaped;
use crate::detail::{Doubt, Note};

/// Why a policy's part cannot be told.
pub(crate) fn cannot_tell(doubts: &[Doubt]) -> String {
    let mut clauses: Vec<String> = Vec::new();
    for doubt in doubts {
        let clause = doubt.to_string();
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    format!("cannot be told: {}", clauses.join("; "))
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoliciesNotRead => f.write_str("the NetworkPolicies were not read"),
            Self::ClusterPoliciesNotRead(ClusterPolicyKind::ClusterNetworkPolicy) => {
                f.write_str("the ClusterNetworkPolicies were not read")
            }
            Self::ClusterPoliciesNotRead(ClusterPolicyKind::AdminNetworkPolicy) => {
                f.write_str("the AdminNetworkPolicies were not read")
            }
            Self::ClusterPoliciesNotRead(ClusterPolicyKind::BaselineAdminNetworkPolicy) => {
                f.write_str("the BaselineAdminNetworkPolicies were not read")
            }
            Self::NodesNotRead => f.write_str("the Nodes were not read, and the address may be one's"),
            Self::NoSuchPod(key) => write!(f, "the objects hold no pod {key}"),
            Self::NoSuchNamespace(name) => {
                write!(f, "the labels of namespace {name} matter, and the objects do not hold it")
            }
            Self::NoSuchNode(name) => {
                write!(f, "the labels of node {name} matter, and the objects do not hold it")
            }
            Self::NoNode(word) => write!(f, "the node that {word} runs on is not known"),
            Self::Finished(key) => write!(f, "pod {key} has ended"),
            Self::NoAddress(word) => write!(f, "{word} has no known address"),
            Self::HostNetwork(key) => write!(
                f,
                "pod {key} is on the host network, where the meaning of policies is left to the network plugin"
            ),
            Self::MaybeTranslated(address) => {
                write!(f, "{address} may be translated to another source address on the way in")
            }
            Self::NodeAddress(name) => write!(f, "node {name} may use an address of its pod range"),
            Self::EitherFamily(word) => {
                write!(f, "{word} has IPv4 and IPv6 addresses, and only one of them is admitted")
            }
            Self::ServiceAddress(address) => {
                write!(f, "{address} belongs to a Service; policies see the pod behind it")
            }
            Self::DomainNames { names, end } => {
                write!(f, "whether {end} has the name {} is not known", few(names))
            }
            Self::LabelOfSubject { namespace, key } => write!(
                f,
                "namespace {namespace} has no label {}, and whether that counts as another value is not defined",
                Escaped(key)
            ),
            Self::SamePriority { tier, priority, policies } => write!(
                f,
                "{} have the same priority {priority} in the {tier} tier and differ; which of them is asked is left to \
                 the network plugin",
                few(policies)
            ),
            Self::BothApis { tier } => write!(
                f,
                "ClusterNetworkPolicies and older kinds differ in the {tier} tier, and which are asked first is not \
                 defined"
            ),
            Self::Hairpin(key) => write!(
                f,
                "a Service leads pod {key} to itself, and whether NetworkPolicies apply then is left to the network \
                 plugin"
            ),
            Self::NotEvaluated { kind, policies } => {
                let one = policies.len() == 1;
                let policies: Vec<String> = policies.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{} {} {} not evaluated here and may decide otherwise",
                    Escaped(kind),
                    few(&policies),
                    if one { "is" } else { "are" }
                )
            }
            Self::Unread { kind, policy, fields } => {
                write!(
                    f,
                    "{} {policy} has fields that are not understood: {}",
                    kind.word(),
                    fields.join(", ")
                )
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockMatchesPod { policy, cidr, pod } => write!(
                f,
                "NetworkPolicy {policy} admits {pod} by its address block {cidr}; some network plugins do not match \
                 pods by address"
            ),
            Self::BlockMatchesNode { policy, cidr, node } => write!(
                f,
                "NetworkPolicy {policy} admits node {node} by its address block {cidr}; some network plugins do not \
                 match nodes by address"
            ),
            Self::BlockMatchesClient { policy, cidr, address } => write!(
                f,
                "NetworkPolicy {policy} admits {address} by its address block {cidr}; a source address translated \
                 on the way in would not match"
            ),
            Self::NamesOfOthers { kind, policy, pod } => {
                write!(f, "the domain names of {kind} {policy} are taken not to lead to {pod}")
            }
            Self::OwnNode { node } => {
                write!(f, "traffic between node {node} and its own pods is always allowed")
            }
            Self::Itself => f.write_str("a pod always reaches itself by its own address"),
        }
    }
}

/// A few names, the rest counted.
fn few(names: &[String]) -> String {
    const NAMED: usize = 4;
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| Escaped(name).to_string()).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

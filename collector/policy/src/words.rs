//! Policies, misses and doubts in the words of an answer.
//!
//! Names in objects are checked for their syntax, but label values of a file may be anything; they are escaped.

use std::fmt::Write as _;

use model::Protocol;
use model::objects::{Key, Peer, PolicyPort, PolicyPortSpec, Selector};

use crate::detail::{Doubt, LabelMiss, NearMiss, Note};
use crate::matching::{Direction, Question};

/// What a peer admits: `pods with role=allowed-client in any namespace with name=web`.
pub(crate) fn peer(peer: &Peer, policy: &Key, direction: Direction) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let pods = match pods.as_ref().filter(|selector| !selector.requirements.is_empty()) {
                Some(selector) => format!("pods with {}", shown(selector)),
                None => "all pods".to_owned(),
            };
            match namespaces {
                None => format!("{pods} in {}", policy.namespace),
                Some(selector) if selector.requirements.is_empty() => format!("{pods} in any namespace"),
                Some(selector) => format!("{pods} in any namespace with {}", shown(selector)),
            }
        }
        Peer::Block(block) => {
            let word = match direction {
                Direction::Ingress => "sources",
                Direction::Egress => "destinations",
            };
            let mut text = format!("{word} in {}", block.cidr);
            for (index, hole) in block.except.iter().enumerate() {
                let _ = write!(text, "{} {hole}", if index == 0 { " except" } else { "," });
            }
            text
        }
    }
}

fn shown(selector: &Selector) -> String {
    selector.to_string().escape_debug().to_string()
}

/// A list of ports: `80/tcp, http/tcp, 8000-8080/udp`.
pub(crate) fn ports(ports: &[PolicyPort]) -> String {
    const LISTED: usize = 6;
    let mut words: Vec<String> = ports.iter().take(LISTED).map(port).collect();
    if ports.len() > LISTED {
        words.push(format!("{} more", ports.len() - LISTED));
    }
    words.join(", ")
}

fn port(entry: &PolicyPort) -> String {
    let protocol = entry.protocol;
    match &entry.ports {
        PolicyPortSpec::All => format!("any port/{protocol}"),
        PolicyPortSpec::Range(range) if range.first == range.last => format!("{}/{protocol}", range.first),
        PolicyPortSpec::Range(range) => format!("{}-{}/{protocol}", range.first, range.last),
        PolicyPortSpec::Name(name) => format!("{}/{protocol}", name.escape_debug()),
    }
}

/// Misses in one clause each.
pub(crate) fn misses(question: &Question<'_, '_>, misses: &[NearMiss]) -> String {
    let mut clauses: Vec<String> = Vec::new();
    for miss in misses {
        let clause = clause(question, miss);
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    if clauses.is_empty() {
        return "whether that holds cannot be told".to_owned();
    }
    clauses.join(" and ")
}

fn clause(question: &Question<'_, '_>, miss: &NearMiss) -> String {
    let peer = || question.peer.word();
    let to = || question.destination().word();
    match miss {
        NearMiss::PodLabels { unmet, .. } => labels(&peer(), unmet),
        NearMiss::NamespaceLabels { namespace, unmet, .. } => {
            labels(&format!("namespace {namespace}"), unmet)
        }
        NearMiss::OtherNamespace { actual, .. } => format!("{} is in {actual}", peer()),
        NearMiss::NotAPod { .. } => format!("{} is not a pod", peer()),
        NearMiss::OutsideBlock { address, .. } => at(&peer(), &address.to_string(), "is outside"),
        NearMiss::InsideExcept { except, address, .. } => {
            at(&peer(), &address.to_string(), &format!("is in the exception {except}"))
        }
        NearMiss::OtherFamily { cidr, address, .. } => at(
            &peer(),
            &address.to_string(),
            &format!("is not an {} address", model::Family::of(cidr.addr())),
        ),
        NearMiss::Protocol { rule: Protocol::Tcp, asked } => {
            format!("the connection is {}, and a port without `protocol` means TCP", asked.upper())
        }
        NearMiss::Protocol { asked, .. } => format!("the connection is {}", asked.upper()),
        NearMiss::ServicePort { service, service_port, pod_port } => format!(
            "{service_port} is the port of Service {service}; policies see the pod's port, {pod_port}"
        ),
        NearMiss::NamedPortMissing { name, protocol, declared } => {
            let name = name.escape_debug();
            match declared.first() {
                Some((port, other)) => {
                    format!("{} declares {name} as {port}/{other}, not for {protocol}", to())
                }
                None => format!("{} declares no port named {name}", to()),
            }
        }
        NearMiss::NamedPortElsewhere { name, number } => {
            format!("{} is {number} on {}, not {}", name.escape_debug(), to(), question.port)
        }
        NearMiss::NamedPortNotAPod { name } => {
            format!("{} is no pod, so it has no port named {}", to(), name.escape_debug())
        }
        NearMiss::Port { asked, .. } | NearMiss::OutsideRange { asked, .. } => {
            format!("the connection goes to {asked}/{}", question.protocol)
        }
    }
}

fn at(word: &str, address: &str, what: &str) -> String {
    if word == address { format!("{address} {what}") } else { format!("{word} ({address}) {what}") }
}

/// `web/client has role=client`, `namespace web has no label name`.
fn labels(whose: &str, unmet: &[LabelMiss]) -> String {
    let clauses: Vec<String> = unmet
        .iter()
        .map(|miss| match &miss.actual {
            Some(value) if value.is_empty() => format!("an empty {}", miss.key.escape_debug()),
            Some(value) => format!("{}={}", miss.key.escape_debug(), value.escape_debug()),
            None => format!("no label {}", miss.key.escape_debug()),
        })
        .collect();
    format!("{whose} has {}", clauses.join(" and "))
}

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

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PoliciesNotRead => f.write_str("the NetworkPolicies were not read"),
            Self::NoSuchPod(key) => write!(f, "the objects hold no pod {key}"),
            Self::NoSuchNamespace(name) => {
                write!(f, "the labels of namespace {name} matter, and the objects do not hold it")
            }
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
            Self::Unread { policy, fields } => {
                write!(f, "NetworkPolicy {policy} has fields that are not understood: {}", fields.join(", "))
            }
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
            Self::OwnNode { node } => {
                write!(f, "traffic between node {node} and its own pods is always allowed")
            }
            Self::Itself => f.write_str("a pod always reaches itself by its own address"),
        }
    }
}

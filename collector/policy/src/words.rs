//! Policies, misses and doubts in the words of an answer.
//!
//! Names in objects are checked for their syntax, but label values of a file may be anything; they are escaped.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use model::Protocol;
use model::objects::{Key, Peer, PolicyPort, PolicyPortSpec, Selector};

use crate::connection::View;
use crate::detail::{Doubt, LabelMiss, NearMiss, Note};
use crate::matching::{Direction, Question};

/// What a peer admits: `pods with role=allowed-client in any namespace with name=web`.
pub(crate) fn peer(out: &mut String, peer: &Peer, policy: &Key, direction: Direction) {
    let _ = match peer {
        Peer::Pods { namespaces, pods } => {
            let _ = match pods.as_ref().filter(|selector| !selector.requirements.is_empty()) {
                Some(selector) => write!(out, "pods with {}", Shown(selector)),
                None => write!(out, "all pods"),
            };
            match namespaces {
                None => write!(out, " in {}", policy.namespace),
                Some(selector) if selector.requirements.is_empty() => write!(out, " in any namespace"),
                Some(selector) => write!(out, " in any namespace with {}", Shown(selector)),
            }
        }
        Peer::Block(block) => {
            let word = match direction {
                Direction::Ingress => "sources",
                Direction::Egress => "destinations",
            };
            let _ = write!(out, "{word} in {}", block.cidr);
            let mut holes = block.except.iter().enumerate();
            holes.try_for_each(|(index, hole)| {
                write!(out, "{} {hole}", if index == 0 { " except" } else { "," })
            })
        }
    };
}

/// A selector as selectors are written, escaped.
struct Shown<'s>(&'s Selector);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// A text of an object, escaped.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaping(f).write_str(self.0)
    }
}

/// Escapes what passes through.
struct Escaping<'f, 'w>(&'f mut fmt::Formatter<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly every name and label is plain, and looking at each character is slow.
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
        if text.bytes().all(plain) {
            self.0.write_str(text)
        } else {
            write!(self.0, "{}", text.escape_debug())
        }
    }
}

/// A list of ports: `80/tcp, http/tcp, 8000-8080/udp`.
pub(crate) fn ports(out: &mut String, ports: &[PolicyPort]) {
    const LISTED: usize = 6;
    for (index, entry) in ports.iter().take(LISTED).enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        port(out, entry);
    }
    if ports.len() > LISTED {
        let _ = write!(out, ", {} more", ports.len() - LISTED);
    }
}

fn port(out: &mut String, entry: &PolicyPort) {
    let protocol = entry.protocol;
    let _ = match &entry.ports {
        PolicyPortSpec::All => write!(out, "any port/{protocol}"),
        PolicyPortSpec::Range(range) if range.first == range.last => {
            write!(out, "{}/{protocol}", range.first)
        }
        PolicyPortSpec::Range(range) => write!(out, "{}-{}/{protocol}", range.first, range.last),
        PolicyPortSpec::Name(name) => write!(out, "{}/{protocol}", Escaped(name)),
    };
}

/// Misses in one clause each.
pub(crate) fn misses(out: &mut String, question: &Question<'_, '_>, misses: &[NearMiss]) {
    let mut clauses: Vec<std::ops::Range<usize>> = Vec::new();
    for miss in misses {
        let before = out.len();
        out.push_str(if clauses.is_empty() { "" } else { " and " });
        let start = out.len();
        let _ = clause(out, question, miss);
        if clauses.iter().any(|earlier| out.get(earlier.clone()) == out.get(start..)) {
            out.truncate(before);
        } else {
            clauses.push(start..out.len());
        }
    }
    if clauses.is_empty() {
        out.push_str("whether that holds cannot be told");
    }
}

fn clause(out: &mut String, question: &Question<'_, '_>, miss: &NearMiss) -> fmt::Result {
    let peer = question.peer;
    let to = question.destination();
    match miss {
        NearMiss::PodLabels { unmet, .. } => {
            write!(out, "{peer}")?;
            labels(out, unmet)
        }
        NearMiss::NamespaceLabels { namespace, unmet, .. } => {
            write!(out, "namespace {namespace}")?;
            labels(out, unmet)
        }
        NearMiss::OtherNamespace { actual, .. } => write!(out, "{peer} is in {actual}"),
        NearMiss::NotAPod { .. } => write!(out, "{peer} is not a pod"),
        NearMiss::OutsideBlock { address, .. } => write!(out, "{} is outside", At(peer, *address)),
        NearMiss::InsideExcept { except, address, .. } => {
            write!(out, "{} is in the exception {except}", At(peer, *address))
        }
        NearMiss::OtherFamily { cidr, address, .. } => {
            let family = model::Family::of(cidr.addr());
            write!(out, "{} is not an {family} address", At(peer, *address))
        }
        NearMiss::Protocol { rule: Protocol::Tcp, asked } => {
            let asked = asked.upper();
            write!(out, "the connection is {asked}, and a port without `protocol` means TCP")
        }
        NearMiss::Protocol { asked, .. } => write!(out, "the connection is {}", asked.upper()),
        NearMiss::ServicePort { service, service_port, pod_port } => write!(
            out,
            "{service_port} is the port of Service {service}; policies see the pod's port, {pod_port}"
        ),
        NearMiss::NamedPortMissing { name, protocol, declared } => {
            let name = Escaped(name);
            match declared.first() {
                Some((port, other)) => {
                    write!(out, "{to} declares {name} as {port}/{other}, not for {protocol}")
                }
                None => write!(out, "{to} declares no port named {name}"),
            }
        }
        NearMiss::NamedPortElsewhere { name, number } => {
            write!(out, "{} is {number} on {to}, not {}", Escaped(name), question.port)
        }
        NearMiss::NamedPortNotAPod { name } => {
            write!(out, "{to} is no pod, so it has no port named {}", Escaped(name))
        }
        NearMiss::Port { asked, .. } | NearMiss::OutsideRange { asked, .. } => {
            write!(out, "the connection goes to {asked}/{}", question.protocol)
        }
    }
}

/// An end with the address meant, unless it is one.
struct At<'a>(View<'a>, IpAddr);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            View::Address(own) | View::ServiceAddress(own) if *own == self.1 => write!(f, "{own}"),
            end => write!(f, "{end} ({})", self.1),
        }
    }
}

/// `web/client has role=client`, `namespace web has no label name`; whose they are is there already.
fn labels(out: &mut String, unmet: &[LabelMiss]) -> fmt::Result {
    for (index, miss) in unmet.iter().enumerate() {
        out.push_str(if index == 0 { " has " } else { " and " });
        let key = Escaped(&miss.key);
        match &miss.actual {
            Some(value) if value.is_empty() => write!(out, "an empty {key}")?,
            Some(value) => write!(out, "{key}={}", Escaped(value))?,
            None => write!(out, "no label {key}")?,
        }
    }
    Ok(())
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

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::OwnNode { node } => {
                write!(f, "traffic between node {node} and its own pods is always allowed")
            }
            Self::Itself => f.write_str("a pod always reaches itself by its own address"),
        }
    }
}

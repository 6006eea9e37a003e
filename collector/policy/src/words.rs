//! Policies, misses and doubts in the words of an answer.
//!
//! Names in objects are checked for their syntax, but label values of a file may be anything; they are escaped.

mod doubt;

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use model::Protocol;
use model::objects::{Action, ClusterRule, PolicyPortSpec, Selector};

use crate::connection::View;
use crate::detail::{LabelMiss, NearMiss};
use crate::matching::{Direction, Question};
use crate::rule::{AnyPeer, AnyPort, Rule, Spaces};

pub(crate) use doubt::cannot_tell;

/// What a rule does with what it matches.
pub(crate) const fn verb(rule: Rule<'_>) -> &'static str {
    match rule {
        Rule::Network { .. } => "admits",
        Rule::Cluster(rule) => match rule.action {
            Action::Accept => "admits",
            Action::Deny => "denies",
            Action::Pass => "passes on",
        },
    }
}

/// What a rule of a cluster-wide policy that matches says: `rule 2 (no-web) denies all pods in any namespace with
/// team=web on 80/tcp`.
pub(crate) fn says(question: &Question<'_, '_>, number: u32, rule: &ClusterRule) -> String {
    let mut out = String::with_capacity(128);
    let _ = write!(out, "rule {number}");
    if !rule.name.is_empty() {
        let _ = write!(out, " ({})", Escaped(&rule.name));
    }
    let rule = Rule::Cluster(rule);
    let _ = write!(out, " {} ", verb(rule));
    let matching = rule.peers().find(|peer| question.peer(*peer) == crate::matching::Truth::Yes);
    if let Some(matching) = matching.or_else(|| rule.peers().next()) {
        peer(&mut out, question, matching);
    }
    if rule.port_count() > 0 {
        out.push_str(" on ");
        ports(&mut out, rule);
    }
    out
}

/// What a peer means: `pods with role=allowed-client in any namespace with name=web`.
pub(crate) fn peer(out: &mut String, question: &Question<'_, '_>, peer: AnyPeer<'_>) {
    let _ = match peer {
        AnyPeer::Pods { spaces, pods, .. } => {
            match pods.filter(|selector| !selector.requirements.is_empty()) {
                Some(selector) => {
                    out.push_str("pods with ");
                    shown(out, selector);
                }
                None => out.push_str("all pods"),
            }
            space(out, question, spaces)
        }
        AnyPeer::Block { cidr, except } => {
            let _ = write!(out, "{} in {cidr}", sides(question.direction));
            let mut holes = except.iter().enumerate();
            holes.try_for_each(|(index, hole)| {
                write!(out, "{} {hole}", if index == 0 { " except" } else { "," })
            })
        }
        AnyPeer::Networks(networks) => {
            let _ = write!(out, "{} in ", sides(question.direction));
            listed(out, networks.iter())
        }
        AnyPeer::Nodes(selector) if selector.requirements.is_empty() => write!(out, "all nodes"),
        AnyPeer::Nodes(selector) => {
            out.push_str("nodes with ");
            shown(out, selector);
            Ok(())
        }
        AnyPeer::Names(names) => {
            out.push_str("destinations named ");
            listed(out, names.iter().map(|name| Escaped(name)))
        }
    };
}

fn space(out: &mut String, question: &Question<'_, '_>, spaces: Spaces<'_>) -> fmt::Result {
    match spaces {
        Spaces::Own(own) => {
            out.push_str(" in ");
            out.push_str(own);
        }
        Spaces::Selected(selector) if selector.requirements.is_empty() => out.push_str(" in any namespace"),
        Spaces::Selected(selector) => {
            out.push_str(" in any namespace with ");
            shown(out, selector);
        }
        Spaces::Same(keys) | Spaces::NotSame(keys) => {
            let own = question.subject.namespace().unwrap_or_default();
            let same = matches!(spaces, Spaces::Same(_));
            out.push_str(if same { " in namespaces with the same " } else { " in namespaces with another " });
            listed(out, keys.iter().map(|key| Escaped(key)))?;
            write!(out, " {} {own}", if same { "as" } else { "than" })?;
        }
    }
    Ok(())
}

const fn sides(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "sources",
        Direction::Egress => "destinations",
    }
}

/// A few of a list, the rest counted.
fn listed<T: fmt::Display>(out: &mut String, items: impl ExactSizeIterator<Item = T>) -> fmt::Result {
    const LISTED: usize = 6;
    let more = items.len().saturating_sub(LISTED);
    for (index, item) in items.take(LISTED).enumerate() {
        write!(out, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    if more > 0 { write!(out, ", {more} more") } else { Ok(()) }
}

/// A selector as selectors are written, escaped.
fn shown(out: &mut String, selector: &Selector) {
    let _ = write!(out, "{}", Shown(selector));
}

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
pub(crate) fn ports(out: &mut String, rule: Rule<'_>) {
    const LISTED: usize = 6;
    for (index, entry) in rule.ports().take(LISTED).enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        port(out, entry);
    }
    if rule.port_count() > LISTED {
        let _ = write!(out, ", {} more", rule.port_count() - LISTED);
    }
}

fn port(out: &mut String, entry: AnyPort<'_>) {
    let _ = match entry.ports {
        PolicyPortSpec::All => write!(out, "any port"),
        PolicyPortSpec::Range(range) if range.first == range.last => write!(out, "{}", range.first),
        PolicyPortSpec::Range(range) => write!(out, "{}-{}", range.first, range.last),
        PolicyPortSpec::Name(name) => write!(out, "{}", Escaped(name)),
    };
    if let Some(protocol) = entry.protocol {
        out.push('/');
        out.push_str(protocol.lower());
    }
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
        NearMiss::OnHostNetwork { .. } => {
            write!(out, "{peer} is on the host network, which such rules never mean")
        }
        NearMiss::SubjectLabel { namespace, key, same, own, actual, .. } => {
            let key = Escaped(key);
            match (actual, own) {
                (None, _) => write!(out, "namespace {namespace} has no label {key}"),
                (Some(actual), Some(own)) if *same => {
                    write!(out, "namespace {namespace} has {key}={}, not {}", Escaped(actual), Escaped(own))
                }
                (Some(actual), None) if *same => {
                    write!(out, "namespace {namespace} has {key}={}, the other has none", Escaped(actual))
                }
                (Some(actual), _) => {
                    write!(out, "namespace {namespace} has {key}={} as well", Escaped(actual))
                }
            }
        }
        NearMiss::NotANode { .. } => write!(out, "{peer} is not a node"),
        NearMiss::NodeLabels { node, unmet, .. } => {
            write!(out, "node {node}")?;
            labels(out, unmet)
        }
        NearMiss::NotByName { .. } => write!(out, "{peer} is taken to have none of these names"),
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

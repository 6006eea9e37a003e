//! On which ports one end may connect to another: the verdict for all ports at once.
//!
//! It says the same as asking for every port in turn. What matches an end does not depend on the port, so for
//! NetworkPolicies the rules that match are collected and their ports put together; where cluster-wide policies have a
//! say, the ports between two edges of any rule are asked about by one of them.

mod matrix;
mod ports;

use model::explanation::PolicyVerdict;
use model::objects::PolicyPortSpec;
use model::{Family, Protocol};

use crate::connection::{End, View};
use crate::detail::Doubt;
use crate::evaluate::{self, unevaluated};
use crate::exempt;
use crate::index::{PolicyIndex, Seen, Selected};
use crate::matching::{Direction, Question, Truth};
use crate::rule::{AnyPort, Rule};
use crate::tiers;

pub use matrix::{By, Cell, Group, GroupName, Matrix};
pub use ports::PortSet;

/// The ports on which one end may connect to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// For sure.
    pub allowed: PortSet,
    /// It cannot be told.
    pub unknown: PortSet,
}

impl Reach {
    fn all() -> Self {
        Self { allowed: PortSet::all(), unknown: PortSet::none() }
    }

    fn unknown() -> Self {
        Self { allowed: PortSet::none(), unknown: PortSet::all() }
    }

    /// The verdict for one port.
    pub fn verdict(&self, port: u16, protocol: Protocol) -> PolicyVerdict {
        if self.allowed.contains(port, protocol) {
            PolicyVerdict::Allow
        } else if self.unknown.contains(port, protocol) {
            PolicyVerdict::Unknown
        } else {
            PolicyVerdict::Deny
        }
    }

    /// What both directions let through.
    fn and(&self, other: &Self) -> Self {
        let may = |reach: &Self| reach.allowed.union(&reach.unknown);
        let allowed = self.allowed.intersection(&other.allowed);
        let unknown = may(self).intersection(&may(other)).difference(&allowed);
        Self { allowed, unknown }
    }
}

/// On which ports one end may connect to another.
pub fn reach(index: &PolicyIndex<'_>, src: &End, dst: &End) -> Reach {
    match (index.view(src), index.view(dst)) {
        (Ok(src), Ok(dst)) => between(index, src, dst),
        _ => Reach::unknown(),
    }
}

pub(crate) fn between(index: &PolicyIndex<'_>, src: Seen<'_>, dst: Seen<'_>) -> Reach {
    let egress = direction(index, Direction::Egress, src, dst);
    if egress.allowed.is_empty() && egress.unknown.is_empty() {
        return egress;
    }
    let ingress = direction(index, Direction::Ingress, dst, src);
    if egress.allowed.is_all() {
        return ingress;
    }
    egress.and(&ingress)
}

fn direction(index: &PolicyIndex<'_>, direction: Direction, subject: Seen<'_>, peer: Seen<'_>) -> Reach {
    let question = Question {
        index,
        direction,
        subject: subject.view,
        peer: peer.view,
        // No port is looked at but where ports are asked for one by one.
        port: 0,
        protocol: Protocol::Tcp,
        by_service: false,
        family: None,
    };
    let Some(namespace) = question.subject.namespace() else { return Reach::all() };
    if exempt::gone(&question).is_some() {
        return Reach::unknown();
    }
    if exempt::itself(&question).is_some() {
        return Reach::all();
    }
    index.selecting(subject, namespace, |selected| {
        let coverage = index.set().coverage;
        let read = coverage.policies && coverage.cluster_policies.missing().next().is_none();
        if !read || !selected.cluster.is_empty() {
            return by_edges(&question, subject, selected);
        }
        let mut found = of_networks(&question, selected);
        if !selected.others.is_empty() {
            let changes = |verdict| !unevaluated(direction, verdict, &selected.others).is_empty();
            if changes(PolicyVerdict::Deny) {
                found = Reach::unknown();
            } else if changes(PolicyVerdict::Allow) {
                found.unknown = found.allowed.union(&found.unknown);
                found.allowed = PortSet::none();
            }
        }
        found
    })
}

/// What the NetworkPolicies let through.
fn of_networks(question: &Question<'_, '_>, selected: &Selected<'_>) -> Reach {
    let (found, either) = in_family(question, selected);
    if !either {
        return found;
    }
    let of = |family| in_family(&Question { family: Some(family), ..*question }, selected).0;
    let (older, newer) = (of(Family::Ipv4), of(Family::Ipv6));
    let allowed = older.allowed.intersection(&newer.allowed);
    let may = |reach: &Reach| reach.allowed.union(&reach.unknown);
    let unknown = may(&older).union(&may(&newer)).difference(&allowed);
    Reach { allowed, unknown }
}

/// The same; and whether it depends on the family that is used.
fn in_family(question: &Question<'_, '_>, selected: &Selected<'_>) -> (Reach, bool) {
    let mut isolated = false;
    let mut found = Reach::default();
    let mut either = false;
    for policy in &selected.network {
        let isolates = match question.direction {
            Direction::Ingress => policy.isolates_ingress,
            Direction::Egress => policy.isolates_egress,
        };
        if !policy.unread.is_empty() {
            isolated = true;
            found.unknown = PortSet::all();
            continue;
        }
        if !isolates {
            continue;
        }
        isolated = true;
        for rule in Rule::of(policy, question.direction) {
            let (sure, maybe) = match question.peers(rule) {
                Truth::No => continue,
                Truth::Yes => of_rule(question, rule),
                Truth::Unknown(doubt) => {
                    either |= matches!(doubt, Doubt::EitherFamily(_));
                    let (sure, maybe) = of_rule(question, rule);
                    (PortSet::none(), sure.union(&maybe))
                }
            };
            found.allowed = found.allowed.union(&sure);
            found.unknown = found.unknown.union(&maybe);
            if found.allowed.is_all() {
                return (Reach::all(), false);
            }
        }
    }
    if !isolated || exempt::own_node(question).is_some() {
        return (Reach::all(), false);
    }
    found.unknown = if question.subject.host_pod().is_some() {
        found.allowed.complement()
    } else {
        found.unknown.difference(&found.allowed)
    };
    (found, either)
}

/// The ports of a rule, and those that may be its.
fn of_rule(question: &Question<'_, '_>, rule: Rule<'_>) -> (PortSet, PortSet) {
    if rule.port_count() == 0 {
        return (PortSet::all(), PortSet::none());
    }
    let (mut sure, mut maybe) = (PortSet::none(), PortSet::none());
    for entry in rule.ports() {
        let (of, may) = of_entry(question, entry);
        sure = sure.union(&of);
        maybe = maybe.union(&may);
    }
    (sure, maybe)
}

fn of_entry(question: &Question<'_, '_>, entry: AnyPort<'_>) -> (PortSet, PortSet) {
    let protocols: &[Protocol] = match &entry.protocol {
        Some(protocol) => std::slice::from_ref(protocol),
        None => &[Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
    };
    let each = |of: &dyn Fn(Protocol) -> PortSet| {
        protocols.iter().fold(PortSet::none(), |set, protocol| set.union(&of(*protocol)))
    };
    let none = PortSet::none;
    match entry.ports {
        PolicyPortSpec::All => (each(&PortSet::all_of), none()),
        PolicyPortSpec::Range(range) => (each(&|protocol| PortSet::of(protocol, *range)), none()),
        PolicyPortSpec::Name(name) => match question.destination() {
            View::Pod(pod) => {
                let named = |protocol| match pod.named_port(name, protocol) {
                    Some(port) => PortSet::of(protocol, model::PortRange::single(port)),
                    None => PortSet::none(),
                };
                (each(&named), none())
            }
            View::Unlabelled { .. } | View::ServiceAddress(_) => (none(), each(&PortSet::all_of)),
            View::Node { .. } | View::Address(_) => (none(), none()),
        },
    }
}

/// Asks for one port between any two edges.
fn by_edges(question: &Question<'_, '_>, subject: Seen<'_>, selected: &Selected<'_>) -> Reach {
    let mut found = Reach::default();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let mut edges: Vec<u16> = vec![1];
        let mut edge = |rule: Rule<'_>| {
            for entry in rule.ports() {
                let (sure, maybe) = of_entry(question, entry);
                for range in sure.of_protocol(protocol).iter().chain(maybe.of_protocol(protocol)) {
                    edges.extend([Some(range.first), range.last.checked_add(1)].into_iter().flatten());
                }
            }
        };
        for policy in &selected.network {
            Rule::of(policy, question.direction).for_each(&mut edge);
        }
        for candidate in &selected.cluster {
            tiers::rules(candidate.policy, question.direction).iter().map(Rule::Cluster).for_each(&mut edge);
        }
        edges.sort_unstable();
        edges.dedup();
        for (index, first) in edges.iter().enumerate() {
            let last = edges.get(index + 1).map_or(u16::MAX, |next| next - 1);
            let set = PortSet::of(protocol, model::PortRange { first: *first, last });
            let question = Question { port: *first, protocol, ..*question };
            match evaluate::effect(&question, subject) {
                PolicyVerdict::Allow => found.allowed = found.allowed.union(&set),
                PolicyVerdict::Unknown => found.unknown = found.unknown.union(&set),
                PolicyVerdict::Deny => {}
            }
        }
    }
    found
}

//! What is missing at the ports of a rule.

use model::objects::{PolicyPortSpec, TargetPort};
use model::{PortRange, Protocol};

use crate::connection::View;
use crate::detail::{ListedPort, NearMiss};
use crate::matching::Question;
use crate::rule::{AnyPort, Rule};

/// A port with a mistake in it is nearer than another port.
const MISTAKEN_PORT: u32 = 1;
const OTHER_PORT: u32 = 2;

/// How far a rule's ports are from matching.
pub(super) fn distance(question: &Question<'_, '_>, rule: Rule<'_>) -> u32 {
    if rule.ports().any(|entry| mistaken(question, entry)) { MISTAKEN_PORT } else { OTHER_PORT }
}

/// What is missing.
pub(super) fn misses(question: &Question<'_, '_>, rule: Rule<'_>) -> Vec<NearMiss> {
    let mut mistakes: Vec<NearMiss> = rule
        .ports()
        .filter(|entry| mistaken(question, *entry))
        .filter_map(|entry| mistake(question, entry))
        .collect();
    if mistakes.is_empty() {
        let listed = |entry: AnyPort<'_>| ListedPort { protocol: entry.protocol, ports: entry.ports.clone() };
        return vec![NearMiss::Port { ports: rule.ports().map(listed).collect(), asked: question.port }];
    }
    // A protocol forgotten or a Service port listed explains more than a port that is merely near.
    mistakes.sort_by_key(|miss| matches!(miss, NearMiss::OutsideRange { .. }));
    mistakes
}

/// Whether an entry that does not match looks like a mistake.
fn mistaken(question: &Question<'_, '_>, entry: AnyPort<'_>) -> bool {
    let other = entry.protocol.is_some_and(|protocol| protocol != question.protocol);
    match entry.ports {
        PolicyPortSpec::Name(_) => true,
        PolicyPortSpec::All => other,
        PolicyPortSpec::Range(range) if other => range.contains(question.port),
        PolicyPortSpec::Range(range) => {
            beside(*range, question.port) || service_port(question, *range).is_some()
        }
    }
}

/// The mistake behind one entry that does not match.
fn mistake(question: &Question<'_, '_>, entry: AnyPort<'_>) -> Option<NearMiss> {
    let asked = question.port;
    match (entry.ports, entry.protocol) {
        (PolicyPortSpec::Name(name), protocol) => Some(named(question, protocol, name)),
        (PolicyPortSpec::All | PolicyPortSpec::Range(_), Some(rule)) if rule != question.protocol => {
            Some(NearMiss::Protocol { rule, asked: question.protocol })
        }
        (PolicyPortSpec::Range(range), _) => service_port(question, *range)
            .or_else(|| beside(*range, asked).then_some(NearMiss::OutsideRange { range: *range, asked })),
        (PolicyPortSpec::All, _) => None,
    }
}

/// Whether a port lies just outside a range.
fn beside(range: PortRange, asked: u16) -> bool {
    range.first != range.last
        && (range.first.checked_sub(1) == Some(asked) || range.last.checked_add(1) == Some(asked))
}

fn named(question: &Question<'_, '_>, protocol: Option<Protocol>, name: &str) -> NearMiss {
    let name = name.to_owned();
    let View::Pod(pod) = question.destination() else { return NearMiss::NamedPortNotAPod { name } };
    let protocol = protocol.unwrap_or(question.protocol);
    match pod.named_port(&name, protocol) {
        Some(number) if number == question.port && protocol != question.protocol => {
            NearMiss::Protocol { rule: protocol, asked: question.protocol }
        }
        Some(number) => NearMiss::NamedPortElsewhere { name, number },
        None => {
            let declared = pod
                .declared_ports()
                .filter(|port| port.name.as_deref() == Some(&name))
                .map(|port| (port.port, port.protocol))
                .collect();
            NearMiss::NamedPortMissing { name, protocol, declared }
        }
    }
}

/// A Service of the destination whose port the rule lists, where the connection goes to the pod's port behind it.
fn service_port(question: &Question<'_, '_>, range: PortRange) -> Option<NearMiss> {
    let View::Pod(pod) = question.destination() else { return None };
    let set = question.index.set();
    model::ObjectSet::in_namespace(&set.services, &pod.meta.key.namespace).find_map(|(key, service)| {
        let port = service.ports.iter().find(|port| {
            port.protocol == question.protocol && range.contains(port.port) && port.port != question.port
        })?;
        let target = match &port.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.named_port(name, port.protocol),
        };
        let selects = || {
            !service.selector.is_empty()
                && service.selector.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value))
        };
        (target == Some(question.port) && selects()).then(|| NearMiss::ServicePort {
            service: key.clone(),
            service_port: port.port,
            pod_port: question.port,
        })
    })
}

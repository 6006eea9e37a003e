//! Questions to agents, and their answers.

use model::node_state::Listener;
use model::probe::{ListenerReport, PodTarget, Scope};
use model::{Probe, ProbeOutcome};

use super::ConvertError;
use super::flow;
use super::read::{self, Read, Within};
use super::walk::{walk, walk_to_model};
use crate::v1;

/// An answered probe: the number it was asked under, and what it brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReply {
    /// As sent in the probe.
    pub id: u64,
    /// What came.
    pub outcome: ProbeOutcome,
}

/// A probe for the wire.
pub fn probe(id: u64, timeout_ms: u32, probe: &Probe) -> v1::Probe {
    let question = match probe {
        Probe::Walk { scope, packet, .. } => v1::probe::Question::Walk(v1::WalkProbe {
            scope: Some(v1::Scope {
                kind: Some(match scope {
                    Scope::Node => v1::scope::Kind::Node(v1::scope::NodeScope {}),
                    Scope::Pod(pod) => v1::scope::Kind::Pod(pod_target(pod)),
                }),
            }),
            packet: Some(flow::packet(packet)),
        }),
        Probe::Listeners { pod, protocol, .. } => v1::probe::Question::Listeners(v1::ListenersProbe {
            pod: Some(pod_target(pod)),
            protocol: flow::protocol(*protocol).into(),
        }),
    };
    v1::Probe { id, timeout_ms, node: probe.node().to_owned(), question: Some(question) }
}

/// A probe from the wire. Its id stays with the caller.
pub fn probe_to_model(sent: v1::Probe) -> Result<Probe, ConvertError> {
    let node = read::name(sent.node, "node")?;
    match read::present(sent.question, "question")? {
        v1::probe::Question::Walk(sent) => walk_probe_to_model(node, sent).within("walk"),
        v1::probe::Question::Listeners(sent) => listeners_probe_to_model(node, sent).within("listeners"),
    }
}

/// A probe's answer for the wire.
pub fn probe_answer(id: u64, outcome: &ProbeOutcome) -> v1::ProbeAnswer {
    let outcome = match outcome {
        ProbeOutcome::Walk(brought) => v1::probe_answer::Outcome::Walk(walk(brought)),
        ProbeOutcome::Listeners(report) => v1::probe_answer::Outcome::Listeners(v1::ListenerReport {
            listeners: report.listeners.iter().map(listener).collect(),
            read_at_ms: report.read_at.0,
        }),
        ProbeOutcome::Failed(gap) => v1::probe_answer::Outcome::Failed(flow::gap(gap)),
    };
    v1::ProbeAnswer { id, outcome: Some(outcome) }
}

/// A probe's answer from the wire.
pub fn probe_answer_to_model(sent: v1::ProbeAnswer) -> Result<ProbeReply, ConvertError> {
    let outcome = match read::present(sent.outcome, "outcome")? {
        v1::probe_answer::Outcome::Walk(sent) => {
            ProbeOutcome::Walk(Box::new(walk_to_model(sent).within("walk")?))
        }
        v1::probe_answer::Outcome::Listeners(sent) => ProbeOutcome::Listeners(ListenerReport {
            listeners: read::list(sent.listeners, read::LISTENERS_MAX, "listeners", listener_to_model)
                .within("listeners")?,
            read_at: read::time(sent.read_at_ms),
        }),
        v1::probe_answer::Outcome::Failed(sent) => ProbeOutcome::Failed(read::gap(sent).within("failed")?),
    };
    Ok(ProbeReply { id: sent.id, outcome })
}

fn walk_probe_to_model(node: String, sent: v1::WalkProbe) -> Read<Probe> {
    let scope = match read::present(sent.scope.and_then(|scope| scope.kind), "scope")? {
        v1::scope::Kind::Node(_) => Scope::Node,
        v1::scope::Kind::Pod(pod) => Scope::Pod(pod_target_to_model(pod).within("scope.pod")?),
    };
    let packet = flow::packet_to_model(read::present(sent.packet, "packet")?).within("packet")?;
    Ok(Probe::Walk { node, scope, packet })
}

fn listeners_probe_to_model(node: String, sent: v1::ListenersProbe) -> Read<Probe> {
    Ok(Probe::Listeners {
        node,
        pod: pod_target_to_model(read::present(sent.pod, "pod")?).within("pod")?,
        protocol: flow::protocol_to_model(sent.protocol, "protocol")?,
    })
}

fn pod_target(pod: &PodTarget) -> v1::PodTarget {
    v1::PodTarget {
        key: Some(flow::key(&pod.key)),
        uid: pod.uid.clone(),
        addresses: pod.addresses.iter().copied().map(flow::address).collect(),
    }
}

fn pod_target_to_model(sent: v1::PodTarget) -> Read<PodTarget> {
    Ok(PodTarget {
        key: flow::key_to_model(read::present(sent.key, "key")?).within("key")?,
        uid: read::name(sent.uid, "uid")?,
        addresses: flow::addresses_to_model(sent.addresses, "addresses")?,
    })
}

fn listener(listener: &Listener) -> v1::Listener {
    v1::Listener {
        protocol: flow::protocol(listener.protocol).into(),
        local: Some(flow::socket_address(listener.local)),
        v6only: listener.v6only,
        queued: listener.queued,
        backlog: listener.backlog,
        process: listener.process.clone(),
        pid: listener.pid,
    }
}

fn listener_to_model(sent: v1::Listener) -> Read<Listener> {
    Ok(Listener {
        protocol: flow::protocol_to_model(sent.protocol, "protocol")?,
        local: flow::socket_address_to_model(sent.local, "local")?,
        v6only: sent.v6only,
        queued: sent.queued,
        backlog: sent.backlog,
        process: sent.process.map(|name| read::name(name, "process")).transpose()?,
        pid: sent.pid,
    })
}

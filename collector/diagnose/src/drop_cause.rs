//! The likely cause of a single drop, from its record and today's objects: for lists, where nobody is asked anything.
//!
//! No cause is judged here a second time. The record is made a case of its own, its walk the one answer, and the causes
//! rule on that; only what they prove by this very drop counts, so a drop that is older than what a cause argues about has
//! none. Where objects and record leave more than one cause open, there is none either: an empty column is honest.
//!
//! - Stopped by a rule: what the causes prove. A rule of kube-proxy or of a policy engine that the objects do not account
//!   for has none: what it stands for may be gone, which no object at hand would show.
//! - No socket in a pod (`NO_SOCKET`): S5 where a Service sends to a port that its pods, by what they declare, do not have;
//!   P1 where none of the pod's containers runs, or where neither the pod nor a Service knows the port. Otherwise a socket on
//!   loopback alone (P2) looks the same.
//! - Anything else: the reason says all that is known. H28 would only repeat it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use model::netns::NetnsOwner;
use model::objects::{ContainerState, Pod, Service, ServicePort, TargetPort};
use model::probe::ProbeOutcome;
use model::question::{Destination, PortAsk, Source};
use model::{
    Answer, Case, DropRecord, Effect, Key, ObjectSet, Outcome, Question, RuleRef, ServiceProxy, Timestamp,
    Tuple, Walk,
};

use crate::causes::ALL;
use crate::engine;
use crate::facts::{Facts, SourceFacts, asks, is_policy_engine};
use crate::ruling::Ruling;

/// Kinds of drops remembered: more than one list shows flows.
const REMEMBERED: usize = 4_096;

/// The causes that are named here: what a Service's targetPort and a silent port of a pod come to.
const WRONG_TARGET_PORT: &str = "S5";
const NOTHING_LISTENS: &str = "P1";
/// The causes that say no more than the record does.
const UNEXPLAINED_STOP: &str = "H27";
const UNEXPLAINED_DROP: &str = "H28";

/// The likely cause of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Likely {
    /// Catalogue id: `S3`.
    pub id: &'static str,
    /// Slug: `selector-matches-nothing`.
    pub slug: &'static str,
}

/// The likely cause of one drop, by the walk in its record; `None` if objects and record do not tell one.
pub fn likely_cause(objects: &Arc<ObjectSet>, record: &DropRecord, now: Timestamp) -> Option<Likely> {
    fitting(&candidates(objects, record, record.walk.as_deref(), now), record)
}

/// Likely causes of many drops under the same objects. Drops that differ in time and number only are looked at once.
#[derive(Debug)]
pub struct DropCauses {
    objects: Arc<ObjectSet>,
    seen: HashMap<Kind, Vec<Candidate>>,
}

impl DropCauses {
    /// Under these objects.
    pub fn new(objects: Arc<ObjectSet>) -> Self {
        Self { objects, seen: HashMap::new() }
    }

    /// Whether [`Self::of`] has the answer at hand.
    pub fn holds(&self, record: &DropRecord, walk: Option<&Walk>) -> bool {
        self.seen.contains_key(&Kind::of(record, walk))
    }

    /// The likely cause of a drop. `walk` is what the rules did to the flow when it was dropped: the record's own, or that
    /// of an earlier record of the flow, for agents walk a flow once as long as the rules stay the same.
    pub fn of(&mut self, record: &DropRecord, walk: Option<&Walk>, now: Timestamp) -> Option<Likely> {
        let kind = Kind::of(record, walk);
        if let Some(candidates) = self.seen.get(&kind) {
            return fitting(candidates, record);
        }
        let candidates = candidates(&self.objects, record, walk, now);
        let cause = fitting(&candidates, record);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(kind, candidates);
        cause
    }
}

/// All of a drop that its cause depends on, but the time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    node: String,
    owner: NetnsOwner,
    tuple: Tuple,
    reply: bool,
    reason: String,
    walk: Option<(SocketAddr, ServiceProxy, bool, Vec<End>)>,
}

/// Where a walk sends a packet, and how that ends.
type End = (SocketAddr, Outcome, Option<RuleRef>);

impl Kind {
    fn of(record: &DropRecord, walk: Option<&Walk>) -> Self {
        let ends = |walk: &Walk| {
            let end = |branch: &model::walk::Branch| {
                (branch.destination, branch.outcome, branch.terminal_rule.clone())
            };
            walk.branches.iter().map(end).collect()
        };
        Self {
            node: record.id.node.clone(),
            owner: record.netns.owner.clone(),
            tuple: record.tuple,
            reply: record.reply,
            reason: record.reason.clone(),
            walk: walk
                .map(|walk| (walk.packet.dst, walk.proxy.mode, walk.proxy.knows_destination, ends(walk))),
        }
    }
}

/// A cause that drops of a kind have from a moment on.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    cause: Likely,
    /// The latest change of what it argues about.
    since: Timestamp,
}

fn fitting(candidates: &[Candidate], record: &DropRecord) -> Option<Likely> {
    candidates.iter().find(|candidate| record.last_at >= candidate.since).map(|candidate| candidate.cause)
}

/// The causes of drops of this kind, likelier first.
fn candidates(
    objects: &Arc<ObjectSet>,
    record: &DropRecord,
    walk: Option<&Walk>,
    now: Timestamp,
) -> Vec<Candidate> {
    // Answers of a connection are lost for reasons that no cause of its first packet covers.
    if record.reply {
        return Vec::new();
    }
    if record.reason == "NO_SOCKET" {
        return no_socket(objects, record, now).into_iter().collect();
    }
    walk.map(|walk| by_walk(objects, record, walk, now)).unwrap_or_default()
}

/// What the causes prove by a drop whose rules were walked.
fn by_walk(objects: &Arc<ObjectSet>, record: &DropRecord, walk: &Walk, now: Timestamp) -> Vec<Candidate> {
    let tuple = record.tuple;
    let mut case = case(objects, record, destination(objects, tuple), tuple.dst.port(), now);
    if !matches!(case.question.destination, Destination::Service(_)) {
        case.objects = Arc::new(around(objects, &case.question));
    }
    // As fresh as can be: from when on it is proof, the findings say.
    case.drops.push(DropRecord {
        last_at: Timestamp(u64::MAX),
        walk: Some(Box::new(walk.clone())),
        ..record.clone()
    });
    let Some(answer) = answer(&case, record, walk, now) else { return Vec::new() };
    case.answers.push(answer);
    let mirrors = walk
        .branches
        .iter()
        .filter_map(|branch| branch.terminal_rule.as_ref())
        .any(|rule| rule.owner == "kube-proxy" || is_policy_engine(rule));
    engine::findings(&Facts::of(&case))
        .into_iter()
        .filter(|finding| finding.inner.effect != Effect::Note && finding.inner.id != UNEXPLAINED_DROP)
        .filter(|finding| !(mirrors && finding.inner.id == UNEXPLAINED_STOP))
        .filter_map(|finding| Some(Candidate { cause: named(&finding.inner.id)?, since: finding.since? }))
        .collect()
}

/// The walk as the answer to the probe that would have asked for it.
fn answer(case: &Case, record: &DropRecord, walk: &Walk, now: Timestamp) -> Option<Answer> {
    let Tuple { src, dst, .. } = record.tuple;
    let source = SourceFacts::of(case);
    let node = record.id.node.as_str();
    let probe = match &record.netns.owner {
        NetnsOwner::Node if source.node == Some(node) => asks::source_walk(case, &source, src, dst)?,
        NetnsOwner::Node => asks::arrival_walk(case, &source, src, None, node, dst),
        NetnsOwner::Pod { uid, addresses } => {
            let pod = source.pod.filter(|pod| is_of(pod, uid.as_deref(), addresses))?;
            (pod.node.as_deref() == Some(node)).then(|| asks::pod_walk(case, &source, src, dst))??
        }
        NetnsOwner::Unknown => return None,
    };
    Some(Answer { probe, at: now, outcome: ProbeOutcome::Walk(Box::new(walk.clone())) })
}

/// What of the objects a question between two ends without a Service can turn on. Policies are arranged with all pods
/// and Services of a set before they are evaluated, which would take milliseconds for each drop of a large cluster.
fn around(objects: &ObjectSet, question: &Question) -> ObjectSet {
    let to = match &question.destination {
        Destination::Pod(key) => Some(key),
        _ => None,
    };
    let ends: Vec<&Key> = question.source_pod().into_iter().chain(to).collect();
    let mut set = ObjectSet {
        origin: objects.origin.clone(),
        current_at: objects.current_at,
        coverage: objects.coverage,
        nodes: objects.nodes.clone(),
        // About pods anywhere.
        cluster_policies: objects.cluster_policies.clone(),
        other_policies: objects.other_policies.clone(),
        gaps: objects.gaps.clone(),
        ..ObjectSet::default()
    };
    for key in ends {
        let within = key.namespace.as_str();
        let cloned = |(key, pod): (&Key, &Pod)| (key.clone(), pod.clone());
        set.pods.extend(objects.pods.get_key_value(key).map(cloned));
        set.namespaces.extend(
            objects.namespaces.get_key_value(within).map(|(name, found)| (name.clone(), found.clone())),
        );
        set.services.extend(
            ObjectSet::in_namespace(&objects.services, within)
                .map(|(key, service)| (key.clone(), service.clone())),
        );
        set.policies.extend(
            ObjectSet::in_namespace(&objects.policies, within)
                .map(|(key, policy)| (key.clone(), policy.clone())),
        );
    }
    set
}

/// Why no socket of a pod took the packet, as far as objects tell.
fn no_socket(objects: &Arc<ObjectSet>, record: &DropRecord, now: Timestamp) -> Option<Candidate> {
    let Tuple { protocol, dst, .. } = record.tuple;
    let NetnsOwner::Pod { uid, addresses } = &record.netns.owner else { return None };
    let pod = objects.pod_by_address(dst.ip()).filter(|pod| is_of(pod, uid.as_deref(), addresses))?;
    if !objects.coverage.services {
        return None;
    }
    let services: Vec<&Service> = ObjectSet::in_namespace(&objects.services, &pod.key().namespace)
        .map(|(_, service)| service)
        .filter(|service| !service.selector.is_empty() && service.pod_selector().matches(pod.labels()))
        .collect();
    let targets = |port: &ServicePort| {
        port.protocol == protocol
            && match &port.target {
                TargetPort::Number(number) => *number == dst.port(),
                TargetPort::Name(name) => pod.named_port(name, protocol) == Some(dst.port()),
            }
    };
    let targeting: Vec<(&Service, &ServicePort)> = services
        .iter()
        .flat_map(|service| service.ports.iter().map(|port| (*service, port)))
        .filter(|(_, port)| targets(port))
        .collect();
    let wrong = targeting.iter().find_map(|(service, port)| {
        let to = Destination::Service(service.key().clone());
        wrong_target_port(&case(objects, record, to, port.port, now), pod)
    });
    if wrong.is_some() {
        return wrong;
    }
    let runs = pod
        .containers
        .iter()
        .any(|container| matches!(container.state, ContainerState::Running | ContainerState::Unknown));
    let declared = pod.declared_ports().any(|port| port.port == dst.port() && port.protocol == protocol);
    let stopped = !pod.containers.is_empty() && !runs;
    (stopped || (targeting.is_empty() && !declared)).then(|| {
        let changed = services.iter().map(|service| &service.meta).chain([&pod.meta]);
        Some(Candidate { cause: named(NOTHING_LISTENS)?, since: Facts::changed(changed) })
    })?
}

/// S5, where it speaks of a way to this pod.
fn wrong_target_port(case: &Case, pod: &Pod) -> Option<Candidate> {
    let cause = ALL.iter().find(|cause| cause.meta.id == WRONG_TARGET_PORT)?;
    let facts = Facts::of(case);
    facts.live_ways().find(|(_, way)| way.pod.is_some_and(|end| end.key() == pod.key()))?;
    let Ruling::Found(_) = (cause.rule)(&facts) else { return None };
    let since = facts.live_ways().map(|(_, way)| facts.way_changed(way)).max()?;
    Some(Candidate { cause: Likely { id: cause.meta.id, slug: cause.meta.slug }, since })
}

/// The question that the packet asks, with nothing known but the objects.
fn case(
    objects: &Arc<ObjectSet>,
    record: &DropRecord,
    destination: Destination,
    port: u16,
    now: Timestamp,
) -> Case {
    let Tuple { src, dst, protocol } = record.tuple;
    let question = Question {
        source_text: src.to_string(),
        destination_text: dst.to_string(),
        source: source(objects, record),
        destination,
        port: PortAsk::Number(port),
        protocol,
        since: Timestamp(0),
        notes: Vec::new(),
    };
    Case {
        now,
        question,
        objects: Arc::clone(objects),
        nodes: std::collections::BTreeMap::new(),
        live: true,
        answers: Vec::new(),
        drops: Vec::new(),
        gaps: Vec::new(),
    }
}

/// Who sent the packet, by its source address where it was dropped.
fn source(objects: &ObjectSet, record: &DropRecord) -> Source {
    let address = record.tuple.src;
    if let Some(pod) = objects.pod_by_address(address) {
        return Source::Pod(pod.key().clone());
    }
    match objects.node_by_address(address) {
        Some(node) => Source::Node(node.meta.key.name.clone()),
        None => Source::External { address, via: Some(record.id.node.clone()) },
    }
}

/// Where the packet goes, by its destination where it was dropped.
fn destination(objects: &ObjectSet, tuple: Tuple) -> Destination {
    let address = tuple.dst.ip();
    if let Some(service) = objects.service_by_address(address) {
        Destination::Service(service.key().clone())
    } else if let Some(pod) = objects.pod_by_address(address) {
        Destination::Pod(pod.key().clone())
    } else if let Some(node) = objects.node_by_address(address) {
        Destination::Node(node.meta.key.name.clone())
    } else {
        Destination::Address(address)
    }
}

/// Whether a namespace is this pod's: by uid where both are known, else by address.
fn is_of(pod: &Pod, uid: Option<&str>, addresses: &[std::net::IpAddr]) -> bool {
    match uid.filter(|uid| !uid.is_empty() && !pod.meta.uid.is_empty()) {
        Some(uid) => uid == pod.meta.uid,
        None => pod.addresses.iter().any(|address| addresses.contains(address)),
    }
}

/// A cause of the catalogue.
fn named(id: &str) -> Option<Likely> {
    let cause = ALL.iter().find(|cause| cause.meta.id == id)?;
    Some(Likely { id: cause.meta.id, slug: cause.meta.slug })
}

#[cfg(test)]
mod tests;

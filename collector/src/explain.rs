//! One question: resolve it, ask the nodes until nothing is left to ask or the time is up, and have it explained.
//!
//! It decides nothing about causes and which node to ask what: `diagnose` does both.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use futures_util::future::join_all;
use model::question::{Destination, Source};
use model::{Case, Explanation, Gap, ObjectSet, ProbeOutcome, Question, Timestamp};
use objects::resolve::{self, Ask, ErrorKind};
use proto::v1;
use store::Query;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::archive::{Archive, window_start};
use crate::fleet::Fleet;
use crate::metrics::Metrics;

/// How far a question looks back unless told.
pub(crate) const WINDOW: Duration = Duration::from_mins(10);

/// How long a question may take unless told, and at most.
const TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Kept of the time for diagnosing and answering.
const FOR_THE_ANSWER: Duration = Duration::from_millis(150);

/// Rounds of probes; a path has fewer stages.
const ROUNDS: usize = 12;

/// Questions answered at the same time; each may ask 32 nodes.
const QUESTIONS: usize = 32;

/// Drop records looked at for one question, the newest. A flow that is retried makes one record a reason and minute.
const RECORDS: usize = 5_000;

/// Bytes of SRC and DST.
const NAME_BYTES: usize = 1_024;

/// Answers questions.
#[derive(Debug)]
pub(crate) struct Explainer {
    cluster: Arc<Cluster>,
    fleet: Arc<Fleet>,
    archive: Archive,
    metrics: Arc<Metrics>,
    places: Semaphore,
}

/// A request that was read.
#[derive(Debug)]
struct Asked {
    ask: Ask,
    deadline: Instant,
}

impl Explainer {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        fleet: Arc<Fleet>,
        archive: Archive,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { cluster, fleet, archive, metrics, places: Semaphore::new(QUESTIONS) }
    }

    /// Answers one question. At its deadline with what it has.
    pub(crate) async fn explain(&self, request: &v1::ExplainRequest) -> Result<Explanation, Status> {
        let began = Instant::now();
        let asked = read(request, cluster::now())?;
        let _place = timeout_at(asked.deadline, self.places.acquire()).await.map_err(|_| {
            Status::resource_exhausted(format!("{QUESTIONS} other questions are being answered; ask again"))
        })?;
        self.wait_for_objects(asked.deadline).await;
        let objects = self.cluster.snapshot();
        let question = resolve::question(&objects, &asked.ask).map_err(|error| {
            let text = match error.hint() {
                Some(hint) => format!("{error}\nhint: {hint}"),
                None => error.to_string(),
            };
            match error.kind() {
                ErrorKind::NotFound => Status::not_found(text),
                ErrorKind::InvalidArgument => Status::invalid_argument(text),
            }
        })?;
        let case = Case {
            now: asked.ask.now,
            question,
            objects,
            nodes: self.fleet.reports(),
            live: true,
            answers: Vec::new(),
            drops: Vec::new(),
            gaps: Vec::new(),
        };
        let mut case = self.probe(case, asked.deadline).await?;
        self.add_drops(&mut case).await;
        case.nodes = self.fleet.reports();
        case.now = cluster::now();
        let explanation = thinking(move || diagnose::diagnose(&case)).await?;
        let took = began.elapsed();
        self.metrics.answered(&explanation, took);
        let findings: Vec<&str> = explanation.findings.iter().map(|finding| finding.id.as_str()).collect();
        tracing::info!(
            target: "answer",
            source = request.source,
            destination = request.destination,
            verdict = explanation.verdict.word(),
            findings = findings.join(","),
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        );
        Ok(explanation)
    }

    /// A question that comes right after the start is worth a wait; without objects its names would not be found.
    async fn wait_for_objects(&self, deadline: Instant) {
        let mut changed = self.cluster.changed();
        while !self.cluster.ready() {
            if !matches!(timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Asks the nodes what there is to ask, round by round.
    async fn probe(&self, mut case: Case, deadline: Instant) -> Result<Case, Status> {
        for _ in 0..ROUNDS {
            let probes;
            (case, probes) = thinking(move || {
                let probes = diagnose::next_probes(&case);
                (case, probes)
            })
            .await?;
            if probes.is_empty() {
                return Ok(case);
            }
            if Instant::now() >= deadline {
                case.gaps.push(out_of_time(&probes));
                return Ok(case);
            }
            let asked = probes.into_iter().map(|probe| self.fleet.ask(probe, deadline, cluster::now));
            for answer in join_all(asked).await {
                if let ProbeOutcome::Failed(gap) = &answer.outcome {
                    tracing::debug!(node = answer.probe.node(), %gap, "a probe failed");
                }
                case.answers.push(answer);
            }
            case.nodes = self.fleet.reports();
        }
        Ok(case)
    }

    /// The drops that may concern the question. Agents send theirs before they answer a probe, so these are the newest.
    async fn add_drops(&self, case: &mut Case) {
        let addresses = destinations(case);
        if addresses.is_empty() {
            return;
        }
        let query = Query {
            // Either end: replies come from there.
            destinations: Some(addresses),
            both_ways: true,
            ..Query::since(case.question.since, RECORDS)
        };
        match self.archive.query(query).await {
            Ok(found) => {
                if found.cut > 0 {
                    case.gaps.push(
                        Gap::new(
                            format!("{} older drop records of this destination", found.cut),
                            format!("only the newest {RECORDS} are looked at"),
                        )
                        .with_remedy("look back less far with --since"),
                    );
                }
                case.drops = found.records;
            }
            Err(error) => {
                tracing::error!(%error, "drops could not be read for a question");
                case.gaps.push(Gap::new("drops on all nodes", format!("the store cannot be read: {error}")));
            }
        }
    }
}

/// Runs what may take milliseconds of computing where it holds up nobody.
pub(crate) async fn thinking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|_| Status::internal("answering this question failed; the collector's log says where"))
}

fn out_of_time(probes: &[model::Probe]) -> Gap {
    let nodes: BTreeSet<&str> = probes.iter().map(model::Probe::node).collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    Gap::new(format!("rules and listeners on {}", nodes.join(", ")), "the time was up before they were asked")
        .with_remedy("ask again with a longer --timeout")
}

/// Reads a request, or says which part of it is wrong.
fn read(request: &v1::ExplainRequest, now: Timestamp) -> Result<Asked, Status> {
    for (field, value) in [("source", &request.source), ("destination", &request.destination)] {
        if value.trim().is_empty() {
            return Err(Status::invalid_argument(format!("{field}: missing")));
        }
    }
    let names = [
        ("source", &request.source),
        ("destination", &request.destination),
        ("namespace", &request.namespace),
        ("via", &request.via),
    ];
    for (field, value) in names {
        if value.len() > NAME_BYTES {
            return Err(Status::invalid_argument(format!("{field}: longer than {NAME_BYTES} bytes")));
        }
    }
    for (field, asked) in
        [("at", !request.at.is_empty()), ("connect", !request.connect.is_empty()), ("trace", request.trace)]
    {
        if asked {
            return Err(Status::unimplemented(format!("{field}: this collector cannot do that yet")));
        }
    }
    let window = duration("since", &request.since, WINDOW)?;
    let timeout = duration("timeout", &request.timeout, TIMEOUT)?;
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        return Err(Status::invalid_argument(format!(
            "timeout: must be above 0 and at most {} s",
            LONGEST_TIMEOUT.as_secs()
        )));
    }
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let ask = Ask {
        source: request.source.clone(),
        destination: request.destination.clone(),
        namespace: given(&request.namespace),
        via: given(&request.via),
        since: Some(window_start(now, window)),
        now,
        default_window: u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX),
    };
    let for_probes = timeout.saturating_sub(FOR_THE_ANSWER).max(timeout / 2);
    Ok(Asked { ask, deadline: Instant::now() + for_probes })
}

/// A span of time as typed.
pub(crate) fn duration(field: &str, text: &str, default: Duration) -> Result<Duration, Status> {
    if text.is_empty() {
        return Ok(default);
    }
    proto::duration::parse(text).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

/// Every address the connection may be seen to go to: as dialled, as the objects would translate it, and as the rules
/// that were walked do, which may be an address that no object has any more.
fn destinations(case: &Case) -> BTreeSet<IpAddr> {
    let mut addresses = of_the_objects(&case.objects, &case.question);
    for answer in &case.answers {
        if let ProbeOutcome::Walk(walk) = &answer.outcome {
            addresses.insert(walk.packet.dst.ip());
            addresses.extend(walk.branches.iter().map(|branch| branch.destination.ip()));
        }
    }
    addresses
}

fn of_the_objects(set: &ObjectSet, question: &Question) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    match &question.destination {
        Destination::Service(key) => {
            if let Some(service) = set.services.get(key) {
                addresses.extend(&service.cluster_ips);
                addresses.extend(&service.external_ips);
                addresses.extend(&service.load_balancer_ips);
                let selector = service.pod_selector();
                if !service.selector.is_empty() {
                    let selected = set.pods_in(&key.namespace).filter(|pod| selector.matches(pod.labels()));
                    addresses.extend(selected.flat_map(|pod| &pod.addresses));
                }
            }
            for endpoint in set.slices_of(key).flat_map(|slice| &slice.endpoints) {
                addresses.extend(&endpoint.addresses);
            }
        }
        Destination::Pod(key) => addresses.extend(set.pods.get(key).iter().flat_map(|pod| &pod.addresses)),
        Destination::Node(name) => {
            addresses.extend(set.nodes.get(name).iter().flat_map(|node| &node.addresses));
        }
        Destination::Address(address) => drop(addresses.insert(*address)),
        // Nothing to connect to: what the source sent in vain went to a resolver, not there.
        Destination::NoService(_) | Destination::NoName { .. } => {}
    }
    if let Source::External { address, .. } = &question.source {
        addresses.remove(address);
    }
    addresses
}

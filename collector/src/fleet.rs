//! The agents that are or were connected: what each said last, and how to ask it something.
//!
//! It keeps no evidence and reads no stream; `ingest` does, and tells the fleet what came.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Answer, Gap, NodeReport, Probe, ProbeOutcome, Timestamp};
use proto::v1;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

/// Nodes that are remembered. Kubernetes is tested to 5,000.
const NODES: usize = 10_000;

/// Probes one agent may have open; a question sends a handful.
const OPEN_PROBES: usize = 1_024;

/// An agent that has been silent for so long is forgotten.
const FORGET_AFTER_MS: u64 = 24 * 3_600_000;

/// What is sent to an agent.
pub(crate) type Outbox = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

/// Everything known about agents.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    members: Mutex<BTreeMap<String, Member>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Member {
    report: NodeReport,
    stream: Option<Stream>,
    /// Boot and highest sequence that was kept of it, for an agent that comes back.
    kept: Option<(String, u64)>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    outbox: Outbox,
    end: watch::Sender<Option<End>>,
    waiting: HashMap<u64, oneshot::Sender<ProbeOutcome>>,
}

/// Why the collector ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The node's agent came again.
    Replaced,
    /// The collector stops.
    Shutdown,
}

impl End {
    /// The same as the agent is told.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Replaced => Status::aborted("another agent of this node connected"),
            Self::Shutdown => Status::unavailable("the collector is shutting down"),
        }
    }
}

/// One agent's accepted stream. The node counts as disconnected when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    fleet: Arc<Fleet>,
    node: String,
    stream: u64,
    /// Changes when the collector wants the stream to end.
    pub(crate) end: watch::Receiver<Option<End>>,
}

impl Fleet {
    /// Takes an agent in. A stream that the node already had is ended: an agent that restarted is right, and the old
    /// connection may take minutes to be noticed as dead.
    pub(crate) fn accept(
        self: &Arc<Self>,
        hello: &v1::Hello,
        outbox: Outbox,
        now: Timestamp,
    ) -> Result<Link, Status> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = watch::channel(None);
        let mut members = self.lock();
        members.retain(|_, member| {
            let age = member.report.last_seen.map_or(u64::MAX, |seen| seen.age_ms(now));
            member.stream.is_some() || age < FORGET_AFTER_MS
        });
        if members.len() >= NODES && !members.contains_key(&hello.node) {
            return Err(Status::resource_exhausted(format!("{NODES} nodes are known already")));
        }
        let member = members.entry(hello.node.clone()).or_insert_with(|| Member {
            report: NodeReport {
                name: hello.node.clone(),
                connected: false,
                last_seen: None,
                agent_version: String::new(),
                kernel: String::new(),
                service_proxy: None,
                sources: Vec::new(),
                lost: 0,
            },
            stream: None,
            kept: None,
        });
        member.report.connected = true;
        member.report.last_seen = Some(now);
        member.report.agent_version.clone_from(&hello.agent_version);
        member.report.kernel.clone_from(&hello.kernel);
        let stream = Stream { id, outbox, end, waiting: HashMap::new() };
        if let Some(old) = member.stream.replace(stream) {
            tracing::warn!(node = hello.node, "a second agent of this node connected; the first is let go");
            old.end.send_replace(Some(End::Replaced));
        }
        Ok(Link { fleet: Arc::clone(self), node: hello.node.clone(), stream: id, end: ended })
    }

    /// What is known of every node, by name.
    pub(crate) fn reports(&self) -> BTreeMap<String, NodeReport> {
        self.lock().iter().map(|(name, member)| (name.clone(), member.report.clone())).collect()
    }

    /// Asks a node's agent and waits for the answer, until the deadline at most. A failure is an answer too.
    pub(crate) async fn ask(&self, probe: Probe, deadline: Instant, now: fn() -> Timestamp) -> Answer {
        let outcome = self.outcome(&probe, deadline, now()).await;
        Answer { probe, at: now(), outcome }
    }

    async fn outcome(&self, probe: &Probe, deadline: Instant, now: Timestamp) -> ProbeOutcome {
        let node = probe.node();
        let left = deadline.saturating_duration_since(Instant::now());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let sent = {
            let mut members = self.lock();
            let Some(member) = members.get_mut(node) else { return never_seen(node) };
            let Some(stream) = &mut member.stream else { return not_connected(&member.report, now) };
            // Those that nobody waits for any more timed out.
            stream.waiting.retain(|_, waiting| !waiting.is_closed());
            if stream.waiting.len() >= OPEN_PROBES {
                return failed(
                    node,
                    format!("{OPEN_PROBES} other probes are open at its agent"),
                    "ask again later",
                );
            }
            stream.waiting.insert(id, answer);
            let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            stream.outbox.try_send(Ok(message(v1::collector_message::Kind::Probe(proto::convert::probe(
                id, timeout_ms, probe,
            )))))
        };
        if sent.is_err() {
            return failed(node, "its agent does not take probes fast enough".to_owned(), "ask again later");
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => failed(node, "its agent disconnected before it answered".to_owned(), "ask again"),
            Err(_) => failed(
                node,
                format!("its agent did not answer within {}", words(left)),
                "ask again with a longer --timeout",
            ),
        }
    }

    /// Ends all streams.
    pub(crate) fn end_all(&self, end: End) {
        for member in self.lock().values() {
            if let Some(stream) = &member.stream {
                stream.end.send_replace(Some(end));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// The node's name.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Notes that something came.
    pub(crate) fn heard(&self, now: Timestamp) {
        self.with(|report, _| report.last_seen = Some(now));
    }

    /// The highest sequence of this boot that is kept; 0 if none is known to be.
    pub(crate) fn kept(&self, boot: &str) -> u64 {
        let members = self.fleet.lock();
        let kept = members.get(&self.node).and_then(|member| member.kept.as_ref());
        kept.filter(|(of, _)| of == boot).map_or(0, |(_, sequence)| *sequence)
    }

    /// Notes that everything of this boot up to a sequence is kept.
    pub(crate) fn keep(&self, boot: &str, through: u64) {
        let mut members = self.fleet.lock();
        let Some(member) = members.get_mut(&self.node) else { return };
        match &mut member.kept {
            Some((of, sequence)) if of == boot => *sequence = through.max(*sequence),
            kept => *kept = Some((boot.to_owned(), through)),
        }
    }

    /// Takes the agent's state.
    pub(crate) fn status(&self, status: v1::Status) -> Result<(), proto::ConvertError> {
        self.with(|report, _| proto::convert::apply_status(report, status)).unwrap_or(Ok(()))
    }

    /// Hands an answer to whoever asked; nobody may be waiting any more.
    pub(crate) fn answered(&self, id: u64, outcome: ProbeOutcome) {
        let waiting = self.with(|_, stream| stream.waiting.remove(&id)).flatten();
        if waiting.is_none_or(|waiting| waiting.send(outcome).is_err()) {
            tracing::debug!(node = self.node, probe = id, "an answer came after its time");
        }
    }

    /// Acts on the member, if this stream is still the member's.
    fn with<T>(&self, act: impl FnOnce(&mut NodeReport, &mut Stream) -> T) -> Option<T> {
        let mut members = self.fleet.lock();
        let member = members.get_mut(&self.node)?;
        let stream = member.stream.as_mut().filter(|stream| stream.id == self.stream)?;
        Some(act(&mut member.report, stream))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut members = self.fleet.lock();
        let Some(member) = members.get_mut(&self.node) else { return };
        if member.stream.as_ref().is_some_and(|stream| stream.id == self.stream) {
            member.stream = None;
            member.report.connected = false;
        }
    }
}

/// A message for an agent.
pub(crate) const fn message(kind: v1::collector_message::Kind) -> v1::CollectorMessage {
    v1::CollectorMessage { kind: Some(kind) }
}

fn never_seen(node: &str) -> ProbeOutcome {
    failed(
        node,
        "no agent has ever connected from it".to_owned(),
        "run why-dropped-agent there, or look at its log if it runs",
    )
}

fn not_connected(report: &NodeReport, now: Timestamp) -> ProbeOutcome {
    let why = match report.last_seen {
        Some(seen) => {
            format!("its agent has not reported for {}", words(Duration::from_millis(seen.age_ms(now))))
        }
        None => "its agent has not reported".to_owned(),
    };
    failed(&report.name, why, "look whether the node is up and at the log of its agent")
}

fn failed(node: &str, why: String, remedy: &str) -> ProbeOutcome {
    ProbeOutcome::Failed(Gap::new(node, why).with_remedy(remedy))
}

/// A span of time in the unit that fits.
fn words(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

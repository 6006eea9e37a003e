//! One accepted stream: what is sent when, and what the collector's messages do. It ends with the stream.

use std::sync::Arc;
use std::time::Duration;

use model::{Gap, NodeReport, ProbeOutcome};
use proto::v1::agent_link_client::AgentLinkClient;
use proto::v1::agent_message::Kind as Said;
use proto::v1::collector_message::Kind as Heard;
use proto::{PROTOCOL_VERSION, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::dial::{Candidate, authorization};
use super::{Answer, Link, LinkError, wire};
use crate::metrics::{ProbeEnd, ProbeKind, ProbeLabels};

/// Messages waiting for the stream; enough that batches flow, few enough that answers do not queue behind minutes.
const QUEUE: usize = 16;
/// Records sent and not yet acknowledged. More would only fill the peer's buffers.
const WINDOW: u64 = 1024;
/// Probes that are given less than this cannot be answered in time by anybody.
const SHORTEST_PROBE: Duration = Duration::from_millis(20);
/// Longer than any first read of a big rule set (5 s); a longer wait is a confused peer.
const LONGEST_PROBE: Duration = Duration::from_mins(1);

/// A stream on which the collector has welcomed us.
pub(super) struct Opened {
    to: String,
    sender: mpsc::Sender<v1::AgentMessage>,
    heard: Streaming<v1::CollectorMessage>,
    kept: u64,
}

/// Says hello and waits for the welcome.
pub(super) async fn open<A: Answer>(
    link: &Link<A>,
    candidate: &Candidate,
    channel: Channel,
) -> Result<Opened, LinkError> {
    let to = candidate.to_string();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let hello = v1::Hello {
        node: link.config.node.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: link.kernel.clone(),
        boot: link.outbox.origin().boot.clone(),
        protocol_version: PROTOCOL_VERSION,
    };
    // The queue was just made with room, so this cannot wait or fail.
    let _ = sender.try_send(v1::AgentMessage { kind: Some(Said::Hello(hello)) });
    let mut request = Request::new(ReceiverStream::new(receiver));
    if let Some(token) = authorization(&link.config)? {
        request.metadata_mut().insert("authorization", token);
    }
    let welcome = async {
        let mut client =
            AgentLinkClient::new(channel).max_decoding_message_size(wire::MOST_BYTES_OF_A_MESSAGE);
        let refused =
            |status: &tonic::Status| LinkError::Refused { to: to.clone(), status: wire::status_text(status) };
        let mut heard = client.connect(request).await.map_err(|status| refused(&status))?.into_inner();
        let first = heard.message().await.map_err(|status| refused(&status))?;
        match first.and_then(|message| message.kind) {
            Some(Heard::Welcome(welcome)) => Ok((heard, welcome)),
            Some(_) => Err(LinkError::Protocol { to: to.clone(), problem: "no Welcome first".to_owned() }),
            None => Err(LinkError::Closed { to: to.clone() }),
        }
    };
    let (heard, welcome) = timeout(link.pace.welcome_within, welcome)
        .await
        .map_err(|_| LinkError::Silent { to: to.clone(), problem: "no Welcome came" })??;
    if welcome.protocol_version.abs_diff(PROTOCOL_VERSION) > 1 {
        let problem = format!(
            "it speaks version {} of the protocol, this agent {PROTOCOL_VERSION}; they may be one apart",
            welcome.protocol_version
        );
        return Err(LinkError::Protocol { to, problem });
    }
    Ok(Opened { to, sender, heard, kept: welcome.kept_sequence })
}

/// Serves the stream until it ends (`Err`) or `stop` (`Ok`).
pub(super) async fn run<A: Answer>(
    link: &Link<A>,
    opened: Opened,
    stop: &CancellationToken,
) -> Result<(), LinkError> {
    let Opened { to, sender, mut heard, kept } = opened;
    let mut session = Session {
        link,
        to,
        sender,
        cursor: 0,
        acknowledged: 0,
        probes: JoinSet::new(),
        last_heard: Instant::now(),
        pings: 0,
    };
    session.acknowledged_through(kept);
    let mut status = link.status.clone();
    let mut status_tick = tokio::time::interval(link.pace.status_every);
    let mut ping_tick = tokio::time::interval(link.pace.ping_after);
    for tick in [&mut status_tick, &mut ping_tick] {
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return session.last_words(&mut heard).await,
            message = heard.message() => match message {
                Ok(Some(message)) => session.hear(message).await?,
                Ok(None) => return Err(LinkError::Closed { to: session.to }),
                Err(status) => {
                    return Err(LinkError::Refused { to: session.to, status: wire::status_text(&status) });
                }
            },
            Some(answer) = session.probes.join_next() => {
                if let Ok((id, outcome)) = answer {
                    // What the kernel saw before the answer goes before it, so the asker has both together.
                    while session.send_batch(u64::MAX).await? {}
                    session.say(wire::answer(id, &outcome)).await?;
                }
            }
            () = link.outbox.wait_after(session.cursor), if session.in_flight() < WINDOW => {
                session.send_batch(WINDOW).await?;
            }
            changed = status.changed() => {
                if changed.is_err() {
                    // The node side is gone: the agent is stopping.
                    return session.last_words(&mut heard).await;
                }
                let report = status.borrow_and_update().clone();
                session.say_status(&report).await?;
                status_tick.reset();
            }
            _ = status_tick.tick() => {
                let report = status.borrow_and_update().clone();
                session.say_status(&report).await?;
            }
            _ = ping_tick.tick() => session.ping().await?,
        }
    }
}

struct Session<'a, A> {
    link: &'a Link<A>,
    to: String,
    sender: mpsc::Sender<v1::AgentMessage>,
    /// Sequence of the last record sent on this stream.
    cursor: u64,
    /// Sequence of the last record acknowledged on this stream.
    acknowledged: u64,
    probes: JoinSet<(u64, ProbeOutcome)>,
    last_heard: Instant,
    pings: u64,
}

impl<A: Answer> Session<'_, A> {
    async fn hear(&mut self, message: v1::CollectorMessage) -> Result<(), LinkError> {
        self.last_heard = Instant::now();
        match message.kind {
            Some(Heard::DropsAck(ack)) => {
                self.acknowledged_through(ack.through_sequence);
                Ok(())
            }
            Some(Heard::Probe(probe)) => self.begin_probe(probe).await,
            Some(Heard::Ping(ping)) => self.say(Said::Pong(v1::Pong { nonce: ping.nonce })).await,
            // A pong's work was done by arriving; a second welcome or a newer peer's message changes nothing.
            Some(Heard::Pong(_) | Heard::Welcome(_)) | None => Ok(()),
        }
    }

    async fn begin_probe(&mut self, wire: v1::Probe) -> Result<(), LinkError> {
        let id = wire.id;
        let given = Duration::from_millis(u64::from(wire.timeout_ms)).clamp(SHORTEST_PROBE, LONGEST_PROBE);
        // A tenth is left for the way back, so that "out of time" arrives as an answer and not as silence.
        let deadline = Instant::now() + given.mul_f64(0.9);
        let probe = match wire::probe(wire) {
            Ok(probe) => probe,
            Err(problem) => {
                let gap = Gap::new("the probe", format!("this agent does not understand it: {problem}"))
                    .with_remedy("run agents and collector at most one minor version apart");
                return self.say(wire::answer(id, &ProbeOutcome::Failed(gap))).await;
            }
        };
        let kind = match &probe {
            model::Probe::Walk { .. } => ProbeKind::Walk,
            model::Probe::Listeners { .. } => ProbeKind::Listeners,
        };
        let node = &self.link.config.node;
        let refusal = if probe.node() != node {
            Some(format!("the agent asked is that of {node}"))
        } else if self.probes.len() >= self.link.pace.probes_at_once {
            Some(format!("{} questions are being answered there already", self.probes.len()))
        } else {
            None
        };
        if let Some(why) = refusal {
            let labels = ProbeLabels { kind, end: ProbeEnd::Refused };
            self.link.metrics.probes.get_or_create(&labels).inc();
            let what = format!("state of {}", probe.node().escape_debug());
            return self.say(wire::answer(id, &ProbeOutcome::Failed(Gap::new(what, why)))).await;
        }
        let answers = Arc::clone(&self.link.answers);
        let metrics = Arc::clone(&self.link.metrics);
        let what = format!("state of {node}");
        self.probes.spawn(async move {
            let begun = Instant::now();
            let outcome = tokio::time::timeout_at(deadline, answers.answer(probe, deadline)).await;
            let end = match &outcome {
                Ok(ProbeOutcome::Failed(_)) => ProbeEnd::Failed,
                Ok(_) => ProbeEnd::Answered,
                Err(_) => ProbeEnd::TimedOut,
            };
            metrics.probes.get_or_create(&ProbeLabels { kind, end }).inc();
            metrics.probe_seconds.observe(begun.elapsed().as_secs_f64());
            let late = |_| {
                let why = format!("not read within {} ms", (deadline - begun).as_millis());
                ProbeOutcome::Failed(Gap::new(what, why).with_remedy("ask again with a longer --timeout"))
            };
            (id, outcome.unwrap_or_else(late))
        });
        Ok(())
    }

    /// Sends the next records, if any are left and fewer than `window` are under way. Whether it sent some.
    async fn send_batch(&mut self, window: u64) -> Result<bool, LinkError> {
        if self.in_flight() >= window {
            return Ok(false);
        }
        let records = self.link.outbox.after(self.cursor, wire::MOST_RECORDS_OF_A_BATCH);
        let (batch, last) = wire::batch(&records);
        let Some(last) = last else { return Ok(false) };
        self.cursor = last;
        self.say(Said::Drops(batch)).await?;
        Ok(true)
    }

    fn acknowledged_through(&mut self, sequence: u64) {
        // What was never made cannot be kept: a peer that says so has mixed up two agents.
        let sequence = sequence.min(self.link.outbox.last_sequence());
        self.link.outbox.acknowledge(sequence);
        self.acknowledged = self.acknowledged.max(sequence);
        self.cursor = self.cursor.max(sequence);
    }

    fn in_flight(&self) -> u64 {
        self.cursor.saturating_sub(self.acknowledged)
    }

    async fn say_status(&mut self, report: &NodeReport) -> Result<(), LinkError> {
        self.say(Said::Status(wire::status(report))).await
    }

    async fn ping(&mut self) -> Result<(), LinkError> {
        let silent = self.last_heard.elapsed();
        if silent >= self.link.pace.silent_for {
            return Err(LinkError::Silent { to: self.to.clone(), problem: "pings were not answered" });
        }
        if silent < self.link.pace.ping_after {
            return Ok(());
        }
        self.pings += 1;
        self.say(Said::Ping(v1::Ping { nonce: self.pings })).await
    }

    async fn say(&self, kind: Said) -> Result<(), LinkError> {
        match timeout(self.link.pace.send_within, self.sender.send(v1::AgentMessage { kind: Some(kind) }))
            .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LinkError::Closed { to: self.to.clone() }),
            Err(_) => Err(LinkError::Silent { to: self.to.clone(), problem: "it takes no more messages" }),
        }
    }

    /// The agent stops: what is left is sent, and its acknowledgement awaited for a moment.
    async fn last_words(mut self, heard: &mut Streaming<v1::CollectorMessage>) -> Result<(), LinkError> {
        self.probes.abort_all();
        let within = self.link.pace.last_words;
        let farewell = async {
            while self.send_batch(u64::MAX).await? {}
            while self.in_flight() > 0 {
                match heard.message().await {
                    Ok(Some(v1::CollectorMessage { kind: Some(Heard::DropsAck(ack)) })) => {
                        self.acknowledged_through(ack.through_sequence);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
            Ok(())
        };
        timeout(within, farewell).await.unwrap_or(Ok(()))
    }
}

//! The agents' streams: taking them in, keeping what they bring, and acknowledging it.
//!
//! Messages of one stream are handled in order and one at a time, so a drop that was sent before a probe's answer is
//! in the store before the question goes on; and an agent that sends faster than the store keeps is read more slowly.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use proto::v1::agent_link_server::AgentLink;
use proto::v1::{agent_message, collector_message};
use proto::{convert, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::archive::Archive;
use crate::fleet::{Fleet, Link, message};
use crate::metrics::{Metrics, Received};

/// How long an agent may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);

/// Messages waiting to be sent to one agent.
const OUTBOX: usize = 256;

/// Bytes of one message: a walk through a large rule set, or a batch of some hundred drops with their walks.
pub(crate) const MESSAGE_BYTES: usize = 16 << 20;

/// Longest name of a node (a DNS subdomain name) and of the other words of Hello.
const WORD: usize = 253;

/// The collector's side of `AgentLink`.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) archive: Archive,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl AgentLink for Ingest {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.remote_addr();
        let messages = request.into_inner();
        let (outbox, sent) = mpsc::channel(OUTBOX);
        // The answer's headers go out at once, and Hello is awaited behind them: some clients send nothing before.
        let ingest = self.clone();
        tokio::spawn(async move {
            if let Err(status) = ingest.serve(messages, &outbox, peer).await {
                let _ = outbox.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }
}

type Outbox = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

impl Ingest {
    async fn serve(
        &self,
        mut messages: Streaming<v1::AgentMessage>,
        outbox: &Outbox,
        peer: Option<std::net::SocketAddr>,
    ) -> Result<(), Status> {
        let hello = hello(&mut messages).await?;
        let mut link = self.fleet.accept(&hello, outbox.clone(), cluster::now())?;
        let welcome = v1::Welcome {
            collector_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: proto::PROTOCOL_VERSION,
            kept_sequence: link.kept(&hello.boot),
        };
        send(outbox, collector_message::Kind::Welcome(welcome)).await?;
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::info!(
            node = hello.node,
            peer,
            version = hello.agent_version,
            kernel = hello.kernel,
            "agent connected"
        );
        let ended = self.follow(&mut messages, &mut link, &hello.boot, outbox).await;
        match &ended {
            Ok(()) => tracing::info!(node = hello.node, "agent disconnected"),
            Err(status) => tracing::info!(node = hello.node, reason = status.message(), "agent disconnected"),
        }
        ended
    }

    async fn follow(
        &self,
        messages: &mut Streaming<v1::AgentMessage>,
        link: &mut Link,
        boot: &str,
        outbox: &Outbox,
    ) -> Result<(), Status> {
        loop {
            let received = tokio::select! {
                biased;
                changed = link.end.changed() => {
                    // Without a sender the fleet has let go of this stream.
                    let end = changed.ok().and_then(|()| *link.end.borrow());
                    return end.map_or(Ok(()), |end| Err(end.status()));
                }
                received = messages.next() => received,
            };
            let Some(received) = received else { return Ok(()) };
            let kind = received?.kind;
            link.heard(cluster::now());
            match kind {
                Some(agent_message::Kind::Drops(drops)) => {
                    self.drops(drops, link, boot, outbox).await?;
                }
                Some(agent_message::Kind::ProbeAnswer(answer)) => self.probe_answer(answer, link),
                Some(agent_message::Kind::Status(status)) => match link.status(status) {
                    Ok(()) => self.metrics.evidence("status", Received::New, 1),
                    Err(error) => self.refused("status", link.node(), &error),
                },
                Some(agent_message::Kind::Ping(ping)) => {
                    send(outbox, collector_message::Kind::Pong(v1::Pong { nonce: ping.nonce })).await?;
                }
                Some(agent_message::Kind::Hello(_)) => {
                    return Err(Status::failed_precondition("Hello is sent once, first"));
                }
                // A newer agent may send what this version does not know.
                Some(agent_message::Kind::Pong(_)) | None => {}
            }
        }
    }

    async fn drops(&self, drops: v1::Drops, link: &Link, boot: &str, outbox: &Outbox) -> Result<(), Status> {
        let mut through = 0;
        let mut records = Vec::with_capacity(drops.records.len());
        for sent in drops.records {
            // What cannot be understood now cannot be understood the next time either: it is acknowledged.
            through = through.max(sent.id.as_ref().map_or(0, |id| id.sequence));
            match convert::drop_to_model(sent) {
                Ok(record) if record.id.node == link.node() && record.id.boot == boot => records.push(record),
                Ok(record) => {
                    self.metrics.evidence("drop", Received::Refused, 1);
                    tracing::warn!(
                        node = link.node(),
                        of = record.id.node,
                        "refused a drop record in another name"
                    );
                }
                Err(error) => self.refused("drop", link.node(), &error),
            }
        }
        let count = records.len() as u64;
        match self.archive.append(records).await {
            Ok(appended) => {
                self.metrics.evidence("drop", Received::New, appended.new);
                self.metrics.evidence("drop", Received::Duplicate, appended.duplicate);
            }
            Err(error) => {
                self.metrics.evidence("drop", Received::Failed, count);
                tracing::error!(node = link.node(), %error, "drop records could not be kept");
                return Err(Status::unavailable("the collector cannot keep records at the moment"));
            }
        }
        link.keep(boot, through);
        send(outbox, collector_message::Kind::DropsAck(v1::DropsAck { through_sequence: through })).await
    }

    fn probe_answer(&self, answer: v1::ProbeAnswer, link: &Link) {
        let id = answer.id;
        match convert::probe_answer_to_model(answer) {
            Ok(reply) => {
                self.metrics.evidence("probe_answer", Received::New, 1);
                link.answered(reply.id, reply.outcome);
            }
            Err(error) => {
                self.refused("probe_answer", link.node(), &error);
                let gap = model::Gap::new(link.node(), format!("its answer cannot be understood: {error}"))
                    .with_remedy("run the same version of agent and collector");
                link.answered(id, model::ProbeOutcome::Failed(gap));
            }
        }
    }

    fn refused(&self, kind: &'static str, node: &str, error: &proto::ConvertError) {
        self.metrics.evidence(kind, Received::Refused, 1);
        tracing::warn!(node, kind, %error, "refused a message of an agent");
    }
}

/// The first message, checked.
async fn hello(messages: &mut Streaming<v1::AgentMessage>) -> Result<v1::Hello, Status> {
    let first = timeout(HELLO, messages.next())
        .await
        .map_err(|_| Status::deadline_exceeded(format!("no Hello within {} s", HELLO.as_secs())))?;
    let Some(agent_message::Kind::Hello(hello)) = first.transpose()?.and_then(|message| message.kind) else {
        return Err(Status::failed_precondition("the first message must be Hello"));
    };
    for (field, text) in [
        ("node", &hello.node),
        ("agent_version", &hello.agent_version),
        ("kernel", &hello.kernel),
        ("boot", &hello.boot),
    ] {
        let plain = text.len() <= WORD && !text.chars().any(char::is_control);
        if text.is_empty() || !plain {
            return Err(Status::invalid_argument(format!(
                "hello.{field}: 1 to {WORD} bytes without control characters"
            )));
        }
    }
    if hello.protocol_version.abs_diff(proto::PROTOCOL_VERSION) > 1 {
        return Err(Status::failed_precondition(format!(
            "the agent speaks version {} of the protocol and the collector {}; they must be at most one apart",
            hello.protocol_version,
            proto::PROTOCOL_VERSION
        )));
    }
    Ok(hello)
}

async fn send(outbox: &Outbox, kind: collector_message::Kind) -> Result<(), Status> {
    outbox.send(Ok(message(kind))).await.map_err(|_| Status::cancelled("the agent went away"))
}

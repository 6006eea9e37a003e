//! A collector that does what the test says: a real gRPC server whose accepted streams the test drives by hand.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use model::{DropRecord, Probe, ProbeOutcome};
use proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use proto::v1::agent_message::Kind as Said;
use proto::v1::collector_message::Kind as Heard;
use proto::{convert, v1};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// The longest any awaited message may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The server; ends when dropped.
pub struct Collector {
    pub address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Stream>,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

/// One accepted stream, after the agent's Hello.
pub struct Stream {
    pub hello: v1::Hello,
    pub authorization: Option<String>,
    said: Streaming<v1::AgentMessage>,
    outbound: mpsc::Sender<Result<v1::CollectorMessage, Status>>,
    /// Messages of other kinds than the awaited one, in order.
    pub passed_over: Vec<Said>,
    next_probe: u64,
}

struct Service {
    streams: mpsc::UnboundedSender<Stream>,
}

impl Collector {
    /// Listens on `address` (port 0: any).
    pub fn start(address: SocketAddr) -> Self {
        Self::serve(std::net::TcpListener::bind(address).expect("the collector's port should be free"))
    }

    /// Takes over a listener, which may be in another network namespace.
    pub fn serve(listener: std::net::TcpListener) -> Self {
        Self::serve_by(tonic::transport::Server::builder(), listener)
    }

    /// The same over TLS.
    pub fn serve_tls(listener: std::net::TcpListener, identity: tonic::transport::Identity) -> Self {
        let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
        let server =
            tonic::transport::Server::builder().tls_config(tls).expect("the identity should be usable");
        Self::serve_by(server, listener)
    }

    fn serve_by(mut server: tonic::transport::Server, listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let listener = TcpListener::from_std(listener).expect("inside the runtime");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, streams) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let server = server
            .add_service(AgentLinkServer::new(Service { streams: sender }))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            // Connections that outlive the test end with its runtime.
            let _ = server.await;
        });
        Self { address, streams, stop, server }
    }

    /// The agent's next stream.
    pub async fn accept(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv())
            .await
            .expect("the agent should have dialled")
            .expect("the server should be running")
    }

    /// Ends the server and every connection of it.
    pub async fn end(self) {
        self.stop.cancel();
        self.server.abort();
        let _ = self.server.await;
    }
}

impl Stream {
    pub async fn send(&self, kind: Heard) {
        let message = v1::CollectorMessage { kind: Some(kind) };
        self.outbound.send(Ok(message)).await.expect("the agent should still read");
    }

    pub async fn welcome(&self, kept_sequence: u64) {
        let welcome = v1::Welcome {
            collector_version: "test".to_owned(),
            protocol_version: proto::PROTOCOL_VERSION,
            kept_sequence,
        };
        self.send(Heard::Welcome(welcome)).await;
    }

    pub async fn refuse(self, status: Status) {
        self.outbound.send(Err(status)).await.expect("the agent should still read");
    }

    pub async fn acknowledge(&self, through_sequence: u64) {
        self.send(Heard::DropsAck(v1::DropsAck { through_sequence })).await;
    }

    /// The next message for which `pick` gives something; others are kept in `passed_over`.
    pub async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Said) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let message = self.said.message().await.map_err(|status| status.to_string())?;
                let Some(kind) = message.ok_or("the agent closed the stream")?.kind else { continue };
                if let Some(found) = pick(&kind) {
                    return Ok::<T, String>(found);
                }
                self.passed_over.push(kind);
            }
        });
        match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(end)) => panic!("waiting for {what}: {end}; before it came {:?}", self.passed_over),
            Err(late) => panic!("no {what} ({late}) within {PATIENCE:?}; what came: {:?}", self.passed_over),
        }
    }

    /// The next batch of drop records.
    pub async fn drops(&mut self) -> Vec<DropRecord> {
        let batch = self.wait("drops", |said| match said {
            Said::Drops(drops) => Some(drops.clone()),
            _ => None,
        });
        convert::drops_to_model(batch.await).expect("the agent's records should convert")
    }

    /// Drop records until one satisfies `wanted`; everything is acknowledged.
    pub async fn drop_where(&mut self, what: &str, wanted: impl Fn(&DropRecord) -> bool) -> DropRecord {
        let mut others = Vec::new();
        let search = timeout(PATIENCE, async {
            loop {
                let records = self.drops().await;
                if let Some(last) = records.last() {
                    self.acknowledge(last.id.sequence).await;
                }
                for record in records {
                    if wanted(&record) {
                        return record;
                    }
                    others.push(record);
                }
            }
        });
        let found = search.await.ok();
        found.unwrap_or_else(|| panic!("no drop of {what} within {PATIENCE:?}; others: {others:?}"))
    }

    /// Asks and waits for the answer.
    pub async fn ask(&mut self, probe: &Probe, timeout_ms: u32) -> ProbeOutcome {
        let id = self.begin(probe, timeout_ms).await;
        self.answer(id).await
    }

    /// Asks without waiting; gives the question's number.
    pub async fn begin(&mut self, probe: &Probe, timeout_ms: u32) -> u64 {
        self.next_probe += 1;
        self.send(Heard::Probe(convert::probe(self.next_probe, timeout_ms, probe))).await;
        self.next_probe
    }

    /// The answer to a question begun earlier.
    pub async fn answer(&mut self, id: u64) -> ProbeOutcome {
        let waiting = self.wait("probe answer", |said| match said {
            Said::ProbeAnswer(answer) if answer.id == id => Some(answer.clone()),
            _ => None,
        });
        convert::probe_answer_to_model(waiting.await).expect("the agent's answer should convert").outcome
    }
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut said = request.into_inner();
        let first = said.message().await?.and_then(|message| message.kind);
        let Some(Said::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (outbound, receiver) = mpsc::channel(16);
        let stream = Stream { hello, authorization, said, outbound, passed_over: Vec::new(), next_probe: 0 };
        self.streams.send(stream).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

//! Whether the agent works: the admin endpoint on loopback, and the facts it shows. It decides nothing for the rest.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The node side turns every 250 ms; not once in this long means that it hangs (a read from a broken kernel object, a
/// lock), and a restart is the only cure.
const STALLED_AFTER: Duration = Duration::from_mins(1);

/// The state of the connection, in the order it is gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing was tried yet.
    Starting,
    /// Not connected; the text says what was tried and how it failed.
    Away(String),
    /// Accepted by the collector at this address.
    Accepted(String),
}

/// Cheap to clone; all clones are the same state.
#[derive(Clone, Debug)]
pub struct Health {
    facts: Arc<Mutex<Facts>>,
}

#[derive(Debug)]
struct Facts {
    sources: Option<String>,
    bpf: Option<Result<(), String>>,
    link: LinkState,
    last_turn: Instant,
}

/// A question's answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub yes: bool,
    /// One line for each fact.
    pub text: String,
}

impl Default for Health {
    fn default() -> Self {
        let facts = Facts { sources: None, bpf: None, link: LinkState::Starting, last_turn: Instant::now() };
        Self { facts: Arc::new(Mutex::new(facts)) }
    }
}

impl Health {
    /// The sources were probed; the text sums up how that went.
    pub fn sources_probed(&self, summary: String) {
        self.with(|facts| facts.sources = Some(summary));
    }

    /// The BPF programs were loaded, or why not.
    pub fn bpf(&self, state: Result<(), String>) {
        self.with(|facts| facts.bpf = Some(state));
    }

    /// The connection's state changed.
    pub fn link(&self, state: LinkState) {
        self.with(|facts| facts.link = state);
    }

    /// The node side finished a turn.
    pub fn turned(&self) {
        self.with(|facts| facts.last_turn = Instant::now());
    }

    /// Whether the agent is ready: sources probed, BPF loaded or its lack told, connected and accepted.
    pub fn ready(&self) -> Verdict {
        self.with(|facts| {
            let mut text = String::new();
            let sources = facts.sources.as_deref().unwrap_or("not probed yet");
            let bpf = match &facts.bpf {
                None => "not tried yet",
                Some(Ok(())) => "loaded",
                Some(Err(lack)) => lack,
            };
            let link = match &facts.link {
                LinkState::Starting => "not tried yet".to_owned(),
                LinkState::Away(why) => format!("away: {why}"),
                LinkState::Accepted(address) => format!("accepted by {address}"),
            };
            for (name, state) in [("sources", sources), ("bpf", bpf), ("collector", &link)] {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name}: {state}");
            }
            let yes = facts.sources.is_some()
                && facts.bpf.is_some()
                && matches!(facts.link, LinkState::Accepted(_));
            Verdict { yes, text }
        })
    }

    /// Whether the agent is alive: the node side still turns.
    pub fn alive(&self) -> Verdict {
        self.with(|facts| {
            let age = facts.last_turn.elapsed();
            let text = format!("node side: last turn {:.1} s ago\n", age.as_secs_f64());
            Verdict { yes: age < STALLED_AFTER, text }
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        // Single assignments only: a panic elsewhere leaves the facts whole.
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone)]
struct Admin {
    health: Health,
    metrics: Arc<Metrics>,
}

/// Binds the admin address.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves /metrics, /healthz and /readyz until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(render_metrics))
        .route("/healthz", get(|State(admin): State<Admin>| async move { reply(admin.health.alive()) }))
        .route("/readyz", get(|State(admin): State<Admin>| async move { reply(admin.health.ready()) }))
        .with_state(Admin { health, metrics });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn render_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.render())
}

fn reply(verdict: Verdict) -> impl IntoResponse {
    let status = if verdict.yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, verdict.text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn ready_needs_all_three() {
        let health = Health::default();
        assert!(!health.ready().yes);
        health.sources_probed("6 of 7 ok".to_owned());
        health.bpf(Err("no BTF; drops are not seen".to_owned()));
        assert!(!health.ready().yes);
        health.link(LinkState::Accepted("http://127.0.0.1:7443".to_owned()));
        let ready = health.ready();
        assert!(ready.yes, "{}", ready.text);
        assert!(ready.text.contains("bpf: no BTF; drops are not seen"), "{}", ready.text);
        health.link(LinkState::Away("connection refused".to_owned()));
        assert!(!health.ready().yes);
    }

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        text
    }

    #[tokio::test]
    async fn the_endpoint_serves_all_three_and_stops() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let (health, stop) = (Health::default(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, health.clone(), Arc::new(Metrics::new()), stop.clone()));
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let ready = fetch(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("collector: not tried yet"), "{ready}");
        assert!(fetch(address, "/metrics").await.contains("why_dropped_agent_records_total 0"));
        stop.cancel();
        server.await.expect("ends").expect("without an error");
    }
}

//! The connection to the collector: dialled, kept, dialled again. It never ends because the collector is away.
//!
//! What is sent comes from the outbox, the status and the probes' answers; nothing here reads the kernel.

pub mod addresses;
pub mod backoff;
mod dial;
mod session;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::{NodeReport, Probe, ProbeOutcome};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health::{Health, LinkState};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use addresses::KnownAddresses;
use backoff::{Backoff, full_jitter};

/// Answers the collector's probes.
pub trait Answer: Send + Sync + 'static {
    /// The answer, at the deadline at the latest: what cannot be had by then is a gap.
    fn answer(&self, probe: Probe, deadline: Instant) -> impl Future<Output = ProbeOutcome> + Send;
}

/// Times and bounds of a session; other values only in tests.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Status is sent at least this often, so that `nodes` shows fresh losses.
    pub status_every: Duration,
    /// A ping is sent after this much silence, so that a dead path is noticed without traffic.
    pub ping_after: Duration,
    /// The session is given up after this much silence: three pings unanswered.
    pub silent_for: Duration,
    /// How long the collector may take to welcome: it reviews the token at the API server first.
    pub welcome_within: Duration,
    /// How long one message may wait for room in the stream before the collector counts as stuck.
    pub send_within: Duration,
    /// How long a stopping agent waits for the last acknowledgement.
    pub last_words: Duration,
    /// Probes answered at once: each may hold one parsed rule set and one thread.
    pub probes_at_once: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            status_every: Duration::from_secs(10),
            ping_after: Duration::from_secs(10),
            silent_for: Duration::from_secs(30),
            welcome_within: Duration::from_secs(10),
            send_within: Duration::from_secs(20),
            last_words: Duration::from_secs(1),
            probes_at_once: 16,
        }
    }
}

/// Everything the connection works with.
pub struct Link<A> {
    /// Where to, and with which credentials.
    pub config: Config,
    /// Release of the running kernel.
    pub kernel: String,
    /// What is to be delivered.
    pub outbox: Outbox,
    /// What the agent sees; sent when it changes.
    pub status: watch::Receiver<NodeReport>,
    /// Who answers probes.
    pub answers: Arc<A>,
    /// Told how the connection fares.
    pub health: Health,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Times and bounds.
    pub pace: Pace,
}

/// Why a session ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A file named in the configuration could not be used.
    #[error("read {what} {path}: {problem}")]
    File {
        /// What it holds.
        what: &'static str,
        /// Which file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The host's name has no address now.
    #[error("resolve {host}: {problem}")]
    Resolve {
        /// Host name.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// No connection to this address.
    #[error("connect to {to}: {problem}")]
    Connect {
        /// Address.
        to: String,
        /// The innermost reason.
        problem: String,
    },
    /// The collector refused the stream.
    #[error("{to} refused the stream: {status}")]
    Refused {
        /// Address.
        to: String,
        /// Code and message, escaped.
        status: String,
    },
    /// The collector spoke, but not the protocol.
    #[error("{to} broke the protocol: {problem}")]
    Protocol {
        /// Address.
        to: String,
        /// What it did.
        problem: String,
    },
    /// Nothing came for too long, or nothing could be sent.
    #[error("{to} went silent: {problem}")]
    Silent {
        /// Address.
        to: String,
        /// What was waited for.
        problem: &'static str,
    },
    /// The collector closed the stream in good order.
    #[error("{to} closed the stream")]
    Closed {
        /// Address.
        to: String,
    },
}

impl<A: Answer> Link<A> {
    /// Connects, and connects again, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut known = KnownAddresses::load(self.config.state_dir.as_deref());
        let mut backoff = Backoff::default();
        let mut warned = String::new();
        while !stop.is_cancelled() {
            let round = tokio::select! {
                () = stop.cancelled() => return,
                round = self.reach(&mut known) => round,
            };
            let failure = match round {
                Ok((candidate, opened)) => {
                    backoff.reset();
                    warned.clear();
                    self.accepted(&candidate, &mut known);
                    let end = session::run(&self, opened, &stop).await;
                    self.metrics.connected.set(0);
                    match end {
                        Ok(()) => return,
                        Err(error) => error.to_string(),
                    }
                }
                Err(failures) => failures,
            };
            let wait = backoff.next(full_jitter);
            // Once per kind of failure: an absent collector must not fill the log.
            if warned == failure {
                tracing::debug!(%failure, wait.ms = wait.as_millis(), "no collector yet");
            } else {
                tracing::warn!(%failure, wait.ms = wait.as_millis(), "not connected; drops are kept meanwhile");
                warned.clone_from(&failure);
            }
            self.health.link(LinkState::Away(failure));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tries every URL, then every remembered address; the first that welcomes us wins.
    async fn reach(&self, known: &mut KnownAddresses) -> Result<(dial::Candidate, session::Opened), String> {
        let mut failures = Vec::new();
        let mut tried = Vec::new();
        for url in &self.config.collectors {
            let candidates = match dial::resolve(url).await {
                Ok(candidates) => candidates,
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            for candidate in candidates {
                match self.open(&candidate).await {
                    Ok(opened) => return Ok((candidate, opened)),
                    Err(error) => failures.push(error.to_string()),
                }
                tried.push(candidate.address);
            }
        }
        for url in &self.config.collectors {
            for address in known.of(url) {
                if tried.contains(&address) {
                    continue;
                }
                let candidate = dial::Candidate { url: url.clone(), address, remembered: true };
                match self.open(&candidate).await {
                    Ok(opened) => return Ok((candidate, opened)),
                    Err(error) => failures.push(error.to_string()),
                }
            }
        }
        Err(failures.join("; "))
    }

    async fn open(&self, candidate: &dial::Candidate) -> Result<session::Opened, LinkError> {
        self.metrics.connection_attempts.inc();
        let channel = dial::connect(candidate, &self.config).await?;
        session::open(self, candidate, channel).await
    }

    fn accepted(&self, candidate: &dial::Candidate, known: &mut KnownAddresses) {
        self.metrics.connections.inc();
        self.metrics.connected.set(1);
        self.health.link(LinkState::Accepted(candidate.to_string()));
        let how = if candidate.remembered { "remembered address" } else { "configured address" };
        tracing::info!(collector = %candidate, how, "connected and accepted");
        if let Err(error) = known.remember(&candidate.url, candidate.address) {
            tracing::warn!(%error, "cannot keep the collector's address in the state directory");
        }
    }
}

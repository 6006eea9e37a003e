//! Answers the collector's probes from the running kernel, on blocking threads. Deadlines are the link's business; here
//! they only spare work that nobody waits for any more.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use model::probe::Scope;
use model::{Gap, Probe, ProbeOutcome};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::link::Answer;
use crate::node::{Located, Request};
use crate::walks::{KernelSource, Patience, RuleCache};

/// How long an answer waits for the drops before it to become records. Usually a millisecond; a publisher that reads
/// a big rule set is not waited for, because the answer needs the same read.
const FLUSH_WITHIN: Duration = Duration::from_millis(500);

/// Answers from this node.
pub struct FromKernel {
    /// The node side.
    pub requests: Sender<Request>,
    /// Parsed rules.
    pub cache: Arc<RuleCache<KernelSource>>,
    /// This node's name, for texts.
    pub node: String,
}

impl Answer for FromKernel {
    async fn answer(&self, probe: Probe, deadline: Instant) -> ProbeOutcome {
        match self.try_answer(probe, deadline).await {
            Ok(outcome) => outcome,
            Err(gap) => ProbeOutcome::Failed(gap),
        }
    }
}

impl FromKernel {
    async fn try_answer(&self, probe: Probe, deadline: Instant) -> Result<ProbeOutcome, Gap> {
        let scope = match &probe {
            Probe::Walk { scope, .. } => scope.clone(),
            Probe::Listeners { pod, .. } => Scope::Pod(pod.clone()),
        };
        let Located { known, flushed } = self.locate(scope).await?;
        let cache = Arc::clone(&self.cache);
        let node = self.node.clone();
        let read = tokio::task::spawn_blocking(move || {
            if Instant::now() >= deadline {
                return Err(Gap::new(format!("state of {node}"), "not read in time"));
            }
            match probe {
                Probe::Walk { packet, .. } => {
                    let rules = cache.rules(&known, Patience::Fresh);
                    match &rules.unreadable {
                        Some(gap) => Err(gap.clone()),
                        None => Ok(ProbeOutcome::Walk(Box::new(rules.walk(&packet)))),
                    }
                }
                Probe::Listeners { protocol, .. } => {
                    kernel::read_listeners(&known, protocol).map(ProbeOutcome::Listeners)
                }
            }
        });
        // The drain and the read wait for the kernel side by side. Late or given up alike: the answer is right without.
        let (_, answer) = tokio::join!(tokio::time::timeout(FLUSH_WITHIN, flushed), read);
        answer.unwrap_or_else(|_| Err(self.broken("the reading thread failed")))
    }

    async fn locate(&self, scope: Scope) -> Result<Located, Gap> {
        let (reply, located) = oneshot::channel();
        let gone = || self.broken("the agent is stopping");
        self.requests.send(Request::Locate { scope, reply }).map_err(|_| gone())?;
        located.await.map_err(|_| gone())?
    }

    fn broken(&self, why: &str) -> Gap {
        Gap::new(format!("state of {}", self.node), why)
            .with_remedy("ask again; if it stays so, see the agent's log")
    }
}

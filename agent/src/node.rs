//! The node side: one thread that owns the BPF programs and the view of the namespaces, drains the one and refreshes
//! the other. Records are made by `publish`, rules are read elsewhere.

mod signs;
mod unknown;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernel::{Known, Namespaces};
use model::Gap;
use model::probe::{PodTarget, Scope};
use tokio::sync::oneshot;
use trace::Tracer;

use crate::health::Health;
use crate::metrics::{LossPlace, Metrics};
use crate::pods::Places;
use crate::publish::Batch;
use crate::walks::{KernelSource, PodAddresses as _, RuleCache};
use signs::Signs;
use unknown::Unknown;

/// How often the maps are drained. A client's first retransmission comes after 1 s, so this keeps every attempt a
/// record of its own; a drain costs one grace period of the kernel, some milliseconds of waiting and no work.
const DRAIN_EVERY: Duration = Duration::from_millis(250);
/// Looking for namespaces visits every one of them, so without a sign of change it is done seldom.
const REFRESH_AT_LEAST: Duration = Duration::from_secs(10);
/// Never more often than this, whoever asks.
const REFRESH_AT_MOST: Duration = Duration::from_millis(200);
/// After a sign, the namespace is looked at again and again for this long: it appears before its addresses do.
const SETTLING: Duration = Duration::from_secs(5);
/// With signs, once in this time.
const REFRESH_SETTLING: Duration = Duration::from_secs(1);

/// A question to the node side.
#[derive(Debug)]
pub enum Request {
    /// Find the namespace, and drain right after.
    Locate {
        /// Which.
        scope: Scope,
        /// Told where it is, or why not.
        reply: oneshot::Sender<Result<Located, Gap>>,
    },
    /// Drain a last time and end.
    Stop {
        /// Told when the last records are in the outbox.
        done: oneshot::Sender<()>,
    },
}

/// A namespace found, and when everything seen before is in the outbox.
#[derive(Debug)]
pub struct Located {
    /// The namespace.
    pub known: Arc<Known>,
    /// Told when the drops seen up to now are records; dropped if that will not happen.
    pub flushed: oneshot::Receiver<()>,
}

/// What the status shows of the tracing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets counted in the kernel but in no record.
    pub lost: u64,
    /// What is wrong with tracing now, in words.
    pub troubles: Vec<String>,
}

/// Shared with the status.
pub type SharedSeen = Arc<Mutex<Seen>>;

/// The thread's belongings.
pub struct Node {
    /// This node's name, for texts.
    pub name: String,
    /// The namespaces.
    pub namespaces: Namespaces,
    /// The programs, if they could be loaded.
    pub tracer: Option<Tracer>,
    /// Where batches go.
    pub batches: SyncSender<Batch>,
    /// Parsed rules, to forget those of namespaces that are gone.
    pub cache: Arc<RuleCache<KernelSource>>,
    /// What the status shows.
    pub seen: SharedSeen,
    /// Told that the thread still turns.
    pub health: Health,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

struct Turning {
    node: Node,
    places: Arc<Places>,
    signs: Signs,
    refreshed: Instant,
    settling_until: Instant,
    /// Drops whose namespace is not known yet.
    unknown: Unknown<trace::Drop>,
    /// Drops that wait for room in `batches`.
    ready: Vec<trace::Drop>,
    waiting: Vec<oneshot::Sender<()>>,
    drain_trouble: Option<String>,
    scope_trouble: Option<String>,
    refresh_trouble: Option<String>,
}

impl Node {
    /// Turns until stopped. Blocks; for a thread of its own.
    pub fn run(self, requests: &Receiver<Request>) {
        let now = Instant::now();
        let places = Arc::new(Places::of(&self.namespaces));
        let mut turning = Turning {
            places,
            signs: Signs::look(),
            refreshed: now,
            settling_until: now + SETTLING,
            unknown: Unknown::default(),
            ready: Vec::new(),
            waiting: Vec::new(),
            drain_trouble: None,
            scope_trouble: None,
            refresh_trouble: None,
            node: self,
        };
        turning.took_a_look();
        let mut next_drain = now + DRAIN_EVERY;
        loop {
            let request = requests.recv_timeout(next_drain.saturating_duration_since(Instant::now()));
            match request {
                Ok(first) => {
                    // All that wait are answered first and share one drain: it waits for the kernel, they need not.
                    let stop = turning.answer(std::iter::once(first).chain(requests.try_iter()));
                    turning.drain();
                    if let Some(done) = stop {
                        turning.end(done);
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    turning.refresh_if_due();
                    turning.drain();
                    next_drain = Instant::now() + DRAIN_EVERY;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            turning.report();
        }
    }
}

impl Turning {
    /// Answers requests up to one to stop, if there is one.
    fn answer(&mut self, requests: impl Iterator<Item = Request>) -> Option<oneshot::Sender<()>> {
        for request in requests {
            match request {
                Request::Locate { scope, reply } => {
                    let located = self.locate(&scope);
                    // Whoever asked may have run out of time.
                    let _ = reply.send(located);
                }
                Request::Stop { done } => return Some(done),
            }
        }
        None
    }

    fn refresh_if_due(&mut self) {
        let now = Instant::now();
        let signs = Signs::look();
        if signs != self.signs {
            self.signs = signs;
            self.settling_until = now + SETTLING;
            self.refresh(REFRESH_AT_MOST);
        } else if now < self.settling_until || !self.unknown.is_empty() {
            self.refresh(REFRESH_SETTLING);
        } else {
            self.refresh(REFRESH_AT_LEAST);
        }
    }

    /// Looks for namespaces anew, unless that was done less than `at_most` ago. Whether it was done now.
    fn refresh(&mut self, at_most: Duration) -> bool {
        if self.refreshed.elapsed() < at_most {
            return false;
        }
        match self.node.namespaces.refresh() {
            Ok(()) => self.refresh_trouble = None,
            Err(error) => {
                self.refresh_trouble = Some(format!("namespaces are not looked for: {}", error.in_words()));
            }
        }
        // Counted from its end, so that a slow look does not follow on itself.
        self.refreshed = Instant::now();
        self.places = Arc::new(Places::of(&self.node.namespaces));
        self.took_a_look();
        true
    }

    /// The rest follows the new view.
    fn took_a_look(&mut self) {
        let places = &self.places;
        self.node.metrics.namespaces.set(i64::try_from(places.count()).unwrap_or(i64::MAX));
        self.node.cache.retain(|cookie| places.get(cookie).is_some());
        if let Some(tracer) = &mut self.node.tracer
            && !self.node.namespaces.is_initial()
        {
            self.scope_trouble = tracer.set_scope(places.in_scope()).err().map(|error| in_words(&error));
        }
    }

    /// Takes out what the kernel has seen and hands on what is known whose it was.
    fn drain(&mut self) {
        let begun = Instant::now();
        if let Some(tracer) = &mut self.node.tracer {
            match tracer.drain() {
                Ok(drained) => {
                    self.node.metrics.set_lost(LossPlace::Kernel, drained.lost);
                    let mut seen = self.node.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.lost = drained.lost;
                    drop(seen);
                    self.unknown.add(drained.drops, begun);
                    self.drain_trouble = None;
                }
                Err(error) => self.drain_trouble = Some(in_words(&error)),
            }
            self.node.metrics.drain_seconds.observe(begun.elapsed().as_secs_f64());
        }
        let places = &self.places;
        if self.unknown.any(|drop| places.get(drop.netns_cookie).is_none()) {
            self.refresh(REFRESH_AT_MOST);
        }
        let places = &self.places;
        // A cookie of 0: nothing told the namespace, and waiting tells no more.
        let settled = |drop: &trace::Drop| drop.netns_cookie == 0 || places.get(drop.netns_cookie).is_some();
        self.ready.extend(self.unknown.settle(begun, settled));
        self.hand_on();
    }

    /// Gives the ready drops to the publisher. If it is busy they wait here, and further ones in the kernel's maps.
    fn hand_on(&mut self) {
        if self.ready.is_empty() && self.waiting.is_empty() {
            return;
        }
        let batch = Batch {
            drops: std::mem::take(&mut self.ready),
            places: Arc::clone(&self.places),
            done: std::mem::take(&mut self.waiting),
        };
        match self.node.batches.try_send(batch) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(batch)) => {
                self.ready = batch.drops;
                self.waiting = batch.done;
            }
        }
    }

    fn locate(&mut self, scope: &Scope) -> Result<Located, Gap> {
        let known = match scope {
            Scope::Node => self.places.own().cloned(),
            Scope::Pod(target) => self.pod(target),
        };
        let known = known.ok_or_else(|| self.not_found(scope))?;
        let (done, flushed) = oneshot::channel();
        // Told with the batch that the next drain brings.
        self.waiting.push(done);
        Ok(Located { known, flushed })
    }

    fn pod(&mut self, target: &PodTarget) -> Option<Arc<Known>> {
        if let Some(known) = self.pod_in_view(target) {
            return Some(known);
        }
        if self.refresh(REFRESH_AT_MOST) { self.pod_in_view(target) } else { None }
    }

    fn pod_in_view(&self, target: &PodTarget) -> Option<Arc<Known>> {
        if let Some(known) = self.node.namespaces.find_pod(target) {
            return self.places.get(known.netns.cookie).cloned();
        }
        // A pod on the host network has the node's addresses and lives in the node's namespace.
        let own = self.places.own()?;
        let own_addresses: HashSet<_> = own.addresses.iter().map(|entry| entry.address.addr()).collect();
        let on_host = target
            .addresses
            .iter()
            .any(|address| own_addresses.contains(address) && !self.places.contains(*address));
        on_host.then(|| Arc::clone(own))
    }

    fn not_found(&self, scope: &Scope) -> Gap {
        let node = &self.node.name;
        let Scope::Pod(target) = scope else {
            return Gap::new(format!("rules of {node}"), "its own network namespace cannot be read");
        };
        let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
        let by = match (target.uid.is_empty(), addresses.is_empty()) {
            (false, false) => {
                format!("uid {} or address {}", target.uid.escape_debug(), addresses.join(", "))
            }
            (false, true) => format!("uid {}", target.uid.escape_debug()),
            (true, false) => format!("address {}", addresses.join(", ")),
            (true, true) => "anything: neither uid nor address is known".to_owned(),
        };
        let mut why = format!("no network namespace on {node} belongs to a pod with {by}");
        if let Some(gap) = self.node.namespaces.gaps().first() {
            let unread = self.node.namespaces.gaps().len();
            why = format!("{why}; {unread} could not be read ({gap})");
        }
        Gap::new(format!("network namespace of pod {}", target.key), why)
            .with_remedy("check that the pod runs on this node, and `why-dropped-agent preflight` there")
    }

    fn end(mut self, done: oneshot::Sender<()>) {
        self.ready.extend(self.unknown.settle(Instant::now(), |_| true));
        self.waiting.push(done);
        let batch = Batch { drops: self.ready, places: self.places, done: self.waiting };
        // The publisher is waited for: it ends once this sender is gone. A dead one has nothing to tell.
        let _ = self.node.batches.send(batch);
    }

    fn report(&self) {
        let troubles = [&self.drain_trouble, &self.scope_trouble, &self.refresh_trouble];
        let troubles: Vec<String> = troubles.into_iter().flatten().cloned().collect();
        let mut seen = self.node.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.troubles != troubles {
            for trouble in &troubles {
                tracing::warn!(%trouble, "the node side is degraded");
            }
            seen.troubles = troubles;
        }
        drop(seen);
        self.node.health.turned();
    }
}

/// An error with its causes in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

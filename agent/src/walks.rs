//! Parsed rules of the namespaces that were asked about, kept while the kernel says they have not changed.
//!
//! It reads through [`RuleSource`] and walks through `rules`; which packet to walk, and how often, others decide.

mod origin;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::walk::RulesStamp;
use model::{NodeState, Packet, Timestamp, Walk};
use rules::Host;

use crate::metrics::Metrics;

pub use origin::{Viewpoint, packet_of};

/// Pods' rule sets kept besides the node's own. A pod's is a few KB (most have none at all); a service mesh's some 20.
const MOST_PODS: usize = 64;

/// Where rules come from.
pub trait RuleSource: Send + Sync + 'static {
    /// A namespace.
    type Space: Send + Sync;
    /// What tells later whether the state has changed since.
    type Token: Send;

    /// The net cookie.
    fn cookie(&self, space: &Self::Space) -> u64;
    /// Whether it is the node's own namespace.
    fn is_node(&self, space: &Self::Space) -> bool;
    /// Reads everything a walk needs. Parts that cannot be read are gaps in it.
    fn read(&self, space: &Self::Space) -> (NodeState, Self::Token);
    /// Whether the state is still the one read with this token. `false` where that cannot be told.
    fn unchanged(&self, space: &Self::Space, token: &Self::Token) -> bool;
    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// One namespace's parsed rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Ready to walk.
    pub host: Arc<Host>,
    /// Identity and age.
    pub stamp: RulesStamp,
    /// Addresses on the namespace's interfaces.
    pub addresses: Arc<[IpAddr]>,
}

impl Rules {
    /// What they do to a packet.
    pub fn walk(&self, packet: &Packet) -> Walk {
        self.host.walk(packet, self.stamp.clone())
    }
}

/// All parsed rules.
pub struct RuleCache<S: RuleSource> {
    source: S,
    metrics: Arc<Metrics>,
    slots: Mutex<HashMap<u64, Slot<S::Token>>>,
}

struct Slot<T> {
    entry: Arc<Mutex<Option<Entry<T>>>>,
    node: bool,
    used: Instant,
}

struct Entry<T> {
    rules: Rules,
    token: T,
}

impl<S: RuleSource> RuleCache<S> {
    /// An empty cache.
    pub fn new(source: S, metrics: Arc<Metrics>) -> Self {
        Self { source, metrics, slots: Mutex::new(HashMap::new()) }
    }

    /// The namespace's rules as they are now: those at hand if unchanged, else read and parsed again. Blocks; readers
    /// of one namespace wait for each other, so that ten questions cost one read.
    pub fn rules(&self, space: &S::Space) -> Rules {
        let slot = self.slot(self.source.cookie(space), self.source.is_node(space));
        let mut entry = lock(&slot);
        let looked_at = self.source.now();
        let known = entry.take();
        let (rules, token) = match known {
            // Read then, proven unchanged now: as good as read now.
            Some(Entry { mut rules, token }) if self.source.unchanged(space, &token) => {
                rules.stamp.read_at = looked_at;
                (rules, token)
            }
            known => self.read(space, known.as_ref().map(|entry| &entry.rules.stamp)),
        };
        *entry = Some(Entry { rules: rules.clone(), token });
        rules
    }

    /// Forgets namespaces that are gone.
    pub fn retain(&self, alive: impl Fn(u64) -> bool) {
        lock(&self.slots).retain(|cookie, _| alive(*cookie));
    }

    fn read(&self, space: &S::Space, before: Option<&RulesStamp>) -> (Rules, S::Token) {
        let begun = Instant::now();
        let (state, token) = self.source.read(space);
        let host = Host::new(&state);
        let fingerprint = host.fingerprint();
        let unchanged_since = match before {
            Some(stamp) if stamp.fingerprint == fingerprint => stamp.unchanged_since,
            _ => state.read_at,
        };
        self.metrics.rule_reads.inc();
        self.metrics.rule_read_seconds.observe(begun.elapsed().as_secs_f64());
        let stamp = RulesStamp { read_at: state.read_at, fingerprint, unchanged_since };
        let addresses = state.addresses.iter().map(|entry| entry.address.addr()).collect();
        (Rules { host: Arc::new(host), stamp, addresses }, token)
    }

    /// The namespace's slot. The least recently used pods' make room for it; the node's own is never given up.
    fn slot(&self, cookie: u64, node: bool) -> Arc<Mutex<Option<Entry<S::Token>>>> {
        let mut slots = lock(&self.slots);
        let now = Instant::now();
        let slot = slots.entry(cookie).or_insert_with(|| Slot { entry: Arc::default(), node, used: now });
        slot.used = now;
        let entry = Arc::clone(&slot.entry);
        while slots.values().filter(|slot| !slot.node).count() > MOST_PODS {
            let oldest = slots.iter().filter(|(_, slot)| !slot.node).min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(cookie, _)| *cookie) else { break };
            slots.remove(&oldest);
        }
        entry
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // An entry is taken out before it is worked on: after a panic it is absent, not half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

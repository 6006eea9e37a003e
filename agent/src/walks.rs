//! Parsed rules of the namespaces that were asked about, kept while the kernel says they have not changed.
//!
//! It reads through [`RuleSource`] and walks through `rules`; which packet to walk, and how often, others decide.

mod flows;
mod origin;
mod source;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::walk::RulesStamp;
use model::{Gap, NodeState, Packet, Timestamp, Walk};
use rules::Host;
use rules::nft::Listing;

use crate::metrics::Metrics;

pub use flows::{Decision, FlowKey, Flows};
pub use origin::{PodAddresses, Viewpoint, packet_of};
pub use source::KernelSource;

/// Pods' rule sets kept besides the node's own. A pod's is a few KB (most have none at all); a service mesh's some 20.
const MOST_PODS: usize = 64;
/// A frugal reader spends at most a twentieth of a core on reading again.
const FRUGAL_SHARE: u32 = 20;

/// Signs of change do not cover everything (policy routing, gateways outside the main table), so what is at hand is
/// read again after this long even without one. A question then costs one read more, at most once in this time.
const READ_AT_LEAST: Duration = Duration::from_mins(1);

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
    /// Reads everything a walk needs; rules of nftables in the second part or as text in the first. Parts that cannot be read
    /// are gaps in it.
    fn read(&self, space: &Self::Space) -> (NodeState, Option<Listing>, Self::Token);
    /// Forgets what it keeps of namespaces that are gone.
    fn retain(&self, _alive: &dyn Fn(u64) -> bool) {}
    /// Whether the state is still the one read with this token.
    fn change(&self, space: &Self::Space, token: &Self::Token) -> Change;
    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// What a look at the change token tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything is as it was read.
    Unchanged,
    /// Something is not.
    Changed,
    /// The kernel has no cheap sign: iptables-legacy.
    CannotTell,
}

/// How much a reader may spend on being up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Read again whatever it costs: somebody asked.
    Fresh,
    /// Take what is at hand if reading again now would keep a core busy: nobody asked, and the stamp tells the age.
    Frugal,
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
    /// Why nothing could be read at all, if so.
    pub unreadable: Option<Gap>,
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
    read: Instant,
    took: Duration,
}

impl Rules {
    /// What they do to a packet.
    pub fn walk(&self, packet: &Packet) -> Walk {
        self.host.walk(packet, self.stamp.clone())
    }
}

impl<S: RuleSource> RuleCache<S> {
    /// An empty cache.
    pub fn new(source: S, metrics: Arc<Metrics>) -> Self {
        Self { source, metrics, slots: Mutex::new(HashMap::new()) }
    }

    /// The namespace's rules as they are now: those at hand if unchanged, else read and parsed again. Blocks; readers
    /// of one namespace wait for each other, so that ten questions cost one read.
    pub fn rules(&self, space: &S::Space, patience: Patience) -> Rules {
        let slot = self.slot(self.source.cookie(space), self.source.is_node(space));
        let mut entry = lock(&slot);
        let looked_at = self.source.now();
        let Some(mut known) = entry.take() else {
            return entry.insert(self.read(space, None)).rules.clone();
        };
        let aged = known.read.elapsed() >= READ_AT_LEAST;
        let change = if aged { Change::CannotTell } else { self.source.change(space, &known.token) };
        let rested = known.read.elapsed() >= known.took * FRUGAL_SHARE;
        let kept = match (change, patience) {
            (Change::Unchanged, _) => {
                // Read then, proven unchanged now: as good as read now.
                known.rules.stamp.read_at = looked_at;
                known
            }
            (Change::Changed | Change::CannotTell, Patience::Frugal) if !rested => known,
            (Change::Changed | Change::CannotTell, _) => self.read(space, Some(&known.rules.stamp)),
        };
        entry.insert(kept).rules.clone()
    }

    /// The rules at hand, whatever their age.
    pub fn at_hand(&self, cookie: u64) -> Option<Rules> {
        let slot = lock(&self.slots).get(&cookie).map(|slot| Arc::clone(&slot.entry))?;
        // A reader at work has the slot; waiting for it is not worth the while of one who takes any age.
        let entry = slot.try_lock().ok()?;
        entry.as_ref().map(|entry| entry.rules.clone())
    }

    /// Forgets namespaces that are gone.
    pub fn retain(&self, alive: impl Fn(u64) -> bool) {
        lock(&self.slots).retain(|cookie, _| alive(*cookie));
        self.source.retain(&alive);
    }

    fn read(&self, space: &S::Space, before: Option<&RulesStamp>) -> Entry<S::Token> {
        let read = Instant::now();
        let (mut state, nftables, token) = self.source.read(space);
        let host = host(&mut state, nftables);
        let fingerprint = host.fingerprint();
        let unchanged_since = match before {
            Some(stamp) if stamp.fingerprint == fingerprint => stamp.unchanged_since,
            _ => state.read_at,
        };
        let took = read.elapsed();
        self.metrics.rule_reads.inc();
        self.metrics.rule_read_seconds.observe(took.as_secs_f64());
        let stamp = RulesStamp { read_at: state.read_at, fingerprint, unchanged_since };
        let addresses = state.addresses.iter().map(|entry| entry.address.addr()).collect();
        // Even an empty namespace has a loopback interface.
        let unreadable = if state.links.is_empty() { state.gaps.first().cloned() } else { None };
        Entry { rules: Rules { host: Arc::new(host), stamp, addresses, unreadable }, token, read, took }
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

/// A read state as something to walk through; the rules are taken out of it.
pub(crate) fn host(state: &mut NodeState, nftables: Option<Listing>) -> Host {
    match nftables {
        Some(nftables) => Host::reading(state, nftables),
        None => Host::taking(state),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // An entry is taken out before it is worked on: after a panic it is absent, not half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU64, Ordering};

    use model::node_state::Link;

    use super::*;

    /// Spaces are cookies; cookie 1 is the node. Each read takes the next rule text of the script.
    struct Script {
        clock: AtomicU64,
        texts: Mutex<VecDeque<&'static str>>,
        changes: Mutex<VecDeque<Change>>,
    }

    impl RuleSource for Script {
        type Space = u64;
        type Token = ();

        fn cookie(&self, space: &u64) -> u64 {
            *space
        }

        fn is_node(&self, space: &u64) -> bool {
            *space == 1
        }

        fn read(&self, _: &u64) -> (NodeState, Option<Listing>, ()) {
            let text = lock(&self.texts).pop_front().unwrap_or("");
            let link = Link {
                index: 1,
                name: "lo".to_owned(),
                up: true,
                master: None,
                peer_index: None,
                kind: String::new(),
                mtu: 65_536,
            };
            let saved = model::node_state::SavedRules {
                backend: model::walk::Backend::IptablesNft,
                family: model::Family::Ipv4,
                text: format!("*filter\n:FORWARD ACCEPT [0:0]\n{text}COMMIT\n"),
            };
            let state = NodeState {
                links: vec![link],
                iptables: vec![saved],
                read_at: self.now(),
                ..NodeState::default()
            };
            (state, None, ())
        }

        fn change(&self, _: &u64, (): &()) -> Change {
            lock(&self.changes).pop_front().unwrap_or(Change::Unchanged)
        }

        fn now(&self) -> Timestamp {
            Timestamp(self.clock.fetch_add(1, Ordering::Relaxed) + 1)
        }
    }

    fn cache(texts: &[&'static str], changes: &[Change]) -> RuleCache<Script> {
        let source = Script {
            clock: AtomicU64::new(0),
            texts: Mutex::new(texts.iter().copied().collect()),
            changes: Mutex::new(changes.iter().copied().collect()),
        };
        RuleCache::new(source, Arc::new(Metrics::new()))
    }

    const DROP: &str = "-A FORWARD -j DROP\n";

    #[test]
    fn unchanged_rules_are_not_read_again_and_grow_no_older() {
        let cache = cache(&[DROP], &[]);
        let first = cache.rules(&1, Patience::Fresh);
        let second = cache.rules(&1, Patience::Fresh);
        assert_eq!(cache.metrics.rule_reads.get(), 1);
        assert!(Arc::ptr_eq(&first.host, &second.host));
        assert!(second.stamp.read_at > first.stamp.read_at);
        assert_eq!(second.stamp.unchanged_since, first.stamp.unchanged_since);
    }

    #[test]
    fn the_same_rules_read_again_keep_their_birthday() {
        let cache = cache(&[DROP, DROP, ""], &[Change::Changed, Change::Changed]);
        let [first, second, third] = [(); 3].map(|()| cache.rules(&1, Patience::Fresh).stamp);
        assert_eq!(cache.metrics.rule_reads.get(), 3);
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.unchanged_since, second.unchanged_since);
        assert_ne!(second.fingerprint, third.fingerprint);
        assert_eq!(third.unchanged_since, third.read_at);
    }

    #[test]
    fn without_a_sign_of_change_a_question_reads_again() {
        let cache = cache(&[DROP, DROP], &[Change::CannotTell]);
        cache.rules(&1, Patience::Fresh);
        cache.rules(&1, Patience::Fresh);
        assert_eq!(cache.metrics.rule_reads.get(), 2);
    }

    #[test]
    fn pods_give_way_the_node_does_not() {
        let cache = cache(&[], &[]);
        for cookie in 1..=200 {
            cache.rules(&cookie, Patience::Fresh);
        }
        let slots = lock(&cache.slots);
        assert_eq!(slots.len(), MOST_PODS + 1);
        assert!(slots.contains_key(&1) && slots.contains_key(&200) && !slots.contains_key(&2));
        drop(slots);
        cache.retain(|cookie| cookie == 1);
        assert!(cache.at_hand(1).is_some() && cache.at_hand(200).is_none());
    }
}

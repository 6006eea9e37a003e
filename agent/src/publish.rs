//! From traced drops to records in the outbox: names put to namespace and interface, and the walk of new flows.
//!
//! It runs on a thread of its own, so that a slow read of rules delays neither draining nor finding namespaces.

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, atomic};
use std::time::Instant;

use kernel::Known;
use model::{DropRecord, Netns, NetnsOwner, RecordId, Walk};
use tokio::sync::oneshot;

use crate::metrics::{DropWalk, Metrics};
use crate::outbox::Outbox;
use crate::pods::Places;
use crate::walks::{
    Decision, FlowKey, Flows, KernelSource, Patience, RuleCache, Rules, Viewpoint, packet_of,
};

/// What one drain brought, and through which view of the namespaces it is to be read.
#[derive(Debug)]
pub struct Batch {
    /// The drops.
    pub drops: Vec<trace::Drop>,
    /// The namespaces.
    pub places: Arc<Places>,
    /// Told when the records are in the outbox.
    pub done: Vec<oneshot::Sender<()>>,
}

/// Counters that the status shows.
#[derive(Debug, Default)]
pub struct Unwalked {
    /// Records of new flows that were not walked because too many came at once.
    pub over_rate: atomic::AtomicU64,
}

/// Makes records until the batches end.
pub struct Publisher {
    /// Where records go.
    pub outbox: Outbox,
    /// Rules to walk through.
    pub cache: Arc<RuleCache<KernelSource>>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// What the status shows.
    pub unwalked: Arc<Unwalked>,
}

impl Publisher {
    /// Blocks; for a thread of its own.
    pub fn run(self, batches: &mpsc::Receiver<Batch>) {
        let mut flows = Flows::new(Instant::now());
        while let Ok(Batch { drops, places, done }) = batches.recv() {
            let mut rules = HashMap::new();
            let records: Vec<DropRecord> =
                drops.into_iter().map(|drop| self.record(drop, &places, &mut flows, &mut rules)).collect();
            self.metrics.records.inc_by(records.len() as u64);
            self.metrics.dropped_packets.inc_by(records.iter().map(|record| record.count).sum());
            self.outbox.push(records);
            for done in done {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    /// `rules` are those this batch has looked at already, by net cookie.
    fn record(
        &self,
        drop: trace::Drop,
        places: &Places,
        flows: &mut Flows,
        rules: &mut HashMap<u64, Rules>,
    ) -> DropRecord {
        let known = places.get(drop.netns_cookie);
        let in_interface = known.and_then(|known| interface(known, drop.in_ifindex));
        // A SYN+ACK belongs to a connection that exists: a walk speaks of first packets and would mislead.
        let walk = known.filter(|_| !drop.reply).and_then(|known| {
            self.walk(&drop, in_interface.as_deref(), known, places, flows, rules).map(Box::new)
        });
        let netns = known.map_or_else(
            || Netns { cookie: drop.netns_cookie, inode: 0, owner: NetnsOwner::Unknown },
            |known| known.netns.clone(),
        );
        DropRecord {
            // Numbered by the outbox.
            id: RecordId { node: String::new(), boot: String::new(), sequence: 0 },
            netns,
            tuple: drop.tuple,
            last_src_port: drop.last_src_port,
            reply: drop.reply,
            reason: drop.reason,
            location: drop.location,
            in_interface,
            count: drop.count,
            first_at: drop.first_at,
            last_at: drop.last_at,
            walk,
        }
    }

    fn walk(
        &self,
        drop: &trace::Drop,
        in_interface: Option<&str>,
        known: &Known,
        places: &Places,
        flows: &mut Flows,
        rules: &mut HashMap<u64, Rules>,
    ) -> Option<Walk> {
        let now = Instant::now();
        let cookie = drop.netns_cookie;
        let over_rate = || {
            self.metrics.count_drop_walk(DropWalk::OverRate);
            self.unwalked.over_rate.fetch_add(1, atomic::Ordering::Relaxed);
        };
        if !flows.any_left(now) {
            over_rate();
            return None;
        }
        let rules = rules.entry(cookie).or_insert_with(|| self.cache.rules(known, Patience::Frugal));
        if rules.unreadable.is_some() {
            self.metrics.count_drop_walk(DropWalk::Unreadable);
            return None;
        }
        let key = FlowKey {
            cookie,
            tuple: drop.tuple,
            reason: drop.reason.clone(),
            location: drop.location.clone(),
        };
        let fingerprint = rules.stamp.fingerprint;
        match flows.decide(&key, fingerprint, now) {
            Decision::Known => None,
            Decision::OverRate => {
                over_rate();
                None
            }
            Decision::Walk => {
                let viewpoint = match known.netns.owner {
                    NetnsOwner::Node => Viewpoint::Node { pods: places },
                    NetnsOwner::Pod { .. } | NetnsOwner::Unknown => Viewpoint::Pod,
                };
                let packet =
                    packet_of(&drop.tuple, drop.last_src_port, in_interface, viewpoint, &rules.addresses);
                let walk = rules.walk(&packet);
                self.metrics.count_drop_walk(DropWalk::Walked);
                flows.walked(key, fingerprint, now);
                Some(walk)
            }
        }
    }
}

/// The interface's name as it was when the namespace was last looked at; 0 is no interface.
fn interface(known: &Known, index: u32) -> Option<String> {
    let link = known.links.iter().find(|link| index != 0 && link.index == index)?;
    Some(link.name.clone())
}

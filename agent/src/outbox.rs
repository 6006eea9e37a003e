//! Drop records between the kernel and the collector: numbered once, kept until acknowledged, bounded in number.
//!
//! It sends nothing itself; each connection reads from it with a cursor of its own, so a new connection starts again
//! with the oldest record nobody has acknowledged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{DropRecord, RecordId};
use prost::Message as _;
use proto::convert;
use tokio::sync::Notify;

/// Records kept while the collector is away: at 10 records a second nearly 14 minutes of it.
pub const DEFAULT_CAPACITY: usize = 8192;
/// Bytes of walks kept with them, as sent. A walk through a Service with thousands of endpoints has hundreds of KB, and
/// in memory some three times that; with this the agent stays below 100 MB with a full outbox.
const MOST_WALK_BYTES: usize = 16 * 1024 * 1024;

/// Who makes the records: the first two parts of every record's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Node name.
    pub node: String,
    /// Boot id and agent start, see [`RecordId::boot`].
    pub boot: String,
}

/// Cheap to clone; all clones are the same outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Origin,
    capacity: usize,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Kept>,
    walk_bytes: usize,
    last_sequence: u64,
    cut_packets: u64,
    cut_records: u64,
}

#[derive(Debug)]
struct Kept {
    record: Arc<DropRecord>,
    walk_bytes: usize,
}

/// What the outbox holds and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Records waiting for an acknowledgement.
    pub waiting: usize,
    /// Records made since the agent started.
    pub made: u64,
    /// Records thrown away because the outbox was full.
    pub cut_records: u64,
    /// The packets those records counted.
    pub cut_packets: u64,
}

impl Outbox {
    /// An empty outbox that holds at most `capacity` records.
    pub fn new(origin: Origin, capacity: usize) -> Self {
        let queue = Mutex::new(Queue::default());
        let capacity = capacity.max(1);
        Self { shared: Arc::new(Shared { origin, capacity, queue, filled: Notify::new() }) }
    }

    /// Whose records these are.
    pub fn origin(&self) -> &Origin {
        &self.shared.origin
    }

    /// Numbers the records and queues them; the oldest give way when there is no room, because a question is about now.
    pub fn push(&self, records: impl IntoIterator<Item = DropRecord>) {
        let mut queue = self.lock();
        let before = queue.last_sequence;
        for mut record in records {
            queue.last_sequence += 1;
            record.id = RecordId {
                node: self.shared.origin.node.clone(),
                boot: self.shared.origin.boot.clone(),
                sequence: queue.last_sequence,
            };
            let walk_bytes = record.walk.as_deref().map_or(0, |walk| convert::walk(walk).encoded_len());
            queue.walk_bytes += walk_bytes;
            queue.records.push_back(Kept { record: Arc::new(record), walk_bytes });
            while queue.records.len() > self.shared.capacity || queue.walk_bytes > MOST_WALK_BYTES {
                queue.cut_oldest();
            }
        }
        let grew = queue.last_sequence != before;
        drop(queue);
        if grew {
            self.shared.filled.notify_waiters();
        }
    }

    /// At most `most` unacknowledged records with a sequence above `cursor`, oldest first.
    pub fn after(&self, cursor: u64, most: usize) -> Vec<Arc<DropRecord>> {
        let queue = self.lock();
        let start = queue.records.partition_point(|kept| kept.record.id.sequence <= cursor);
        queue.records.range(start..).take(most).map(|kept| Arc::clone(&kept.record)).collect()
    }

    /// Returns once there is an unacknowledged record above `cursor`.
    pub async fn wait_after(&self, cursor: u64) {
        loop {
            // Registered before looking, so that a push between the look and the wait is not missed.
            let filled = self.shared.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            if self.lock().records.back().is_some_and(|kept| kept.record.id.sequence > cursor) {
                return;
            }
            filled.await;
        }
    }

    /// Forgets every record up to and including `sequence`: the collector has them. An acknowledgement of what was
    /// never made is capped, so a confused peer cannot make later records vanish.
    pub fn acknowledge(&self, sequence: u64) {
        let mut queue = self.lock();
        let done = queue.records.partition_point(|kept| kept.record.id.sequence <= sequence);
        let freed: usize = queue.records.drain(..done).map(|kept| kept.walk_bytes).sum();
        queue.walk_bytes -= freed;
    }

    /// The number of the latest record made; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.lock().last_sequence
    }

    /// What it holds and lost.
    pub fn depth(&self) -> Depth {
        let queue = self.lock();
        Depth {
            waiting: queue.records.len(),
            made: queue.last_sequence,
            cut_records: queue.cut_records,
            cut_packets: queue.cut_packets,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every critical section leaves the queue whole, so a panic elsewhere does not spoil it.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn cut_oldest(&mut self) {
        if let Some(Kept { record, walk_bytes }) = self.records.pop_front() {
            self.walk_bytes -= walk_bytes;
            self.cut_records += 1;
            self.cut_packets = self.cut_packets.saturating_add(record.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{drop_record, walk};

    fn outbox(capacity: usize) -> Outbox {
        Outbox::new(Origin { node: "node-1".to_owned(), boot: "b-1".to_owned() }, capacity)
    }

    fn sequences(records: &[Arc<DropRecord>]) -> Vec<u64> {
        records.iter().map(|record| record.id.sequence).collect()
    }

    #[test]
    fn numbers_grow_and_carry_node_and_boot() {
        let outbox = outbox(8);
        outbox.push([drop_record(1), drop_record(1)]);
        outbox.push([drop_record(1)]);
        let records = outbox.after(0, 10);
        assert_eq!(sequences(&records), [1, 2, 3]);
        assert_eq!(
            records[0].id,
            RecordId { node: "node-1".to_owned(), boot: "b-1".to_owned(), sequence: 1 }
        );
    }

    #[test]
    fn unacknowledged_records_are_read_again() {
        let outbox = outbox(8);
        outbox.push((0..5).map(|_| drop_record(1)));
        assert_eq!(sequences(&outbox.after(0, 2)), [1, 2]);
        assert_eq!(sequences(&outbox.after(2, 10)), [3, 4, 5]);
        outbox.acknowledge(2);
        assert_eq!(sequences(&outbox.after(0, 10)), [3, 4, 5]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let outbox = outbox(3);
        outbox.push((1..=5).map(drop_record));
        assert_eq!(sequences(&outbox.after(0, 10)), [3, 4, 5]);
        let depth = outbox.depth();
        assert_eq!((depth.waiting, depth.made, depth.cut_records, depth.cut_packets), (3, 5, 2, 1 + 2));
    }

    #[test]
    fn walks_are_bounded_by_their_bytes() {
        let outbox = outbox(1000);
        let mut record = drop_record(1);
        record.walk = Some(Box::new(walk(30_000)));
        let bytes = convert::walk(&walk(30_000)).encoded_len();
        let fit = MOST_WALK_BYTES / bytes;
        assert!(fit > 2, "{bytes} bytes each prove nothing");
        outbox.push(std::iter::repeat_n(record.clone(), fit + 2));
        assert_eq!((outbox.depth().waiting, outbox.depth().cut_records), (fit, 2));
        outbox.acknowledge(outbox.last_sequence());
        outbox.push(std::iter::repeat_n(record, fit));
        assert_eq!(
            (outbox.depth().waiting, outbox.depth().cut_records),
            (fit, 2),
            "what was sent gives its room back"
        );
    }

    #[test]
    fn an_acknowledgement_from_nowhere_keeps_later_records() {
        let outbox = outbox(3);
        outbox.push([drop_record(1)]);
        outbox.acknowledge(99);
        outbox.push([drop_record(1)]);
        assert_eq!(sequences(&outbox.after(0, 10)), [2]);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_next_record() {
        let outbox = outbox(3);
        outbox.push([drop_record(1)]);
        let waiter = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.wait_after(1).await }
        });
        outbox.wait_after(0).await;
        outbox.push([drop_record(1)]);
        tokio::time::timeout(std::time::Duration::from_secs(5), waiter)
            .await
            .expect("the push should have ended the wait")
            .expect("the waiter should not panic");
    }
}

//! Keeps the drop records of the last minutes on disk, and finds those that may concern a question.
//!
//! It judges nothing and knows no names; it has no thread and no clock of its own: the caller says when to sync and
//! what time it is. All calls block.
//!
//! Why redb and not fjall: the workload is a queue, written at one end and pruned at the other, with a byte budget. A
//! log-structured tree answers pruning with tombstones, gives space back when its compaction gets to it, and keeps
//! journals and buffers of tens of megabytes; a B-tree in one file reuses its pages at once, counts exactly, names
//! corruption as such, and needs no background threads. Write throughput, where the other would win, is bounded by what
//! agents may send.

#![forbid(unsafe_code)]

mod error;
mod query;
mod record;
mod retention;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{DropRecord, Timestamp};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, WriteTransaction};

pub use error::StoreError;
pub use query::{Found, Query};
pub use retention::Pruned;

use tables::{IDS, RECORDS, Totals};

/// The one file in the store's directory.
const FILE: &str = "evidence.redb";

/// Page cache. A question reads the newest records, which are a few megabytes even in a storm.
const CACHE_BYTES: usize = 32 << 20;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records whose latest packet is older than this are pruned.
    pub keep: Duration,
    /// Bytes of records and their keys. The oldest are given up for new ones. The file is up to about twice as large.
    pub max_bytes: u64,
}

/// What an append did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Records kept for the first time.
    pub new: u64,
    /// Records already kept; nothing was changed.
    pub duplicate: u64,
    /// Oldest records given up to stay within the byte budget.
    pub evicted: u64,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records kept.
    pub records: u64,
    /// Bytes of records and their keys.
    pub bytes: u64,
    /// Latest packet of the oldest record.
    pub oldest: Option<Timestamp>,
    /// Latest packet of the newest record.
    pub newest: Option<Timestamp>,
    /// Records given up for space since the store was opened.
    pub evicted: u64,
}

/// The evidence of the last minutes.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
    limits: Limits,
    evicted: AtomicU64,
}

impl Store {
    /// Opens the store in a directory, which is created if need be. What a crash left behind is repaired; records in
    /// the format of another version are discarded with a warning, for they are minutes old at most.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, StoreError> {
        fs::create_dir_all(directory)
            .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE);
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| StoreError::of("open", &path, error.into()))?;
        let store = Self { database, path, limits, evicted: AtomicU64::new(0) };
        let discarded = store.write("open", Durability::Immediate, tables::prepare)?;
        if discarded > 0 {
            tracing::warn!(records = discarded, path = %store.path.display(), "discarded records of another version");
        }
        Ok(store)
    }

    /// Keeps records. Those already kept change nothing. They are on disk after the next [`Self::sync`].
    pub fn append(&self, records: &[DropRecord]) -> Result<Appended, StoreError> {
        if records.is_empty() {
            return Ok(Appended::default());
        }
        let budget = self.limits.max_bytes;
        let appended = self.write("append to", Durability::None, |transaction| {
            let mut totals = Totals::read(transaction)?;
            let mut done = Appended::default();
            {
                let mut kept = transaction.open_table(RECORDS)?;
                let mut ids = transaction.open_table(IDS)?;
                for record in records {
                    let id = record::id_key(&record.id);
                    if ids.get(id.as_slice())?.is_some() {
                        done.duplicate += 1;
                        continue;
                    }
                    let key = record::time_key(record.last_at, totals.next);
                    let value = record::encode(&id, record);
                    totals.add(&key, &id, &value);
                    ids.insert(id.as_slice(), key.as_slice())?;
                    kept.insert(key.as_slice(), value.as_slice())?;
                    done.new += 1;
                }
            }
            done.evicted = retention::evict(transaction, &mut totals, budget)?;
            totals.write(transaction)?;
            Ok(done)
        })?;
        self.evicted.fetch_add(appended.evicted, Ordering::Relaxed);
        Ok(appended)
    }

    /// Puts everything appended so far on disk. Called once a second, it bounds what a crash can cost to a second.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.write("sync", Durability::Immediate, |_| Ok(()))
    }

    /// The records that fit, newest first.
    pub fn query(&self, query: &Query) -> Result<Found, StoreError> {
        let found = self.read("query", |transaction| query::run(transaction, query))?;
        found.map_err(|detail| StoreError::Corrupt { path: self.path.clone(), detail })
    }

    /// Removes what is older than the time budget, and what claims to be further in the future than the budget is long:
    /// a node's broken clock must not keep records for ever.
    pub fn prune(&self, now: Timestamp) -> Result<Pruned, StoreError> {
        let keep = u64::try_from(self.limits.keep.as_millis()).unwrap_or(u64::MAX);
        self.write("prune", Durability::None, |transaction| retention::prune(transaction, now, keep))
    }

    /// What the store holds.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = self.read("read the totals of", tables::stats)?;
        stats.evicted = self.evicted.load(Ordering::Relaxed);
        Ok(stats)
    }

    /// The file everything is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|error| StoreError::of(operation, &self.path, error))
    }

    fn read<T>(
        &self,
        operation: &'static str,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || look(&self.database.begin_read()?);
        run().map_err(|error| StoreError::of(operation, &self.path, error))
    }
}

#[cfg(test)]
mod tests;

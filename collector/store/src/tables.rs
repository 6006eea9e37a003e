//! The tables, and the running totals over them.

use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};

use crate::Stats;
use crate::record::{self, FORMAT};

/// Time and arrival → record.
pub(crate) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("drops");

/// Record id → key in [`RECORDS`].
pub(crate) const IDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("drop ids");

/// Format and totals.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const KEY_FORMAT: &str = "format";
const KEY_BYTES: &str = "bytes";
const KEY_NEXT: &str = "next";

/// Running totals, kept with the records so that a crash cannot part them.
pub(crate) struct Totals {
    /// Bytes of records and keys.
    pub bytes: u64,
    /// Arrival number of the next record.
    pub next: u64,
}

impl Totals {
    pub(crate) fn read(transaction: &WriteTransaction) -> Result<Self, redb::Error> {
        let meta = transaction.open_table(META)?;
        let number =
            |key| -> Result<u64, redb::Error> { Ok(meta.get(key)?.map_or(0, |value| value.value())) };
        Ok(Self { bytes: number(KEY_BYTES)?, next: number(KEY_NEXT)? })
    }

    pub(crate) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let mut meta = transaction.open_table(META)?;
        meta.insert(KEY_BYTES, self.bytes)?;
        meta.insert(KEY_NEXT, self.next)?;
        Ok(())
    }

    pub(crate) fn add(&mut self, key: &[u8], id: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(size(key, id, value));
        self.next += 1;
    }

    pub(crate) fn remove(&mut self, key: &[u8], id: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_sub(size(key, id, value));
    }
}

/// Both tables hold the record's key, one the id.
fn size(key: &[u8], id: &[u8], value: &[u8]) -> u64 {
    (2 * key.len() + id.len() + value.len()) as u64
}

/// Makes the tables, and empties them if they are of another format. Says how many records that cost.
pub(crate) fn prepare(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let format = transaction.open_table(META)?.get(KEY_FORMAT)?.map(|value| value.value());
    let mut discarded = 0;
    if format.is_some_and(|format| format != u64::from(FORMAT)) {
        discarded = transaction.open_table(RECORDS)?.len()?;
        transaction.delete_table(RECORDS)?;
        transaction.delete_table(IDS)?;
        transaction.delete_table(META)?;
    }
    transaction.open_table(RECORDS)?;
    transaction.open_table(IDS)?;
    transaction.open_table(META)?.insert(KEY_FORMAT, u64::from(FORMAT))?;
    Ok(discarded)
}

/// Everything but what was evicted, which is not on disk.
pub(crate) fn stats(transaction: &ReadTransaction) -> Result<Stats, redb::Error> {
    let records = transaction.open_table(RECORDS)?;
    let bytes = transaction.open_table(META)?.get(KEY_BYTES)?.map_or(0, |value| value.value());
    Ok(Stats {
        records: records.len()?,
        bytes,
        oldest: records.first()?.map(|(key, _)| record::time_of(key.value())),
        newest: records.last()?.map(|(key, _)| record::time_of(key.value())),
        evicted: 0,
    })
}

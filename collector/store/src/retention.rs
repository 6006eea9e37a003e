//! Giving records up: too old, from an impossible future, or too many.

use model::Timestamp;
use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::record;
use crate::tables::{IDS, RECORDS, Totals};

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Records older than the time budget.
    pub expired: u64,
    /// Records from further in the future than the time budget is long.
    pub from_the_future: u64,
}

/// Removes what lies outside `keep_ms` around `now`.
pub(crate) fn prune(
    transaction: &WriteTransaction,
    now: Timestamp,
    keep_ms: u64,
) -> Result<Pruned, redb::Error> {
    let oldest = now.minus_ms(keep_ms);
    let newest = Timestamp(now.0.saturating_add(keep_ms));
    let mut totals = Totals::read(transaction)?;
    let mut pruned = Pruned::default();
    {
        let mut sweep = Sweep::over(transaction)?;
        while sweep.remove_oldest_if(&mut totals, |at| at < oldest)? {
            pruned.expired += 1;
        }
        while sweep.remove_newest_if(&mut totals, |at| at > newest)? {
            pruned.from_the_future += 1;
        }
    }
    totals.write(transaction)?;
    Ok(pruned)
}

/// Removes the oldest records until the rest fits the budget. Says how many.
pub(crate) fn evict(
    transaction: &WriteTransaction,
    totals: &mut Totals,
    max_bytes: u64,
) -> Result<u64, redb::Error> {
    let mut sweep = Sweep::over(transaction)?;
    let mut evicted = 0;
    while totals.bytes > max_bytes && sweep.remove_oldest_if(totals, |_| true)? {
        evicted += 1;
    }
    Ok(evicted)
}

type Bytes = &'static [u8];

struct Sweep<'t> {
    records: Table<'t, Bytes, Bytes>,
    ids: Table<'t, Bytes, Bytes>,
}

impl<'t> Sweep<'t> {
    fn over(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { records: transaction.open_table(RECORDS)?, ids: transaction.open_table(IDS)? })
    }

    fn remove_oldest_if(
        &mut self,
        totals: &mut Totals,
        unwanted: impl Fn(Timestamp) -> bool,
    ) -> Result<bool, redb::Error> {
        let key = self.records.first()?.map(|(key, _)| key.value().to_vec());
        self.remove_if(totals, key, unwanted)
    }

    fn remove_newest_if(
        &mut self,
        totals: &mut Totals,
        unwanted: impl Fn(Timestamp) -> bool,
    ) -> Result<bool, redb::Error> {
        let key = self.records.last()?.map(|(key, _)| key.value().to_vec());
        self.remove_if(totals, key, unwanted)
    }

    fn remove_if(
        &mut self,
        totals: &mut Totals,
        key: Option<Vec<u8>>,
        unwanted: impl Fn(Timestamp) -> bool,
    ) -> Result<bool, redb::Error> {
        let Some(key) = key.filter(|key| unwanted(record::time_of(key))) else { return Ok(false) };
        let Some(value) = self.records.remove(key.as_slice())? else { return Ok(false) };
        let id = record::id_of(value.value()).map_err(redb::Error::Corrupted)?;
        totals.remove(&key, id, value.value());
        self.ids.remove(id)?;
        Ok(true)
    }
}

//! Finding records that may concern a question.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::{DropRecord, Timestamp};
use redb::ReadTransaction;

use crate::record;
use crate::tables::RECORDS;

/// Which records are wanted. What is `None` does not limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Latest packet not older than this.
    pub since: Timestamp,
    /// Latest packet not younger than this.
    pub until: Option<Timestamp>,
    /// The sender is one of these.
    pub sources: Option<BTreeSet<IpAddr>>,
    /// The receiver is one of these.
    pub destinations: Option<BTreeSet<IpAddr>>,
    /// Also the other way round: sender among `destinations` and receiver among `sources`, which replies are.
    pub both_ways: bool,
    /// Made on this node.
    pub node: Option<String>,
    /// Made in the namespace with this net cookie.
    pub netns: Option<u64>,
    /// At most so many records, the newest.
    pub limit: usize,
}

impl Query {
    /// Everything since a moment, up to so many.
    pub const fn since(since: Timestamp, limit: usize) -> Self {
        Self {
            since,
            until: None,
            sources: None,
            destinations: None,
            both_ways: false,
            node: None,
            netns: None,
            limit,
        }
    }

    fn fits(&self, record: &DropRecord) -> bool {
        let (src, dst) = (record.tuple.src, record.tuple.dst.ip());
        self.node.as_ref().is_none_or(|node| *node == record.id.node)
            && self.netns.is_none_or(|cookie| cookie == record.netns.cookie)
            && (self.joins(src, dst) || (self.both_ways && self.joins(dst, src)))
    }

    fn joins(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.sources.as_ref().is_none_or(|wanted| wanted.contains(&source))
            && self.destinations.as_ref().is_none_or(|wanted| wanted.contains(&destination))
    }
}

/// What a query brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Newest first.
    pub records: Vec<DropRecord>,
    /// How many more fit but not within the limit.
    pub cut: u64,
}

/// The records that fit; the inner error says what is wrong with a record's bytes.
pub(crate) fn run(
    transaction: &ReadTransaction,
    query: &Query,
) -> Result<Result<Found, String>, redb::Error> {
    let records = transaction.open_table(RECORDS)?;
    let from = record::time_key(query.since, 0);
    let to = record::time_key(query.until.unwrap_or(Timestamp(u64::MAX)), u64::MAX);
    let mut found = Found::default();
    if from > to {
        return Ok(Ok(found));
    }
    for entry in records.range(from.as_slice()..=to.as_slice())?.rev() {
        let (_, value) = entry?;
        match record::decode(value.value()) {
            Ok(record) if !query.fits(&record) => {}
            Ok(record) if found.records.len() < query.limit => found.records.push(record),
            Ok(_) => found.cut += 1,
            Err(detail) => return Ok(Err(detail)),
        }
    }
    Ok(Ok(found))
}

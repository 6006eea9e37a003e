//! Time and byte budgets.

use std::time::Duration;

use model::Timestamp;
use store::{Limits, Pruned, Query, Store};

use crate::samples::{open, record, sequences};

#[test]
fn old_records_and_those_of_broken_clocks_are_pruned() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let now = 10_000_000;
    let keep = 600_000;
    store
        .append(&[
            record(1, now - keep - 1),
            record(2, now - keep),
            record(3, now),
            record(4, now + keep),
            record(5, now + keep + 1),
            record(6, u64::MAX),
        ])
        .expect("appended");
    let pruned = store.prune(Timestamp(now)).expect("pruned");
    assert_eq!(pruned, Pruned { expired: 1, from_the_future: 2 });
    let found = store.query(&Query::since(Timestamp(0), 10)).expect("found");
    assert_eq!(sequences(&found), [4, 3, 2]);
    assert_eq!(store.append(&[record(1, now)]).expect("appended").new, 1, "a pruned id may come again");
    let stats = store.stats().expect("stats");
    assert_eq!(
        (stats.records, stats.oldest, stats.newest),
        (4, Some(Timestamp(now - keep)), Some(Timestamp(now + keep)))
    );
}

#[test]
fn the_oldest_make_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = Limits { keep: Duration::from_mins(10), max_bytes: 4096 };
    let store = Store::open(directory.path(), limits).expect("the store opens");
    let mut evicted = 0;
    for sequence in 0..200 {
        evicted += store.append(&[record(sequence, 1000 + sequence)]).expect("appended").evicted;
        let stats = store.stats().expect("stats");
        assert!(stats.bytes <= 4096, "{stats:?}");
    }
    let stats = store.stats().expect("stats");
    assert_eq!((stats.evicted, stats.records), (evicted, 200 - evicted));
    assert!(stats.records > 10, "{stats:?}");
    let found = store.query(&Query::since(Timestamp(0), 1000)).expect("found");
    assert_eq!(sequences(&found), (evicted..200).rev().collect::<Vec<_>>());
}

#[test]
fn nothing_is_counted_once_everything_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.append(&(0..100).map(|number| record(number, number)).collect::<Vec<_>>()).expect("appended");
    assert_eq!(store.prune(Timestamp(10_000_000)).expect("pruned").expired, 100);
    let stats = store.stats().expect("stats");
    assert_eq!((stats.records, stats.bytes, stats.oldest), (0, 0, None));
}

/// The file must not grow for ever under a steady stream with pruning.
#[test]
fn space_is_used_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = Limits { keep: Duration::from_millis(200), max_bytes: 1 << 20 };
    let store = Store::open(directory.path(), limits).expect("the store opens");
    let mut sizes = Vec::new();
    for round in 0..40_u64 {
        let records: Vec<_> =
            (0..100).map(|number| record(round * 100 + number, round * 100 + number)).collect();
        store.append(&records).expect("appended");
        store.prune(Timestamp(round * 100 + 99)).expect("pruned");
        store.sync().expect("synced");
        sizes.push(std::fs::metadata(store.path()).expect("the file").len());
    }
    assert_eq!(sizes[19], sizes[39], "{sizes:?}");
}

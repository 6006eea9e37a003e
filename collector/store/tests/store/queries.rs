//! Appending and finding.

use std::collections::BTreeSet;

use model::{DropRecord, Timestamp};
use store::{Appended, Query};

use crate::samples::{open, record, sequences};

#[test]
fn a_record_is_kept_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let first = store.append(&[record(1, 1000), record(2, 2000), record(1, 9000)]).expect("appended");
    assert_eq!(first, Appended { new: 2, duplicate: 1, evicted: 0 });
    let again = store.append(&[record(1, 5000), record(3, 3000)]).expect("appended");
    assert_eq!(again, Appended { new: 1, duplicate: 1, evicted: 0 });
    let found = store.query(&Query::since(Timestamp(0), 10)).expect("found");
    assert_eq!(found.records, [record(3, 3000), record(2, 2000), record(1, 1000)]);

    let elsewhere =
        DropRecord { id: model::RecordId { node: "node-2".into(), ..record(1, 0).id }, ..record(1, 1500) };
    assert_eq!(store.append(&[elsewhere]).expect("appended").new, 1);
}

#[test]
fn newest_first_and_the_rest_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let records: Vec<_> = (0..50).map(|number| record(number, 1000 + (number * 7) % 50)).collect();
    store.append(&records).expect("appended");
    let found = store.query(&Query::since(Timestamp(1010), 5)).expect("found");
    let times: Vec<_> = found.records.iter().map(|record| record.last_at.0).collect();
    assert_eq!((times, found.cut), (vec![1049, 1048, 1047, 1046, 1045], 35));
}

#[test]
fn each_filter_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut reply = record(2, 2000);
    reply.tuple.src = "10.96.12.7".parse().expect("an address");
    reply.tuple.dst = "10.244.1.9:40000".parse().expect("an address and port");
    let mut other_node = record(3, 3000);
    other_node.id.node = "node-2".into();
    let mut other_netns = record(4, 4000);
    other_netns.netns.cookie = 77;
    let mut other_source = record(5, 5000);
    other_source.tuple.src = "fd00::9".parse().expect("an address");
    store.append(&[record(1, 1000), reply, other_node, other_netns, other_source]).expect("appended");

    let all = || Query::since(Timestamp(0), 10);
    let only = |address: &str| Some(BTreeSet::from([address.parse().expect("an address")]));
    for (query, expected) in [
        (all(), vec![5, 4, 3, 2, 1]),
        (Query { since: Timestamp(3000), ..all() }, vec![5, 4, 3]),
        (Query { until: Some(Timestamp(3000)), ..all() }, vec![3, 2, 1]),
        (Query { since: Timestamp(9), until: Some(Timestamp(3)), ..all() }, vec![]),
        (Query { node: Some("node-2".into()), ..all() }, vec![3]),
        (Query { netns: Some(77), ..all() }, vec![4]),
        (Query { sources: only("fd00::9"), ..all() }, vec![5]),
        (Query { sources: only("10.244.1.9"), ..all() }, vec![4, 3, 1]),
        (Query { destinations: only("10.244.1.9"), ..all() }, vec![2]),
        (
            Query {
                sources: only("10.244.1.9"),
                destinations: only("10.96.12.7"),
                both_ways: true,
                node: Some("node-1".into()),
                ..all()
            },
            vec![4, 2, 1],
        ),
    ] {
        let found = store.query(&query).expect("found");
        assert_eq!(sequences(&found), expected, "{query:?}");
    }
}

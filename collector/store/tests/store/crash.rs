//! Killed in the middle of appending, the store has everything it said was synced.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use model::Timestamp;
use store::Query;

use crate::samples::{open, record};

const DIRECTORY: &str = "WHY_DROPPED_STORE_TEST_DIRECTORY";
const START: &str = "WHY_DROPPED_STORE_TEST_START";

/// Records in one append of the child.
const BATCH: u64 = 20;

/// The child's life: append, sync, say so, until killed. Not a test unless the parent starts it.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    let start: u64 = std::env::var(START).expect("a start").parse().expect("a number");
    let mut out = std::io::stdout().lock();
    for round in start / BATCH.. {
        let records: Vec<_> =
            (0..BATCH).map(|number| record(round * BATCH + number, round * BATCH + number)).collect();
        store.append(&records).expect("appended");
        store.sync().expect("synced");
        writeln!(out, "synced {}", (round + 1) * BATCH).expect("the parent reads");
        // Not synced: may be lost, must not harm.
        store.append(&[record(u64::MAX - round, round)]).expect("appended");
        store.prune(Timestamp(0)).expect("pruned");
    }
}

#[test]
fn what_was_synced_survives_sigkill() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut told: u64 = 0;
    for life in 1..=5 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(START, told.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let mut synced = 0;
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            // The test harness writes its own words before the first.
            if let Some((_, number)) = line.split_once("synced ") {
                told = number.parse().expect("a number");
                synced += 1;
            }
            if synced == 7 * life {
                break;
            }
        }
        // SIGKILL on Unix.
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert_eq!(synced, 7 * life, "the child died early");

        let store = open(directory.path());
        let found = store.query(&Query::since(Timestamp(0), usize::MAX)).expect("whole");
        let kept: std::collections::BTreeSet<_> =
            found.records.iter().map(|record| record.id.sequence).collect();
        let lost: Vec<_> = (0..told).filter(|sequence| !kept.contains(sequence)).collect();
        assert!(lost.is_empty(), "lost after life {life}: {lost:?}");
        assert_eq!(store.stats().expect("stats").records, found.records.len() as u64);
    }
}

//! Files that are not ours, damaged, in use, or of another version.

use std::fs;

use model::Timestamp;
use store::{Query, Store, StoreError};

use crate::samples::{LIMITS, open, record};

#[test]
fn a_foreign_file_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("evidence.redb");
    fs::write(&file, vec![b'x'; 8192]).expect("written");
    let error = Store::open(directory.path(), LIMITS).expect_err("refused");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("evidence.redb") && text.contains("move it away"), "{text}");
}

#[test]
fn a_file_cut_short_is_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.append(&(0..2000).map(|number| record(number, number)).collect::<Vec<_>>()).expect("appended");
    store.sync().expect("synced");
    let file = store.path().to_owned();
    drop(store);
    let bytes = fs::read(&file).expect("read");
    fs::write(&file, &bytes[..bytes.len() / 3]).expect("written");
    let outcome = Store::open(directory.path(), LIMITS)
        .and_then(|store| store.query(&Query::since(Timestamp(0), usize::MAX)));
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn two_cannot_share_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let _first = open(directory.path());
    let error = Store::open(directory.path(), LIMITS).expect_err("refused");
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

#[test]
fn a_file_instead_of_the_directory_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("data");
    fs::write(&file, "").expect("written");
    let error = Store::open(&file, LIMITS).expect_err("refused");
    assert!(matches!(error, StoreError::Directory { .. }), "{error:?}");
}

//! The catalogue is whole: every cause file is listed, ids are given out once, and the manual's pages are up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use diagnose::catalogue::{self, Entry};

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("read {}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder entry").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_cause_file_is_listed_and_named_for_its_slug() {
    let listed: BTreeSet<String> =
        catalogue::catalogue().iter().map(|entry| format!("{}.rs", entry.slug.replace('-', "_"))).collect();
    assert_eq!(
        files(&own("src/causes")),
        listed,
        "causes.rs and the files in causes/ differ; `cargo xtask new-cause NAME` writes both"
    );
}

#[test]
fn ids_are_unique_and_never_retired_ones() {
    let mut seen = BTreeSet::new();
    for Entry { id, slug, .. } in catalogue::catalogue() {
        assert!(seen.insert(*id), "{id} is given out twice");
        assert!(seen.insert(*slug), "{slug} is given out twice");
        assert!(catalogue::retired().all(|retired| retired != *id), "{id} is retired");
        let (letter, number) = id.split_at(1);
        assert!("DSENKCPHI".contains(letter), "{id} has a letter the catalogue does not know");
        assert!(number.parse::<u32>().is_ok(), "{id} has no number");
    }
}

#[test]
fn every_cause_says_what_it_looks_like_and_what_proves_it() {
    for Entry { id, doc, .. } in catalogue::catalogue() {
        for part in ["**What the user sees.**", "**Proof.**", "**Confused with.**", "**References.**"] {
            assert!(doc.contains(part), "{id} has no {part}");
        }
    }
}

#[test]
fn every_cause_has_its_three_tests() {
    for entry in catalogue::catalogue() {
        let file = own(&format!("src/causes/{}.rs", entry.slug.replace('-', "_")));
        let text = fs::read_to_string(&file).expect("a cause file");
        for (what, call) in
            [("found", "found("), ("ruled out", "ruled_out("), ("cannot tell", "cannot_tell(")]
        {
            let tests = text.split("mod tests").nth(1).unwrap_or_default();
            assert!(tests.contains(call), "{} has no test for {what}", entry.id);
        }
    }
}

#[test]
fn the_pages_of_the_manual_are_up_to_date() {
    let folder = own("../../docs/causes");
    let pages = catalogue::markdown();
    let expected: BTreeSet<String> = pages.iter().map(|(name, _)| name.clone()).collect();
    if std::env::var_os("WHY_DROPPED_WRITE_DOCS").is_some() {
        fs::create_dir_all(&folder).expect("a folder for the pages");
        for (name, text) in &pages {
            fs::write(folder.join(name), text).expect("a page");
        }
    }
    assert_eq!(files(&folder), expected, "run `cargo xtask codegen`");
    for (name, text) in pages {
        let there = fs::read_to_string(folder.join(&name)).expect("a page");
        assert_eq!(there, text, "docs/causes/{name} is stale; run `cargo xtask codegen`");
    }
}

#[test]
fn new_ids_follow_the_published_ones() {
    assert_eq!(catalogue::next_id('D'), "D16");
    assert_eq!(catalogue::next_id('H'), "H29");
    assert!(catalogue::skeleton("H29", "a-new-one").contains("id: \"H29\""));
}

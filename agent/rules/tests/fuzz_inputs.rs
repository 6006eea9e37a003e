//! What fuzzing begins with and what it found, through the functions that are fuzzed (`agent/fuzz`).

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn seeds_and_regressions_hold() {
    for (name, target) in fuzz::TARGETS {
        let seeds = inputs("seeds", name);
        assert!(!seeds.is_empty(), "agent/fuzz/seeds/{name} is empty");
        for path in seeds.iter().chain(&inputs("regressions", name)) {
            eprintln!("{}", path.display());
            target(&fs::read(path).expect("a readable input"));
        }
    }
}

/// Seeds are what a decoder understands: else fuzzing would begin at its first refusal.
#[test]
fn cut_seeds_hold() {
    for (name, target) in fuzz::TARGETS {
        for path in inputs("seeds", name) {
            let whole = fs::read(&path).expect("a readable input");
            eprintln!("{}", path.display());
            for parts in 0..PARTS {
                target(&whole[..whole.len() * parts / PARTS]);
                target(&whole[whole.len() * parts / PARTS..]);
            }
        }
    }
}

/// Into how many parts a seed is cut: each is a walk of what is left.
const PARTS: usize = 24;

/// Every folder is one of a target, so that no input is left unplayed.
#[test]
fn every_folder_belongs_to_a_target() {
    for kind in ["seeds", "regressions"] {
        let Ok(folders) = fs::read_dir(root().join(kind)) else { continue };
        for folder in folders.map(|folder| folder.expect("an entry").file_name()) {
            let known = fuzz::TARGETS.iter().any(|(name, _)| folder == *name);
            assert!(known, "agent/fuzz/{kind}/{} belongs to no target", folder.display());
        }
    }
}

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(kind).join(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

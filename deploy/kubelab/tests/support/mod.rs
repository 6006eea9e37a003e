//! What tests with clusters share: whether they can run here, and the program.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod machine;
pub mod program;

use std::sync::atomic::{AtomicU32, Ordering};

use kubelab::programs::Programs;
use kubelab::spec::Kind;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Whether light clusters can be made here; otherwise says why not, which fails in CI.
pub fn can_run(name: &str) -> bool {
    can_run_kind(name, Kind::Light)
}

/// The same for full clusters.
pub fn can_run_full(name: &str) -> bool {
    can_run_kind(name, Kind::Full)
}

fn can_run_kind(name: &str, kind: Kind) -> bool {
    let why = if nix::unistd::Uid::effective().is_root() {
        match Programs::new(None).missing(kind)[..] {
            [] => return true,
            ref missing => format!(
                "these programs are missing: {}; `cargo xtask test` gets them, or name the directory that `cargo xtask \
                 cluster programs` prints in WHY_DROPPED_KUBERNETES",
                missing.join(", ")
            ),
        }
    } else {
        "clusters need root".to_owned()
    };
    assert!(std::env::var_os("CI").is_none(), "{name} may not be skipped in CI: {why}");
    eprintln!("skipped: {name}: {why}");
    false
}

/// A cluster's name that no other process and no other test uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

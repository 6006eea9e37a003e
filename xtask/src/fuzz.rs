//! Feeds hostile input to everything that reads a node's rules, for a given time each (`agent/fuzz`).
//!
//! Knows nothing of the targets beyond their names. What is found is written where the tests replay it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, cache, cargo, root, step};
use crate::setup;

/// The long tests give each target this long.
pub const LONG: Duration = Duration::from_mins(1);
/// One input that takes longer is a finding: the largest real rule sets are read and walked in a second.
const MOST_SECONDS: u32 = 10;
/// As is one that needs more memory than the agent is given.
const MOST_MEBIBYTES: u32 = 1024;
/// Inputs beyond this only make a fuzzer slow; texts of any size are bounded by tests of their own.
const MOST_BYTES: u32 = 64 << 10;

/// Runs the named target or all of them.
pub fn run(only: Option<&str>, time: Duration) -> Result<()> {
    let targets = targets()?;
    let chosen: Vec<&String> = targets.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        bail!("no target `{}`; there are {}", only.unwrap_or_default(), targets.join(", "));
    }
    setup::cargo_tool("cargo-fuzz", "0.13.2", "builds fuzz targets and runs them")?;
    for target in chosen {
        step(&format!("fuzz {target}"), || one(target, time))?;
    }
    Ok(())
}

/// The names of all targets: each has a folder of seeds, which a test of `rules` checks.
fn targets() -> Result<Vec<String>> {
    let seeds = root().join("agent/fuzz/seeds");
    let entries = fs::read_dir(&seeds).with_context(|| format!("list {}", seeds.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn one(target: &str, time: Duration) -> Result<()> {
    let folder = root().join("agent/fuzz");
    // What a run came to know is where the next one begins.
    let corpus = cache().join("fuzz").join(target);
    let findings = folder.join("regressions").join(target);
    for directory in [&corpus, &findings] {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    // Nothing below has unsafe code, which is what sanitizers are for; without one the pinned toolchain suffices.
    let done = process::run(
        cargo()
            .current_dir(&folder)
            .args(["fuzz", "run", "--sanitizer", "none", target])
            .args([&corpus, &folder.join("seeds").join(target)])
            .arg("--")
            .arg(format!("-max_total_time={}", time.as_secs()))
            .arg(format!("-timeout={MOST_SECONDS}"))
            .arg(format!("-rss_limit_mb={MOST_MEBIBYTES}"))
            .arg(format!("-max_len={MOST_BYTES}"))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args(["-print_final_stats=1", "-verbosity=0"]),
    );
    // Only where there is something in it: an empty folder is no finding.
    let _ = fs::remove_dir(&findings);
    done.with_context(|| {
        format!("what was found is in {}; mend it and commit both: tests replay it", findings.display())
    })
}

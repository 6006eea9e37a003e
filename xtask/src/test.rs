//! The tests by tier, with every skipped one counted and named at the end.
//!
//! Everything is built once, with one set of features, and each test program is run by itself. A test that cannot run
//! prints `skipped: NAME: WHY` to stderr and returns; in CI it fails instead.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::fuzz;
use crate::kubernetes::{self, Asked, Obtained, Set};
use crate::process::{built, cargo, output, path_with_tools, root, step};
use crate::setup::{self, For};

/// What a tier runs.
enum Runs {
    /// Unit tests of every crate, and the examples in the documentation.
    Units,
    /// Integration tests of the crates in these folders, except those that need kubelets.
    Integration(&'static [&'static str]),
    /// Integration tests of these folders that need kubelets: programs whose names begin with [`FULL`].
    Kubelets(&'static [&'static str]),
}

/// One tier.
struct Tier {
    name: &'static str,
    runs: Runs,
}

/// What the names of test programs begin with that need a full cluster.
const FULL: &str = "full";

/// The tier that replays what fuzzing found; in the long form of it, fuzzing goes on.
const FUZZED: usize = 1;

/// The first tier with clusters.
const CLUSTERS: usize = 5;

/// Tiers by number; CONTRIBUTING.md explains them.
const TIERS: &[Tier] = &[
    Tier { name: "0 unit and property", runs: Runs::Units },
    Tier {
        name: "1 corpus and whole crates",
        runs: Runs::Integration(&[
            "agent/rules",
            "agent/snapshot",
            "agent-ebpf/abi",
            "collector/objects",
            "collector/policy",
            "collector/diagnose",
            "xtask",
        ]),
    },
    Tier {
        name: "2 wire, store and command line",
        runs: Runs::Integration(&[
            "proto",
            "proto/model",
            "collector/store",
            "collector/cluster",
            "collector/cli",
            "collector",
        ]),
    },
    Tier { name: "3 kernel oracle", runs: Runs::Integration(&["agent/kernel", "agent/netlab"]) },
    Tier { name: "4 BPF", runs: Runs::Integration(&["agent/trace"]) },
    Tier { name: "5 story", runs: Runs::Integration(&["agent", "deploy/e2e", "deploy/kubelab"]) },
    Tier { name: "6 cluster", runs: Runs::Kubelets(&["deploy/e2e", "deploy/kubelab"]) },
];

/// A built test program.
struct Program {
    /// Its crate's folder, relative to the root.
    folder: String,
    name: String,
    unit: bool,
    executable: PathBuf,
}

/// What all tests together came to.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// What all test programs are run with.
struct How {
    long: bool,
    /// The directory of the Kubernetes programs, if they are to be had.
    kubernetes: Option<PathBuf>,
    /// The same of the oldest release, for what takes long.
    oldest: Option<PathBuf>,
}

/// Runs one tier or all of them.
pub fn run(tier: Option<u8>, long: bool) -> Result<()> {
    setup::run(For::All, false)?;
    let chosen: Vec<&Tier> = match tier {
        Some(number) => {
            vec![
                TIERS
                    .get(usize::from(number))
                    .with_context(|| format!("no tier {number}; 0 to {}", TIERS.len() - 1))?,
            ]
        }
        None => TIERS.iter().collect(),
    };
    let mut programs = Vec::new();
    step("build", || {
        programs = build()?;
        Ok(())
    })?;
    let mut how = How { long, kubernetes: None, oldest: None };
    if tier.is_none_or(|number| usize::from(number) >= CLUSTERS) {
        step("kubernetes programs", || {
            how.kubernetes = kubernetes_programs(Set::Full, None)?;
            if long {
                how.oldest = kubernetes_programs(Set::Light, Some(Asked::Oldest))?;
            }
            Ok(())
        })?;
    }
    let mut tally = Tally::default();
    for tier in chosen {
        step(&format!("tier {}", tier.name), || run_tier(tier, &programs, &how, &mut tally))?;
    }
    report(&tally)?;
    if long && tier.is_none_or(|number| usize::from(number) == FUZZED) {
        fuzz::run(None, fuzz::LONG)?;
    }
    Ok(())
}

/// Gets what clusters run. Where that is impossible the tests say that they are skipped, and fail in CI.
fn kubernetes_programs(set: Set, asked: Option<Asked>) -> Result<Option<PathBuf>> {
    let of = asked.map(|asked| format!(" of {asked}")).unwrap_or_default();
    match kubernetes::obtain(set, asked)? {
        Obtained::Ready(directory) => {
            println!("kubernetes: all programs{of}: {}", directory.display());
            Ok(Some(directory))
        }
        Obtained::Unavailable(why) => {
            println!("kubernetes: tests with clusters{of} will be skipped: {why}");
            Ok(None)
        }
    }
}

/// Builds every test program and the three binaries, and says where they are.
fn build() -> Result<Vec<Program>> {
    let text = output(cargo().args([
        "test",
        "--locked",
        "--workspace",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]))?;
    let programs: Vec<Program> =
        text.lines().filter_map(|line| program(&serde_json::from_str(line).ok()?)).collect();
    let known = |folder: &str| {
        TIERS.iter().any(|tier| match tier.runs {
            Runs::Units => false,
            Runs::Integration(folders) | Runs::Kubelets(folders) => folders.contains(&folder),
        })
    };
    match programs.iter().find(|program| !program.unit && !known(&program.folder)) {
        None => Ok(programs),
        Some(stray) => bail!("tests of {} belong to no tier (xtask/src/test.rs)", stray.folder),
    }
}

/// A test program from cargo's message about it.
fn program(message: &Value) -> Option<Program> {
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some(Program {
        folder: manifest.parent()?.strip_prefix(root()).ok()?.to_str()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        unit: message["target"]["kind"][0] != "test",
        executable: message["executable"].as_str()?.into(),
    })
}

fn run_tier(tier: &Tier, programs: &[Program], how: &How, tally: &mut Tally) -> Result<()> {
    for program in programs.iter().filter(|program| program.unit && matches!(tier.runs, Runs::Units)) {
        run_program(program, how, tally)?;
    }
    match tier.runs {
        Runs::Units => {
            let text = output(cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]))?;
            let passed: u64 = text.lines().filter_map(passed_of).sum();
            tally.passed += passed;
            println!("examples in the documentation: {passed} passed");
        }
        Runs::Integration(folders) | Runs::Kubelets(folders) => {
            for folder in folders {
                for program in programs.iter().filter(|program| tier.has(program, folder)) {
                    run_program(program, how, tally)?;
                }
            }
        }
    }
    Ok(())
}

impl Tier {
    /// Whether this integration test of the folder runs in this tier and not in another of the same folder.
    fn has(&self, program: &Program, folder: &str) -> bool {
        let needs_kubelets = program.name.starts_with(FULL) && kubelet_folder(folder);
        !program.unit && program.folder == folder && needs_kubelets == matches!(self.runs, Runs::Kubelets(_))
    }
}

/// Whether this folder's tests are told apart by what cluster they need.
fn kubelet_folder(folder: &str) -> bool {
    TIERS.iter().any(|tier| matches!(tier.runs, Runs::Kubelets(folders) if folders.contains(&folder)))
}

/// Runs one program. What passing tests print is shown only where it tells of a skip; a failure is shown whole.
fn run_program(program: &Program, how: &How, tally: &mut Tally) -> Result<()> {
    let directory = root().join(&program.folder);
    let mut command = Command::new(&program.executable);
    command
        .arg("--show-output")
        .current_dir(&directory)
        .env("CARGO_MANIFEST_DIR", &directory)
        .env("PATH", path_with_tools())
        // The stories run what was just built instead of building it again.
        .env("WHY_DROPPED_BINARIES", built())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    match &how.kubernetes {
        Some(directory) => {
            command.env(kubernetes::VARIABLE, directory);
            if std::env::var_os("KUBEBUILDER_ASSETS").is_none_or(|value| value.is_empty()) {
                command.env("KUBEBUILDER_ASSETS", directory);
            }
        }
        None => {
            command.env_remove(kubernetes::VARIABLE);
        }
    }
    if how.long {
        command.env("PROPTEST_CASES", "20000");
    }
    // What is ignored otherwise is about the oldest release.
    if let Some(directory) = &how.oldest {
        command.arg("--include-ignored").env(kubernetes::OLDEST_VARIABLE, directory);
    }
    let name = format!("{} {}", program.folder, if program.unit { "unit" } else { &program.name });
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("run the tests {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let skipped = text.lines().filter(|line| line.starts_with("skipped: ")).map(str::to_owned);
    tally.skipped.extend(skipped);
    let passed = text.lines().find_map(passed_of).unwrap_or_default();
    tally.passed += passed;
    if output.status.success() {
        if passed > 0 {
            println!("{name}: {passed} passed in {:.1} s", begun.elapsed().as_secs_f64());
        }
    } else {
        println!("{text}");
        println!("{name}: FAILED ({})", output.status);
        tally.failed.push(name);
    }
    Ok(())
}

/// The number in `test result: ok. 12 passed; …`.
fn passed_of(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("test result: ")?;
    rest.split(". ").nth(1)?.split(' ').next()?.parse().ok()
}

fn report(tally: &Tally) -> Result<()> {
    for line in &tally.skipped {
        println!("{line}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed.len(), tally.skipped.len());
    if !tally.failed.is_empty() {
        bail!("tests failed: {}", tally.failed.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_need_kubelets_run_in_their_own_tier() {
        let program = |folder: &str, name: &str| Program {
            folder: folder.to_owned(),
            name: name.to_owned(),
            unit: false,
            executable: PathBuf::new(),
        };
        let tiers = |program: &Program| -> Vec<usize> {
            (0..TIERS.len()).filter(|&number| TIERS[number].has(program, &program.folder)).collect()
        };
        assert_eq!(tiers(&program("deploy/kubelab", "full_nodes")), [6]);
        assert_eq!(tiers(&program("deploy/kubelab", "light")).last(), Some(&5));
    }

    #[test]
    fn the_count_of_a_result_line_is_read() {
        assert_eq!(
            passed_of("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"),
            Some(12)
        );
        assert_eq!(passed_of("test result: FAILED. 3 passed; 1 failed; 0 ignored"), Some(3));
        assert_eq!(passed_of("running 3 tests"), None);
    }
}

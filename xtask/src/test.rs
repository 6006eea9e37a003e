//! The tests by tier, with every skipped one counted and named at the end.
//!
//! A test that cannot run prints `skipped: NAME: WHY` to stderr and returns; in CI it fails instead.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, step};
use crate::{demo, setup};

/// One tier: what it is called and which cargo targets it runs.
struct Tier {
    name: &'static str,
    runs: &'static [&'static [&'static str]],
}

/// Tiers by number; CONTRIBUTING.md explains them. Tiers 0 and 2 live in the same unit-test binaries.
const TIERS: &[Tier] = &[
    Tier {
        name: "0 unit and property",
        runs: &[&["--workspace", "--lib", "--bins"], &["--workspace", "--doc"]],
    },
    Tier {
        name: "1 corpus",
        runs: &[&[
            "-p", "rules", "-p", "objects", "-p", "policy", "-p", "diagnose", "-p", "snapshot", "--tests",
        ]],
    },
    Tier {
        name: "2 wire, store and command line",
        runs: &[&["-p", "proto", "-p", "store", "-p", "cluster", "-p", "cli", "-p", "collector", "--tests"]],
    },
    Tier { name: "3 kernel oracle", runs: &[&["-p", "kernel", "-p", "netlab", "--tests"]] },
    Tier { name: "4 BPF", runs: &[&["-p", "trace", "--tests"]] },
    Tier { name: "5 story", runs: &[&["-p", "agent", "-p", "e2e", "--tests"]] },
];

/// Runs one tier or all of them.
pub fn run(tier: Option<u8>, long: bool) -> Result<()> {
    setup::run(false)?;
    let chosen: Vec<&Tier> = match tier {
        Some(number) => vec![
            TIERS
                .get(usize::from(number))
                .with_context(|| format!("no tier {number}; 0 to {}", TIERS.len() - 1))?,
        ],
        None => TIERS.iter().collect(),
    };
    step("build", || {
        demo::build()?;
        crate::process::run(cargo().args(["test", "--locked", "--workspace", "--no-run", "--quiet"]))
    })?;
    let mut skipped = Vec::new();
    for tier in chosen {
        step(&format!("tier {}", tier.name), || {
            for args in tier.runs {
                let mut command = cargo();
                command
                    .args(["test", "--locked", "--no-fail-fast"])
                    .args(*args)
                    .args(["--", "--show-output"]);
                if long {
                    command.env("PROPTEST_CASES", "20000");
                }
                run_counting_skips(&mut command, &mut skipped)?;
            }
            Ok(())
        })?;
    }
    println!("{} tests skipped", skipped.len());
    for line in &skipped {
        println!("  {line}");
    }
    Ok(())
}

/// Runs the command, passes its output through without the noise of passing tests, and keeps the lines that tell of a skip.
fn run_counting_skips(command: &mut Command, skipped: &mut Vec<String>) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    let mut out = std::io::stdout().lock();
    let mut in_successes = false;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if line.starts_with("skipped: ") {
            skipped.push(line.clone());
        }
        // `--show-output` prints what passing tests said between these two headings.
        match line.as_str() {
            "successes:" => in_successes = true,
            "failures:" => in_successes = false,
            text if text.starts_with("test result:") => in_successes = false,
            _ => {}
        }
        if !in_successes && !line.is_empty() {
            writeln!(out, "{line}")?;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

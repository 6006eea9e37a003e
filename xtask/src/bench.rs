//! Benchmarks: every crate that has some, in release, one after the other.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{self, cargo, output};

/// Runs them all, or those whose name contains `filter`.
pub fn run(filter: Option<&str>) -> Result<()> {
    let text = output(cargo().args(["metadata", "--format-version=1", "--locked", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo metadata")?;
    let mut command = cargo();
    command.args(["bench", "--locked", "--benches"]);
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let mut targets = package["targets"].as_array().into_iter().flatten();
        if let Some(name) = package["name"].as_str()
            && targets.any(|target| target["kind"][0] == "bench")
        {
            command.args(["-p", name]);
        }
    }
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    process::run(&mut command)
}

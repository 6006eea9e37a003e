//! Benchmarks: every `benches/` target of the workspace, in release, one after the other.

use anyhow::Result;

use crate::process;

/// Runs them all, or those whose name contains `filter`.
pub fn run(filter: Option<&str>) -> Result<()> {
    let mut command = process::cargo();
    command.args(["bench", "--workspace", "--benches", "--locked"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    process::run(&mut command)
}

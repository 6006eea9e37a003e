//! The demonstration: build, then hand over to the lab program, as root.

use anyhow::Result;

use crate::process::{self, built, path_with_tools, step};
use crate::setup;

/// Builds the binaries and runs `lab demo`.
pub fn run(keep: bool) -> Result<()> {
    setup::run(setup::For::Demo, false)?;
    step("build", build)?;
    let lab = built().join("lab");
    let mut command = setup::as_root(&lab.to_string_lossy())?;
    command.arg("demo").env("PATH", path_with_tools());
    if keep {
        command.arg("--keep");
    }
    process::run(&mut command)
}

/// Builds the three binaries and the lab.
fn build() -> Result<()> {
    process::run(process::cargo().args(["build", "--locked", "--workspace", "--bins"]))
}

//! Exactly what CI checks, in an order that fails early.

use anyhow::Result;

use crate::process::{self, cargo, step};
use crate::{codegen, setup, test, tidy};

/// Runs every check.
pub fn run() -> Result<()> {
    step("setup", || setup::run(setup::For::All, false))?;
    step("format", || process::run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("lints", || {
        process::run(cargo().args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("documentation", || {
        process::run(
            cargo()
                .args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    step("generated files", || codegen::run(true))?;
    step("licences and duplicates", licences)?;
    test::run(None, false)
}

/// cargo-deny 0.20: licences, bans and sources. Advisories need a database from the network and are left to a scheduled job.
fn licences() -> Result<()> {
    setup::cargo_tool("cargo-deny", "0.20.2", "licences of all dependencies must be compatible")?;
    process::run(cargo().args(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))
}

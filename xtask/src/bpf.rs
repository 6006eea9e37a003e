//! Rebuilds the BPF object from `agent-ebpf`, the same bytes on every machine.
//!
//! Needs the nightly-only `build-std` (through `RUSTC_BOOTSTRAP`), `rust-src` and bpf-linker; nobody else does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, cache, find, path_with_tools, root};
use crate::setup;

/// The last bpf-linker that links against rustc's own LLVM instead of a system one.
const LINKER: &str = "0.10.4";
const TARGET: &str = "bpfel-unknown-none";

/// The committed object.
pub fn committed() -> PathBuf {
    root().join("agent-ebpf/why-dropped.bpf.o")
}

/// Builds the object and returns where it lies.
pub fn build() -> Result<PathBuf> {
    let toolchain = toolchain()?;
    toolchain_parts(&toolchain)?;
    let source = root().join("agent-ebpf");
    let target = cache().join("bpf-target");
    let cargo_home = env::var_os("CARGO_HOME")
        .map_or_else(|| Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from);
    // Paths of this machine must not reach the object: they would change its bytes.
    let flags = [
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        format!("--remap-path-prefix={}=/agent-ebpf", source.display()),
        format!("--remap-path-prefix={}=/cargo", cargo_home.display()),
    ]
    .join("\u{1f}");
    process::run(
        Command::new("cargo")
            .arg(format!("+{toolchain}"))
            .args(["build", "--locked", "--release", "--quiet", "--target", TARGET, "-Z", "build-std=core"])
            .current_dir(&source)
            .env_remove("RUSTFLAGS")
            // Set by the cargo that runs this task; they would name the outer toolchain.
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env("RUSTUP_TOOLCHAIN", &toolchain)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", &target)
            .env("PATH", path_with_tools()),
    )?;
    Ok(target.join(TARGET).join("release/why-dropped"))
}

/// The pinned toolchain of `rust-toolchain.toml`.
fn toolchain() -> Result<String> {
    let text = std::fs::read_to_string(root().join("rust-toolchain.toml"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .map(|value| value.trim_matches('"').to_owned())
        .context("rust-toolchain.toml has no `channel = \"…\"` line")
}

/// Brings what the build needs, or says what is missing.
fn toolchain_parts(toolchain: &str) -> Result<()> {
    if find("rustup").is_none() {
        bail!(
            "rebuilding the BPF object needs rustup (toolchain {toolchain} with rust-src) and bpf-linker {LINKER}; \
             the committed object needs neither"
        );
    }
    process::run(
        Command::new("rustup")
            .args(["component", "add", "rust-src", "--toolchain", toolchain])
            .stderr(std::process::Stdio::null()),
    )
    .with_context(|| format!("add rust-src to toolchain {toolchain}"))?;
    setup::cargo_tool("bpf-linker", LINKER, "links the BPF object")
}

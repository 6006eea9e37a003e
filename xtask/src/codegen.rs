//! Generated files that are committed: the BPF object, the wire code, the cause manual.
//!
//! `--check` makes them anew beside the tree and compares byte for byte, naming the command that mends a difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bpf;
use crate::process::{self, cache, cargo, root};

/// Makes everything anew, or compares.
pub fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    wire(check, &mut stale)?;
    causes(check, &mut stale)?;
    object(check, &mut stale)?;
    if !stale.is_empty() {
        bail!(
            "stale generated files, run `cargo xtask codegen` and commit the result:\n  {}",
            stale.join("\n  ")
        );
    }
    Ok(())
}

fn wire(check: bool, stale: &mut Vec<String>) -> Result<()> {
    generate("wire code", "proto", "generate_wire", "proto/src/generated", check, stale)
}

fn causes(check: bool, stale: &mut Vec<String>) -> Result<()> {
    generate("cause manual", "diagnose", "generate_manual", "docs/causes", check, stale)
}

/// Runs the example of a crate that writes its files into the directory it is given.
fn generate(
    what: &str,
    package: &str,
    example: &str,
    directory: &str,
    check: bool,
    stale: &mut Vec<String>,
) -> Result<()> {
    let committed = root().join(directory);
    let fresh = if check { cache().join("codegen").join(package) } else { committed.clone() };
    if check && fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("clear {}", fresh.display()))?;
    }
    fs::create_dir_all(&fresh)?;
    process::run(
        cargo().args(["run", "--quiet", "--locked", "-p", package, "--example", example, "--"]).arg(&fresh),
    )
    .with_context(|| format!("generate the {what}"))?;
    if check && files(&committed)? != files(&fresh)? {
        stale.push(format!("{directory} ({what})"));
    }
    Ok(())
}

fn object(check: bool, stale: &mut Vec<String>) -> Result<()> {
    let built = match bpf::build() {
        Ok(built) => built,
        // Nobody but those who change agent-ebpf needs the toolchain; but its lack must be heard.
        Err(error) if check => {
            println!("NOT CHECKED: the BPF object could not be rebuilt: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let fresh = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    if check {
        if fs::read(bpf::committed())? != fresh {
            stale.push("agent-ebpf/why-dropped.bpf.o (BPF object)".into());
        }
        return Ok(());
    }
    fs::write(bpf::committed(), fresh).context("write the BPF object")
}

fn files(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory_now) = pending.pop() {
        for entry in
            fs::read_dir(&directory_now).with_context(|| format!("list {}", directory_now.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory)?.to_path_buf();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

//! Starts a new cause: the file with its documentation, rule and tests to fill in, and its place in the registry.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, cargo, root};

/// Groups of the catalogue by letter.
const GROUPS: &[char] = &['D', 'S', 'E', 'N', 'K', 'C', 'P', 'H', 'I'];

/// Writes the skeleton through `diagnose`'s own example, which knows the free ids.
pub fn run(name: &str, group: char) -> Result<()> {
    let group = group.to_ascii_uppercase();
    if !GROUPS.contains(&group) {
        bail!("no group `{group}`; the groups are {}", GROUPS.iter().collect::<String>());
    }
    ensure!(
        name.split('-').all(
            |part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        ),
        "`{name}` is no slug: lower-case words joined by single hyphens"
    );
    let file = root().join("collector/diagnose/src/causes").join(format!("{}.rs", name.replace('-', "_")));
    ensure!(!file.exists(), "{} exists already", file.display());
    let skeleton = process::output(
        cargo()
            .args(["run", "--quiet", "--locked", "-p", "diagnose", "--example", "new_cause", "--"])
            .arg(group.to_string())
            .arg(name),
    )?;
    fs::write(&file, skeleton).with_context(|| format!("write {}", file.display()))?;
    println!("wrote {}", file.display());
    println!("next: name it in collector/diagnose/src/causes.rs, fill it in, then `cargo xtask codegen`");
    Ok(())
}

//! What every source file must have, and what none may have.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{output, root};

/// Above this a file is refused: nobody wants to open it. The aim is 400.
const MAX_LINES: usize = 600;

/// Folders whose crates may hold `unsafe`, each block with its SAFETY note (clippy checks the note).
const UNSAFE_ALLOWED: &[&str] = &["agent/kernel/", "agent/trace/", "agent-ebpf/"];

/// Words that say something is not finished.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX:"];

pub(super) fn check() -> Result<Vec<String>> {
    let tracked = output(std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()))?;
    let mut breaches = Vec::new();
    for name in tracked.split('\0').filter(|name| !name.is_empty()) {
        let path = root().join(name);
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read {name}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if has_extension(name, "rs") && !name.contains("/generated/") {
            rust(name, &text, &mut breaches);
        }
        if has_extension(name, "md") || has_extension(name, "rs") {
            wording(name, &text, &mut breaches);
        }
    }
    Ok(breaches)
}

fn rust(name: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MAX_LINES {
        breaches.push(format!("{name}: {lines} lines, {MAX_LINES} at most; split it by meaning"));
    }
    let documented =
        text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"));
    if !documented {
        breaches.push(format!("{name}: the first line must say what the file is for (`//! …`)"));
    }
    if text.contains(concat!("unsafe", " {")) && !UNSAFE_ALLOWED.iter().any(|folder| name.starts_with(folder))
    {
        breaches
            .push(format!("{name}: unsafe code belongs in agent/kernel, agent/trace and agent-ebpf only"));
    }
}

fn wording(name: &str, text: &str, breaches: &mut Vec<String>) {
    // This file names the words it looks for.
    if name.ends_with("tidy/sources.rs") {
        return;
    }
    for word in UNFINISHED {
        if let Some(line) = text.lines().position(|line| line.contains(word)) {
            breaches.push(format!("{name}:{}: `{word}`: finish it or write it into an issue", line + 1));
        }
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

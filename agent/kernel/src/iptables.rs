//! iptables rules of the calling thread's namespace as `iptables-save` text of both back-ends.
//!
//! Text and not the kernel's own formats: legacy tables have a private binary interface, iptables-nft stores most
//! matches as opaque blobs, and the save text is the one complete form of both. Parsing it is the business of `rules`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use model::node_state::{Part, SavedRules, Unread};
use model::walk::Backend;
use model::{Family, Gap};

use crate::nft::{self, Table};

/// Saving 200,000 rules takes some seconds on a busy node; a tool that hangs on the legacy lock must end some time.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Four times what 10,000 Services with five endpoints each print.
const SIZE_LIMIT: u64 = 256 << 20;
const STDERR_LIMIT: u64 = 64 << 10;

/// What was saved, and what the tools could not say.
#[derive(Debug, Default)]
pub struct Saved {
    /// One entry for each back-end and family that holds tables.
    pub rules: Vec<SavedRules>,
    /// Tables that bear an iptables name but hold what only `nft` can print.
    pub incompatible: Vec<Table>,
}

/// Saves the rules of both back-ends and families. `nft_tables` are the tables that exist: a back-end without tables is
/// not asked, which spares a process for most pods. `None`: unknown, so ask.
pub fn save(nft_tables: Option<&[Table]>, unread: &mut Vec<Unread>) -> Saved {
    let mut saved = Saved::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut gaps = Vec::new();
        let number = match family {
            Family::Ipv4 => nft::IPV4,
            Family::Ipv6 => nft::IPV6,
        };
        let exists = nft_tables.is_none_or(|tables| {
            tables.iter().any(|table| table.family == number && table.named_as_iptables())
        });
        if exists {
            save_one(Backend::IptablesNft, family, &mut saved, &mut gaps);
        }
        if legacy_tables(family, &mut gaps) {
            save_one(Backend::IptablesLegacy, family, &mut saved, &mut gaps);
        }
        let part = Part::Rules(Some(family));
        unread.extend(gaps.into_iter().map(|gap| Unread { part, gap }));
    }
    saved
}

/// Whether the legacy back-end holds tables here. Asking its tool instead would create them.
pub fn legacy_tables(family: Family, gaps: &mut Vec<Gap>) -> bool {
    let path = match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match fs::read_to_string(path) {
        Ok(names) => !names.trim().is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            gaps.push(Gap::new(format!("legacy iptables rules ({family})"), format!("read {path}: {error}")));
            false
        }
    }
}

fn save_one(backend: Backend, family: Family, saved: &mut Saved, gaps: &mut Vec<Gap>) {
    let what = format!("{} ({family})", back_end_words(backend));
    match run_save(backend, family) {
        Ok(output) => {
            note_warnings(&what, family, &output, saved, gaps);
            if output.text.lines().any(|line| line.starts_with('*')) {
                saved.rules.push(SavedRules { backend, family, text: output.text });
            }
        }
        Err(gap) => gaps.push(Gap { what, ..gap }),
    }
}

/// The tool for a back-end and family; the plain name serves where it is the wanted back-end.
fn tool(backend: Backend, family: Family) -> (&'static str, &'static str, &'static str) {
    match (backend, family) {
        (Backend::IptablesLegacy, Family::Ipv4) => ("iptables-legacy-save", "iptables-save", "legacy"),
        (Backend::IptablesLegacy, Family::Ipv6) => ("ip6tables-legacy-save", "ip6tables-save", "legacy"),
        (_, Family::Ipv4) => ("iptables-nft-save", "iptables-save", "nf_tables"),
        (_, Family::Ipv6) => ("ip6tables-nft-save", "ip6tables-save", "nf_tables"),
    }
}

const fn back_end_words(backend: Backend) -> &'static str {
    match backend {
        Backend::IptablesLegacy => "legacy iptables rules",
        _ => "iptables rules",
    }
}

fn run_save(backend: Backend, family: Family) -> Result<Output, Gap> {
    let (exact, plain, marker) = tool(backend, family);
    match run(exact, ["-c"]) {
        Err(Failure::Missing) => {}
        other => return other.map_err(|failure| failure.gap(exact)),
    }
    let missing = || {
        Gap::new("", format!("{exact} is not installed"))
            .with_remedy("install the iptables package where the agent runs")
    };
    match run(plain, ["-V"]) {
        Ok(version) if version.text.contains(marker) => {
            run(plain, ["-c"]).map_err(|failure| failure.gap(plain))
        }
        Ok(_) | Err(Failure::Missing) => Err(missing()),
        Err(failure) => Err(failure.gap(plain)),
    }
}

/// Which save tools can be run here, for the preflight.
pub fn tool_versions() -> Vec<(Backend, Result<String, String>)> {
    [Backend::IptablesNft, Backend::IptablesLegacy]
        .into_iter()
        .map(|backend| {
            let (exact, _, _) = tool(backend, Family::Ipv4);
            let version = run(exact, ["-V"])
                .map(|output| output.text.trim().to_owned())
                .map_err(|failure| failure.gap(exact).why);
            (backend, version)
        })
        .collect()
}

/// Complaints of the tools that mean that the text is not the whole truth.
fn note_warnings(what: &str, family: Family, output: &Output, saved: &mut Saved, gaps: &mut Vec<Gap>) {
    for line in output.text.lines().filter(|line| line.starts_with('#')).chain(output.stderr.lines()) {
        if let Some(name) = incompatible_table(line) {
            let family = match family {
                Family::Ipv4 => nft::IPV4,
                Family::Ipv6 => nft::IPV6,
            };
            saved.incompatible.push(Table { family, name: name.to_owned() });
        }
    }
    let unsupported = output.text.lines().filter(|line| line.contains("unsupported revision")).count();
    if unsupported > 0 {
        gaps.push(
            Gap::new(
                what,
                format!("{unsupported} rules were written by a newer iptables than the one that reads them"),
            )
            .with_remedy("run an agent image with iptables at least as new as the writer's"),
        );
    }
    // "# Warning: iptables-legacy tables present, use iptables-legacy-save" tells nothing new: both are read.
    let others: Vec<_> = output
        .stderr
        .lines()
        .filter(|line| {
            !line.trim().is_empty()
                && !line.starts_with("# Warning: ip")
                && incompatible_table(line).is_none()
        })
        .collect();
    if let Some(first) = others.first() {
        gaps.push(Gap::new(what, format!("the tool warns: {}", first.trim().escape_debug())));
    }
}

/// The name in "# Table `filter' is incompatible, use 'nft' tool." (iptables/nft.c, nft_is_table_compatible).
fn incompatible_table(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#').trim_start().strip_prefix("Table `")?;
    let (name, rest) = rest.split_once('\'')?;
    rest.contains("incompatible").then_some(name)
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) text: String,
    stderr: String,
}

#[derive(Debug)]
pub(crate) enum Failure {
    Missing,
    Start(io::Error),
    TimedOut,
    TooLong,
    NotText,
    Exit { status: String, stderr: String },
}

impl Failure {
    pub(crate) fn gap(&self, tool: &str) -> Gap {
        let why = match self {
            Self::Missing => format!("{tool} is not installed"),
            Self::Start(error) => format!("start {tool}: {error}"),
            Self::TimedOut => format!("{tool} did not end within {} s", TIME_LIMIT.as_secs()),
            Self::TooLong => format!("{tool} printed more than {} MiB", SIZE_LIMIT >> 20),
            Self::NotText => format!("{tool} printed something that is not UTF-8"),
            Self::Exit { status, stderr } => {
                format!("{tool}: {status}: {}", stderr.lines().next().unwrap_or_default().escape_debug())
            }
        };
        Gap::new("", why)
    }
}

/// Runs a tool in the calling thread's namespace (a child inherits it) and reads both its outputs within the limits.
pub(crate) fn run<const N: usize>(tool: &str, arguments: [&str; N]) -> Result<Output, Failure> {
    let mut child = Command::new(OsStr::new(tool))
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Missing,
            _ => Failure::Start(error),
        })?;
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let errors = thread::spawn(move || read_limited(stderr, STDERR_LIMIT));
    thread::spawn(move || {
        // The receiver is gone once the time limit has passed.
        let _ = sender.send(read_limited(stdout, SIZE_LIMIT));
    });
    let Ok(text) = receiver.recv_timeout(TIME_LIMIT) else {
        end(&mut child);
        return Err(Failure::TimedOut);
    };
    if text.len() as u64 > SIZE_LIMIT {
        end(&mut child);
        return Err(Failure::TooLong);
    }
    let status = child.wait().map_err(Failure::Start)?;
    let stderr = String::from_utf8_lossy(&errors.join().unwrap_or_default()).into_owned();
    if !status.success() {
        return Err(Failure::Exit { status: status.to_string(), stderr });
    }
    Ok(Output { text: String::from_utf8(text).map_err(|_| Failure::NotText)?, stderr })
}

fn end(child: &mut Child) {
    // It may have ended by itself meanwhile.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads up to one byte more than the limit, so that the caller can tell "too long" from "just fits".
fn read_limited(source: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        // An error ends the output early; the exit status then tells.
        let _ = source.take(limit + 1).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incompatible_table_is_named() {
        assert_eq!(incompatible_table("# Table `filter' is incompatible, use 'nft' tool."), Some("filter"));
        assert_eq!(incompatible_table("# Generated by iptables-nft-save v1.8.9"), None);
    }

    #[test]
    fn warnings_become_gaps_and_the_other_back_end_is_no_warning() {
        let output = Output {
            text: "*filter\n-A INPUT -m x [unsupported revision]\nCOMMIT\n".into(),
            stderr:
                "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\nodd thing\n"
                    .into(),
        };
        let (mut saved, mut gaps) = (Saved::default(), Vec::new());
        note_warnings("iptables rules (IPv4)", Family::Ipv4, &output, &mut saved, &mut gaps);
        let why: Vec<_> = gaps.iter().map(|gap| gap.why.as_str()).collect();
        assert_eq!(
            why,
            [
                "1 rules were written by a newer iptables than the one that reads them",
                "the tool warns: odd thing"
            ]
        );
    }

    #[test]
    fn a_missing_tool_is_told_apart_from_a_failing_one() {
        assert!(matches!(run("no-such-tool-for-why-dropped", []), Err(Failure::Missing)));
        assert!(matches!(run("false", []), Err(Failure::Exit { .. })));
        assert_eq!(run("echo", ["x"]).expect("echo").text, "x\n");
    }
}

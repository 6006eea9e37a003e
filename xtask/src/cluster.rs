//! `cargo xtask cluster`: gets what a cluster needs, then hands over to `kubelab`, as root.
//!
//! Knows nothing of clusters beyond which programs `up` will want; every argument passes through.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::kubernetes::{self, Asked, Obtained, Set};
use crate::process::{self, built, path_with_tools, step};
use crate::setup::{self, For};

/// What `cargo xtask cluster --help` ends with.
pub const HELP: &str = "\
Commands (COMMAND --help tells more):
  up        Start a cluster: --light for pods without kubelets, --version newest|oldest|1.36|v1.36.3,
            --mode iptables|iptables-legacy|nftables, --nodes N, --name NAME
  down      Stop it and remove everything it made
  status    Tell which clusters there are and how they are
  env       Print KUBECONFIG and helper lines for a shell
  shell     Open a shell in the network namespace of a node or pod
  logs      Print the log of a component
  load      Create or change objects from files
  fault     List faults, inject one, undo it
  programs  Only get the programs that `up` with the same --light and --version needs, and print their directory
  versions  List the releases that can be built and what of them is kept

The first `up` builds Kubernetes from Go modules, which takes minutes; what it built is kept.";

/// What of the arguments of `up` matters here.
#[derive(Debug, PartialEq)]
struct Wanted {
    set: Set,
    version: Option<Asked>,
}

/// Does one command itself or becomes `kubelab`, which does it.
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let command = arguments.first().and_then(|first| first.to_str());
    if command == Some("versions") {
        kubernetes::list();
        return Ok(ExitCode::SUCCESS);
    }
    if command == Some("programs") {
        println!("{}", programs(&wanted(&arguments[1..])?)?.display());
        return Ok(ExitCode::SUCCESS);
    }
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let mut directory = None;
    if command == Some("up") && !asks_for_help {
        let wanted = wanted(&arguments[1..])?;
        setup::run(For::Cluster, false)?;
        step("kubernetes programs", || {
            directory = Some(programs(&wanted)?);
            Ok(())
        })?;
    }
    process::run(process::cargo().args(["build", "--locked", "--quiet", "--package", "kubelab", "--bins"]))?;
    let kubelab = built().join("kubelab");
    let mut command = if asks_for_help {
        std::process::Command::new(&kubelab)
    } else {
        setup::as_root(&kubelab.to_string_lossy())?
    };
    command.args(arguments).env("PATH", path_with_tools());
    if let Some(directory) = directory {
        command.env(kubernetes::VARIABLE, directory);
    }
    // In the place of this process, so that the shell waits for what it does after a Ctrl-C, and gets its exit code.
    Err(command.exec()).with_context(|| format!("start {}", kubelab.display()))
}

fn programs(wanted: &Wanted) -> Result<PathBuf> {
    match kubernetes::obtain(wanted.set, wanted.version)? {
        Obtained::Ready(directory) => Ok(directory),
        Obtained::Unavailable(why) => bail!("{why}"),
    }
}

/// Reads `--light` and `--version`, in each spelling that the command line allows.
fn wanted(arguments: &[OsString]) -> Result<Wanted> {
    let mut wanted = Wanted { set: Set::Full, version: None };
    let mut rest = arguments.iter().map(OsString::as_os_str);
    while let Some(argument) = rest.next().and_then(OsStr::to_str) {
        if argument == "--" {
            break;
        } else if argument == "--light" {
            wanted.set = Set::Light;
        } else if argument == "--version" {
            let value =
                rest.next().and_then(OsStr::to_str).context("--version needs a value, such as 1.36")?;
            wanted.version = Some(value.parse()?);
        } else if let Some(value) = argument.strip_prefix("--version=") {
            wanted.version = Some(value.parse()?);
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_of(line: &str) -> Result<Wanted> {
        wanted(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_decides_about_programs_is_read() {
        assert_eq!(wanted_of("--nodes 3 --name a").unwrap(), Wanted { set: Set::Full, version: None });
        assert_eq!(
            wanted_of("--light --version oldest --mode nftables").unwrap(),
            Wanted { set: Set::Light, version: Some(Asked::Oldest) }
        );
        assert_eq!(wanted_of("--version=v1.36").unwrap().version, Some(Asked::Minor(36)));
        assert_eq!(wanted_of("-- --light").unwrap().set, Set::Full);
        assert!(wanted_of("--version").is_err());
        assert!(wanted_of("--version 9").is_err());
    }
}

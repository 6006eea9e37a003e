//! The lab as a program: the demo, and a cluster with a fault to ask own questions of.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

/// A small cluster's network in namespaces, with faults, agents and a collector.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Break a Service three times and ask why.
    Demo {
        /// Leave everything running until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Bring up one story and leave it running until Ctrl-C.
    Up {
        /// Manifest files beside cluster.yaml: `selector.yaml`, `near-miss.yaml` …
        #[arg(required = true, value_name = "STORY")]
        stories: Vec<PathBuf>,
    },
    /// Remove what labs left behind whose owner was killed.
    Sweep,
}

fn main() -> ExitCode {
    match perform(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<()> {
    ensure!(
        nix::unistd::Uid::effective().is_root(),
        "network namespaces and BPF need root: run this through sudo, or use `cargo xtask demo`, which does"
    );
    match command {
        Command::Demo { keep } => e2e::demo::run(keep),
        Command::Up { stories } => e2e::demo::up(&stories),
        Command::Sweep => {
            let removed = netlab::sweep()?;
            println!("{} namespaces removed", removed.len());
            for name in removed {
                println!("  {name}");
            }
            Ok(())
        }
    }
}

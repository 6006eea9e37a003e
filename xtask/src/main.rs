//! The project's tasks, `cargo xtask …`: what a contributor types, and exactly what CI runs.
//!
//! Holds no product code; everything here drives cargo, the product's binaries and the system's package manager.

#![forbid(unsafe_code)]

mod bench;
mod bpf;
mod ci;
mod cluster;
mod codegen;
mod demo;
mod fuzz;
mod kubernetes;
mod new_cause;
mod process;
mod setup;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the why-dropped project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the demo and the tests need, saying what and why.
    Setup {
        /// List what is missing and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Break a small cluster three times and ask why, in under a minute (needs root).
    Demo {
        /// Leave the lab, the agents and the collector running until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Run a real Kubernetes in namespaces of this machine (needs root, and Go the first time).
    #[command(after_help = cluster::HELP, arg_required_else_help = true)]
    Cluster {
        /// A command of `kubelab` and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        arguments: Vec<OsString>,
    },
    /// Run the tests, all of them or one tier.
    Test {
        /// Only this tier, 0 to 6 (CONTRIBUTING.md says what each needs).
        #[arg(long, value_name = "N")]
        tier: Option<u8>,
        /// Include what takes long: more property cases, fuzzing, clusters of the oldest Kubernetes (built first if need
        /// be).
        #[arg(long)]
        long: bool,
    },
    /// Feed hostile input to everything that reads a node's rules.
    Fuzz {
        /// Only this target, a folder of agent/fuzz/seeds.
        target: Option<String>,
        /// How long, for each target.
        #[arg(long, value_name = "N", default_value_t = fuzz::LONG.as_secs())]
        seconds: u64,
    },
    /// Measure, and print figures to compare with docs/benchmarks.md.
    Bench {
        /// Only benchmarks whose name contains this.
        filter: Option<String>,
    },
    /// Everything CI checks: format, lints, tidy, licences, docs, generated files, tests.
    Ci,
    /// Rebuild the generated and committed files: BPF object, wire code, cause manual.
    Codegen {
        /// Compare instead of writing, and fail on a difference.
        #[arg(long)]
        check: bool,
    },
    /// Check layering, file sizes, documentation and wording rules.
    Tidy,
    /// Start a new cause: its file with documentation, logic and tests to fill in.
    NewCause {
        /// Its slug, in kebab case: `selector-matches-nothing`.
        name: String,
        /// The letter of its group: D name, S Service, E endpoints, N policy, K kube-proxy, C conntrack, P pod, H node, I IPVS.
        #[arg(long, default_value_t = 'H')]
        group: char,
    },
}

fn main() -> ExitCode {
    match perform(Args::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    let done = match task {
        Task::Cluster { arguments } => return cluster::run(&arguments),
        Task::Setup { dry_run } => setup::run(setup::For::All, dry_run),
        Task::Demo { keep } => demo::run(keep),
        Task::Test { tier, long } => test::run(tier, long),
        Task::Fuzz { target, seconds } => fuzz::run(target.as_deref(), Duration::from_secs(seconds)),
        Task::Bench { filter } => bench::run(filter.as_deref()),
        Task::Ci => ci::run(),
        Task::Codegen { check } => codegen::run(check),
        Task::Tidy => tidy::run(),
        Task::NewCause { name, group } => new_cause::run(&name, group),
    };
    done.map(|()| ExitCode::SUCCESS)
}

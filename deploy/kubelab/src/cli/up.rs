//! `kubelab up`: what it says while a cluster is being made and when it is.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{FAILED, Up, status};
use crate::launch::{self, Interrupted, Launched, Told, launch};
use crate::place::Record;
use crate::spec::Spec;

/// What an owned cluster's command says when it is ready.
pub const READY: &str = "ready";
/// What shells add a signal's number to.
const SIGNALLED: u8 = 128;

pub fn up(arguments: Up) -> Result<ExitCode> {
    let name = arguments.which.name;
    let mut spec = if arguments.light { Spec::light(name) } else { Spec::full(name) };
    spec.mode = arguments.mode;
    spec.nodes = arguments.nodes;
    spec.dual_stack = arguments.dual_stack;
    spec.policies = arguments.policies;
    spec.owned = arguments.owned;
    spec.node_cidr = arguments.node_cidr.unwrap_or(spec.node_cidr);
    spec.pod_cidr = arguments.pod_cidr.unwrap_or(spec.pod_cidr);
    spec.service_cidr = arguments.service_cidr.unwrap_or(spec.service_cidr);
    spec.programs = std::env::var_os("WHY_DROPPED_KUBERNETES").map(PathBuf::from);
    launch::check(&spec, arguments.version.as_deref())?;
    let mut progress = Progress::new();
    let made = launch(&spec, |told| progress.told(&told));
    progress.end();
    let kept = match made {
        Ok(launched) if spec.owned => own(launched),
        Ok(launched) => {
            tell(&launched.record);
            Ok(())
        }
        Err(error) => Err(error),
    };
    Ok(kept.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let signal =
        error.downcast_ref::<Interrupted>().and_then(|Interrupted(signal)| u8::try_from(*signal).ok());
    ExitCode::from(signal.map_or(FAILED, |signal| SIGNALLED + signal))
}

/// Keeps the cluster for as long as the owner keeps this process's standard input open.
fn own(launched: Launched) -> Result<()> {
    println!("{READY}");
    std::io::stdout().flush().context("say that it is ready")?;
    launched.keep_for_owner()
}

fn tell(record: &Record) {
    eprintln!("\n{}", status::summary(record));
    for node in &record.nodes {
        eprintln!("  {:<8} {}", node.name, node.address);
    }
    let name = &record.spec.name;
    eprintln!("\n    eval \"$(cargo xtask cluster env --name {name})\"");
    eprintln!("    kubectl get nodes,pods,services -A");
    eprintln!("    cargo xtask cluster down --name {name}");
}

/// Each step with the time at its end; on a terminal also the one that goes on.
struct Progress {
    terminal: bool,
    begun: Instant,
    step: Option<String>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), begun: Instant::now(), step: None }
    }

    fn told(&mut self, told: &Told<'_>) {
        match told {
            Told::Begun(step) => {
                self.step = Some((*step).to_owned());
                self.draw();
            }
            Told::Waiting => self.draw(),
            Told::Done(step, seconds) => {
                self.end();
                eprintln!("{seconds:5.1} s  {step}");
            }
        }
    }

    /// Over the line of before; what is longer than the line is nobody's step.
    fn draw(&self) {
        if let (true, Some(step)) = (self.terminal, &self.step) {
            eprint!("\r{:5.1} s  {step} …", self.begun.elapsed().as_secs_f64());
        }
    }

    fn end(&mut self) {
        if self.step.take().is_some() && self.terminal {
            // "Erase in line" of ECMA-48, which every terminal has that understands a carriage return.
            eprint!("\r\x1b[K");
        }
    }
}

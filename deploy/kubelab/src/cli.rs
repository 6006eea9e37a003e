//! The command line: `kubelab up`, `down`, `status`, `env`, `shell`, `logs`, `load`,
//! `fault`.
//!
//! Exit codes are those of the product's commands: 0 done and nothing wrong, 1 something was tried and did not work or is
//! not as it should be, 2 the command itself cannot be done as it was given.

mod load;
mod reach;
mod status;
mod up;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;
use tracing_subscriber::EnvFilter;

use crate::fault::command;
use crate::place::{Place, sweep};
use crate::spec::{Enforcement, ProxyMode};
use crate::{full, init, run};

pub use reach::netns_path;
pub use up::READY;

/// Something was tried and did not work.
pub(crate) const FAILED: u8 = 1;
/// The command cannot be done as it was given.
const USAGE: u8 = 2;

/// A real Kubernetes in namespaces of this machine, without a container engine.
#[derive(Parser)]
#[command(name = "kubelab", bin_name = "cargo xtask cluster", version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Make a cluster and leave it running.
    Up(Up),
    /// End a cluster and remove everything of it.
    Down {
        #[command(flatten)]
        which: Which,
        /// All clusters, and what is left of dead ones.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Tell what runs, and how it is. Removes what is left of clusters that crashed.
    Status {
        /// Only of this cluster.
        #[arg(long)]
        name: Option<String>,
    },
    /// Print lines for a shell: KUBECONFIG, and how to enter nodes and pods. Use: eval "$(cargo xtask cluster env)".
    Env {
        #[command(flatten)]
        which: Which,
    },
    /// Enter the network namespace of a node or a pod.
    Shell {
        #[command(flatten)]
        which: Which,
        /// `node-1`, or `namespace/pod`.
        target: String,
        /// A command instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print the log of a component, also of a cluster that crashed.
    Logs {
        #[command(flatten)]
        which: Which,
        /// `kube-apiserver`, `kube-proxy@node-1` …; without it, what there is.
        component: Option<String>,
        /// Go on as it grows.
        #[arg(short, long, requires = "component")]
        follow: bool,
    },
    /// Create or change objects from files or directories; in a light cluster, what a pod's status says is followed.
    Load {
        #[command(flatten)]
        which: Which,
        /// YAML or JSON files, or directories of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    Fault(command::Arguments),
    /// Import archives of images, as `docker save` writes them, on every node of a full cluster.
    LoadImage {
        #[command(flatten)]
        which: Which,
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    #[command(hide = true)]
    Init {
        name: String,
    },
    #[command(hide = true)]
    Run {
        name: String,
    },
    #[command(hide = true)]
    Machine {
        name: String,
        node: String,
        netns: PathBuf,
    },
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        after: Option<PathBuf>,
        name: String,
        node: String,
        first: u32,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Which cluster.
#[derive(Args)]
struct Which {
    /// The cluster's name.
    #[arg(long, default_value = "dev")]
    name: String,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    which: Which,
    /// Pods are network namespaces with real listeners, without kubelets and containers.
    #[arg(long)]
    light: bool,
    /// How kube-proxy serves Services.
    #[arg(long, value_enum, default_value = "iptables")]
    mode: ProxyMode,
    /// How many nodes.
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// The Kubernetes release: v1.36.3, 1.36, newest, oldest. Which programs that means is decided by the caller.
    #[arg(long)]
    version: Option<String>,
    /// IPv6 beside IPv4.
    #[arg(long)]
    dual_stack: bool,
    /// Which engine NetworkPolicies are programmed like, by a stand-in.
    #[arg(long, value_enum, default_value = "kube-router")]
    policies: Enforcement,
    /// The nodes' addresses.
    #[arg(long)]
    node_cidr: Option<Ipv4Net>,
    /// The pods' addresses.
    #[arg(long)]
    pod_cidr: Option<Ipv4Net>,
    /// The Services' addresses.
    #[arg(long)]
    service_cidr: Option<Ipv4Net>,
    /// Stay, say `ready` on standard output, and end the cluster when standard input ends: for tests.
    #[arg(long)]
    owned: bool,
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

impl Subcommands {
    /// Whether it is what a cluster starts itself by.
    const fn is_own(&self) -> bool {
        matches!(self, Self::Init { .. } | Self::Run { .. } | Self::Machine { .. } | Self::Enter { .. })
    }
}

fn perform(command: Subcommands) -> Result<ExitCode> {
    ensure!(
        nix::unistd::Uid::effective().is_root(),
        "clusters are made of namespaces, which need root: run this through sudo, or `cargo xtask cluster`, which does"
    );
    // The log of a crashed cluster is what somebody may be about to read, and a cluster's own processes have no time to
    // lose and nothing to do with others.
    if !matches!(command, Subcommands::Logs { .. }) && !command.is_own() {
        for (dead, words) in sweep()? {
            eprintln!("removed what was left of cluster `{dead}`, whose processes were gone");
            if !words.trim().is_empty() {
                eprintln!("the end of its log:\n{words}");
            }
        }
    }
    match command {
        Subcommands::Up(arguments) => return up::up(arguments),
        Subcommands::Down { all: true, .. } => {
            for place in Place::all()? {
                down(place.name())?;
            }
        }
        Subcommands::Down { which, .. } => down(&which.name)?,
        Subcommands::Status { name } => return status::status(name.as_deref()),
        Subcommands::Env { which } => reach::env(&which.name)?,
        Subcommands::Shell { which, target, command } => reach::shell(&which.name, &target, &command)?,
        Subcommands::Logs { which, component, follow } => {
            reach::logs(&which.name, component.as_deref(), follow)?;
        }
        Subcommands::Load { which, paths } => load::load(&which.name, &paths)?,
        Subcommands::Fault(arguments) => return command::run(&arguments),
        Subcommands::LoadImage { which, archives } => load::load_images(&which.name, &archives)?,
        Subcommands::Init { name } => return init::run(&Place::of(&name)?),
        Subcommands::Machine { name, node, netns } => {
            match full::run_machine(&Place::of(&name)?, &node, &netns)? {}
        }
        Subcommands::Enter { after, name, node, first, program, arguments } => {
            match full::enter(&Place::of(&name)?, &node, first, after.as_deref(), &program, &arguments)? {}
        }
        Subcommands::Run { name } => {
            let filter =
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .init();
            run::run(&Place::of(&name)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an answer. A reader that goes away, such as `head`, has seen enough.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("write to standard output"),
    }
}

/// That there is none is what was asked for, so it is no error; a misspelt name is seen by the list of what runs.
fn down(name: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    if Place::of(name)?.end()? {
        eprintln!("cluster `{name}` is gone after {:.1} s", begun.elapsed().as_secs_f64());
    } else {
        eprintln!("there is no cluster `{name}` (running: {})", Place::living_names()?);
    }
    Ok(())
}

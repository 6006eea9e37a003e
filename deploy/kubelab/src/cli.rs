//! The command line: `kubelab up`, `down`, `status`, `env`, `shell`, `load`, `fault`.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;
use tracing_subscriber::EnvFilter;

use crate::cluster::Cluster;
use crate::control::{self, Request};
use crate::launch::launch;
use crate::place::{Place, Record, sweep};
use crate::spec::{Enforcement, Kind, ProxyMode, Spec};
use crate::{init, run};

/// What an owned cluster's command says when it is ready.
pub const READY: &str = "ready";

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
    /// Tell what runs.
    Status,
    /// Print lines for a shell: KUBECONFIG, and how to enter nodes. Use: eval "$(cargo xtask cluster env)".
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
    /// Create or change objects from files or directories; in a light cluster, what a pod's status says is followed.
    Load {
        #[command(flatten)]
        which: Which,
        /// YAML or JSON files, or directories of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    #[command(hide = true)]
    Init { name: String },
    #[command(hide = true)]
    Run { name: String },
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
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Subcommands) -> Result<ExitCode> {
    ensure!(
        nix::unistd::Uid::effective().is_root(),
        "clusters are made of namespaces, which need root: run this through sudo, or `cargo xtask cluster`, which does"
    );
    match command {
        Subcommands::Up(arguments) => up(arguments)?,
        Subcommands::Down { all: true, .. } => {
            for place in Place::all()? {
                down(place.name())?;
            }
        }
        Subcommands::Down { which, .. } => down(&which.name)?,
        Subcommands::Status => status()?,
        Subcommands::Env { which } => env(&which.name)?,
        Subcommands::Shell { which, target, command } => shell(&which.name, &target, &command)?,
        Subcommands::Load { which, paths } => load(&which.name, &paths)?,
        Subcommands::Init { name } => return init::run(&Place::of(&name)?),
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

fn up(arguments: Up) -> Result<()> {
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
    let record = launch(&spec, |step, seconds| eprintln!("{seconds:5.1} s  {step}"))?;
    if let Some(asked) = arguments.version
        && asked.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit())
    {
        let told = record.version.trim_start_matches('v');
        let asked = asked.trim_start_matches('v');
        ensure!(
            told == asked || told.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.')),
            "the programs found are {told}, not {asked}: use `cargo xtask cluster up --version {asked}`"
        );
    }
    if spec.owned {
        return own(&spec.name);
    }
    eprintln!("\n{}", describe(&record));
    eprintln!(
        "\n    eval \"$(cargo xtask cluster env --name {0})\"\n    kubectl get nodes,pods,services -A\n    cargo xtask cluster down --name {0}",
        spec.name
    );
    Ok(())
}

/// Keeps the cluster for as long as the owner keeps this process's standard input open.
fn own(name: &str) -> Result<()> {
    println!("{READY}");
    std::io::stdout().flush().context("say that it is ready")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).context("wait for the owner")?;
    Place::of(name)?.end().map(drop)
}

fn down(name: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    if Place::of(name)?.end()? {
        eprintln!("cluster `{name}` is gone after {:.1} s", begun.elapsed().as_secs_f64());
    } else {
        eprintln!("there is no cluster `{name}`");
    }
    Ok(())
}

fn status() -> Result<()> {
    for dead in sweep()? {
        eprintln!("removed what was left of cluster `{dead}`, whose processes are gone");
    }
    let mut out = std::io::stdout().lock();
    let places = Place::all()?;
    if places.is_empty() {
        writeln!(out, "no cluster runs; `cargo xtask cluster up` makes one")?;
    }
    for place in places {
        let record = place.record()?;
        writeln!(out, "{}", describe(&record))?;
        for (component, state) in control::ask(&place, &Request::Status).unwrap_or_default() {
            writeln!(out, "  {component:<28} {state:?}")?;
        }
    }
    Ok(())
}

fn describe(record: &Record) -> String {
    let kind = match record.spec.kind {
        Kind::Light => "light",
        Kind::Full => "full",
    };
    let nodes: Vec<String> =
        record.nodes.iter().map(|node| format!("{} {}", node.name, node.address)).collect();
    let state =
        if record.ready { format!("ready after {:.1} s", record.took) } else { "starting".to_owned() };
    format!(
        "cluster `{}`: {kind}, Kubernetes {}, {:?} mode, {state}; {}",
        record.spec.name,
        record.version,
        record.spec.mode,
        nodes.join(", ")
    )
}

fn env(name: &str) -> Result<()> {
    let place = Place::of(name)?;
    let record = place.living()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "export KUBECONFIG={}", place.kubeconfig().display())?;
    if let Some(programs) = &record.spec.programs {
        writeln!(out, "export PATH={}:$PATH", programs.display())?;
    }
    for node in &record.nodes {
        let netns = netns_path(&record, &node.name);
        writeln!(out, "alias {}='nsenter --net={} --'", node.name, netns.display())?;
    }
    Ok(())
}

/// Where others than the cluster's own processes find one of its namespaces.
pub fn netns_path(record: &Record, name: &str) -> PathBuf {
    Path::new("/proc")
        .join(record.pid.to_string())
        .join("root/run/netns")
        .join(format!("{}{name}", record.prefix))
}

fn shell(name: &str, target: &str, command: &[String]) -> Result<()> {
    let record = Place::of(name)?.living()?;
    let path = netns_path(&record, &target.replacen('/', ".", 1));
    ensure!(
        path.exists(),
        "cluster `{name}` has no node or pod `{target}`; nodes: {}",
        record.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    let mut run = Command::new("nsenter");
    run.arg(format!("--net={}", path.display())).arg("--");
    if command.is_empty() {
        run.arg(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
    } else {
        run.args(command);
    }
    Err(run.exec()).context("start nsenter")
}

fn load(name: &str, paths: &[PathBuf]) -> Result<()> {
    let cluster = Cluster::attach(name)?;
    for path in files(paths)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let applied = cluster.load(&text).with_context(|| format!("load {}", path.display()))?;
        for object in applied {
            println!("{object} applied");
        }
    }
    Ok(())
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
            let mut found: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| {
                    path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
                })
                .collect();
            found.sort();
            ensure!(!found.is_empty(), "no .yaml, .yml or .json file in {}", path.display());
            all.extend(found);
        } else if path.exists() {
            all.push(path.clone());
        } else {
            bail!("{} does not exist", path.display());
        }
    }
    Ok(all)
}

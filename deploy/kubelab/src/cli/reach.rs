//! Reaching into a cluster: `kubelab env`, `shell`, `logs`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::print;
use anyhow::{Context, Result, bail};
use model::Key;

use crate::full;
use crate::place::{Place, Record};
use crate::spec::Kind;

/// Where others than the cluster's own processes find one of its namespaces.
pub fn netns_path(record: &Record, name: &str) -> PathBuf {
    netns_directory(record).join(format!("{}{name}", record.prefix))
}

/// Lines for a shell. What is not `export` is a comment: for reading, not for the shell.
pub fn env(name: &str) -> Result<()> {
    let place = Place::of(name)?;
    let record = place.living()?;
    print(&env_lines(&place, &record))
}

fn env_lines(place: &Place, record: &Record) -> String {
    let name = place.name();
    let mut lines = vec![format!("export KUBECONFIG={}", place.kubeconfig().display())];
    if let Some(programs) = &record.spec.programs {
        // Once, however often it is evaluated.
        let programs = programs.display();
        lines.push(format!(
            "case \":$PATH:\" in *\":{programs}:\"*) ;; *) export PATH=\"{programs}:$PATH\" ;; esac"
        ));
    }
    lines.push(String::new());
    lines.push("# Use:      eval \"$(cargo xtask cluster env --name NAME)\"".replace("NAME", name));
    lines.push(format!(
        "# Undo:     unset KUBECONFIG; end the cluster: cargo xtask cluster down --name {name}"
    ));
    lines.push(format!(
        "# Objects:  kubectl get pods,services -A; cargo xtask cluster load --name {name} FILE…"
    ));
    for node in &record.nodes {
        lines.push(match record.spec.kind {
            Kind::Light => {
                format!("# {:<8}  nsenter --net={} bash", node.name, netns_path(record, &node.name).display())
            }
            Kind::Full => {
                format!("# {:<8}  cargo xtask cluster shell --name {name} {}", node.name, node.name)
            }
        });
    }
    lines.push(format!("# A pod:    cargo xtask cluster shell --name {name} NAMESPACE/POD [COMMAND…]"));
    lines.push(format!("# Logs:     {}", place.logs().display()));
    lines.join("\n") + "\n"
}

/// Becomes a shell, or the command, in the network namespace of a node or pod.
pub fn shell(name: &str, target: &str, command: &[String]) -> Result<()> {
    let place = Place::of(name)?;
    let record = place.living()?;
    let mut run = entering(&place, &record, target)?;
    if command.is_empty() {
        run.arg(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
    } else {
        run.args(command);
    }
    Err(run.exec()).context("start nsenter (package util-linux)")
}

/// The command that enters a node or a pod: with the machine's files, except for nodes of full clusters, which have more
/// of their own than a network.
fn entering(place: &Place, record: &Record, target: &str) -> Result<Command> {
    let full = record.spec.kind == Kind::Full;
    if full && record.nodes.iter().any(|node| node.name == target) {
        return full::on_node(place, record, target);
    }
    let path = match target.split_once('/') {
        Some((namespace, pod)) if full => {
            full::pod(place, record, &Key::new(namespace, pod), None).map(|netns| netns.path().to_owned())
        }
        _ => Ok(netns_path(record, &target.replacen('/', ".", 1))),
    };
    let path = path.unwrap_or_default();
    if !path.exists() {
        let (nodes, pods) = targets(place, record);
        let pods = if pods.is_empty() { "none".to_owned() } else { pods.join(", ") };
        bail!(
            "cluster `{}` has no node or pod `{target}`; nodes: {}; pods: {pods}",
            place.name(),
            nodes.join(", ")
        );
    }
    let mut run = Command::new("nsenter");
    run.arg(format!("--net={}", path.display())).arg("--");
    Ok(run)
}

/// Prints a log from its beginning, or names the logs. A cluster that crashed has them until the next command removes it.
pub fn logs(name: &str, component: Option<&str>, follow: bool) -> Result<()> {
    let place = Place::of(name)?;
    let known = log_names(&place);
    if known.is_empty() {
        bail!("no cluster `{name}` runs or has left logs (running: {})", Place::living_names()?);
    }
    let Some(component) = component else {
        let lines = known.iter().map(|one| format!("{one:<28} {}\n", place.log(one).display()));
        return print(&lines.collect::<String>());
    };
    if !known.iter().any(|one| one == component) {
        bail!("cluster `{name}` has no log of `{component}`; there are: {}", known.join(", "));
    }
    let path = place.log(component);
    if follow {
        let mut tail = Command::new("tail");
        return Err(tail.args(["--lines=+1", "--follow", "--"]).arg(path).exec()).context("start tail");
    }
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    print(&String::from_utf8_lossy(&text))
}

fn log_names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.logs()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The nodes, and the pods that have a namespace, as one would name them.
fn targets(place: &Place, record: &Record) -> (Vec<String>, Vec<String>) {
    let nodes: Vec<String> = record.nodes.iter().map(|node| node.name.clone()).collect();
    if record.spec.kind == Kind::Full {
        let mut pods: Vec<String> =
            full::pods(place, record).unwrap_or_default().iter().map(Key::to_string).collect();
        pods.sort();
        return (nodes, pods);
    }
    let entries = fs::read_dir(netns_directory(record)).into_iter().flatten().flatten();
    let mut pods: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // A namespace's name has no dot (RFC 1123 label), a node's has none here.
            let (namespace, pod) = name.strip_prefix(&record.prefix)?.split_once('.')?;
            Some(format!("{namespace}/{pod}"))
        })
        .collect();
    pods.sort();
    (nodes, pods)
}

fn netns_directory(record: &Record) -> PathBuf {
    Path::new("/proc").join(record.pid.to_string()).join("root/run/netns")
}

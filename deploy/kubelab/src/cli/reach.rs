//! Reaching into a cluster: `kubelab env`, `shell`, `logs`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::print;
use anyhow::{Context, Result, bail};

use crate::place::{Place, Record};

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
        lines.push(format!(
            "# {:<8}  nsenter --net={} bash",
            node.name,
            netns_path(record, &node.name).display()
        ));
    }
    lines.push(format!("# A pod:    cargo xtask cluster shell --name {name} NAMESPACE/POD [COMMAND…]"));
    lines.push(format!("# Logs:     {}", place.logs().display()));
    lines.join("\n") + "\n"
}

/// Becomes a shell, or the command, in the network namespace of a node or pod.
pub fn shell(name: &str, target: &str, command: &[String]) -> Result<()> {
    let record = Place::of(name)?.living()?;
    let path = netns_path(&record, &target.replacen('/', ".", 1));
    if !path.exists() {
        let (nodes, pods) = targets(&record);
        let pods = if pods.is_empty() { "none".to_owned() } else { pods.join(", ") };
        bail!("cluster `{name}` has no node or pod `{target}`; nodes: {}; pods: {pods}", nodes.join(", "));
    }
    let mut run = Command::new("nsenter");
    run.arg(format!("--net={}", path.display())).arg("--");
    if command.is_empty() {
        run.arg(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
    } else {
        run.args(command);
    }
    Err(run.exec()).context("start nsenter (package util-linux)")
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
fn targets(record: &Record) -> (Vec<String>, Vec<String>) {
    let nodes = record.nodes.iter().map(|node| node.name.clone()).collect();
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

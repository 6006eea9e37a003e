//! Reaching nodes and pods of a full cluster from the machine.
//!
//! Their namespaces have names in no place that the machine sees, but every process leads to what it sees: the cluster's
//! first process to the cluster's /proc, and a node's first process there to the node's files.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use model::Key;
use netlab::Netns;

use super::pods::{self, Attached};
use super::{config, containers, machine};
use crate::place::{Place, Record};
use crate::programs::Programs;

/// nsenter's options for the namespaces of a node, and the names of their files.
const NAMESPACES: [(&str, &str); 6] =
    [("cgroup", "cgroup"), ("ipc", "ipc"), ("uts", "uts"), ("net", "net"), ("pid", "pid"), ("mount", "mnt")];

/// A command that starts a program on a node as its own programs are started, except for control groups, which stay the
/// caller's.
pub fn on_node(place: &Place, record: &Record, node: &str) -> Result<Command> {
    let process = first_process(place, record, node)?;
    let mut command = Command::new("nsenter");
    for (option, file) in NAMESPACES {
        command.arg(format!("--{option}={}", process.join("ns").join(file).display()));
    }
    command.arg("--");
    Ok(command)
}

/// The network namespace of the pod with this name, and this address if one is given.
pub fn pod(place: &Place, record: &Record, key: &Key, address: Option<IpAddr>) -> Result<Netns> {
    for plan in &record.nodes {
        let is_it = |pod: &Attached| {
            pod.key == *key && address.is_none_or(|address| pod.addresses.contains(&address))
        };
        if let Some(found) = pods::all(place, &plan.name)?.into_iter().find(is_it) {
            let root = first_process(place, record, &plan.name)?.join("root");
            return Ok(Netns::at(below(&root, &found.netns)));
        }
    }
    let with = address.map(|address| format!(" with address {address}")).unwrap_or_default();
    anyhow::bail!("pod {key}{with} is not attached to the network of any node")
}

/// Imports an archive of images, as `docker save` writes it, on every node.
pub fn load_image(place: &Place, record: &Record, archive: &Path) -> Result<()> {
    let ctr = Programs::new(record.spec.programs.as_deref()).find("ctr")?;
    for plan in &record.nodes {
        let socket = first_process(place, record, &plan.name)?.join("root").join(config::CONTAINERD);
        containers::import(&ctr, &socket, archive).with_context(|| format!("node {}", plan.name))?;
    }
    Ok(())
}

/// All pods with a network namespace of their own.
pub fn pods(place: &Place, record: &Record) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    for plan in &record.nodes {
        keys.extend(pods::all(place, &plan.name)?.into_iter().map(|pod| pod.key));
    }
    Ok(keys)
}

/// A file below /run of a node. /var/run is a link to it, which from outside would lead to the machine's.
fn below(root: &Path, file: &Path) -> PathBuf {
    let relative = file.strip_prefix("/var").ok().filter(|rest| rest.starts_with("run"));
    root.join(relative.unwrap_or_else(|| file.strip_prefix("/").unwrap_or(file)))
}

/// Its directory in the cluster's /proc.
fn first_process(place: &Place, record: &Record, node: &str) -> Result<PathBuf> {
    let number = machine::number(place, node).with_context(|| format!("{node} is not up"))?;
    let process = Path::new("/proc").join(record.pid.to_string()).join("root/proc").join(number.to_string());
    ensure!(process.exists(), "{node} is switched off");
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_file_is_found_without_following_links() {
        let of = |file: &str| below(Path::new("/proc/7/root"), Path::new(file));
        assert_eq!(of("/var/run/netns/cni-1"), Path::new("/proc/7/root/run/netns/cni-1"));
        assert_eq!(of("/run/netns/cni-1"), Path::new("/proc/7/root/run/netns/cni-1"));
        assert_eq!(of("/var/runner/x"), Path::new("/proc/7/root/var/runner/x"));
    }
}

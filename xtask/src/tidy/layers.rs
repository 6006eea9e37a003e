//! The layering table: which crate may use which, and which may do no I/O at all.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{cargo, output};

/// Crate, and the workspace crates it may name as (non-development) dependencies. ARCHITECTURE.md draws the same table.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("abi", &[]),
    ("proto", &["model"]),
    ("snapshot", &["model"]),
    ("rules", &["model"]),
    ("policy", &["model"]),
    ("objects", &["model"]),
    ("diagnose", &["model", "policy", "objects"]),
    ("kernel", &["model", "snapshot", "rules"]),
    ("trace", &["model", "abi"]),
    ("cluster", &["model", "objects", "policy"]),
    ("store", &["model"]),
    ("agent", &["kernel", "trace", "rules", "snapshot", "proto", "model"]),
    ("collector", &["cluster", "store", "objects", "policy", "diagnose", "proto", "model"]),
    ("cli", &["proto", "diagnose", "policy", "objects", "rules", "snapshot", "cluster", "model"]),
    ("netlab", &["model"]),
    ("kubelab", &["netlab", "model", "cluster"]),
    ("e2e", &["netlab", "kubelab", "model", "objects"]),
    ("xtask", &[]),
];

/// Crates that compute and touch nothing: values in, values out.
const PURE: &[&str] = &["model", "abi", "proto", "snapshot", "rules", "policy", "objects", "diagnose"];

/// What must not appear anywhere below a pure crate.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "kube",
    "aya",
    "netlink-sys",
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-packet-netfilter",
    "nix",
    "socket2",
    "mio",
];

/// The generated services name types of tonic's `codegen` feature, which brings tokio without any feature that does I/O.
const EXCEPTIONS: &[(&str, &str)] = &[("proto", "tokio")];

pub(super) fn check() -> Result<Vec<String>> {
    let text = output(cargo().args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo metadata")?;
    let graph = Graph::new(&metadata)?;
    let mut breaches = Vec::new();
    let table: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for member in &graph.members {
        let Some(allowed) = table.get(member.as_str()) else {
            breaches.push(format!(
                "crate `{member}` has no place in the layering table (xtask/src/tidy/layers.rs)"
            ));
            continue;
        };
        for dependency in graph.direct(member).filter(|name| graph.members.contains(*name)) {
            if !allowed.contains(&dependency) {
                breaches
                    .push(format!("`{member}` uses `{dependency}`, which the layering table does not allow"));
            }
        }
    }
    for pure in PURE {
        for dependency in below(pure)? {
            if IMPURE.contains(&dependency.as_str()) && !EXCEPTIONS.contains(&(*pure, dependency.as_str())) {
                breaches.push(format!("`{pure}` must do no I/O, but `{dependency}` is below it"));
            }
        }
    }
    Ok(breaches)
}

/// Everything below a crate when it is built alone: the metadata of the whole workspace would mix in the features that
/// other members ask for.
fn below(package: &str) -> Result<BTreeSet<String>> {
    let tree = output(cargo().args(["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none"]))?;
    Ok(tree.lines().skip(1).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The resolved dependency graph without development edges.
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Value) -> Result<Self> {
        let names: BTreeMap<&str, &str> = array(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let name = |id: &Value| id.as_str().and_then(|id| names.get(id)).map(|name| (*name).to_owned());
        let members = array(&metadata["workspace_members"]).filter_map(name).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in array(&metadata["resolve"]["nodes"]) {
            let from = name(&node["id"]).context("a resolved package without a name")?;
            let to = array(&node["deps"])
                .filter(|dep| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()));
            edges.entry(from).or_default().extend(to.filter_map(|dep| name(&dep["pkg"])));
        }
        Ok(Self { members, edges })
    }

    fn direct<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a str> {
        self.edges.get(from).into_iter().flatten().map(String::as_str)
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

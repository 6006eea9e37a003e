//! What the nodes' kernels hold that a fault may change: rules, routes, neighbours, links, sysctls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kubelab::Cluster;
use netlab::Netns;
use serde_json::Value;

/// Counts what passes.
const RESTLESS: &[&str] = &["net/netfilter/nf_conntrack_count"];
/// Tables that iptables makes.
const IPTABLES: &[&str] = &[
    "table ip raw",
    "table ip mangle",
    "table ip nat",
    "table ip filter",
    "table ip6 raw",
    "table ip6 mangle",
    "table ip6 nat",
    "table ip6 filter",
];

/// All nodes, each line with its node and what it is about.
pub struct Nodes(BTreeSet<String>);

impl Nodes {
    /// Looks at all nodes.
    pub fn look(cluster: &Cluster) -> Result<Self> {
        let mut lines = BTreeSet::new();
        for plan in &cluster.record().nodes {
            let netns = cluster.node(&plan.name)?;
            for (what, line) in node(&netns)? {
                lines.insert(format!("{} {what}: {line}", plan.name));
            }
        }
        Ok(Self(lines))
    }

    /// Looks when every node serves `default/kubernetes` and nothing of a world any more.
    pub fn look_without_worlds(cluster: &Cluster) -> Result<Self> {
        cluster.wait_for("the nodes serve default/kubernetes alone", |cluster| {
            let nodes = Self::look(cluster)?;
            for plan in &cluster.record().nodes {
                let mine = || nodes.0.iter().filter(|line| line.starts_with(&plan.name));
                ensure!(mine().any(|line| line.contains("6443")), "{} does not serve it", plan.name);
                // Chains have names of Services in nftables mode, and in the others rules have the server's port.
                let left = mine().find(|line| line.contains("fault-") || line.contains("8080"));
                ensure!(left.is_none(), "{} has {left:?}", plan.name);
            }
            Ok(nodes)
        })
    }

    /// What there is more and less now.
    pub fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        for line in now.0.difference(&self.0) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  is new   {line}");
        }
        for line in self.0.difference(&now.0) {
            let _ = writeln!(text, "  is gone  {line}");
        }
        text
    }
}

fn node(netns: &Netns) -> Result<Vec<(&'static str, String)>> {
    let mut all = Vec::new();
    all.extend(nft(&netns.run(&["nft", "--stateless", "list", "ruleset"])?));
    for tool in ["iptables-nft-save", "ip6tables-nft-save"] {
        all.extend(saved(&netns.run(&[tool])?).map(|line| ("rules", line)));
    }
    all.extend(legacy(netns)?);
    for (what, command) in [
        ("route", &["ip", "route", "show", "table", "all"][..]),
        ("route", &["ip", "-6", "route", "show", "table", "all"]),
        ("routing rule", &["ip", "rule", "show"]),
        ("neighbour", &["ip", "neighbour", "show", "nud", "permanent"]),
    ] {
        let lines = netns.run(command)?;
        let kept = lines.lines().filter(|line| !is_link_local_of_bridge(line));
        all.extend(kept.map(|line| (what, line.trim().to_owned())));
    }
    let links: Vec<Value> = serde_json::from_str(&netns.run(&["ip", "-json", "-details", "link", "show"])?)?;
    for link in links {
        let shown = format!("{} {} {} {}", link["ifname"], link["mtu"], link["operstate"], link["flags"]);
        all.push(("link", shown));
    }
    let mut sysctls = BTreeMap::new();
    netns.enter(|| below(Path::new("/proc/sys/net"), &mut sysctls))?;
    all.extend(sysctls.into_iter().map(|(name, value)| ("sysctl", format!("{name} = {value}"))));
    Ok(all)
}

/// Whether the kernel makes and forgets this route by itself. A bridge loses its link-local address when it goes down and
/// gets one when a pod next gives it a carrier (`addrconf_notify` in net/ipv6/addrconf.c), which no fault has to wait for.
fn is_link_local_of_bridge(route: &str) -> bool {
    route.contains("dev cni0") && (route.contains("fe80::") || route.contains("ff00::/8"))
}

/// Each line with its table, its chain or set, and how often it is there: the order within a chain is kube-proxy's
/// business, which writes Services in any.
///
/// Without the tables of iptables, which `nft` cannot always print, and without empty chains: kube-proxy removes those of
/// a Service with some later change.
fn nft(ruleset: &str) -> Vec<(&'static str, String)> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut path: Vec<&str> = Vec::new();
    for line in ruleset.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line == "}" {
            path.pop();
        } else if let Some(block) = line.strip_suffix('{').filter(|block| !block.contains('=')) {
            path.push(block.trim());
        } else if !path.first().is_some_and(|table| IPTABLES.contains(table)) {
            *counted.entry(format!("{}: {line}", path.join(", "))).or_default() += 1;
        }
    }
    counted.into_iter().map(|(line, times)| ("nft", format!("{line} ({times})"))).collect()
}

/// Rules and chains as iptables saves them, each with its table.
fn saved(text: &str) -> impl Iterator<Item = String> {
    let mut table = "";
    text.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let telling = line.starts_with("-A") || line.starts_with(':');
        // Behind a chain are its counters.
        telling.then(|| format!("{table} {}", line.split(" [").next().unwrap_or(line)))
    })
}

/// The same through the old interface. An empty table is none: nothing can remove it.
fn legacy(netns: &Netns) -> Result<Vec<(&'static str, String)>> {
    let tables = netns.enter(|| fs::read_to_string("/proc/thread-self/net/ip_tables_names"))?;
    // Where the module is not loaded there is no file, and reading through the tool would make the tables.
    if tables.unwrap_or_default().is_empty() {
        return Ok(Vec::new());
    }
    let text = netns.run(&["iptables-legacy-save"]).context("save the old tables")?;
    Ok(saved(&text).filter(|line| !line.ends_with(" ACCEPT")).map(|line| ("old rules", line)).collect())
}

fn below(directory: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            below(&path, all);
        } else if let Ok(value) = fs::read_to_string(&path)
            && let Ok(name) = path.strip_prefix("/proc/sys")
            && !RESTLESS.iter().any(|restless| name == Path::new(restless))
        {
            all.insert(name.display().to_string(), value.trim().to_owned());
        }
    }
}

//! Nodes: their objects in a light cluster, and a kube-proxy on each.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netlab::{Lab, Netns};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::api::{Objects, Target};
use crate::components::{Components, Recipe, Site};
use crate::control_plane::{ControlPlane, option};
use crate::light::netfilter;
use crate::place::{Place, Record};
use crate::spec::{Kind, NodePlan, ProxyMode, Spec};

/// How long kube-proxy may take to write its first rules.
const SERVED: Duration = Duration::from_mins(1);
/// The programs that kube-proxy runs, which Debian's alternatives would choose otherwise.
const IPTABLES: [&str; 3] = ["iptables", "iptables-save", "iptables-restore"];
/// The first minor version with `nftables` mode (KEP-3866: alpha).
pub const NFTABLES_MINOR: u32 = 29;
/// The first with the mode on by default (KEP-3866: beta).
const NFTABLES_BY_DEFAULT: u32 = 31;

/// What nodes are started with.
pub struct Start<'a> {
    /// The cluster.
    pub spec: &'a Spec,
    /// What is known of it.
    pub record: &'a Record,
    /// The nodes' namespaces.
    pub lab: &'a Lab,
    /// The API server.
    pub objects: &'a Objects,
    /// Where requests are waited for.
    pub runtime: &'a Runtime,
    /// Keys and programs.
    pub plane: &'a ControlPlane<'a>,
}

/// Registers the nodes of a light cluster and starts every node's kube-proxy.
pub fn start(start: &Start<'_>, components: &Components) -> Result<()> {
    if start.spec.kind == Kind::Light {
        start.runtime.block_on(async {
            for plan in &start.record.nodes {
                register(start.objects, plan, &start.record.version).await?;
            }
            anyhow::Ok(())
        })?;
    }
    for plan in &start.record.nodes {
        let netns = &start.lab.node(&plan.name)?.netns;
        if start.spec.kind == Kind::Light {
            netfilter::write(netns, &start.plane.place.iptables(), minor(&start.record.version))?;
        }
        let mut recipe = kube_proxy(start, plan, netns)?;
        recipe.path.push(start.plane.place.iptables());
        components.start(&proxy_name(&plan.name), recipe)?;
    }
    Ok(())
}

/// The name of a node's kube-proxy among the components.
pub fn proxy_name(node: &str) -> String {
    format!("kube-proxy@{node}")
}

fn kube_proxy(start: &Start<'_>, plan: &NodePlan, netns: &Netns) -> Result<Recipe> {
    let api = format!("https://{}", start.plane.api);
    let (site, config) = match start.spec.kind {
        Kind::Light => (Site::Cluster(netns.clone()), start.plane.place.file("kubeconfigs/kube-proxy")),
        Kind::Full => (
            Site::Node { name: plan.name.clone(), after: None },
            start.plane.place.node(&plan.name).join("kube-proxy.kubeconfig"),
        ),
    };
    let identity = start.plane.pki.client("system:kube-proxy", None)?;
    start.plane.pki.kubeconfig_at(&config, "kube-proxy", &api, &identity)?;
    let mode = match start.spec.mode {
        ProxyMode::Iptables | ProxyMode::IptablesLegacy => "iptables",
        ProxyMode::Nftables => "nftables",
    };
    let mut flags = vec![
        option("kubeconfig", &config),
        format!("--hostname-override={}", plan.name).into(),
        format!("--proxy-mode={mode}").into(),
        format!("--cluster-cidr={}", start.spec.pod_cidrs().join(",")).into(),
        // These belong to the machine, and a network namespace of its own may not set them.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0".into(),
        "--conntrack-tcp-timeout-close-wait=0".into(),
        "--metrics-bind-address=127.0.0.1:10249".into(),
        "--healthz-bind-address=0.0.0.0:10256".into(),
        "--v=2".into(),
    ];
    if start.spec.mode == ProxyMode::Nftables && minor(&start.record.version) < NFTABLES_BY_DEFAULT {
        flags.push("--feature-gates=NFTablesProxyMode=true".into());
    }
    Ok(Recipe::new(site, start.plane.programs.find("kube-proxy")?, flags))
}

/// `v1.36.3` → 36.
pub fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

/// Makes a directory with `iptables` and its kin as one back-end's programs.
pub fn choose_iptables(mode: ProxyMode, place: &Place) -> Result<()> {
    let backend = if mode == ProxyMode::IptablesLegacy { "legacy" } else { "nft" };
    let directory = place.iptables();
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    for name in IPTABLES {
        for name in [name.to_owned(), name.replacen("ip", "ip6", 1)] {
            let (family, rest) = name.split_at(name.find("tables").unwrap_or_default() + "tables".len());
            let multi = PathBuf::from(format!("/usr/sbin/{family}-{backend}{rest}"));
            ensure!(multi.exists(), "{} is missing: install the package iptables", multi.display());
            let link = directory.join(&name);
            symlink(&multi, &link).with_context(|| format!("make {}", link.display()))?;
        }
    }
    Ok(())
}

async fn register(objects: &Objects, plan: &NodePlan, version: &str) -> Result<()> {
    let addresses = |kind: &str| -> Vec<Value> {
        let v6 = plan.address6.map(|address| json!({ "type": kind, "address": address }));
        std::iter::once(json!({ "type": kind, "address": plan.address })).chain(v6).collect()
    };
    let ranges: Vec<String> = std::iter::once(plan.pod_cidr.to_string())
        .chain(plan.pod_cidr6.map(|range| range.to_string()))
        .collect();
    let mut all = addresses("InternalIP");
    all.push(json!({ "type": "Hostname", "address": plan.name }));
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": plan.name, "labels": { "kubernetes.io/hostname": plan.name, "kubernetes.io/os": "linux" } },
        "spec": { "podCIDR": plan.pod_cidr, "podCIDRs": ranges },
    });
    objects.apply(&node).await?;
    // A new node is tainted as not ready (plugin/pkg/admission/nodetaint), and the controller that would take the taint
    // away does not run; nothing could be scheduled.
    objects.patch(&Target::of(&node)?, &json!({ "spec": { "taints": null } })).await?;
    let resources = json!({ "cpu": "64", "memory": "64Gi", "pods": "110", "ephemeral-storage": "64Gi" });
    let status = json!({ "status": {
        "addresses": all,
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "a lab's node: nothing renews this",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
        "nodeInfo": {
            "kubeletVersion": version, "kubeProxyVersion": version, "operatingSystem": "linux", "architecture": "amd64",
            "containerRuntimeVersion": "none://lab", "kernelVersion": "", "osImage": "lab", "machineID": "", "systemUUID": "",
            "bootID": "",
        },
    }});
    objects.patch_status("v1", "Node", None, &plan.name, &status).await
}

/// Waits until every node's kube-proxy says that it has written its rules (its `/healthz`, port 10256).
pub async fn wait_served(objects: &Objects, record: &Record, components: &Components) -> Result<()> {
    let _ = objects;
    let begun = Instant::now();
    for plan in &record.nodes {
        let netns = Netns::at(format!("/run/netns/{}{}", record.prefix, plan.name));
        loop {
            components.check()?;
            let seen = healthz(&netns);
            if seen.as_deref().is_ok_and(|answer| answer.contains(" 200 ")) {
                break;
            }
            let name = proxy_name(&plan.name);
            ensure!(
                begun.elapsed() < SERVED,
                "{name} is not healthy after {} s ({seen:?}); its log ends:\n{}",
                SERVED.as_secs(),
                components.tail(&name)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

fn healthz(netns: &Netns) -> Result<String> {
    use std::io::{Read, Write};
    netns.enter(|| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 10256));
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    })?
}

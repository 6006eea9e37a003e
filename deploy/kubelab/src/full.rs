//! Nodes of a full cluster: namespaces with a kubelet, containerd, runc and CNI plugins of their own, which take
//! themselves for machines.
//!
//! What a node has of its own: network, processes, mounts with the files below them ([`tree`]), host name, System V and
//! POSIX queues, control groups ([`cgroups`]), and those sysctls that kubelet would set for the machine. What it shares
//! with the machine and the other nodes: kernel, kernel modules, processors, memory, disk, clock, devices and all other
//! sysctls that belong to no namespace. It is no protection against the programs in it: they are root.
//!
//! Stand-ins: images are made of the machine's programs ([`images`]), and nothing outside the cluster answers.

mod cgroups;
mod config;
mod containers;
mod dns;
pub mod images;
mod machine;
mod mounts;
mod outside;
pub mod pods;
mod tree;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netlab::Lab;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::{Objects, Target};
use crate::components::{Components, Recipe, Site};
use crate::control_plane::{ControlPlane, option};
use crate::pki::Pki;
use crate::place::Place;
use crate::programs::Programs;
use crate::spec::{NodePlan, Spec};

pub use cgroups::check;
pub use config::plugins;
pub use machine::{command, enter, run as run_machine, spawn_in_process_namespace, wait_up};
pub use outside::{load_image, on_node, pod, pods};

/// How long containerd may take to listen.
const STARTED: Duration = Duration::from_secs(30);
/// How long kubelets and the name service may take to be ready on a busy machine.
const READY: Duration = Duration::from_mins(2);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The nodes, while they come up.
pub struct Nodes {
    common: Common,
    /// Until they have been waited for.
    containers: Option<JoinHandle<Result<()>>>,
}

/// What all nodes are started with.
#[derive(Clone)]
struct Common {
    spec: Spec,
    place: Place,
    programs: Programs,
    components: Arc<Components>,
    plans: Vec<NodePlan>,
}

/// The name of a node's first process among the components.
pub fn machine_name(node: &str) -> String {
    format!("machine@{node}")
}

/// The name of a node's container runtime among the components.
pub fn containerd_name(node: &str) -> String {
    format!("containerd@{node}")
}

/// The name of a node's kubelet among the components.
pub fn kubelet_name(node: &str) -> String {
    format!("kubelet@{node}")
}

impl Nodes {
    /// Switches the nodes on, starts containerd on them and has images imported meanwhile. Needs no API server.
    pub fn start(plane: &ControlPlane<'_>, lab: &Lab, components: &Arc<Components>) -> Result<Self> {
        let plans = plane.spec.node_plans();
        // Pods ask the API server, and it answers them by their own addresses.
        lab.underlay().ip(&plans.iter().map(ways_to_pods).collect::<String>())?;
        let common = Common {
            spec: plane.spec.clone(),
            place: plane.place.clone(),
            programs: plane.programs.clone(),
            components: Arc::clone(components),
            plans,
        };
        for plan in &common.plans {
            common.write_files(plan, plane.pki, plane.api)?;
            let recipe = machine::recipe(&common.place, &plan.name, &lab.node(&plan.name)?.netns);
            components.start(&machine_name(&plan.name), recipe)?;
        }
        let for_containers = common.clone();
        let containers = std::thread::spawn(move || containers::start(&for_containers));
        Ok(Self { common, containers: Some(containers) })
    }

    /// Waits for the images, since what is missing cannot be fetched, and starts the kubelets, which register themselves.
    pub fn start_kubelets(&mut self) -> Result<()> {
        if let Some(containers) = self.containers.take() {
            containers.join().unwrap_or_else(|_| bail!("the thread that imports images panicked"))?;
        }
        for plan in &self.common.plans {
            let own = self.common.place.node(&plan.name);
            let flags = [
                option("config", &own.join("kubelet.yaml")),
                option("kubeconfig", &own.join("kubelet.kubeconfig")),
                format!("--hostname-override={}", plan.name).into(),
                format!("--node-ip={}", config::node_ip(plan)).into(),
                // In the configuration from 1.27 on, and a flag in all versions.
                format!("--container-runtime-endpoint=unix:///{}", config::CONTAINERD).into(),
                "--v=2".into(),
            ];
            let mut recipe = self.common.recipe(plan, "kubelet", flags)?;
            let after = Some(Path::new("/").join(config::CONTAINERD));
            recipe.site = Site::Node { name: plan.name.clone(), after };
            self.common.components.start(&kubelet_name(&plan.name), recipe)?;
        }
        Ok(())
    }

    /// Deploys the name service.
    pub async fn start_names(&self, objects: &Objects) -> Result<()> {
        dns::apply(objects, &self.common.spec).await
    }

    /// Waits until every node is ready and has its range of addresses.
    pub async fn wait_ready(&self, objects: &Objects) -> Result<()> {
        for plan in &self.common.plans {
            self.common
                .wait_for(&format!("node {}", plan.name), async || {
                    let target = Target::new("v1", "Node", None, &plan.name);
                    let node = objects.get(&target).await?.context("it has not registered itself")?;
                    if node["spec"]["podCIDR"].is_null() {
                        // What the controller for it does elsewhere; here ranges are fixed.
                        objects
                            .patch(
                                &target,
                                &json!({ "spec": { "podCIDR": plan.pod_cidr, "podCIDRs": ranges(plan) } }),
                            )
                            .await?;
                    }
                    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
                    let ready = conditions.clone().find(|condition| condition["type"] == "Ready");
                    let ready = ready.context("it has not told whether it is ready")?;
                    ensure!(ready["status"] == "True", "its condition is {ready}");
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Waits until the name service answers.
    pub async fn wait_names(&self, objects: &Objects) -> Result<()> {
        self.common.wait_for("the name service", async || dns::ready(objects).await).await
    }
}

impl Common {
    fn write_files(&self, plan: &NodePlan, pki: &Pki, api: SocketAddr) -> Result<()> {
        let own = self.place.node(&plan.name);
        let net = own.join(tree::CNI_CONFIG);
        fs::create_dir_all(&net).with_context(|| format!("make {}", net.display()))?;
        let plugins = plugins()
            .context("the CNI plugins are missing: install the package containernetworking-plugins")?;
        let json = |value: &Value| format!("{value:#}\n");
        for (path, text) in [
            (own.join("containerd.toml"), config::containerd(&plugins)),
            (own.join("kubelet.yaml"), json(&config::kubelet(&self.spec, &own))),
            (net.join("10-cluster.conflist"), json(&config::network(plan))),
        ] {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        pki.kubelet(&own, plan, &format!("https://{api}"))
    }

    fn recipe(
        &self,
        plan: &NodePlan,
        program: &str,
        flags: impl IntoIterator<Item = OsString>,
    ) -> Result<Recipe> {
        let mut recipe = Recipe::new(
            Site::Node { name: plan.name.clone(), after: None },
            self.programs.find(program)?,
            flags,
        );
        recipe.path.push(self.place.iptables());
        // containerd looks for runc and its shim in PATH.
        for helper in ["containerd", "runc"] {
            recipe.path.extend(self.programs.find(helper)?.parent().map(Path::to_path_buf));
        }
        Ok(recipe)
    }

    /// Waits for something a component does.
    fn wait<T>(&self, component: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            self.components.check()?;
            if let Some(seen) = look() {
                return Ok(seen);
            }
            ensure!(
                begun.elapsed() < STARTED,
                "{component} is not up after {} s; its log ends:\n{}",
                STARTED.as_secs(),
                self.components.tail(component)
            );
            std::thread::sleep(LOOK);
        }
    }

    async fn wait_for(&self, what: &str, mut attempt: impl AsyncFnMut() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.components.check()?;
            let Err(error) = attempt().await else { return Ok(()) };
            if begun.elapsed() > READY {
                return Err(error.context(format!("{what} is not ready after {} s", READY.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What identifies a node to programs that look for a machine's identity, as machine-id(5) describes it.
fn machine_id(cluster: &str, node: &str) -> String {
    let mut id = format!("{:x}", Sha256::digest(format!("{cluster}/{node}")));
    id.truncate(32);
    id
}

fn ranges(plan: &NodePlan) -> Vec<String> {
    std::iter::once(plan.pod_cidr.to_string()).chain(plan.pod_cidr6.map(|range| range.to_string())).collect()
}

/// Lines for `ip`.
fn ways_to_pods(plan: &NodePlan) -> String {
    let v4 = format!("route add {} via {}\n", plan.pod_cidr, plan.address);
    let v6 = plan.pod_cidr6.zip(plan.address6);
    v6.map_or_else(|| v4.clone(), |(range, address)| format!("{v4}route add {range} via {address}\n"))
}

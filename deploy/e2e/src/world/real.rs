//! A real Kubernetes: objects by its API server, endpoints by its controllers, rules by its kube-proxy. Only kubelets and
//! the policy engine are stand-ins (see `kubelab`).
//!
//! One cluster serves many stories, one after the other: following manifests begins with the removal of whatever an
//! earlier story left.

mod programmed;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kubelab::api::{Target, documents};
use kubelab::light::LISTEN;
use kubelab::{Cluster, ProxyMode};
use model::{Key, ObjectSet};
use netlab::Netns;
use netlab::policy::decide;
use serde_json::{Value, json};

use super::{AllEars, World, listening};
use crate::manifests::Manifests;
use programmed::Programmed;

/// Namespaced kinds that stories make, in the order of removal.
const KINDS: [(&str, &str); 4] = [
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
];
/// Where the cluster's own objects are.
const OWN: &str = "default";

/// A cluster in which a story plays.
pub struct Real {
    cluster: Arc<Cluster>,
    /// Whether what an earlier story left has been removed.
    clean: bool,
    /// Nodes whose kube-proxy has been stopped.
    stopped: Vec<String>,
}

impl Real {
    /// A story in this cluster, which nobody else may use at the same time.
    pub const fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, clean: false, stopped: Vec::new() }
    }

    fn mode(&self) -> ProxyMode {
        self.cluster.record().spec.mode
    }

    fn programmed(&self, node: &str) -> Result<Programmed> {
        Programmed::read(&self.cluster.node(node)?, self.mode())
    }

    /// Takes away all objects of stories and waits until no node's rules know them.
    fn clear(&self) -> Result<()> {
        for node in self.nodes() {
            programmed::accept_forwarding(&self.cluster.node(&node)?)?;
        }
        for (version, kind) in KINDS {
            for object in self.of_stories(version, kind)? {
                self.cluster.delete(&Target::of(&typed(object, version, kind))?)?;
            }
        }
        self.cluster.wait_for("an earlier story is gone", |cluster| {
            for (version, kind) in KINDS {
                let left = self.of_stories(version, kind)?;
                ensure!(left.is_empty(), "{kind}s are left: {left:?}");
            }
            for node in self.nodes() {
                let programmed = self.programmed(&node)?;
                ensure!(programmed.is_empty(), "{node} still has {programmed:?}");
                ensure!(
                    !programmed::enforced(&cluster.node(&node)?)?.contains("KUBE-NWPLCY"),
                    "{node} has policies"
                );
            }
            Ok(())
        })
    }

    fn of_stories(&self, version: &str, kind: &str) -> Result<Vec<Value>> {
        let all = self.cluster.list(version, kind, None)?;
        Ok(all.into_iter().filter(|object| object["metadata"]["namespace"] != OWN).collect())
    }

    /// Waits until controllers, kube-proxies and the policy engine have done with the objects what they do.
    fn settle(&self, wanted: &ObjectSet) -> Result<()> {
        for key in wanted.pods.keys() {
            self.cluster.pod(key)?;
        }
        self.cluster.wait_for("the endpoint controller has followed", |cluster| {
            let made = cluster.list("discovery.k8s.io/v1", "EndpointSlice", None)?;
            let made = endpoints(made.iter());
            let derived = derived_endpoints(wanted);
            ensure!(made == derived, "endpoints are {made:?}, expected {derived:?}");
            Ok(())
        })?;
        let expected = Programmed::expected(wanted);
        for node in self.nodes() {
            self.cluster.wait_for(&format!("kube-proxy of {node} has followed"), |_| {
                let now = self.programmed(&node)?;
                ensure!(now == expected, "rules have {now:?}, expected {expected:?}");
                Ok(())
            })?;
        }
        for decision in decide(wanted) {
            let pod = self.cluster.pod(&decision.pod)?;
            let address = pod.addresses.first().context("a pod without an address")?.to_string();
            for isolation in decision.ingress.iter().chain(&decision.egress) {
                let words = format!("nw policy {}", isolation.policy.name);
                self.cluster.wait_for(&format!("{} is enforced", isolation.policy), |cluster| {
                    let rules = programmed::enforced(&cluster.node(&pod.node)?)?;
                    ensure!(
                        rules.lines().any(|line| line.contains(&words) && line.contains(&address)),
                        "{} has no `{words}` for {address}:\n{rules}",
                        pod.node
                    );
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

impl World for Real {
    fn name(&self) -> &str {
        self.cluster.place().name()
    }

    fn nodes(&self) -> Vec<String> {
        self.cluster.record().nodes.iter().map(|node| node.name.clone()).collect()
    }

    fn node(&self, name: &str) -> Result<Netns> {
        self.cluster.node(name)
    }

    fn pod(&self, key: &Key) -> Result<Netns> {
        Ok(self.cluster.pod(key)?.netns)
    }

    fn follow(&mut self, manifests: &Manifests, ears: &AllEars) -> Result<ObjectSet> {
        if !self.clean {
            self.clear()?;
            self.clean = true;
        }
        let wanted = manifests.objects()?;
        let mut items = Vec::new();
        for text in manifests.texts() {
            for mut object in documents(text)? {
                if !is_own(&object) {
                    listen(&mut object, &wanted, ears)?;
                    items.push(object);
                }
            }
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.cluster.load(&list.to_string())?;
        self.settle(&wanted)?;
        Ok(wanted)
    }

    fn objects_arguments(&self) -> Vec<OsString> {
        vec!["--kubeconfig".into(), self.cluster.kubeconfig().into()]
    }

    fn on_node(&self, node: &str, program: &Path) -> Result<Command> {
        self.cluster.command(node, program)
    }

    fn forget_service(&mut self, node: &str, service: &Key) -> Result<()> {
        self.cluster.stop_kube_proxy(node)?;
        self.stopped.push(node.to_owned());
        let netns = self.cluster.node(node)?;
        let target = Target::new("v1", "Service", Some(&service.namespace), &service.name);
        let Some(object) = self.cluster.get(&target)? else { bail!("there is no Service {service}") };
        programmed::forget(&netns, self.mode(), service, &object)?;
        let left = self.programmed(node)?;
        ensure!(left.is_empty(), "{node} still has {left:?}");
        Ok(())
    }

    fn describe(&self) -> String {
        format!("cargo xtask cluster env --name {}", self.name())
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for node in &self.stopped {
            if let Err(error) = self.cluster.start_kube_proxy(node) {
                eprintln!("kube-proxy of {node} stays stopped: {error:#}");
            }
        }
    }
}

/// What a real cluster has by itself: nodes, and the API server's Service.
fn is_own(object: &Value) -> bool {
    object["kind"] == "Node" || object["metadata"]["namespace"] == OWN || object["metadata"]["name"] == OWN
}

/// Lists leave the type of their items out.
fn typed(mut object: Value, version: &str, kind: &str) -> Value {
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    object
}

/// Tells the stand-in for the kubelet what listens in a pod.
fn listen(object: &mut Value, wanted: &ObjectSet, ears: &AllEars) -> Result<()> {
    if object["kind"] != "Pod" {
        return Ok(());
    }
    let target = Target::of(object)?;
    let key = Key::new(target.namespace.unwrap_or_default(), target.name);
    let addresses: Vec<String> =
        listening(wanted, ears, &key).iter().map(|address: &SocketAddr| format!("tcp:{address}")).collect();
    let text = if addresses.is_empty() { "none".to_owned() } else { addresses.join(" ") };
    object["metadata"]["annotations"] = json!({ LISTEN: text });
    Ok(())
}

/// Address, and whether it is ready.
type Endpoints = BTreeSet<(String, bool)>;

fn endpoints<'a>(slices: impl Iterator<Item = &'a Value>) -> Endpoints {
    slices
        .filter(|slice| slice["metadata"]["namespace"] != OWN)
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .flat_map(|endpoint| {
            let ready = endpoint["conditions"]["ready"] == true;
            let addresses = endpoint["addresses"].as_array().into_iter().flatten();
            addresses.filter_map(move |address| Some((address.as_str()?.to_owned(), ready)))
        })
        .collect()
}

fn derived_endpoints(wanted: &ObjectSet) -> Endpoints {
    wanted
        .slices
        .values()
        .filter(|slice| slice.meta.key.namespace != OWN)
        .flat_map(|slice| &slice.endpoints)
        .flat_map(|endpoint| endpoint.addresses.iter().map(|address| (address.to_string(), endpoint.ready)))
        .collect()
}

//! A cluster as a test or a command holds it: objects in, connections tried, conditions waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use model::Key;
use netlab::{ConnectResult, Netns};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::api::{Objects, Target, documents};
use crate::cli::{READY, netns_path};
use crate::control::{self, Request};
use crate::full;
use crate::light::STATUS;
use crate::nodes::proxy_name;
use crate::place::{Place, Record};
use crate::spec::{Kind, Spec};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a pod may take to run and a Service to be served.
const SETTLE: Duration = Duration::from_secs(30);

/// A running cluster. One that was made through this ends when it is dropped, and when the process dies.
pub struct Cluster {
    place: Place,
    record: Record,
    runtime: Runtime,
    objects: Objects,
    /// The program that ends the cluster when its standard input ends.
    owned: Option<Child>,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Namespace and name.
    pub key: Key,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace.
    pub netns: Netns,
}

impl Pod {
    /// Its IPv4 address.
    pub fn ipv4(&self) -> Result<Ipv4Addr> {
        let v4 = self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        v4.with_context(|| format!("pod {} has no IPv4 address: {:?}", self.key, self.addresses))
    }
}

impl Cluster {
    /// Makes a cluster for the caller alone, by the program `kubelab`.
    pub fn up(program: &Path, spec: &Spec) -> Result<Self> {
        spec.check()?;
        let mut command = Command::new(program);
        command.arg("up").arg("--owned").arg("--name").arg(&spec.name);
        if spec.kind == Kind::Light {
            command.arg("--light");
        }
        command.arg(format!("--mode={}", spec.mode.word()));
        command.arg(format!("--policies={}", spec.policies.word()));
        command.arg(format!("--nodes={}", spec.nodes));
        command.arg(format!("--node-cidr={}", spec.node_cidr));
        command.arg(format!("--pod-cidr={}", spec.pod_cidr));
        command.arg(format!("--service-cidr={}", spec.service_cidr));
        if spec.dual_stack {
            command.arg("--dual-stack");
        }
        if let Some(programs) = &spec.programs {
            command.env("WHY_DROPPED_KUBERNETES", programs);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("read what kubelab says")?;
        }
        if line.trim() != READY {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut said).context("read what kubelab says")?;
            }
            let status = child.wait().context("wait for kubelab")?;
            bail!("cluster `{}` did not come up ({status}):\n{said}", spec.name);
        }
        let mut cluster = Self::attach(&spec.name)?;
        cluster.owned = Some(child);
        Ok(cluster)
    }

    /// A cluster that runs already.
    pub fn attach(name: &str) -> Result<Self> {
        let place = Place::of(name)?;
        let record = place.living()?;
        ensure!(record.ready, "cluster `{name}` is not ready yet");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let objects = runtime.block_on(Objects::connect(&place.kubeconfig()))?;
        Ok(Self { place, record, runtime, objects, owned: None })
    }

    /// What it tells of itself.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// A kubeconfig with all rights, that works on the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.place.kubeconfig()
    }

    /// Its files.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Creates or changes one object.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        self.runtime.block_on(self.objects.apply(object))
    }

    /// Creates or changes the objects of a manifest, in its order; their names.
    ///
    /// In a light cluster a pod's status, which the API server would ignore, becomes the annotation that its stand-in of
    /// a kubelet follows.
    pub fn load(&self, manifest: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for mut object in documents(manifest)? {
            match self.record.spec.kind {
                Kind::Light => move_status(&mut object),
                Kind::Full => self.wait_for_account(&object)?,
            }
            names.push(Target::of(&object)?.to_string());
            self.apply(&object)?;
        }
        Ok(names)
    }

    /// Imports an archive of images on every node of a full cluster.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        ensure!(self.record.spec.kind == Kind::Full, "only full clusters have images");
        full::load_image(&self.place, &self.record, archive)
    }

    /// Pods are refused until their namespace has the service account that a controller makes for each (the admission
    /// plugin `ServiceAccount`).
    fn wait_for_account(&self, object: &Value) -> Result<()> {
        if object["kind"] != "Pod" || !object["spec"]["serviceAccountName"].is_null() {
            return Ok(());
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let account = Target::new("v1", "ServiceAccount", Some(namespace), "default");
        self.wait_for(&format!("{account} is there"), |cluster| {
            cluster.get(&account)?.map(drop).context("no controller has made it")
        })
    }

    /// An object, if it is there.
    pub fn get(&self, target: &Target) -> Result<Option<Value>> {
        self.runtime.block_on(self.objects.get(target))
    }

    /// All objects of a kind.
    pub fn list(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>> {
        self.runtime.block_on(self.objects.list(api_version, kind, namespace))
    }

    /// Merges into an object.
    pub fn patch(&self, target: &Target, patch: &Value) -> Result<()> {
        self.runtime.block_on(self.objects.patch(target, patch))
    }

    /// Merges into an object's status.
    pub fn patch_status(&self, target: &Target, patch: &Value) -> Result<()> {
        let Target { api_version, kind, namespace, name } = target;
        let done = self.objects.patch_status(api_version, kind, namespace.as_deref(), name, patch);
        self.runtime.block_on(done)
    }

    /// Removes an object.
    pub fn delete(&self, target: &Target) -> Result<()> {
        self.runtime.block_on(self.objects.delete(target))
    }

    /// Tries until it holds; what it said last is in the error.
    pub fn wait_for<T>(&self, what: &str, mut attempt: impl FnMut(&Self) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            match attempt(self) {
                Ok(value) => return Ok(value),
                Err(error) if begun.elapsed() > SETTLE => {
                    return Err(error.context(format!("{what}: not within {} s", SETTLE.as_secs())));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// A node's network namespace.
    pub fn node(&self, name: &str) -> Result<Netns> {
        let known = self.record.nodes.iter().any(|node| node.name == name);
        ensure!(known, "cluster `{}` has no node `{name}`", self.place.name());
        Ok(Netns::at(netns_path(&self.record, name)))
    }

    /// A program as a pod with the host's network and processes runs it on a node: in the node's network namespace, among
    /// the cluster's processes and mounts, or in a full cluster among the node's. It is killed with the process that it is
    /// started by.
    pub fn command(&self, node: &str, program: impl AsRef<OsStr>) -> Result<Command> {
        let netns = self.node(node)?;
        let mut command = match self.record.spec.kind {
            Kind::Full => full::on_node(&self.place, &self.record, node)?,
            Kind::Light => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--target={}", self.record.pid))
                    .args(["--mount", "--pid"])
                    .arg(format!("--net={}", netns.path().display()))
                    .arg("--");
                command
            }
        };
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        Ok(command)
    }

    /// A pod that runs, waiting until it does.
    pub fn pod(&self, key: &Key) -> Result<Pod> {
        let target = Target::new("v1", "Pod", Some(&key.namespace), &key.name);
        self.wait_for(&format!("pod {key} runs"), |cluster| {
            let Some(object) = cluster.get(&target)? else { bail!("there is no such pod") };
            let status = &object["status"];
            ensure!(status["phase"] == "Running", "its status is {status}");
            let addresses = status["podIPs"].as_array().into_iter().flatten();
            let addresses: Vec<IpAddr> =
                addresses.filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect();
            let node = object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
            let netns = if object["spec"]["hostNetwork"] == true {
                cluster.node(&node)?
            } else if cluster.record.spec.kind == Kind::Full {
                full::pod(&cluster.place, &cluster.record, key, addresses.first().copied())?
            } else {
                Netns::at(netns_path(&cluster.record, &format!("{}.{}", key.namespace, key.name)))
            };
            Ok(Pod { key: key.clone(), node, addresses, netns })
        })
    }

    /// One TCP connection from a pod, for real.
    pub fn connect(&self, from: &Key, to: SocketAddr, timeout: Duration) -> Result<ConnectResult> {
        Ok(self.pod(from)?.netns.connect(to, timeout)?)
    }

    /// One datagram from a pod and the answer to it, for real.
    pub fn exchange_udp(&self, from: &Key, to: SocketAddr, timeout: Duration) -> Result<ConnectResult> {
        Ok(self.pod(from)?.netns.exchange_udp(to, timeout)?)
    }

    /// A namespace that is no node and no pod, with a way to every node: where connections from outside come from.
    pub fn outside(&self) -> Netns {
        Netns::at(netns_path(&self.record, "outside"))
    }

    /// The addresses of a Service, in its order of families; none if it is headless.
    pub fn service_addresses(&self, key: &Key) -> Result<Vec<IpAddr>> {
        let service = self.service(key)?;
        let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        Ok(addresses.filter_map(|address| address.as_str()?.parse().ok()).collect())
    }

    /// The node port of a Service's port.
    pub fn node_port(&self, key: &Key, port: u16) -> Result<u16> {
        let service = self.service(key)?;
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let found = ports.find(|one| one["port"] == port).and_then(|one| one["nodePort"].as_u64());
        let found = found.and_then(|port| u16::try_from(port).ok());
        found.with_context(|| format!("Service {key} has no node port for {port}: {}", service["spec"]))
    }

    /// The endpoints that the controller wrote for a Service, each with whether it is ready.
    pub fn endpoints(&self, key: &Key) -> Result<BTreeMap<IpAddr, bool>> {
        let slices = self.list("discovery.k8s.io/v1", "EndpointSlice", Some(&key.namespace))?;
        let own = slices
            .iter()
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == key.name.as_str());
        let endpoints = own.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let mut all = BTreeMap::new();
        for endpoint in endpoints {
            // Not told is ready (discovery/v1, EndpointConditions).
            let ready = endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
            let addresses = endpoint["addresses"].as_array().into_iter().flatten();
            all.extend(addresses.filter_map(|address| Some((address.as_str()?.parse().ok()?, ready))));
        }
        Ok(all)
    }

    /// Waits until a Service has exactly these ready endpoints.
    pub fn wait_for_endpoints(&self, key: &Key, wanted: &BTreeSet<IpAddr>) -> Result<()> {
        self.wait_for(&format!("Service {key} has the endpoints {wanted:?}"), |cluster| {
            let all = cluster.endpoints(key)?;
            let ready: BTreeSet<IpAddr> =
                all.iter().filter(|(_, ready)| **ready).map(|(address, _)| *address).collect();
            ensure!(ready == *wanted, "it has {all:?} (and whether they are ready)");
            Ok(())
        })
    }

    fn service(&self, key: &Key) -> Result<Value> {
        let target = Target::new("v1", "Service", Some(&key.namespace), &key.name);
        self.get(&target)?.with_context(|| format!("there is no Service {key}"))
    }

    /// Does something to a program of the cluster.
    pub fn control(&self, request: &Request) -> Result<()> {
        control::ask(&self.place, request).map(drop)
    }

    /// Ends a node of a full cluster as a power failure does. Its disk stays.
    pub fn switch_off(&self, node: &str) -> Result<()> {
        self.control(&Request::Stop { component: full::machine_name(node) })
    }

    /// Starts it again, with everything that was started on it at first.
    pub fn switch_on(&self, node: &str) -> Result<()> {
        let programs = [full::containerd_name(node), full::kubelet_name(node), proxy_name(node)];
        [full::machine_name(node)]
            .into_iter()
            .chain(programs)
            .try_for_each(|component| self.control(&Request::Start { component }))
    }

    /// Ends a node's kube-proxy; its rules stay.
    pub fn stop_kube_proxy(&self, node: &str) -> Result<()> {
        self.control(&Request::Stop { component: proxy_name(node) })
    }

    /// Starts it again.
    pub fn start_kube_proxy(&self, node: &str) -> Result<()> {
        self.control(&Request::Start { component: proxy_name(node) })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut child) = self.owned.take() {
            drop(child.stdin.take());
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                // Then the reason is missing from the message below.
                let _ = stderr.read_to_string(&mut said);
            }
            if !child.wait().is_ok_and(|status| status.success()) {
                eprintln!("cluster `{}` was not removed: {said}", self.place.name());
            }
        }
    }
}

/// A pod's status as an annotation of it.
fn move_status(object: &mut Value) {
    if object["kind"] != "Pod" {
        return;
    }
    let status = object.as_object_mut().and_then(|pod| pod.remove("status"));
    if let Some(status) = status.filter(|status| !status.is_null()) {
        let annotations = json!({ STATUS: status.to_string() });
        match object["metadata"]["annotations"].as_object_mut() {
            Some(old) => old.extend(annotations.as_object().cloned().unwrap_or_default()),
            None => object["metadata"]["annotations"] = annotations,
        }
    }
}

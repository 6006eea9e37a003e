//! What a full cluster does: kubelets run pods, the name service and Services lead to them from every node, a node can
//! be switched off and on; and when it ends, the machine is as it was before.
//!
//! What is compared is in `support/machine.rs`. The tests run one after the other, because each compares the whole machine.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubelab::api::Target;
use kubelab::images::Image;
use kubelab::place::Place;
use kubelab::programs::Programs;
use kubelab::spec::Enforcement;
use kubelab::{Cluster, ProxyMode, Spec};
use model::Key;
use netlab::{ConnectOutcome, Netns};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use support::machine::{Machine, Namespaces};
use support::program::{Up, succeed};
use support::{can_run_full, unique};

/// A connection that takes longer is none.
const TIMEOUT: Duration = Duration::from_secs(1);
/// So often a Service of four replicas is asked: that one is left out by chance has odds of 4 · 0.75⁶⁰, one in eight
/// million.
const ASKED: usize = 60;
const NODE_PORT: u16 = 30080;
const REPLICAS: usize = 4;
/// What the test of stopping lets happen first.
const STEPS: [(usize, Signal); 3] = [(1, Signal::SIGINT), (3, Signal::SIGTERM), (5, Signal::SIGKILL)];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Four replicas on all nodes that answer with their names, and a client on the first.
const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: api}}}
      containers:
      - name: api
        image: kubelab.local/agnhost:1
        args: [serve-hostname, --tcp, --http=false, --port=8080]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec:
  type: NodePort
  ipFamilyPolicy: PreferDualStack
  selector: {app: api}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: kubelab.local/agnhost:1, args: [pause]}]
";

/// The test's turn and the machine as it is before, or nothing where clusters cannot be made.
fn before(test: &str, name: &str) -> Option<(MutexGuard<'static, ()>, Machine)> {
    can_run_full(test).then(|| {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        (turn, Machine::look(&[name]).unwrap())
    })
}

/// A replica as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Replica {
    name: String,
    node: String,
    addresses: Vec<IpAddr>,
    restarts: u64,
}

/// A cluster with the manifest's objects, in a test.
struct World {
    cluster: Cluster,
}

impl World {
    fn up(spec: &Spec) -> Self {
        let cluster = Cluster::up(Path::new(env!("CARGO_BIN_EXE_kubelab")), spec).unwrap();
        println!("cluster {} is ready after {:.1} s", spec.name, cluster.record().took);
        cluster.load(MANIFEST).unwrap();
        Self { cluster }
    }

    /// The replicas, when all are ready.
    fn replicas(&self) -> Vec<Replica> {
        let found = self.cluster.wait_for("all replicas are ready", |cluster| {
            let pods = cluster.list("v1", "Pod", Some("shop"))?;
            let replicas: Vec<Replica> = pods.iter().filter_map(replica).collect();
            let states: Vec<&Value> = pods.iter().map(|pod| &pod["status"]["containerStatuses"]).collect();
            ensure!(replicas.len() == REPLICAS, "{} are; containers: {states:?}", replicas.len());
            Ok(replicas)
        });
        found.unwrap()
    }

    fn client(&self) -> Netns {
        self.cluster.pod(&client()).unwrap().netns
    }

    /// Addresses of the Service.
    fn service(&self) -> Vec<IpAddr> {
        let target = Target::new("v1", "Service", Some("shop"), "api");
        let service = self.cluster.get(&target).unwrap().unwrap();
        addresses(&service["spec"]["clusterIPs"])
    }

    /// Waits until all of these answer, and nobody else.
    fn expect_answers(&self, from: &Netns, to: SocketAddr, wanted: &BTreeSet<String>) {
        let answered = self.cluster.wait_for(&format!("{to} is answered by {wanted:?}"), |_| {
            let seen: BTreeSet<String> = (0..ASKED).map(|_| ask(from, to)).collect::<Result<_>>()?;
            ensure!(seen == *wanted, "answered by {seen:?}");
            Ok(())
        });
        answered.unwrap();
    }

    /// Runs a command in the client's container, by way of API server and kubelet.
    fn exec(&self, command: &[&str]) -> Result<String> {
        let output = Command::new(Programs::new(None).find("kubectl")?)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig())
            .args(["--namespace=shop", "exec", "client", "--"])
            .args(command)
            .output()
            .context("run kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "kubectl exec {command:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command on a node.
    fn on_node(&self, node: &str, command: &[&str]) -> String {
        let [program, arguments @ ..] = command else { return String::new() };
        let output = self.cluster.command(node, program).unwrap().args(arguments).output().unwrap();
        assert!(output.status.success(), "{command:?} on {node}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ends it and compares the machine.
    fn down(self, machine: &Machine) {
        let name = self.cluster.record().spec.name.clone();
        let namespaces = Namespaces::of(self.cluster.record()).unwrap();
        // Six of the cluster and of each node but for what they share; two of each pod at least.
        assert!(namespaces.len() > 20, "only {} namespaces", namespaces.len());
        let begun = Instant::now();
        drop(self.cluster);
        println!("cluster {name} is gone after {:.1} s", begun.elapsed().as_secs_f64());
        namespaces.expect_left().unwrap();
        drop(namespaces);
        machine.expect_as_before(&[&name]).unwrap();
    }
}

fn client() -> Key {
    Key::new("shop", "client")
}

fn replica(pod: &Value) -> Option<Replica> {
    let status = &pod["status"]["containerStatuses"][0];
    let is_ready = pod["metadata"]["labels"]["app"] == "api" && status["ready"] == true;
    is_ready.then(|| Replica {
        name: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
        addresses: pod["status"]["podIPs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|ip| address(&ip["ip"]))
            .collect(),
        restarts: status["restartCount"].as_u64().unwrap_or_default(),
    })
}

fn addresses(list: &Value) -> Vec<IpAddr> {
    list.as_array().into_iter().flatten().filter_map(address).collect()
}

fn address(text: &Value) -> Option<IpAddr> {
    text.as_str()?.parse().ok()
}

/// One connection, and the name it is answered with.
fn ask(from: &Netns, to: SocketAddr) -> Result<String> {
    let result = from.connect(to, TIMEOUT)?;
    ensure!(result.outcome == ConnectOutcome::Connected, "{:?}", result.outcome);
    Ok(String::from_utf8_lossy(&result.answer).trim().to_owned())
}

fn names(replicas: &[Replica]) -> BTreeSet<String> {
    replicas.iter().map(|replica| replica.name.clone()).collect()
}

#[test]
fn pods_services_names_policies_and_a_power_failure() {
    let name = unique("full");
    let Some((_turn, machine)) = before("a full cluster", &name) else { return };
    let world = World::up(&Spec::full(&name).policies(Enforcement::KubeRouterPlain));
    let replicas = world.replicas();
    for node in ["node-1", "node-2"] {
        assert_eq!(
            replicas.iter().filter(|replica| replica.node == node).count(),
            REPLICAS / 2,
            "{replicas:?}"
        );
    }
    let client_netns = world.client();
    let service = SocketAddr::new(world.service()[0], 80);
    let all = names(&replicas);

    // By address from a pod and on the port of every node from another; by name through the name service.
    world.expect_answers(&client_netns, service, &all);
    for (node, address) in [("node-1", "192.168.77.12"), ("node-2", "192.168.77.11")] {
        let node_port = SocketAddr::new(address.parse().unwrap(), NODE_PORT);
        world.expect_answers(&world.cluster.node(node).unwrap(), node_port, &all);
    }
    world.exec(&["/bin/agnhost", "connect", "--timeout=5s", "api.shop.svc.cluster.local:80"]).unwrap();
    let wrong = world.exec(&["/bin/agnhost", "connect", "--timeout=5s", "api.mall.svc.cluster.local:80"]);
    assert!(format!("{:?}", wrong.unwrap_err()).contains("DNS"), "a name that nobody has was resolved");

    nodes_are_of_their_own(&world);
    let shown = succeed(&["shell", "--name", &name, "shop/client", "ip", "-oneline", "address"]).unwrap();
    let pod = world.cluster.pod(&client()).unwrap();
    assert!(shown.contains(&format!(" {}/24 ", pod.addresses[0])), "{pod:?} has\n{shown}");
    an_own_image_runs(&world);
    policies_hold(&world, service);
    a_node_fails(&world, &replicas);
    world.down(&machine);
}

/// What a node and its programs do stays there.
fn nodes_are_of_their_own(world: &World) {
    assert_eq!(world.on_node("node-2", &["hostname"]), "node-2");
    let first = world.on_node("node-2", &["cat", "/proc/1/cmdline"]);
    assert!(first.starts_with("kubelab\0machine\0"), "process 1 of a node is {first:?}");
    // What kubelet wrote (setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go).
    assert_eq!(world.on_node("node-1", &["cat", "/proc/sys/kernel/panic"]), "10");
    assert_eq!(world.on_node("node-1", &["cat", "/proc/sys/vm/overcommit_memory"]), "1");
    let file = format!("/etc/{}", world.cluster.record().spec.name);
    world.on_node("node-1", &["touch", &file]);
    world.on_node("node-1", &["test", "-e", &file]);
    assert!(!Path::new(&file).exists(), "{file} is on the machine");
    assert_eq!(world.on_node("node-2", &["find", "/etc", "-path", &file]), "", "{file} is on the other node");
}

/// An image made here, imported on all nodes and run on the last.
fn an_own_image_runs(world: &World) {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("own.tar");
    let busybox = Programs::new(None).find("busybox").unwrap();
    let image = Image {
        name: "kubelab.local/own:1".to_owned(),
        files: vec![(busybox, "/opt/own/busybox".into())],
        links: vec![("/bin/sh".into(), "/opt/own/busybox".into())],
        entrypoint: vec!["/bin/sh".to_owned(), "-c".to_owned()],
    };
    image.write(&archive).unwrap();
    succeed(&["load-image", "--name", &world.cluster.record().spec.name, archive.to_str().unwrap()]).unwrap();
    let key = Key::new("shop", "own");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": key.name, "namespace": key.namespace },
        "spec": {
            "nodeName": "node-2",
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "own", "image": image.name, "args": ["exec sleep 1000"] }],
        },
    });
    world.cluster.apply(&pod).unwrap();
    assert_eq!(world.cluster.pod(&key).unwrap().node, "node-2");
}

fn policies_hold(world: &World, service: SocketAddr) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "closed", "namespace": "shop" },
        "spec": { "podSelector": { "matchLabels": { "app": "api" } }, "policyTypes": ["Ingress"] },
    });
    let client = world.client();
    world.cluster.apply(&policy).unwrap();
    let closed = world.cluster.wait_for("the policy denies", |_| {
        let outcome = client.connect(service, TIMEOUT)?.outcome;
        ensure!(outcome == ConnectOutcome::Refused, "{outcome:?}");
        Ok(())
    });
    closed.unwrap();
    // A kubelet's probes come from the pod's own node and are admitted, so that nothing becomes unready.
    assert_eq!(world.replicas().len(), REPLICAS);
    world.cluster.delete(&Target::of(&policy).unwrap()).unwrap();
    world.cluster.wait_for("the policy is gone", |_| ask(&client, service)).unwrap();
}

fn a_node_fails(world: &World, replicas: &[Replica]) {
    let there = replicas.iter().find(|replica| replica.node == "node-2").unwrap();
    let direct = SocketAddr::new(there.addresses[0], 8080);
    let client = world.client();
    ask(&client, direct).unwrap();
    world.cluster.switch_off("node-2").unwrap();
    assert!(ask(&client, direct).is_err(), "a pod answers whose node is switched off");
    let on_it = world.cluster.command("node-2", "true").unwrap_err().to_string();
    assert_eq!(on_it, "node-2 is switched off");
    world.cluster.switch_on("node-2").unwrap();
    let restarted = world.cluster.wait_for("the pods of the node are restarted", |cluster| {
        let pods = cluster.list("v1", "Pod", Some("shop"))?;
        let again: Vec<Replica> = pods.iter().filter_map(replica).collect();
        let back = again.iter().filter(|replica| replica.node == "node-2" && replica.restarts > 0).count();
        ensure!(back == REPLICAS / 2, "{again:?}");
        Ok(again)
    });
    let again = restarted.unwrap();
    // The same pods, not others in their place.
    assert_eq!(names(&again), names(replicas));
    let service = SocketAddr::new(world.service()[0], 80);
    world.expect_answers(&client, service, &names(replicas));
}

#[test]
fn dual_stack_in_nftables_mode() {
    let name = unique("fulldual");
    let Some((_turn, machine)) = before("a full cluster with IPv6", &name) else { return };
    let spec = Spec::full(&name).mode(ProxyMode::Nftables).policies(Enforcement::Kindnet).dual_stack();
    let world = World::up(&spec);
    let replicas = world.replicas();
    let client = world.client();
    for replica in &replicas {
        assert_eq!(replica.addresses.iter().filter(|address| address.is_ipv6()).count(), 1, "{replica:?}");
        for address in &replica.addresses {
            assert_eq!(ask(&client, SocketAddr::new(*address, 8080)).unwrap(), replica.name);
        }
    }
    let service = world.service();
    assert!(service[1].is_ipv6(), "{service:?}");
    for address in service {
        world.expect_answers(&client, SocketAddr::new(address, 80), &names(&replicas));
    }
    let found = world.exec(&["nslookup", "-type=AAAA", "api.shop.svc.cluster.local"]).unwrap();
    assert!(found.contains("fd00:96::"), "{found}");
    world.down(&machine);
}

#[test]
fn an_up_that_is_stopped_leaves_nothing() {
    let name = unique("fullstop");
    let Some((_turn, machine)) = before("up of a full cluster stopped", &name) else { return };
    let place = Place::of(&name).unwrap();
    for (steps, sent) in STEPS {
        let mut up = Up::start_full(&["--nodes", "2", "--name", &name]).unwrap();
        up.steps(steps).unwrap();
        let namespaces = Namespaces::of(&place.record().unwrap()).unwrap();
        up.signal(sent).unwrap();
        let (_, said) = up.wait().unwrap();
        namespaces.expect_left().unwrap();
        drop(namespaces);
        if sent == Signal::SIGKILL {
            // The cluster has ended by itself; what outlives processes goes with the next command.
            succeed(&["down", "--name", &name]).unwrap();
        }
        machine
            .expect_as_before(&[&name])
            .unwrap_or_else(|error| panic!("{sent} after {steps} steps: {error}\nup said:\n{said}"));
    }
}

//! Clusters come and go, also by force, and the machine is as it was before.
//!
//! What is compared is in `support/machine.rs`. The tests run one after the other, because each compares the whole machine.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod support;

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubelab::place::{Place, Record};
use kubelab::{Cluster, ProxyMode, Spec, processes};
use model::Key;
use netlab::ConnectOutcome::Connected;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::machine::{Machine, Namespaces};
use support::program::{Up, run, succeed};
use support::{can_run, unique};

/// What was promised is ten in a row; they take most of this program's time.
const ROUNDS: usize = 10;
/// How many steps `up` tells before it is ready.
const STEPS: usize = 4;
/// How often somebody looks meanwhile: often enough to meet every step, and not so often as to slow them down.
const LOOK: Duration = Duration::from_millis(50);
/// How long a cluster may take to notice that it is to end.
const NOTICED: Duration = Duration::from_secs(10);
/// Where the Services of these tests are.
const SERVICE: &str = "10.96.12.7:80";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A client and a Service with one backend.
fn manifest(backend: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: api, namespace: default}}
spec: {{clusterIP: 10.96.12.7, selector: {{app: api}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {backend}, namespace: default, labels: {{app: api}}}}
spec: {{nodeName: node-1, containers: [{{name: api, image: none, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: default}}
spec: {{nodeName: node-1, containers: [{{name: client, image: none}}]}}
"
    )
}

/// The test's turn and the machine as it is before, or nothing where clusters cannot be made.
fn before(test: &str, names: &[&str]) -> Option<(MutexGuard<'static, ()>, Machine)> {
    can_run(test).then(|| {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        (turn, Machine::look(names).unwrap())
    })
}

fn eventually(what: &str, mut holds: impl FnMut() -> Result<()>) {
    let begun = Instant::now();
    while let Err(error) = holds() {
        assert!(begun.elapsed() < NOTICED, "{what}: not within {} s: {error:#}", NOTICED.as_secs());
    }
}

/// Waits until the cluster's lock is free.
fn dead(place: &Place) {
    eventually(&format!("cluster {} ends", place.name()), || {
        ensure!(!place.is_alive(), "its lock is held");
        Ok(())
    });
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// The machine's number of the process that brings the cluster up and keeps it.
fn main_process(record: &Record) -> Result<u32> {
    let all = processes::numbers(record);
    let is_main = |pid: &u32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').nth(1) == Some("run")
    };
    let seen = format!("{all:?}");
    all.into_values().find(is_main).with_context(|| format!("no main process among {seen}"))
}

/// What stays of the pretended leftovers only if this test is killed.
struct Undo<'a>(&'a str, String);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let _ = std::fs::write(HARMLESS, &self.1);
        let _ = Command::new("ip").args(["link", "del", "dev", "kubelab-left"]).status();
        let _ = std::fs::remove_dir(cgroup(self.0));
        let _ = Place::of(self.0).and_then(|place| place.end());
    }
}

/// A sysctl that nothing here depends on.
const HARMLESS: &str = "/proc/sys/kernel/printk_ratelimit";

/// A control group in the first hierarchy that takes one.
fn cgroup(name: &str) -> PathBuf {
    let root = PathBuf::from("/sys/fs/cgroup");
    let below = [root.join("freezer"), root.join("pids"), root.clone()];
    below.into_iter().find(|path| path.is_dir()).unwrap_or(root).join(format!("why-dropped-{name}"))
}

#[test]
fn the_comparison_sees_what_is_left() {
    let name = unique("left");
    let Some((_turn, machine)) = before("the comparison", &[&name]) else { return };
    let undo = Undo(&name, std::fs::read_to_string(HARMLESS).unwrap());
    std::fs::write(HARMLESS, "6").unwrap();
    let made = Command::new("ip")
        .args(["link", "add", "kubelab-left", "type", "veth", "peer", "name", "kubelab-peer"])
        .status();
    assert!(made.unwrap().success());
    // Claimed, so that no sweep of others takes it away.
    let claim = Place::of(&name).unwrap().claim().unwrap();
    std::fs::create_dir(cgroup(&name)).unwrap();
    let mut process = Command::new("sleep").arg("100").arg0(&name).spawn().unwrap();
    eventually("the process has its name", || {
        // A parent goes on before its child's arguments are in place (`begin_new_exec` in fs/exec.c).
        let line = std::fs::read_to_string(format!("/proc/{}/cmdline", process.id()))?;
        ensure!(line.contains(&name), "it is called `{line}`");
        Ok(())
    });
    let difference = machine.difference(&Machine::look(&[&name]).unwrap());
    drop(claim);
    process.kill().unwrap();
    process.wait().unwrap();
    drop(undo);
    for word in
        ["link is left: kubelab-left", "control group is left", "directory is left", "process is left"]
    {
        assert!(difference.contains(word), "no `{word}` in:\n{difference}");
    }
    assert!(difference.contains("sysctl kernel/printk_ratelimit was "), "{difference}");
    machine.expect_as_before(&[&name]).unwrap();
}

#[test]
fn ten_ups_and_downs_leave_nothing() {
    let name = unique("rounds");
    let Some((_turn, machine)) = before("ten ups and downs", &[&name]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.yaml");
    std::fs::write(&file, manifest("api")).unwrap();
    let (done, ended) = channel::<()>();
    let mut times = String::new();
    std::thread::scope(|scope| {
        // Whoever only looks must neither hinder nor be hindered.
        let looker = scope.spawn(move || {
            let mut codes = Vec::new();
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                codes.push(run(&["status"]).unwrap());
            }
            codes
        });
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                let mode = ["iptables", "iptables-legacy", "nftables"][round % 3];
                let begun = Instant::now();
                succeed(&["up", "--light", "--nodes", "1", "--name", &name, "--mode", mode]).unwrap();
                let up = begun.elapsed();
                succeed(&["load", "--name", &name, file.to_str().unwrap()]).unwrap();
                let place = Place::of(&name).unwrap();
                let record = place.living().unwrap();
                let cluster = Cluster::attach(&name).unwrap();
                let client = cluster.pod(&Key::new("default", "client")).unwrap();
                drop(cluster);
                assert!(client.netns.path().exists(), "{client:?}");
                let namespaces = Namespaces::of(&record).unwrap();
                // Processes and mounts of the cluster; node, underlay, outside and two pods.
                assert!(namespaces.len() >= 7, "only {} namespaces", namespaces.len());
                let begun = Instant::now();
                succeed(&["down", "--name", &name]).unwrap();
                let down = begun.elapsed();
                let _ = write!(times, " {:.1}/{:.1}", up.as_secs_f64(), down.as_secs_f64());
                namespaces.expect_left().unwrap();
                drop(namespaces);
                machine.expect_as_before(&[&name]).unwrap_or_else(|error| panic!("round {round}: {error}"));
                let api: SocketAddr = record.api.strip_prefix("https://").unwrap().parse().unwrap();
                assert!(std::net::TcpStream::connect(api).is_err(), "{api} is still served");
            }
        }));
        drop(done);
        let looked = looker.join().unwrap();
        rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (code, stdout, stderr) in &looked {
            // Other people's clusters may be in trouble; that is 1.
            assert!(matches!(code, 0 | 1), "status ended with {code}:\n{stdout}{stderr}");
        }
        println!("up/down in seconds:{times}; status asked {} times", looked.len());
    });
}

#[test]
fn two_clusters_with_the_same_addresses_do_not_meet() {
    let names = [unique("twin"), unique("twin")];
    let both: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some((_turn, machine)) = before("two clusters at once", &both) else { return };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_kubelab"));
    let namespaces = std::thread::scope(|scope| {
        let clusters: Vec<_> = [ProxyMode::Iptables, ProxyMode::Nftables]
            .into_iter()
            .zip(&names)
            .map(|(mode, name)| {
                let program = &program;
                scope.spawn(move || {
                    let cluster = Cluster::up(program, &Spec::light(name).mode(mode)).unwrap();
                    cluster.load(&manifest(&format!("api-of-{name}"))).unwrap();
                    cluster
                })
            })
            .collect();
        let clusters: Vec<Cluster> = clusters.into_iter().map(|cluster| cluster.join().unwrap()).collect();
        let addresses: Vec<_> = clusters.iter().map(|cluster| &cluster.record().nodes).collect();
        assert_eq!(addresses[0], addresses[1], "the clusters were to have the same addresses");
        for (cluster, name) in clusters.iter().zip(&names) {
            let client = Key::new("default", "client");
            let answer = cluster
                .wait_for("the Service answers", |cluster| {
                    let result = cluster.connect(&client, SERVICE.parse()?, Duration::from_millis(500))?;
                    ensure!(result.outcome == Connected, "{:?}", result.outcome);
                    Ok(String::from_utf8_lossy(&result.answer).into_owned())
                })
                .unwrap();
            assert_eq!(answer, format!("default/api-of-{name}"));
        }
        clusters.iter().map(|cluster| Namespaces::of(cluster.record()).unwrap()).collect::<Vec<_>>()
    });
    for one in namespaces {
        one.expect_left().unwrap();
    }
    machine.expect_as_before(&both).unwrap();
}

#[test]
fn an_up_that_is_killed_at_any_step_is_removed_by_the_next_command() {
    let name = unique("killed");
    let Some((_turn, machine)) = before("up killed at any step", &[&name]) else { return };
    let place = Place::of(&name).unwrap();
    for steps in 0..STEPS {
        let mut up = Up::start(&["--nodes", "1", "--name", &name]).unwrap();
        if steps == 0 {
            eventually("the place is taken", || {
                ensure!(place.is_alive(), "its lock is free");
                Ok(())
            });
        }
        up.steps(steps).unwrap();
        // The first process may not be there yet.
        let namespaces = place.record().ok().and_then(|record| Namespaces::of(&record).ok());
        up.signal(Signal::SIGKILL).unwrap();
        up.wait().unwrap();
        dead(&place);
        if let Some(namespaces) = namespaces {
            namespaces.expect_left().unwrap();
        }
        let (_, _, stderr) = run(&["status"]).unwrap();
        machine
            .expect_as_before(&[&name])
            .unwrap_or_else(|error| panic!("after {steps} steps: {error}\nstatus said: {stderr}"));
    }
}

#[test]
fn an_up_that_is_told_to_stop_leaves_nothing() {
    let name = unique("stopped");
    let Some((_turn, machine)) = before("up told to stop", &[&name]) else { return };
    let place = Place::of(&name).unwrap();
    for (steps, sent) in [
        (0, Signal::SIGINT),
        (0, Signal::SIGTERM),
        (1, Signal::SIGINT),
        (2, Signal::SIGHUP),
        (3, Signal::SIGTERM),
    ] {
        let mut up = Up::start(&["--nodes", "1", "--name", &name]).unwrap();
        if steps == 0 {
            eventually("the place is taken", || {
                ensure!(place.is_alive(), "its lock is free");
                Ok(())
            });
        }
        up.steps(steps).unwrap();
        up.signal(sent).unwrap();
        let (status, said) = up.wait().unwrap();
        assert_eq!(status.code(), Some(128 + sent as i32), "{sent} after {steps} steps; it said:\n{said}");
        assert!(said.contains("error: interrupted"), "{said}");
        // By itself, without the help of another command.
        machine
            .expect_as_before(&[&name])
            .unwrap_or_else(|error| panic!("{sent} after {steps} steps: {error}"));
    }
}

#[test]
fn a_cluster_whose_own_process_is_killed_while_it_comes_up_is_told_and_removed() {
    let name = unique("broken");
    let Some((_turn, machine)) = before("processes killed during up", &[&name]) else { return };
    let place = Place::of(&name).unwrap();
    for main in [false, true] {
        let mut up = Up::start(&["--nodes", "1", "--name", &name]).unwrap();
        up.steps(1).unwrap();
        let record = place.record().unwrap();
        let pid = if main { main_process(&record).unwrap() } else { u32::try_from(record.pid).unwrap() };
        signal(pid, Signal::SIGKILL);
        let (status, said) = up.wait().unwrap();
        assert_eq!(status.code(), Some(1), "it said:\n{said}");
        assert!(said.contains(&format!("error: the first process of cluster `{name}` ended")), "{said}");
        machine.expect_as_before(&[&name]).unwrap();
    }
}

#[test]
fn what_is_left_of_a_crashed_cluster_is_removed_by_the_next_command() {
    let name = unique("crashed");
    let Some((_turn, machine)) = before("crashed clusters", &[&name]) else { return };
    let place = Place::of(&name).unwrap();
    for main in [false, true] {
        succeed(&["up", "--light", "--nodes", "1", "--name", &name]).unwrap();
        let record = place.living().unwrap();
        let namespaces = Namespaces::of(&record).unwrap();
        let pid = if main { main_process(&record).unwrap() } else { u32::try_from(record.pid).unwrap() };
        signal(pid, Signal::SIGKILL);
        dead(&place);
        namespaces.expect_left().unwrap();
        drop(namespaces);
        // Its logs can still be read: that is when they are needed.
        assert!(succeed(&["logs", "--name", &name, "kube-apiserver"]).unwrap().contains(&record.version));
        // Any command removes it; one that needs the cluster says that there is none.
        let (code, _, stderr) = run(&["env", "--name", &name]).unwrap();
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(&format!("no cluster `{name}` runs")), "{stderr}");
        machine.expect_as_before(&[&name]).unwrap();
    }
}

#[test]
fn an_owned_cluster_ends_with_its_owner() {
    let name = unique("owned");
    let Some((_turn, machine)) = before("owned clusters", &[&name]) else { return };
    let place = Place::of(&name).unwrap();
    let arguments = ["--nodes", "1", "--name", &name, "--owned"];
    let first = || u32::try_from(place.living().unwrap().pid).unwrap();
    for (how, code) in [
        ("left by a killed owner", Some(0)),
        ("told to stop", Some(128 + Signal::SIGINT as i32)),
        ("killed", None),
        ("bereft of its first process", Some(1)),
    ] {
        // An owner holds the other end of the command's standard input, whatever else it does.
        let mut owner = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
        let mut up = Up::start_for(owner.stdout.take().unwrap().into(), &arguments).unwrap();
        up.ready().unwrap();
        let namespaces = Namespaces::of(&place.living().unwrap()).unwrap();
        match how {
            "left by a killed owner" => owner.kill().unwrap(),
            "told to stop" => up.signal(Signal::SIGINT).unwrap(),
            "killed" => up.signal(Signal::SIGKILL).unwrap(),
            _ => signal(first(), Signal::SIGKILL),
        }
        let (status, said) = up.wait().unwrap();
        // Of those that live on; `kill` of one that has ended is no error.
        owner.kill().unwrap();
        owner.wait().unwrap();
        assert_eq!(status.code(), code, "{how}: {status}, it said:\n{said}");
        dead(&place);
        namespaces.expect_left().unwrap();
        drop(namespaces);
        if how == "killed" {
            run(&["status"]).unwrap();
        }
        machine.expect_as_before(&[&name]).unwrap_or_else(|error| panic!("{how}: {error}"));
    }
}

#[test]
fn commands_say_what_is_wrong_and_what_to_do() {
    let name = unique("commands");
    let Some((_turn, machine)) = before("commands", &[&name]) else { return };
    let refused = |arguments: &[&str], words: &[&str]| {
        let (code, stdout, stderr) = run(arguments).unwrap();
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments:?} does not say `{word}`:\n{stderr}");
        }
    };
    let (code, _, stderr) = run(&["down", "--name", &name]).unwrap();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains(&format!("there is no cluster `{name}` (running: ")), "{stderr}");
    refused(&["env", "--name", &name], &[&format!("no cluster `{name}` runs"), "cargo xtask cluster up"]);
    refused(&["logs", "--name", &name], &["has left logs"]);
    refused(&["up", "--light", "--name", "Big"], &["cluster name `Big`: 1 to 32 lower-case letters"]);
    refused(&["up", "--light", "--name", &name, "--version", "1.19"], &["not 1.19", "--version 1.19"]);
    machine.expect_as_before(&[&name]).unwrap();

    succeed(&["up", "--light", "--nodes", "1", "--name", &name]).unwrap();
    refused(&["up", "--light", "--name", &name], &["runs already", "down --name"]);
    refused(&["shell", "--name", &name, "node-7", "true"], &["no node or pod `node-7`", "nodes: node-1"]);
    refused(&["logs", "--name", &name, "kubelet"], &["no log of `kubelet`", "kube-proxy@node-1"]);
    refused(&["load", "--name", &name, "/nowhere.yaml"], &["/nowhere.yaml does not exist"]);

    let (_, status, _) = run(&["status"]).unwrap();
    let own = &status[status.find(&format!("cluster `{name}`")).unwrap()..];
    for words in
        ["ready after ", "  since ", "/logs, or ", "node-1  192.168.77.11  10.244.1.0/24  running", "  etcd "]
    {
        assert!(own.contains(words), "no `{words}` in:\n{own}");
    }
    let lines = succeed(&["env", "--name", &name]).unwrap();
    let kubeconfig = Place::of(&name).unwrap().kubeconfig();
    assert_eq!(lines.lines().next(), Some(format!("export KUBECONFIG={}", kubeconfig.display()).as_str()));
    let script = format!("set -eu\n{lines}\nkubectl get nodes -o name");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "node/node-1\n", "{output:?}\n{lines}");
    let forwarding = succeed(&["shell", "--name", &name, "node-1", "cat", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(forwarding.unwrap(), "1\n");

    // What ended by itself is seen, with the end of its log, and makes the exit code.
    let record = Place::of(&name).unwrap().living().unwrap();
    let scheduler = processes::numbers(&record)
        .into_values()
        .find(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("kube-scheduler"))
        })
        .unwrap();
    signal(scheduler, Signal::SIGKILL);
    eventually("the end is told", || {
        let (code, status, _) = run(&["status"])?;
        ensure!(
            code == 1 && status.contains("kube-scheduler ended by itself (signal: 9"),
            "{code}: {status}"
        );
        Ok(())
    });
    succeed(&["down", "--name", &name]).unwrap();
    machine.expect_as_before(&[&name]).unwrap();
}

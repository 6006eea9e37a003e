//! A stage: a world that follows manifests, a collector and one agent for each node, all running.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use model::Key;
use netlab::{ConnectResult, Relay};
use serde_json::Value;
use tempfile::TempDir;

use crate::manifests::Manifests;
use crate::process::{Printed, Process, binary, eventually};
use crate::world::{AllEars, Rendered, World};

/// How long anything on the stage may take to become ready.
const READY: Duration = Duration::from_secs(15);
/// How long a real connection attempt waits: three SYNs (0, 1 and 3 s) are two more than needed.
const CONNECT: Duration = Duration::from_millis(1500);
/// Where agents find the collector, in their own namespace.
const INSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// A running stage. Dropping it ends everything.
pub struct Stage {
    // Ended in this order: the product first, then the network under it.
    agents: BTreeMap<String, Process>,
    collector: Option<Process>,
    _relays: Vec<Relay>,
    world: Box<dyn World>,
    manifests: Manifests,
    ears: AllEars,
    directory: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// What the command line answered.
#[derive(Debug)]
pub struct Answer {
    /// As printed.
    pub printed: Printed,
    /// The JSON answer; null if there was none.
    pub json: Value,
}

impl Answer {
    /// Id of the first finding; empty without findings.
    pub fn first_id(&self) -> &str {
        self.json["findings"][0]["id"].as_str().unwrap_or_default()
    }

    /// A top-level text field.
    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }
}

impl Stage {
    /// Builds the lab of the manifests and starts the product in it.
    pub fn up(name: &str, manifests: Manifests) -> Result<Self> {
        let world = Rendered::new(name, &manifests)?;
        Self::set(Box::new(world), manifests, AllEars::new(), None)
    }

    /// Makes a world follow the manifests and starts the product in it, the collector on a chosen port or any.
    pub fn set(
        mut world: Box<dyn World>,
        manifests: Manifests,
        ears: AllEars,
        port: Option<u16>,
    ) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("why-dropped-").tempdir().context("make a directory")?;
        world.follow(&manifests, &ears)?;
        let (listen, admin) = (free(port)?, free(None)?);
        let mut relays = Vec::new();
        for node in world.nodes() {
            relays.push(world.node(&node)?.relay(INSIDE, listen)?);
        }
        let mut stage = Self {
            agents: BTreeMap::new(),
            collector: None,
            _relays: relays,
            world,
            manifests,
            ears,
            directory,
            listen,
            admin,
        };
        stage.start_collector()?;
        for node in stage.world.nodes() {
            stage.start_agent(&node)?;
        }
        stage.wait_for_agents()?;
        Ok(stage)
    }

    /// What it plays in, for faults.
    pub fn world(&mut self) -> &mut dyn World {
        &mut *self.world
    }

    /// Where the collector listens.
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where the collector's metrics and health are.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Makes the collector start again; agents and store stay.
    pub fn start_collector(&mut self) -> Result<()> {
        let mut command = Command::new(binary("why-dropped-collector")?);
        command
            .arg("--insecure")
            .arg(format!("--listen={}", self.listen))
            .arg(format!("--admin={}", self.admin))
            .args(self.world.objects_arguments())
            .arg("--data-dir")
            .arg(self.directory.path().join("store"));
        let process = Process::start("collector", command, &self.directory.path().join("collector.log"))?;
        self.collector = Some(process);
        let admin = self.admin;
        let ready = eventually("the collector is ready", READY, || {
            self.collector.as_mut().context("no collector")?.check_alive()?;
            http_get(admin, "/readyz").map(drop)
        });
        ready.with_context(|| self.logs())
    }

    /// Starts a node's agent in that node's namespace.
    pub fn start_agent(&mut self, node: &str) -> Result<()> {
        let state = self.directory.path().join(format!("agent-{node}"));
        fs::create_dir_all(&state)?;
        let mut command = self.world.on_node(node, &binary("why-dropped-agent")?)?;
        command
            .arg(format!("--collector=http://{INSIDE}"))
            .arg(format!("--node={node}"))
            .arg("--state-dir")
            .arg(&state);
        let log = self.directory.path().join(format!("agent-{node}.log"));
        let process = Process::start(&format!("agent of {node}"), command, &log)?;
        self.agents.insert(node.to_owned(), process);
        Ok(())
    }

    /// Kills a node's agent and waits until the collector noticed.
    pub fn crash_agent(&mut self, node: &str) -> Result<()> {
        self.agents.remove(node).with_context(|| format!("no agent on {node}"))?.crash()?;
        eventually("the collector notices", READY, || {
            let answer = self.run(&["nodes", "-o", "json"])?;
            let nodes: Value = serde_json::from_str(&answer.stdout).context("read `nodes -o json`")?;
            let gone = nodes["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|entry| entry["name"] == node && entry["connected"] == false);
            ensure!(gone, "{nodes}");
            Ok(())
        })
    }

    /// Kills the collector, as a crash or an eviction would.
    pub fn crash_collector(&mut self) -> Result<()> {
        self.collector.take().context("the collector does not run")?.crash()
    }

    /// Waits until every agent is connected and has told what it sees.
    pub fn wait_for_agents(&mut self) -> Result<()> {
        let wanted = self.agents.len();
        let ready = eventually("all agents are connected and see drops", READY, || {
            for agent in self.agents.values_mut() {
                agent.check_alive()?;
            }
            let printed = self.run(&["nodes", "-o", "json"])?;
            let nodes: Value = serde_json::from_str(&printed.stdout)
                .with_context(|| format!("read `nodes -o json`: {}{}", printed.stdout, printed.stderr))?;
            let ready = nodes["nodes"].as_array().into_iter().flatten().filter(|node| {
                node["connected"] == true
                    && node["sources"].as_array().is_some_and(|sources| !sources.is_empty())
            });
            ensure!(ready.count() == wanted, "{nodes:#}");
            Ok(())
        });
        ready.with_context(|| self.logs())
    }

    /// Changes the manifests as a user would, lets the stand-ins of controller, kube-proxy and CNI follow, and waits
    /// until the collector has read them.
    pub fn edit(&mut self, from: &str, to: &str) -> Result<()> {
        self.manifests.edit(from, to)?;
        self.follow_manifests()
    }

    /// Adds a document to the manifests, in the same way.
    pub fn add(&mut self, name: &str, text: &str) -> Result<()> {
        self.manifests.add(name, text);
        self.follow_manifests()
    }

    fn follow_manifests(&mut self) -> Result<()> {
        let before = self.metric("why_dropped_collector_objects_generation")?;
        self.world.follow(&self.manifests, &self.ears)?;
        eventually("the collector reads the changed manifests", READY, || {
            let now = self.metric("why_dropped_collector_objects_generation")?;
            ensure!(now > before, "still at generation {now}");
            Ok(())
        })
    }

    /// The value of a collector metric without labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = http_get(self.admin, "/metrics")?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
            .with_context(|| format!("no metric {name} in:\n{text}"))
    }

    /// One real connection from a pod.
    pub fn connect(&self, from: &str, to: &str) -> Result<ConnectResult> {
        let to = to.parse().with_context(|| format!("`{to}` is no address and port"))?;
        Ok(self.world.pod(&key(from)?)?.connect(to, CONNECT)?)
    }

    /// The command line with these arguments, asking this stage's collector.
    pub fn run(&self, args: &[&str]) -> Result<Printed> {
        let output = self.command()?.args(args).output().context("run why-dropped")?;
        Ok(output.into())
    }

    /// The command line, asking this stage's collector.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(binary("why-dropped")?);
        command.env("WHY_DROPPED_COLLECTOR", format!("http://{}", self.listen)).env("COLUMNS", "80");
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        Ok(command)
    }

    /// Asks, once as JSON.
    pub fn ask(&self, source: &str, destination: &str) -> Result<Answer> {
        let printed = self.run(&["-o", "json", source, destination])?;
        let json = if printed.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&printed.stdout)
                .with_context(|| format!("read the answer: {}", printed.stdout))?
        };
        Ok(Answer { printed, json })
    }

    /// Asks, once as text.
    pub fn ask_text(&self, source: &str, destination: &str) -> Result<Printed> {
        self.run(&["--color", "never", source, destination])
    }

    /// Everything the processes logged.
    pub fn logs(&self) -> String {
        let processes = self.collector.iter().chain(self.agents.values());
        processes.map(Process::log).collect::<Vec<_>>().join("\n---\n")
    }
}

/// A failed story leaves what its nodes held and its processes said under `target/lab/STORY/`.
impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let directory =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/lab").join(self.world.name());
            match self.leave_evidence(&directory) {
                Ok(()) => eprintln!("rules, connections and logs are in {}", directory.display()),
                Err(error) => eprintln!("evidence of the failure could not be kept: {error:#}"),
            }
        }
    }
}

impl Stage {
    fn leave_evidence(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        for name in self.world.nodes() {
            let netns = self.world.node(&name)?;
            for (file, command) in [
                ("iptables-save", &["iptables-nft-save", "-c"][..]),
                ("iptables-legacy-save", &["iptables-legacy-save", "-c"][..]),
                ("ruleset.nft", &["nft", "list", "ruleset"][..]),
                ("conntrack", &["conntrack", "-L", "-o", "extended"][..]),
                ("routes", &["ip", "route", "show", "table", "all"][..]),
            ] {
                // One command that fails must not keep the others from being kept.
                let text = netns.run(command).unwrap_or_else(|error| format!("{error}\n"));
                fs::write(directory.join(format!("{name}.{file}")), text)?;
            }
        }
        fs::write(directory.join("processes.log"), self.logs())?;
        Ok(())
    }
}

/// `namespace/name`.
pub fn key(text: &str) -> Result<Key> {
    let (namespace, name) =
        text.split_once('/').with_context(|| format!("`{text}` is not namespace/name"))?;
    Ok(Key::new(namespace, name))
}

/// An address nobody listens on: the one asked for, or any.
fn free(port: Option<u16>) -> Result<SocketAddr> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    let listener = TcpListener::bind(wanted).with_context(|| format!("port {} is taken", wanted.port()))?;
    Ok(listener.local_addr()?)
}

/// A GET over plain HTTP; fails unless the status is 200.
pub fn http_get(address: SocketAddr, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| anyhow!("no HTTP answer from {address}"))?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{path}: {}: {body}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// Whether stories can run here: root, and the tools. Says so loudly if not; in CI a lack is a failure.
pub fn can_run(test: &str) -> bool {
    let lack = if !nix::unistd::Uid::effective().is_root() {
        "needs root"
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "needs a kernel with BTF"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "{test}: {lack}, and CI must not skip it");
    eprintln!("skipped: {test}: {lack}");
    false
}

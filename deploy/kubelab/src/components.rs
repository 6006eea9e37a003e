//! The long-running programs of a cluster: started in their namespaces, logged, and held, stopped or started again for
//! faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netlab::Netns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::full;
use crate::place::Place;

/// How often it is looked whether programs ended by themselves: as exact as a person wants to know when.
pub const WATCH: Duration = Duration::from_millis(500);

/// What programs are told of the ways out, which lead nowhere from inside a cluster; they would try them for their API
/// server (`ProxyFromEnvironment` of net/http).
const PROXIES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Where a program runs.
#[derive(Clone, Debug)]
pub enum Site {
    /// Among the cluster's own processes, in a network namespace.
    Cluster(Netns),
    /// As the first process of a node of a full cluster: see [`crate::full`].
    First,
    /// On a node of a full cluster.
    Node {
        /// Its name.
        name: String,
        /// A socket there that has to be listened on first.
        after: Option<PathBuf>,
    },
}

/// How to start a program.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Where it runs.
    pub site: Site,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Directories in front of PATH.
    pub path: Vec<PathBuf>,
}

/// What a program does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Running,
    /// It is stopped by a signal and can go on.
    Paused,
    /// It was ended on purpose.
    Stopped,
    /// It ended by itself.
    Failed,
}

/// A program's state, for who asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Its number among the cluster's processes, while it has a process.
    pub pid: Option<u32>,
    /// For how long. Of a program that ended by itself: since that was noticed.
    pub age: Duration,
    /// How it ended by itself: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub ended: Option<String>,
}

/// All programs of a cluster, by name: `etcd`, `kube-proxy@node-1`.
#[derive(Debug)]
pub struct Components {
    place: Place,
    running: Mutex<BTreeMap<String, Component>>,
}

#[derive(Debug)]
struct Component {
    recipe: Recipe,
    child: Option<Child>,
    paused: bool,
    /// When its state began.
    since: Instant,
    ended: Option<ExitStatus>,
}

impl Recipe {
    /// A program at a site.
    pub fn new<A: Into<OsString>>(
        site: Site,
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self { site, program, arguments: arguments.into_iter().map(Into::into).collect(), path: Vec::new() }
    }

    /// `first` is the number of the node's first process.
    fn command(&self, place: &Place, first: Option<u32>) -> Command {
        let mut command = match &self.site {
            Site::Cluster(netns) => netns.command(&self.program),
            Site::First => {
                let mut command = Command::new(&self.program);
                // As it is to be seen in lists of processes: the program's path says nothing.
                command.arg0("kubelab");
                command
            }
            Site::Node { name, after } => {
                let first = first.unwrap_or_default();
                full::command(place, name, first, after.as_deref(), &self.program)
            }
        };
        command.args(&self.arguments);
        for name in PROXIES {
            command.env_remove(name);
        }
        if !self.path.is_empty() {
            let old = std::env::var_os("PATH").unwrap_or_default();
            let all = self.path.iter().cloned().chain(std::env::split_paths(&old));
            if let Ok(path) = std::env::join_paths(all) {
                command.env("PATH", path);
            }
        }
        command
    }
}

impl Components {
    /// None yet.
    pub const fn new(place: Place) -> Self {
        Self { place, running: Mutex::new(BTreeMap::new()) }
    }

    /// Starts a program under a new name.
    pub fn start(&self, name: &str, recipe: Recipe) -> Result<()> {
        let mut running = self.lock();
        let child = self.spawn(&running, name, &recipe)?;
        running.insert(
            name.to_owned(),
            Component { recipe, child: Some(child), paused: false, since: Instant::now(), ended: None },
        );
        Ok(())
    }

    /// Starts a program again that was stopped or ended.
    pub fn start_again(&self, name: &str) -> Result<()> {
        let mut running = self.lock();
        let component = find(&mut running, name)?;
        if component.state() == State::Running {
            return Ok(());
        }
        component.end()?;
        let recipe = component.recipe.clone();
        let child = self.spawn(&running, name, &recipe)?;
        let component = find(&mut running, name)?;
        component.child = Some(child);
        component.since = Instant::now();
        Ok(())
    }

    /// Ends a program at once, as a crash would. With the first process of a node everything on it ends.
    pub fn stop(&self, name: &str) -> Result<()> {
        let mut running = self.lock();
        find(&mut running, name)?;
        // Those on it first: the first process of a process namespace stays until all others have been waited for, and
        // these are waited for here (zap_pid_ns_processes in kernel/pid_namespace.c).
        for (other, component) in running.iter_mut().filter(|(_, component)| component.ends_with(name)) {
            component.end().with_context(|| format!("end {other}"))?;
        }
        find(&mut running, name)?.end().with_context(|| format!("end {name}"))
    }

    /// Stops a program where it is, without it noticing.
    pub fn pause(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGSTOP, true)
    }

    /// Lets a paused program go on.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGCONT, false)
    }

    /// Every program's state.
    pub fn states(&self) -> BTreeMap<String, Status> {
        self.lock().iter_mut().map(|(name, component)| (name.clone(), component.status())).collect()
    }

    /// Notes, and tells in the log, when a program ends by itself, on a thread of its own for as long as the process lives.
    pub fn watch(self: &Arc<Self>) {
        let components = Arc::clone(self);
        std::thread::spawn(move || {
            let mut told = BTreeSet::new();
            loop {
                for (name, status) in components.states() {
                    if status.state != State::Failed {
                        told.remove(&name);
                    } else if told.insert(name.clone()) {
                        tracing::error!("{name} ended by itself: {}", status.ended.unwrap_or_default());
                    }
                }
                std::thread::sleep(WATCH);
            }
        });
    }

    /// Fails, with the end of its log, if a program ended by itself.
    pub fn check(&self) -> Result<()> {
        for (name, status) in self.states() {
            if status.state == State::Failed {
                bail!(
                    "{name} ended by itself ({}); its log {} ends:\n{}",
                    status.ended.unwrap_or_default(),
                    self.place.log(&name).display(),
                    self.tail(&name)
                );
            }
        }
        Ok(())
    }

    /// The end of a program's log.
    pub fn tail(&self, name: &str) -> String {
        self.place.log_tail(name)
    }

    fn signal(&self, name: &str, signal: Signal, paused: bool) -> Result<()> {
        let mut running = self.lock();
        let component = find(&mut running, name)?;
        let Some(child) = &component.child else { bail!("{name} does not run") };
        let pid = i32::try_from(child.id()).context("process number out of range")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to {name}"))?;
        component.paused = paused;
        component.since = Instant::now();
        Ok(())
    }

    fn spawn(&self, running: &BTreeMap<String, Component>, name: &str, recipe: &Recipe) -> Result<Child> {
        let first = match &recipe.site {
            Site::Cluster(_) | Site::First => None,
            Site::Node { name: node, .. } => {
                let machine = running.get(&full::machine_name(node));
                let child = machine.and_then(|component| component.child.as_ref());
                let first = child.with_context(|| format!("{node} is switched off"))?.id();
                full::wait_up(&self.place, node, first)?;
                Some(first)
            }
        };
        let path = self.place.log(name);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        let mut command = recipe.command(&self.place, first);
        command.stdin(Stdio::null()).stdout(log.try_clone().context("share the log file")?).stderr(log);
        let spawned = match recipe.site {
            Site::Cluster(_) => command.spawn().map_err(anyhow::Error::from),
            Site::First | Site::Node { .. } => full::spawn_in_process_namespace(command, first),
        };
        spawned.with_context(|| format!("start {name} ({})", recipe.program.display()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Component>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// Whether it is on the node whose first process has this name.
    fn ends_with(&self, first: &str) -> bool {
        matches!(&self.recipe.site, Site::Node { name, .. } if full::machine_name(name) == first)
    }

    fn state(&mut self) -> State {
        if self.ended.is_some() {
            return State::Failed;
        }
        let Some(child) = &mut self.child else { return State::Stopped };
        match child.try_wait() {
            Ok(None) if self.paused => State::Paused,
            Ok(None) => State::Running,
            Ok(Some(status)) => {
                self.ended = Some(status);
                self.child = None;
                self.since = Instant::now();
                State::Failed
            }
            Err(_) => State::Failed,
        }
    }

    fn status(&mut self) -> Status {
        Status {
            state: self.state(),
            pid: self.child.as_ref().map(Child::id),
            age: self.since.elapsed(),
            ended: self.ended.map(|status| status.to_string()),
        }
    }

    fn end(&mut self) -> std::io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        self.paused = false;
        self.ended = None;
        self.since = Instant::now();
        Ok(())
    }
}

fn find<'a>(running: &'a mut BTreeMap<String, Component>, name: &str) -> Result<&'a mut Component> {
    let known = running.keys().cloned().collect::<Vec<_>>().join(", ");
    running.get_mut(name).with_context(|| format!("no component `{name}`; there are: {known}"))
}

//! Where a cluster keeps what others need to find it, whether it lives, and the removal of what is left of one.
//!
//! A cluster's first process holds a lock on a file here for as long as it lives. The kernel drops the lock with the
//! process, whatever ended it, so that a dead cluster is told from a living one without trusting process numbers.

mod remains;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::spec::{NodePlan, Spec, check_name};
use remains::{END, First, age, remove_cgroups};
pub use remains::{remove_cgroup, start_time};

/// Small and volatile things: records, logs, keys, etcd's data.
const RUN: &str = "/run/why-dropped/clusters";
/// Nobody else's either, so it goes with the last cluster.
const ABOVE_RUN: &str = "/run/why-dropped";
/// What is too large for memory: images and containers.
const LIB: &str = "/var/lib/why-dropped/clusters";
/// Likewise.
const ABOVE_LIB: &str = "/var/lib/why-dropped";
/// How much of a log is shown with an error.
const TAIL_LINES: usize = 12;
/// How long a lock may be held by somebody who only looks whether the cluster lives, or by one that is ending.
const LOOKING: Duration = Duration::from_secs(1);

/// A cluster's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: String,
    directory: PathBuf,
}

/// What a cluster tells of itself. Written when its first process starts, and again when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// As asked for.
    pub spec: Spec,
    /// The first process, in the process namespace of the machine.
    pub pid: i32,
    /// When it started, in clock ticks since boot: with the number it names one process for ever.
    pub start_time: u64,
    /// What begins the names of the cluster's network namespaces.
    pub prefix: String,
    /// Where the API server is reached from the machine.
    pub api: String,
    /// Its version, as the server tells it.
    pub version: String,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// Whether it has become ready.
    pub ready: bool,
    /// Seconds that it took.
    pub took: f64,
}

impl Record {
    /// How long ago the cluster was made.
    pub fn age(&self) -> Option<Duration> {
        age(self.start_time)
    }
}

/// A locked place: its cluster is about to be made, or dead.
#[derive(Debug)]
pub struct Claim {
    /// The place.
    pub place: Place,
    /// Locked. The lock lasts until the last descriptor of this opening is closed, whoever has it (flock(2)).
    lock: File,
}

impl Place {
    /// The place of a cluster, whether there is one or not.
    pub fn of(name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), directory: Path::new(RUN).join(name) })
    }

    /// All places where a cluster is or was, in the order of their names.
    pub fn all() -> Result<Vec<Self>> {
        let mut names = BTreeSet::new();
        for directory in [RUN, LIB] {
            match fs::read_dir(directory) {
                Ok(entries) => {
                    names.extend(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(format!("list {directory}")),
            }
        }
        Ok(names.iter().filter_map(|name| Self::of(name).ok()).collect())
    }

    /// The names of all clusters that live, or the word `none`, for messages.
    pub fn living_names() -> Result<String> {
        let names: Vec<String> =
            Self::all()?.into_iter().filter(Self::is_alive).map(|place| place.name).collect();
        Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory of the logs.
    pub fn logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// The log of one of its processes.
    pub fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }

    /// The end of the log of one of its processes; empty if there is none.
    pub fn log_tail(&self, component: &str) -> String {
        let text = fs::read_to_string(self.log(component)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// The kubeconfig with all rights, for use from the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// Where faults and status are asked for.
    pub fn control_socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// The directory with what a node of a full cluster is told, which the node sees under the same name.
    pub fn node(&self, node: &str) -> PathBuf {
        self.directory.join("nodes").join(node)
    }

    /// The directory with `iptables` and its kin as one back-end's programs.
    pub fn iptables(&self) -> PathBuf {
        self.file("iptables")
    }

    /// The directory for what is too large for memory.
    pub fn large(&self) -> PathBuf {
        Path::new(LIB).join(&self.name)
    }

    /// The control group that holds the containers of the cluster, in each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("why-dropped-{}", self.name)
    }

    /// What the cluster told of itself.
    pub fn record(&self) -> Result<Record> {
        let path = self.file("cluster.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Whether the cluster told anything of itself, be it readable or not.
    pub fn has_record(&self) -> bool {
        self.file("cluster.json").exists()
    }

    /// The cluster's first process, if it was started; also where another version of this program wrote the record.
    fn first(&self) -> Option<First> {
        serde_json::from_str(&fs::read_to_string(self.file("cluster.json")).ok()?).ok()
    }

    /// Replaces what the cluster tells of itself.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let fresh = self.file("cluster.json.new");
        fs::write(&fresh, format!("{}\n", serde_json::to_string_pretty(record)?))
            .and_then(|()| fs::rename(&fresh, self.file("cluster.json")))
            .with_context(|| format!("write {}", fresh.display()))
    }

    /// Whether the cluster's processes live.
    pub fn is_alive(&self) -> bool {
        File::open(self.file("lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The record of a cluster that lives.
    pub fn living(&self) -> Result<Record> {
        self.expect_alive()?;
        self.record()
    }

    /// Refuses a name without a cluster.
    pub fn expect_alive(&self) -> Result<()> {
        if !self.is_alive() {
            bail!(
                "no cluster `{0}` runs (running: {1}); `cargo xtask cluster up --name {0}` makes it",
                self.name,
                Self::living_names()?
            );
        }
        Ok(())
    }

    /// Refuses a name whose cluster runs.
    pub fn expect_free(&self) -> Result<()> {
        ensure!(
            !self.first().is_some_and(|first| first.ready && first.lives()),
            "cluster `{0}` runs already: use it (`cargo xtask cluster env --name {0}`), end it (`cargo xtask cluster down \
             --name {0}`) or choose another `--name`",
            self.name
        );
        Ok(())
    }

    /// Takes the place for a new cluster. Removes what a dead one of this name left.
    pub fn claim(&self) -> Result<Claim> {
        let begun = Instant::now();
        let claim = loop {
            if let Some(claim) = self.lock()? {
                break claim;
            }
            self.expect_free()?;
            ensure!(
                begun.elapsed() < LOOKING,
                "another command is making or ending cluster `{0}`; wait for it, or end the cluster: `cargo xtask cluster \
                 down --name {0}`",
                self.name
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        claim.remove_remains()?;
        for directory in [self.logs(), self.file("pki"), self.file("kubeconfigs")] {
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        }
        Ok(claim)
    }

    /// Locks the place if its cluster is dead.
    fn lock(&self) -> Result<Option<Claim>> {
        let path = self.file("lock");
        loop {
            match fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory) {
                Ok(()) => {}
                // The directory above was removed with the last cluster since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("make {}", self.directory.display()));
                }
            }
            let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
            let file = match opened {
                Ok(file) => file,
                // Removed by a sweep since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
            };
            match file.try_lock() {
                Ok(()) if same_file(&path, &file) => {
                    return Ok(Some(Claim { place: self.clone(), lock: file }));
                }
                // Removed by a sweep between the opening and the locking.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }

    /// Ends the cluster, if it lives, and removes everything of it. Whether there was anything.
    pub fn end(&self) -> Result<bool> {
        if !self.directory.exists() && !self.large().exists() {
            return Ok(false);
        }
        let begun = Instant::now();
        let mut killed = false;
        loop {
            if let Some(claim) = self.lock()? {
                return claim.remove().map(|any| any || killed);
            }
            // The record comes a moment after the lock.
            if let Some(first) = self.first() {
                first.end(&self.name)?;
                killed = true;
            }
            ensure!(
                begun.elapsed() < END,
                "cluster `{}` does not end; its directory is {}",
                self.name,
                self.directory.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Claim {
    /// The lock, to be inherited by the cluster's first process.
    pub fn lock_file(&self) -> Result<File> {
        self.lock.try_clone().context("share the cluster's lock")
    }

    /// Removes everything of a dead cluster. Whether there was anything.
    pub fn remove(self) -> Result<bool> {
        let any = self.remove_remains()?;
        let directory = &self.place.directory;
        let lock = directory.join("lock");
        fs::remove_file(&lock).with_context(|| format!("remove {}", lock.display()))?;
        // From here on others may take the place, and a directory that is not empty is theirs.
        let above = [RUN, ABOVE_RUN, LIB, ABOVE_LIB].map(Path::new);
        for directory in [directory.as_path()].into_iter().chain(above) {
            let _ = fs::remove_dir(directory);
        }
        Ok(any)
    }

    /// Everything but the directory with the lock. Whether there was anything.
    fn remove_remains(&self) -> Result<bool> {
        let place = &self.place;
        let mut any = false;
        if let Some(first) = place.first() {
            first.end(&place.name)?;
        }
        remove_cgroups(&place.cgroup())?;
        let large = place.large();
        if large.exists() {
            fs::remove_dir_all(&large).with_context(|| format!("remove {}", large.display()))?;
            any = true;
        }
        let entries = fs::read_dir(&place.directory);
        let entries = entries.with_context(|| format!("list {}", place.directory.display()))?;
        for entry in entries.flatten().filter(|entry| entry.file_name() != "lock") {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("remove {}", path.display()))?;
            any = true;
        }
        Ok(any)
    }
}

/// Removes what dead clusters left. Of each its name, and the last words of the process that was the cluster.
pub fn sweep() -> Result<Vec<(String, String)>> {
    let mut removed = Vec::new();
    for place in Place::all()? {
        if !place.is_alive()
            && let Some(claim) = place.lock()?
        {
            let words = place.log_tail("init");
            // Somebody else's sweep may have left nothing but the lock that was just made.
            if claim.remove()? {
                removed.push((place.name, words));
            }
        }
    }
    Ok(removed)
}

fn same_file(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(at_path), Ok(open)) => at_path.ino() == open.ino() && at_path.dev() == open.dev(),
        _ => false,
    }
}

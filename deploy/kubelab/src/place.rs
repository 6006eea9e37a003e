//! Where a cluster keeps what others need to find it, whether it lives, and the removal of what is left of one.
//!
//! A cluster's first process holds a lock on a file here for as long as it lives. The kernel drops the lock with the
//! process, whatever ended it, so that a dead cluster is told from a living one without trusting process numbers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::spec::{NodePlan, Spec, check_name};

/// Small and volatile things: records, logs, keys, etcd's data.
const RUN: &str = "/run/why-dropped/clusters";
/// What is too large for memory: images and containers.
const LIB: &str = "/var/lib/why-dropped/clusters";
/// How long the kernel may take to end a cluster's processes.
const END: Duration = Duration::from_secs(20);

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

    /// All places where a cluster is or was.
    pub fn all() -> Result<Vec<Self>> {
        let entries = match fs::read_dir(RUN) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(format!("list {RUN}")),
        };
        let mut places: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| Self::of(&entry.file_name().into_string().ok()?).ok())
            .collect();
        places.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(places)
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The log of one of its processes.
    pub fn log(&self, component: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{component}.log"))
    }

    /// The kubeconfig with all rights, for use from the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// Where faults and status are asked for.
    pub fn control_socket(&self) -> PathBuf {
        self.file("control.sock")
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
        if !self.is_alive() {
            let others: Vec<String> =
                Self::all()?.into_iter().filter(Self::is_alive).map(|place| place.name).collect();
            let others = if others.is_empty() {
                "none does".to_owned()
            } else {
                format!("these do: {}", others.join(", "))
            };
            bail!(
                "no cluster `{}` runs ({others}); `cargo xtask cluster up --name {}` makes it",
                self.name,
                self.name
            );
        }
        self.record()
    }

    /// Takes the place for a new cluster. Removes what a dead one of this name left.
    pub fn claim(&self) -> Result<Claim> {
        let Some(claim) = self.lock()? else {
            bail!("cluster `{0}` runs already; `cargo xtask cluster down --name {0}` ends it", self.name);
        };
        if self.file("cluster.json").exists() || self.large().exists() {
            claim.remove_remains()?;
        }
        for directory in
            [self.directory.join("logs"), self.directory.join("pki"), self.directory.join("kubeconfigs")]
        {
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        }
        Ok(claim)
    }

    /// Locks the place if its cluster is dead.
    fn lock(&self) -> Result<Option<Claim>> {
        let path = self.file("lock");
        loop {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.directory)
                .with_context(|| format!("make {}", self.directory.display()))?;
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
        loop {
            if let Some(claim) = self.lock()? {
                claim.remove()?;
                return Ok(true);
            }
            // The record comes a moment after the lock.
            if let Ok(record) = self.record() {
                end_process(&record)?;
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

    /// Removes everything of a dead cluster.
    pub fn remove(self) -> Result<()> {
        self.remove_remains()?;
        fs::remove_dir_all(&self.place.directory)
            .with_context(|| format!("remove {}", self.place.directory.display()))
    }

    /// Everything but the directory with the lock.
    fn remove_remains(&self) -> Result<()> {
        let place = &self.place;
        if let Ok(record) = place.record() {
            end_process(&record)?;
        }
        remove_cgroups(&place.cgroup())?;
        let large = place.large();
        if large.exists() {
            fs::remove_dir_all(&large).with_context(|| format!("remove {}", large.display()))?;
        }
        for entry in fs::read_dir(&place.directory)?.flatten().filter(|entry| entry.file_name() != "lock") {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// Removes what dead clusters left; their names.
pub fn sweep() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for place in Place::all()? {
        if !place.is_alive()
            && let Some(claim) = place.lock()?
        {
            claim.remove()?;
            removed.push(place.name);
        }
    }
    Ok(removed)
}

/// Ends the cluster's first process, and with it all others, and waits until they are gone.
fn end_process(record: &Record) -> Result<()> {
    let pid = Pid::from_raw(record.pid);
    let begun = Instant::now();
    while start_time(record.pid) == Some(record.start_time) {
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                return Err(errno)
                    .with_context(|| format!("end process {pid} of cluster `{}`", record.spec.name));
            }
        }
        ensure!(begun.elapsed() < END, "process {pid} of cluster `{}` does not end", record.spec.name);
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// When a process started, in clock ticks since boot; `None` if it is gone or only its exit status is left.
///
/// proc_pid_stat(5): the name in parentheses may hold blanks, so fields are counted from the last `)`.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // Field 22; the state was the third.
    fields.nth(18)?.parse().ok()
}

/// Removes a control group and those below it, in every hierarchy (version 1) or in the only one (version 2).
fn remove_cgroups(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for group in hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(name)) {
        let begun = Instant::now();
        while group.is_dir() {
            match remove_group(&group) {
                Ok(()) => {}
                // Processes leave their groups a moment after they ended.
                Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && begun.elapsed() < END => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("remove control group {}", group.display()));
                }
            }
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&entry.path())?;
    }
    fs::remove_dir(group)
}

fn same_file(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(at_path), Ok(open)) => at_path.ino() == open.ino() && at_path.dev() == open.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "1234 (a ) b) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 777 1 2 3";
        assert_eq!(parse_start_time(stat), Some(777));
        assert_eq!(parse_start_time(&stat.replace(" S ", " Z ")), None);
        assert_eq!(parse_start_time("nonsense"), None);
        let own = i32::try_from(std::process::id()).expect("a process number");
        assert!(start_time(own).is_some());
    }
}

//! The parts of the machine that a cluster might change, to be compared before and after.
//!
//! Other clusters and labs may be at work on the same machine, so what can be told apart by names is looked for by the
//! name of the cluster in question; the rest, which nobody may change, is compared as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubelab::place::{Place, Record};
use kubelab::processes;

/// How long the kernel may take to clear away what nobody uses any more.
const CLEARED: Duration = Duration::from_secs(10);
/// What changes by itself.
const RESTLESS: &[&str] = &["kernel/ns_last_pid"];
/// Entries of /run that stay and are shared by everybody: the register of labs, and what `ip netns` and iptables make.
const SHARED: &[&str] = &["netns", "why-dropped-netlab", "xtables.lock"];

/// The kinds of namespaces that a cluster makes.
const KINDS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// What is on the machine.
#[derive(Debug, PartialEq)]
pub struct Machine {
    sysctls: BTreeMap<String, String>,
    /// Everything else, by kind.
    things: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Open files of a cluster's namespaces. As long as they are open the kernel gives their numbers to no others.
pub struct Namespaces(Vec<(PathBuf, File)>);

impl Machine {
    /// Looks, for the clusters of these names.
    pub fn look(names: &[&str]) -> Result<Self> {
        let ours = |line: &str| names.iter().any(|name| line.contains(name));
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        let mut places: BTreeSet<String> = BTreeSet::new();
        for name in names {
            let place = Place::of(name)?;
            places.extend(
                [place.file(""), place.large()]
                    .iter()
                    .filter(|path| path.exists())
                    .map(|path| path.display().to_string()),
            );
        }
        let things = BTreeMap::from([
            ("process", processes_named(names)),
            ("mount", mounts.lines().filter(|line| ours(line)).map(str::to_owned).collect()),
            ("control group", cgroups().into_iter().filter(|path| ours(path)).collect()),
            ("directory", places),
            ("entry of /run", entries_of_run()?),
            ("network namespace", netns_names()),
            (
                "link",
                lines_of(&["ip", "-oneline", "link", "show"])?.into_iter().map(|line| link(&line)).collect(),
            ),
            ("address", lines_of(&["ip", "-oneline", "address", "show"])?),
            ("route", lines_of(&["ip", "route", "show", "table", "all"])?),
            ("netfilter rule", lines_of(&["nft", "--stateless", "list", "ruleset"])?),
            ("old iptables table", tables_of_old_iptables()),
            ("IP set", lines_of(&["ipset", "list", "-name"])?),
        ]);
        Ok(Self { sysctls: sysctls(), things })
    }

    /// Waits until nothing is there that was not there before, and no sysctl differs.
    pub fn expect_as_before(&self, names: &[&str]) -> Result<()> {
        let begun = Instant::now();
        loop {
            let difference = self.difference(&Self::look(names)?);
            if difference.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < CLEARED, "after {} s this differs:\n{difference}", CLEARED.as_secs());
        }
    }

    /// What is there now and was not, and what differs, a line each.
    pub fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        let none = BTreeSet::new();
        for (kind, things) in &now.things {
            for thing in things.difference(self.things.get(kind).unwrap_or(&none)) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{kind} is left: {thing}");
            }
        }
        for (name, before) in &self.sysctls {
            let now = now.sysctls.get(name);
            // One that came since belongs to a module of the kernel that was loaded since.
            if now != Some(before) {
                let _ = writeln!(text, "sysctl {name} was {before}, is {now:?}");
            }
        }
        text
    }
}

impl Namespaces {
    /// Those of a cluster that runs: of its processes, and those of nodes and pods that have none.
    pub fn of(record: &Record) -> Result<Self> {
        let mut paths = BTreeSet::new();
        for pid in processes::numbers(record).into_values().chain([u32::try_from(record.pid)?]) {
            for kind in KINDS {
                paths.insert(PathBuf::from(format!("/proc/{pid}/ns/{kind}")));
            }
        }
        let own = |kind: &str| fs::metadata(format!("/proc/self/ns/{kind}")).map(|own| own.ino());
        let machines: BTreeSet<u64> = KINDS.into_iter().map(own).collect::<Result<_, _>>()?;
        let directory = PathBuf::from(format!("/proc/{}/root/run/netns", record.pid));
        let listed = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
        paths.extend(listed.flatten().map(|entry| entry.path()));
        let mut all = BTreeMap::new();
        for path in paths {
            // What ended meanwhile has left its namespaces.
            let Ok(file) = File::open(&path) else { continue };
            let number = file.metadata()?.ino();
            if !machines.contains(&number) {
                all.entry(number).or_insert((path, file));
            }
        }
        Ok(Self(all.into_values().collect()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until no process is in one of them and no mount holds one.
    pub fn expect_left(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let held = self.holders();
            if held.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < CLEARED, "after {} s:\n{held}", CLEARED.as_secs());
        }
    }

    fn holders(&self) -> String {
        let numbers: BTreeMap<u64, &Path> = self
            .0
            .iter()
            .filter_map(|(path, file)| Some((file.metadata().ok()?.ino(), path.as_path())))
            .collect();
        let mut text = String::new();
        for process in running() {
            for entry in fs::read_dir(process.join("ns")).into_iter().flatten().flatten() {
                if let Some(name) = fs::metadata(entry.path()).ok().and_then(|file| numbers.get(&file.ino()))
                {
                    let _ = writeln!(text, "process {} is in {}", command_line(&process), name.display());
                }
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for (number, name) in &numbers {
            for line in mounts.lines().filter(|line| line.contains(&format!(":[{number}] "))) {
                let _ = writeln!(text, "{} is mounted: {line}", name.display());
            }
        }
        text
    }
}

/// Directories of processes.
fn running() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(number)).map(|entry| entry.path()).collect()
}

fn command_line(process: &Path) -> String {
    let text = fs::read(process.join("cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&text).replace('\0', " ");
    format!("{} ({})", process.file_name().unwrap_or_default().to_string_lossy(), words.trim())
}

/// Processes that name the clusters in their command lines, which those of a cluster do by the paths of its files.
fn processes_named(names: &[&str]) -> BTreeSet<String> {
    let lines = running().into_iter().map(|process| command_line(&process));
    lines.filter(|line| names.iter().any(|name| line.contains(name))).collect()
}

fn cgroups() -> Vec<String> {
    fn below(directory: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.push(entry.path().display().to_string());
                below(&entry.path(), all);
            }
        }
    }
    let mut all = Vec::new();
    below(Path::new("/sys/fs/cgroup"), &mut all);
    all
}

fn entries_of_run() -> Result<BTreeSet<String>> {
    let names = fs::read_dir("/run").context("list /run")?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    // That of the clusters stays for as long as there is one.
    Ok(names.filter(|name| !SHARED.contains(&name.as_str()) && name != "why-dropped").collect())
}

/// Namespaces of labs in /run/netns, but for those of labs whose process lives: they come and go beside this.
fn netns_names() -> BTreeSet<String> {
    let stray = |name: &String| {
        let owner = name.strip_prefix("wd").and_then(|rest| rest.split_once('-'));
        // Others name theirs alike, without a number there.
        let owner = owner.filter(|(pid, _)| pid.parse::<u32>().is_ok());
        // A kernel thread, such as the machine's process 2, has no program and owns no lab.
        owner.is_some_and(|(pid, _)| fs::read_link(format!("/proc/{pid}/exe")).is_err())
    };
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(stray).collect()
}

/// All that can be set, of the machine and of its network namespace.
fn sysctls() -> BTreeMap<String, String> {
    fn below(directory: &Path, all: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                below(&path, all);
            } else if about.permissions().mode() & 0o600 == 0o600
                && let Ok(value) = fs::read_to_string(&path)
                && let Ok(name) = path.strip_prefix("/proc/sys")
                && !RESTLESS.iter().any(|restless| name == Path::new(restless))
            {
                all.insert(name.display().to_string(), value.trim().to_owned());
            }
        }
    }
    let mut all = BTreeMap::new();
    below(Path::new("/proc/sys"), &mut all);
    all
}

fn lines_of(command: &[&str]) -> Result<BTreeSet<String>> {
    let [program, arguments @ ..] = command else { return Ok(BTreeSet::new()) };
    let output = Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect())
}

/// `2: eth0: <BROADCAST,UP> mtu 1500 …` → `eth0`: what else the line says changes by itself.
fn link(line: &str) -> String {
    line.split(": ").nth(1).unwrap_or(line).to_owned()
}

/// Reading them through the tool would make them.
fn tables_of_old_iptables() -> BTreeSet<String> {
    let files = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let read = |file: &&str| fs::read_to_string(file).unwrap_or_default();
    files
        .iter()
        .map(|file| (file, read(file)))
        .flat_map(|(file, text)| text.lines().map(|line| format!("{file}: {line}")).collect::<Vec<_>>())
        .collect()
}

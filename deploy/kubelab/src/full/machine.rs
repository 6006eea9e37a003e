//! The first process of a node: makes the namespaces that the node's programs are in, and adopts orphans.
//!
//! Like the first process of the cluster it does nothing that could fail once it runs. It is the first of a process
//! namespace, so that its end is the power failure of the node.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netlab::Netns;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::sethostname;

use super::{cgroups, tree};
use crate::components::{Recipe, Site};
use crate::place::Place;
use crate::spec::Spec;

/// In the node's directory: the number of its first process among the cluster's, once its programs can be started.
const UP: &str = "up";

/// How long the namespaces and mounts of a node may take.
const BUILT: Duration = Duration::from_secs(30);
/// How long another program may take to listen.
const AFTER: Duration = Duration::from_secs(30);
/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_millis(5);

/// What a program on a node shares with its first process, in the order in which it can be entered: the files under
/// which the others are found go with the mounts.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Runs as the first process of a node.
pub fn run(place: &Place, node: &str, netns: &Path) -> Result<Infallible> {
    // Before there is anything to wait for: what ends later is then pending here.
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    ended.thread_block().context("hold back signals about ended processes")?;
    // This /proc is still the cluster's.
    let number = fs::read_link("/proc/self").context("find the own process number")?;
    let spec = fs::read_to_string(place.file("spec.json")).context("read what is to be made")?;
    let spec: Spec = serde_json::from_str(&spec).context("read what is to be made")?;
    cgroups::enter_anew(place, node)?;
    let netns_file = File::open(netns).with_context(|| format!("open {}", netns.display()))?;
    setns(netns_file, CloneFlags::CLONE_NEWNET).context("enter the node's network namespace")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .context("make the node's namespaces")?;
    sethostname(node).context("name the node")?;
    tree::build(place, &spec, node)?;
    let up = place.node(node).join(UP);
    let fresh = up.with_extension("new");
    fs::write(&fresh, number.as_os_str().as_encoded_bytes())
        .and_then(|()| fs::rename(&fresh, &up))
        .with_context(|| format!("write {}", up.display()))?;
    loop {
        ended.wait().context("wait for processes to end")?;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => bail!("wait for processes to end: {errno}"),
            }
        }
    }
}

/// The number of the node's first process among the cluster's, if it is up.
pub fn number(place: &Place, node: &str) -> Option<u32> {
    fs::read_to_string(place.node(node).join(UP)).ok()?.trim().parse().ok()
}

/// Waits until programs can be started on the node with this first process.
pub fn wait_up(place: &Place, node: &str, first: u32) -> Result<()> {
    let begun = Instant::now();
    let log = || place.log_tail(&super::machine_name(node));
    // An earlier first process may have left its number.
    while number(place, node) != Some(first) {
        let lives = Path::new("/proc").join(first.to_string()).join("ns/mnt").exists();
        ensure!(lives, "the first process of {node} ended; its log ends:\n{}", log());
        ensure!(
            begun.elapsed() < BUILT,
            "{node} is not up after {} s; its log ends:\n{}",
            BUILT.as_secs(),
            log()
        );
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The program that is running. Not by its path, since the file may have been replaced.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// How [`run`] is started.
pub fn recipe(place: &Place, node: &str, netns: &Netns) -> Recipe {
    let arguments =
        [OsStr::new("machine"), OsStr::new(place.name()), OsStr::new(node), netns.path().as_os_str()];
    Recipe::new(Site::First, THIS_PROGRAM.into(), arguments)
}

/// The command that starts a program on a node, from among the cluster's processes. It must be spawned by
/// [`spawn_in_process_namespace`].
pub fn command(place: &Place, node: &str, machine: u32, after: Option<&Path>, program: &Path) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command.arg("enter");
    if let Some(after) = after {
        command.arg("--after").arg(after);
    }
    command.arg(place.name()).arg(node).arg(machine.to_string()).arg("--").arg(program);
    command
}

/// Becomes a program on a node; what [`command`] starts. `after` is a socket that has to be listened on first: kubelet
/// ends if it does not find its container runtime, and is started again by systemd elsewhere.
pub fn enter(
    place: &Place,
    node: &str,
    machine: u32,
    after: Option<&Path>,
    program: &Path,
    arguments: &[OsString],
) -> Result<Infallible> {
    cgroups::enter(place, node)?;
    let directory = PathBuf::from(format!("/proc/{machine}/ns"));
    let mut files = Vec::new();
    for (name, kind) in NAMESPACES {
        let path = directory.join(name);
        files.push((File::open(&path).with_context(|| format!("open {}", path.display()))?, name, kind));
    }
    for (file, name, kind) in files {
        setns(file, kind).with_context(|| format!("enter the {name} namespace of {node}"))?;
    }
    let begun = Instant::now();
    while let Some(Err(error)) = after.map(UnixStream::connect) {
        if begun.elapsed() > AFTER {
            let after = after.unwrap_or(Path::new("")).display();
            bail!("nobody listens on {after} of {node} after {} s: {error}", AFTER.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("start {}", program.display()))
}

/// Starts a program in the process namespace of a node's first process, or in a new one. Unlike what nsenter(1) and
/// unshare(1) start with `--fork`, it is a child of this process, to be waited for and signalled.
pub fn spawn_in_process_namespace(mut command: Command, machine: Option<u32>) -> Result<Child> {
    // Which namespace children are put in belongs to the thread (pid_namespaces(7)), so it takes one of its own; it can
    // start no further threads then.
    std::thread::scope(|scope| {
        let spawned = scope.spawn(move || -> Result<Child> {
            match machine {
                None => unshare(CloneFlags::CLONE_NEWPID).context("make a process namespace")?,
                Some(machine) => {
                    let path = format!("/proc/{machine}/ns/pid");
                    let file = File::open(&path).with_context(|| format!("open {path}"))?;
                    setns(file, CloneFlags::CLONE_NEWPID).context("enter the process namespace")?;
                }
            }
            Ok(command.spawn()?)
        });
        spawned.join().unwrap_or_else(|_| bail!("the thread that starts programs panicked"))
    })
}

//! The first process of a cluster: makes the private namespaces, starts [`crate::run`] in them and adopts orphans.
//!
//! It is process 1 of the cluster's process namespace, so that its end, by whatever signal, is the end of everything in
//! the cluster (pid_namespaces(7)). It does nothing else, because whatever it did could fail.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::setsid;

use crate::place::{Place, Record, start_time};
use crate::spec::Spec;

/// Directories of which the cluster gets empty ones of its own: its network namespaces exist nowhere else, and the lab's
/// register must not be swept by labs outside, which cannot see those.
const PRIVATE: [&str; 2] = ["/run/netns", "/run/why-dropped-netlab"];

/// Starts the first process. It inherits the cluster's lock as its standard input and says on its standard output how
/// far it is; it ends when nobody reads that any more, until it has been let go.
///
/// Must be called while the process has one thread (unshare(2)).
pub fn start(place: &Place, lock: fs::File) -> Result<std::process::Child> {
    let own = fs::File::open("/proc/self/ns/pid").context("find the own process namespace")?;
    unshare(CloneFlags::CLONE_NEWPID).context("make a process namespace (needs root)")?;
    let child = spawn(place, lock);
    // Later children are to be in the own one again; until then not even a thread can be made (copy_process in
    // kernel/fork.c).
    setns(&own, CloneFlags::CLONE_NEWPID).context("go back to the own process namespace")?;
    child
}

fn spawn(place: &Place, lock: fs::File) -> Result<std::process::Child> {
    let log = place.log("init");
    let log = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("init").arg(place.name());
    command
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the cluster's first process")
}

/// Runs as the first process until the cluster ends.
pub fn run(place: &Place) -> Result<ExitCode> {
    // A terminal's Ctrl-C is for the command that the user sees; it ends this by ceasing to read.
    setsid().context("leave the session")?;
    let spec = fs::read_to_string(place.file("spec.json")).context("read what is to be made")?;
    let spec: Spec = serde_json::from_str(&spec).context("read what is to be made")?;
    // This /proc is still the machine's, so it tells the numbers that others see.
    let own = fs::read_link("/proc/self").context("find the own process number")?;
    let pid: i32 = own.to_string_lossy().parse().context("read the own process number")?;
    place.write_record(&Record {
        nodes: spec.node_plans(),
        spec,
        pid,
        start_time: start_time(pid).context("read the own start time")?,
        prefix: String::new(),
        api: String::new(),
        version: String::new(),
        ready: false,
        took: 0.0,
    })?;
    private_mounts()?;
    let program = std::env::current_exe().context("find this program")?;
    let child = Command::new(program).arg("run").arg(place.name()).spawn().context("start the cluster")?;
    let main = i32::try_from(child.id()).context("process number out of range")?;
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == main => {
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid.as_raw() == main => return Ok(ExitCode::FAILURE),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait for the cluster"),
        }
    }
}

/// A mount namespace from which nothing gets out, with a /proc of the new process namespace.
fn private_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("make mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), nothing).context("mount /proc")?;
    for directory in PRIVATE {
        fs::create_dir_all(directory).with_context(|| format!("make {directory}"))?;
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("mount {directory}"))?;
    }
    Ok(())
}

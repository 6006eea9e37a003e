//! Ending a cluster's processes and removing what outlives them, whoever ended them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Deserialize;

/// How long the kernel may take to end a cluster's processes.
pub const END: Duration = Duration::from_secs(20);

/// The part of a record that every version of this program reads and writes.
#[derive(Debug, Deserialize)]
pub struct First {
    pid: i32,
    start_time: u64,
    pub ready: bool,
}

impl First {
    /// Whether it is there.
    pub fn lives(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Ends it, and with it all others, and waits until they are gone.
    pub fn end(&self, cluster: &str) -> Result<()> {
        let pid = Pid::from_raw(self.pid);
        let begun = Instant::now();
        while self.lives() {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(errno).with_context(|| format!("end process {pid} of cluster `{cluster}`"));
                }
            }
            ensure!(begun.elapsed() < END, "process {pid} of cluster `{cluster}` does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// When a process started, in clock ticks since boot; `None` if it is gone or only its exit status is left. The first
/// process of a namespace is there until all others have ended (`zap_pid_ns_processes` in kernel/pid_namespace.c).
///
/// proc_pid_stat(5): the name in parentheses may hold blanks, so fields are counted from the last `)`.
pub fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// How long ago that was.
pub fn age(start_time: u64) -> Option<Duration> {
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
    let uptime: f64 =
        fs::read_to_string("/proc/uptime").ok()?.split_ascii_whitespace().next()?.parse().ok()?;
    let started = Duration::from_millis(start_time.saturating_mul(1000) / ticks);
    Some(Duration::try_from_secs_f64(uptime).ok()?.saturating_sub(started))
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
pub fn remove_cgroups(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(name))
        .try_for_each(|group| remove_cgroup(&group))
}

/// Removes a control group, if it is there, and those below it. Its processes must have been ended.
pub fn remove_cgroup(group: &Path) -> Result<()> {
    let begun = Instant::now();
    while group.is_dir() {
        match remove_group(group) {
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
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&entry.path())?;
    }
    fs::remove_dir(group)
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
        let started = start_time(own).expect("this process runs");
        assert!(age(started).expect("an age") < Duration::from_hours(1), "{:?}", age(started));
    }
}

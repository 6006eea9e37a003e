//! Which process holds a socket, by the socket links in /proc/PID/fd. Best effort: bounded, and silent where refused.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::machine::pids;

/// A process that holds a socket.
#[derive(Clone, Debug)]
pub struct Process {
    /// Process id in this process's pid namespace.
    pub pid: u32,
    /// `comm`, if readable.
    pub name: Option<String>,
}

/// A pod rarely has a dozen processes; a node's own namespace can have thousands, and a name is a courtesy there.
const TIME_LIMIT: Duration = Duration::from_millis(300);

/// The holders of sockets, by socket inode, among the processes of one network namespace.
pub fn holders(netns_inode: u32, sockets: &[u32]) -> HashMap<u32, Process> {
    let started = Instant::now();
    let mut holders = HashMap::new();
    if sockets.is_empty() {
        return holders;
    }
    for pid in pids() {
        if holders.len() == sockets.len() || started.elapsed() > TIME_LIMIT {
            break;
        }
        let directory = Path::new("/proc").join(pid.to_string());
        let same =
            fs::metadata(directory.join("ns/net")).is_ok_and(|meta| meta.ino() == u64::from(netns_inode));
        if !same {
            continue;
        }
        let Ok(entries) = fs::read_dir(directory.join("fd")) else { continue };
        for entry in entries.flatten() {
            let Some(inode) = fs::read_link(entry.path()).ok().and_then(|target| socket_inode(&target))
            else {
                continue;
            };
            if sockets.contains(&inode) {
                // The parent that opened it has the lowest pid; workers that inherited it come later.
                holders.entry(inode).or_insert_with(|| Process { pid, name: name(&directory) });
            }
        }
    }
    holders
}

fn name(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join("comm")).ok().map(|name| name.trim_end().to_owned())
}

fn socket_inode(target: &Path) -> Option<u32> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_socket_links_have_a_socket_inode() {
        assert_eq!(socket_inode(Path::new("socket:[1234]")), Some(1234));
        assert_eq!(socket_inode(Path::new("pipe:[1234]")), None);
        assert_eq!(socket_inode(Path::new("/dev/null")), None);
    }
}

//! Every network namespace that some path leads to: processes' and mounted ones. Not who owns them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Gap;

use super::cgroup;
use crate::machine::pids;

/// A namespace seen under at least one path.
#[derive(Debug)]
pub struct Candidate {
    /// Inode number of the namespace file.
    pub inode: u32,
    /// Ways to it: mounted files first, since they outlive processes.
    pub paths: Vec<PathBuf>,
    /// The pod uid of its processes' cgroups.
    pub pod_uid: Option<String>,
}

/// A path of a dead process costs one failed open; four are enough to survive a restart of a container.
const PATHS: usize = 4;
/// A node runs at most some hundred pods; beyond this the machine is not a node, and each visit costs a system call.
const LIMIT: usize = 4096;
/// Where `ip netns` and the container runtimes mount namespaces.
const DIRECTORIES: [&str; 3] = ["/run/netns", "/var/run/netns", "/var/run/docker/netns"];

/// All namespaces but the own one.
pub fn candidates(own_inode: u32, gaps: &mut Vec<Gap>) -> Vec<Candidate> {
    let mut found: BTreeMap<u32, Candidate> = BTreeMap::new();
    let mut add = |inode: u32, path: PathBuf| {
        let candidate =
            found.entry(inode).or_insert_with(|| Candidate { inode, paths: Vec::new(), pod_uid: None });
        if candidate.paths.len() < PATHS && !candidate.paths.contains(&path) {
            candidate.paths.push(path);
        }
    };
    for path in mounted() {
        if let Some(inode) = namespace_inode(&path) {
            add(inode, path);
        }
    }
    let mut refused = 0_usize;
    let mut uids: BTreeMap<u32, String> = BTreeMap::new();
    for pid in pids() {
        let directory = Path::new("/proc").join(pid.to_string());
        let path = directory.join("ns/net");
        let inode = match fs::metadata(&path) {
            Ok(meta) => u32::try_from(meta.ino()).unwrap_or(0),
            // Process 1 is the machine's init or this container's own, so nothing is lost by not seeing its namespace,
            // and some sandboxes hide it even from root.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid != 1 => {
                refused += 1;
                continue;
            }
            // Kernel threads and processes that ended have no such file.
            Err(_) => continue,
        };
        if inode == own_inode {
            continue;
        }
        add(inode, path);
        if !uids.contains_key(&inode)
            && let Ok(text) = fs::read_to_string(directory.join("cgroup"))
            && let Some(uid) = cgroup::pod_uid(&text)
        {
            uids.insert(inode, uid);
        }
    }
    if refused > 0 {
        gaps.push(
            Gap::new(
                "network namespaces of other processes",
                format!("{refused} processes may not be inspected"),
            )
            .with_remedy("run the agent with the capability SYS_PTRACE and in the host's pid namespace"),
        );
    }
    found.remove(&own_inode);
    if found.len() > LIMIT {
        gaps.push(Gap::new(
            "network namespaces",
            format!("{} exist and only {LIMIT} are looked at", found.len()),
        ));
    }
    found
        .into_values()
        .take(LIMIT)
        .map(|candidate| Candidate { pod_uid: uids.remove(&candidate.inode), ..candidate })
        .collect()
}

/// Files on nsfs: by the mount table, and by the usual directories in case they are seen through another mount.
fn mounted() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = DIRECTORIES
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .collect();
    if let Ok(table) = fs::read("/proc/thread-self/mountinfo") {
        paths.extend(table.split(|byte| *byte == b'\n').filter_map(net_mount));
    }
    paths.sort();
    paths.dedup();
    paths
}

/// The mount point of a mountinfo line whose root is `net:[…]` (proc_pid_mountinfo(5)).
fn net_mount(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    root.starts_with(b"net:[").then(|| unescape(point))
}

/// Undoes the octal escapes for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            digits.iter().try_fold(0_u16, |value, digit| {
                (b'0'..=b'7').contains(digit).then(|| value * 8 + u16::from(digit - b'0'))
            })
        });
        if let Some(value) = digits.and_then(|value| u8::try_from(value).ok()) {
            bytes.push(value);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The inode number, if the path lies on nsfs like /proc's namespace files do, and not on a plain file left behind.
fn namespace_inode(path: &Path) -> Option<u32> {
    let nsfs = fs::metadata("/proc/thread-self/ns/net").ok()?.dev();
    let meta = fs::metadata(path).ok()?;
    (meta.dev() == nsfs && !path.as_os_str().as_bytes().is_empty()).then(|| u32::try_from(meta.ino()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_namespaces_are_taken_from_the_mount_table() {
        let line = b"512 30 0:4 net:[4026532281] /run/netns/a\\040b rw shared:2 - nsfs nsfs rw";
        assert_eq!(net_mount(line), Some(PathBuf::from("/run/netns/a b")));
        let line = b"513 30 0:4 mnt:[4026532281] /run/mnt rw - nsfs nsfs rw";
        assert_eq!(net_mount(line), None);
        assert_eq!(net_mount(b""), None);
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\9bc\\1"), PathBuf::from("a\\9bc\\1"));
    }
}

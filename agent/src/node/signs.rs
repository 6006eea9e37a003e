//! Cheap signs that a network namespace came or went: looking at two files instead of visiting every namespace. A sign
//! that is missed (a pod on macvlan has no interface in the node) is made up for by the regular look.

use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

/// What the signs were.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signs {
    /// Names of the node's interfaces: a pod's veth has one end here.
    interfaces: BTreeSet<String>,
    /// When a named namespace last came or went (`ip netns`, most container runtimes).
    named: Vec<Option<SystemTime>>,
}

/// Where namespaces are bound by name.
const DIRECTORIES: [&str; 2] = ["/run/netns", "/var/run/docker/netns"];

impl Signs {
    /// The signs now. What cannot be read shows no sign.
    pub(super) fn look() -> Self {
        let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        let modified = |path: &&str| fs::metadata(path).and_then(|data| data.modified()).ok();
        Self { interfaces: names(&table), named: DIRECTORIES.iter().map(modified).collect() }
    }
}

/// Interface names of /proc/net/dev: before the colon, after two lines of headings. The counters behind it move always.
fn names(table: &str) -> BTreeSet<String> {
    table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_no_sign_interfaces_are() {
        let table = |counter: u32, name: &str| {
            names(&format!("Inter-|   Receive\n face |bytes\n    lo: {counter} 0\n{name}: 1 2\n"))
        };
        assert_eq!(table(1, " veth0"), table(2, " veth0"));
        assert_ne!(table(1, " veth0"), table(1, " veth1"));
        assert_eq!(table(1, "eth0").len(), 2);
    }
}

//! Sysctls of the calling thread's namespace that change a packet's fate. Read from /proc/sys, whose net part shows the
//! namespace of the thread that opens the file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::Gap;
use model::node_state::Link;

/// One for the namespace.
const PLAIN: [&str; 6] = [
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.ipv4.fwmark_reflect",
    "net.ipv4.vs.conntrack",
];
/// One for each interface, `all` and `default`.
const PER_INTERFACE: [(&str, &str); 5] = [
    ("ipv4", "rp_filter"),
    ("ipv4", "forwarding"),
    ("ipv4", "route_localnet"),
    ("ipv6", "forwarding"),
    ("ipv6", "disable_ipv6"),
];

/// All of them by dotted name; interface names keep their dots as `/`, as `sysctl` prints them.
/// A file that does not exist is left out: its feature is not built in or not in use. Other failures are gaps.
pub fn read(links: &[Link], gaps: &mut Vec<Gap>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for name in PLAIN {
        read_one(name.to_owned(), &Path::new("/proc/sys").join(name.replace('.', "/")), &mut values, gaps);
    }
    let interfaces = ["all", "default"].into_iter().chain(links.iter().map(|link| link.name.as_str()));
    for interface in interfaces {
        // A name with a path in it never comes from the kernel (dev_valid_name in net/core/dev.c).
        if interface.contains('/') {
            continue;
        }
        for (family, name) in PER_INTERFACE {
            let path = PathBuf::from("/proc/sys/net").join(family).join("conf").join(interface).join(name);
            let key = format!("net.{family}.conf.{}.{name}", interface.replace('.', "/"));
            read_one(key, &path, &mut values, gaps);
        }
    }
    values
}

fn read_one(key: String, path: &Path, values: &mut BTreeMap<String, String>, gaps: &mut Vec<Gap>) {
    match fs::read_to_string(path) {
        Ok(text) => {
            values.insert(key, text.trim().replace('\t', " "));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => gaps.push(Gap::new(format!("sysctl {key}"), error.to_string())),
    }
}

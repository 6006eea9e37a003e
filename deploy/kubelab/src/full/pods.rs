//! Where a pod of a full cluster is: its network namespace and its interface on the node.
//!
//! Read from what CNI's library keeps of every network that was attached (`cachedInfo` in libcni/api.go, since 0.7), which
//! containerd has it keep in its usual place. It is on the node, and says more than the runtime's own interface.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use model::Key;
use serde::Deserialize;

use super::config::NETWORK;
use super::tree::CNI_DATA;
use crate::place::Place;

/// A pod, and how it is attached.
#[derive(Debug, PartialEq, Eq)]
pub struct Attached {
    /// Namespace and name.
    pub key: Key,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace, as the node names it.
    pub netns: PathBuf,
    /// Its interface on the node.
    pub interface: String,
}

/// The parts of a kept result that matter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    network_name: String,
    /// Pairs.
    #[serde(default)]
    cni_args: Vec<(String, String)>,
    result: Attachment,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Ip>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    sandbox: Option<String>,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
}

/// All pods of a node that are attached. One that just came and one that is going may have the same name.
pub fn all(place: &Place, node: &str) -> Result<Vec<Attached>> {
    let directory = place.large().join(node).join(CNI_DATA).join("results");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        // Before the first pod.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    // Those that are being written or removed just now are of pods that come or go.
    Ok(entries.flatten().filter_map(|entry| read(&fs::read_to_string(entry.path()).ok()?)).collect())
}

fn read(text: &str) -> Option<Attached> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    if kept.network_name != NETWORK {
        return None;
    }
    let argument = |name: &str| Some(kept.cni_args.iter().find(|(key, _)| key == name)?.1.clone());
    let key = Key::new(argument("K8S_POD_NAMESPACE")?, argument("K8S_POD_NAME")?);
    let addresses = kept.result.ips.iter();
    let addresses = addresses.filter_map(|ip| ip.address.split('/').next()?.parse().ok()).collect();
    // The bridge, the node's end, the pod's end: only the last names a namespace (bridge plugin, `cmdAdd`).
    let inside = kept.result.interfaces.iter().position(has_sandbox)?;
    let netns = PathBuf::from(kept.result.interfaces[inside].sandbox.as_deref()?);
    let outside = kept.result.interfaces[..inside].iter().rev().find(|interface| !has_sandbox(interface))?;
    Some(Attached { key, addresses, netns, interface: outside.name.clone() })
}

fn has_sandbox(interface: &Interface) -> bool {
    interface.sandbox.as_deref().is_some_and(|sandbox| Path::new(sandbox).is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = r#"{"kind":"cniCacheV1","containerId":"c","config":"e30=","ifName":"eth0","networkName":"cluster",
        "cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","api"]],"capabilityArgs":{},
        "result":{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"0a:58:0a:f4:01:01","name":"cni0"},
        {"mac":"5e:00:00:00:00:01","name":"veth1a2b3c4d"},
        {"mac":"5e:00:00:00:00:02","name":"eth0","sandbox":"/var/run/netns/cni-1"}],
        "ips":[{"address":"10.244.1.2/24","gateway":"10.244.1.1","interface":2}]}}"#;

    #[test]
    fn both_ends_of_a_pod_are_read() {
        let attached = Attached {
            key: Key::new("shop", "api"),
            addresses: vec!["10.244.1.2".parse().expect("address")],
            netns: "/var/run/netns/cni-1".into(),
            interface: "veth1a2b3c4d".into(),
        };
        assert_eq!(read(KEPT), Some(attached));
    }

    #[test]
    fn what_is_no_pod_of_the_network_is_left_out() {
        // containerd attaches the loopback interface in the same way.
        assert_eq!(read(&KEPT.replace("\"cluster\"", "\"cni-loopback\"")), None);
        assert_eq!(read(&KEPT.replace("K8S_POD_NAME\"", "OTHER\"")), None);
        assert_eq!(read(&KEPT.replace("sandbox", "other")), None);
        assert_eq!(read(&KEPT[..100]), None);
    }
}

//! What the programs of a node are told: containerd, CNI plugins, kubelet.
//!
//! Holds for containerd 1.6 to 2.1 (which reads version 2 of its configuration as well) and kubelet 1.24 to 1.36.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::images::PAUSE;
use crate::spec::{NodePlan, Spec};

/// Where containerd listens, below the root of the node.
pub const CONTAINERD: &str = "run/containerd/containerd.sock";
/// The network's name in the configuration of CNI, and in the names of what it keeps.
pub const NETWORK: &str = "cluster";

/// Where packages put CNI plugins: Debian, the plugins' own releases, Fedora.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// The plugins of [`network`], and the one that containerd uses by itself.
const USED: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// The directory with the CNI plugins.
pub fn plugins() -> Option<PathBuf> {
    let has_all = |directory: &Path| USED.iter().all(|name| directory.join(name).is_file());
    PLUGINS.iter().map(PathBuf::from).find(|directory| has_all(directory))
}

/// containerd's configuration.
pub fn containerd(plugins: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/{CONTAINERD}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Its profiles would stay loaded in the machine's kernel.
  disable_apparmor = true
  # A lower one than its own needs a capability that even root lacks in many containers and virtual machines.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "/etc/cni/net.d"
"#,
        plugins.display()
    )
}

/// The configuration of CNI: pods at the node's bridge, which the lab has made, with addresses of the node's range. Nodes
/// route to each other's ranges, so nothing is masqueraded.
pub fn network(plan: &NodePlan) -> Value {
    let ranges = std::iter::once(IpNet::V4(plan.pod_cidr)).chain(plan.pod_cidr6.map(IpNet::V6));
    let (ranges, routes): (Vec<Value>, Vec<Value>) = ranges
        .map(|range| {
            let everything = if range.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            (json!([{ "subnet": range }]), json!({ "dst": everything }))
        })
        .unzip();
    json!({
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipMasq": false,
                "ipam": { "type": "host-local", "ranges": ranges, "routes": routes },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// kubelet's configuration. `own` is the node's directory.
pub fn kubelet(spec: &Spec, own: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": own.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": own.join("kubelet.crt"),
        "tlsPrivateKeyFile": own.join("kubelet.key"),
        "cgroupDriver": "cgroupfs",
        // Else kubelet does not start where control groups are of version 1 (KEP-4569; field since 1.31, refused by
        // default in 1.36 at the latest). What a kubelet does not know it ignores with a warning.
        "failCgroupV1": false,
        "clusterDNS": [spec.dns_service()],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "failSwapOn": false,
        // The machine's, and of all nodes together: no node is to be starved or evicted for what others use.
        "enforceNodeAllocatable": [],
        "evictionHard": { "memory.available": "50Mi" },
        // Images cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        // Like containerd's.
        "oomScoreAdj": 0,
    })
}

/// The flag `--node-ip`.
pub fn node_ip(plan: &NodePlan) -> String {
    let all = std::iter::once(IpAddr::V4(plan.address)).chain(plan.address6.map(IpAddr::V6));
    all.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dual_stack_node_has_both_ranges_and_both_ways_out() {
        let plan = Spec::full("t").dual_stack().node_plans().remove(1);
        let network = network(&plan);
        let ipam = &network["plugins"][0]["ipam"];
        assert_eq!(
            ipam["ranges"],
            json!([[{ "subnet": "10.244.2.0/24" }], [{ "subnet": "fd00:244:0:2::/64" }]])
        );
        assert_eq!(ipam["routes"], json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]));
        assert_eq!(node_ip(&plan), "192.168.77.12,fd00:77::12");
    }
}

//! Programs that write firewall rules of their own: container engines, CNIs without policies, host firewalls.
//!
//! Only chain names and remarks that no other program uses.

use super::Owner;

/// Chain name prefixes and who uses them.
const PREFIXES: [(&str, &str); 22] = [
    ("DOCKER", "docker"),
    ("FLANNEL-", "flannel"),
    ("CNI-", "cni plugins"),
    ("KIND-MASQ-AGENT", "kind"),
    ("IP-MASQ-AGENT", "ip-masq-agent"),
    ("AWS-", "aws-vpc-cni"),
    ("NETAVARK", "netavark"),
    ("LIBVIRT_", "libvirt"),
    ("LXC", "lxc"),
    ("ISTIO_", "istio"),
    ("PROXY_INIT_", "linkerd"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("INPUT_direct", "firewalld"),
    ("FORWARD_direct", "firewalld"),
    ("OUTPUT_direct", "firewalld"),
    ("FWDI_", "firewalld"),
    ("FWDO_", "firewalld"),
    ("IN_", "firewalld"),
    ("ts-", "tailscale"),
    ("f2b-", "fail2ban"),
    ("nixos-fw", "nixos"),
];
/// Parts of chain names only firewalld uses.
const FIREWALLD: [&str; 6] = [
    "_ZONES",
    "_POLICIES_pre",
    "_POLICIES_post",
    "FORWARD_IN_ZONES",
    "FORWARD_OUT_ZONES",
    "PREROUTING_ZONES",
];
/// Beginnings of comments and who writes them.
const REMARKS: [(&str, &str); 6] = [
    ("flanneld ", "flannel"),
    ("cilium: ", "cilium"),
    ("Antrea: ", "antrea"),
    ("AWS", "aws-vpc-cni"),
    ("kube-router", "kube-router"),
    ("KUBE-ROUTER", "kube-router"),
];

pub(super) fn of(chain: &str, comment: &str) -> Option<Owner> {
    let by_prefix = PREFIXES.iter().find(|(prefix, _)| chain.starts_with(prefix));
    let by_part = || FIREWALLD.iter().any(|part| chain.ends_with(part)).then_some("firewalld");
    let by_remark =
        || REMARKS.iter().find(|(remark, _)| comment.starts_with(remark)).map(|(_, owner)| *owner);
    by_prefix.map(|(_, owner)| *owner).or_else(by_part).or_else(by_remark).map(Owner::program)
}

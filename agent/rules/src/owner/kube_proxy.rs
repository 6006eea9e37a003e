//! kube-proxy's (and the kubelet's) iptables chains: names, hashes, and the Service a rule serves.
//!
//! Facts: pkg/proxy/iptables/proxier.go, Kubernetes 1.20 to 1.36. It recognises names; whether such a chain is hooked in
//! is for `proxy` to say.

use sha2::{Digest, Sha256};

use super::{KUBE_PROXY, Owner};

/// Chain prefixes that end in a hash of one Service port.
const SERVICE_PREFIXES: [&str; 5] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-"];
/// Chain prefix that ends in a hash of one endpoint of a Service port.
const ENDPOINT_PREFIX: &str = "KUBE-SEP-";
/// Chains shared by all Services.
const SHARED: [&str; 8] = [
    "KUBE-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    "KUBE-FORWARD",
    "KUBE-MARK-MASQ",
    "KUBE-PROXY-FIREWALL",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-PROXY-CANARY",
];
/// Chains the kubelet writes, or wrote before 1.27.
const KUBELET: [&str; 4] = ["KUBE-FIREWALL", "KUBE-MARK-DROP", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"];

/// What follows the prefix of a Service port's chains (SVC, SVL, EXT, FW): `name` is `ns/svc[:port]`.
pub fn service_hash(name: &str, protocol: model::flow::Protocol) -> String {
    hash(&[name, protocol.lower()])
}

/// What follows `KUBE-SEP-`: `endpoint` is `ip:port`, or `[ip]:port` for IPv6.
pub fn sep_hash(name: &str, protocol: model::flow::Protocol, endpoint: &str) -> String {
    hash(&[name, protocol.lower(), endpoint])
}

/// Whether a chain belongs to a single Service port.
pub(crate) fn works_for_one_service(chain: &str) -> bool {
    chain.starts_with(ENDPOINT_PREFIX) || SERVICE_PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

pub(super) fn of(chain: &str, comment: &str) -> Option<Owner> {
    if KUBELET.contains(&chain) {
        // From 1.27 on kube-proxy writes KUBE-FIREWALL too, with the same rule; the text does not tell which of them did.
        let name = if chain == "KUBE-FIREWALL" { KUBE_PROXY } else { "kubelet" };
        return Some(Owner::program(name));
    }
    if !SHARED.contains(&chain) && !works_for_one_service(chain) {
        return None;
    }
    let object = service_of(comment).map(|name| ["service ", name].concat()).unwrap_or_default();
    Some(Owner { name: KUBE_PROXY, object })
}

/// The first Service port name in a comment: it stands first, or after `for` or `to`.
fn service_of(comment: &str) -> Option<&str> {
    comment.split_ascii_whitespace().find(|word| is_service_port_name(word))
}

/// `ns/svc` or `ns/svc:port`, nothing else with a slash, and nothing that would have to be escaped.
pub(super) fn is_service_port_name(word: &str) -> bool {
    let Some((namespace, rest)) = word.split_once('/') else { return false };
    let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
    let label = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    !namespace.is_empty() && !name.is_empty() && label(namespace) && label(name) && label(port)
}

/// `base32(sha256(parts))[:16]` in upper case without padding.
fn hash(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part.as_bytes());
    }
    base32(&sha.finalize()).chars().take(16).collect()
}

/// RFC 4648 section 6, whole groups of five bits only: 16 characters are 80 bits, a multiple of both.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T',
        'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7',
    ];
    let (mut bits, mut held) = (0_u32, 0);
    let mut text = String::new();
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        held += 8;
        while held >= 5 {
            held -= 5;
            text.extend(ALPHABET.get((bits >> held & 31) as usize));
        }
    }
    text
}

//! The chain names kube-proxy derives from Services and endpoints (`pkg/proxy/iptables/proxier.go`, `portProtoHash`).

use std::net::SocketAddr;

use model::objects::ServicePort;
use model::{Key, Protocol};
use sha2::{Digest, Sha256};

/// A Service port and its names.
#[derive(Clone, Debug)]
pub struct PortName {
    /// `namespace/name:port`, without the colon for an unnamed port.
    pub name: String,
    protocol: Protocol,
}

impl PortName {
    pub fn new(service: &Key, port: &ServicePort) -> Self {
        let name =
            if port.name.is_empty() { service.to_string() } else { format!("{service}:{}", port.name) };
        Self { name, protocol: port.protocol }
    }

    /// Endpoints of the Cluster traffic policy.
    pub fn cluster(&self) -> String {
        self.chain("KUBE-SVC-")
    }

    /// Endpoints of the Local traffic policy.
    pub fn local(&self) -> String {
        self.chain("KUBE-SVL-")
    }

    /// Traffic from outside.
    pub fn external(&self) -> String {
        self.chain("KUBE-EXT-")
    }

    /// Traffic to a load balancer address with source ranges.
    pub fn firewall(&self) -> String {
        self.chain("KUBE-FW-")
    }

    /// One endpoint.
    pub fn endpoint(&self, endpoint: SocketAddr) -> String {
        format!("KUBE-SEP-{}", hash(&format!("{}{}{endpoint}", self.name, self.protocol.lower())))
    }

    fn chain(&self, prefix: &str) -> String {
        format!("{prefix}{}", hash(&format!("{}{}", self.name, self.protocol.lower())))
    }
}

/// The first 16 characters of the base 32 form (RFC 4648) of the SHA-256.
pub fn hash(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(text.as_bytes());
    // Sixteen characters are the first ten bytes, which is two groups of five.
    digest[..10]
        .chunks(5)
        .flat_map(|group| {
            let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).rev().map(move |place| char::from(ALPHABET[(bits >> (place * 5) & 31) as usize]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names from a real node and from kube-proxy's own tests.
    #[test]
    fn chains_have_the_names_that_kube_proxy_gives() {
        assert_eq!(hash("ns1/svc1:p80tcp"), "XPGD46QRK7WJZT7O");
        assert_eq!(hash("default/kubernetes:httpstcp"), "NPX46M4PTMTKRN6Y");
        let name = PortName { name: "default/kubernetes:https".into(), protocol: Protocol::Tcp };
        assert_eq!(name.endpoint("10.200.0.1:6443".parse().expect("address")), "KUBE-SEP-YKINUIM5IPE47EYF");
    }
}

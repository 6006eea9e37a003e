//! kube-proxy's nftables chains: their names say which Service and endpoint they serve.
//!
//! Facts: pkg/proxy/nftables/proxier.go, Kubernetes 1.29 to 1.36. The hash in a name only keeps names apart that were
//! cut; the words after it are the Service's own.

use super::{KUBE_PROXY, Owner, kube_proxy};

/// Name of kube-proxy's tables.
pub(super) const TABLE: &str = "kube-proxy";
/// The chain that refuses for any Service without endpoints.
pub(super) const REJECT: &str = "reject-chain";
/// Prefixes of chains of one Service port.
const SERVICE: [&str; 4] = ["service-", "local-", "external-", "firewall-"];
/// Prefix of chains of one endpoint.
const ENDPOINT: &str = "endpoint-";
/// Characters of the hash in a name.
const HASH: usize = 8;

/// The owner of a rule in a chain that jumps to another.
pub(super) fn of(chain: &str, jump: &str) -> Owner {
    let object = object(chain).or_else(|| object(jump)).unwrap_or_default();
    Owner { name: KUBE_PROXY, object }
}

/// The Service that a chain is for: `external-HASH-ns/svc/proto/port`, `endpoint-HASH-ns/svc/proto/port__ip/port`.
pub(super) fn object(chain: &str) -> Option<String> {
    let rest = SERVICE.iter().chain([&ENDPOINT]).find_map(|prefix| chain.strip_prefix(prefix))?;
    let (hash, rest) = rest.split_at_checked(HASH)?;
    if !hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
        return None;
    }
    let rest = rest.strip_prefix('-')?;
    let name = rest.split_once("__").map_or(rest, |(name, _)| name);
    let mut parts = name.split('/');
    let (namespace, service, _protocol) = (parts.next()?, parts.next()?, parts.next()?);
    // A name that was cut may lack its port.
    let port = parts.next().filter(|port| !port.is_empty() && !name.ends_with("..."));
    let name = match port {
        Some(port) => format!("{namespace}/{service}:{port}"),
        None => format!("{namespace}/{service}"),
    };
    remarked(&name)
}

/// The Service a comment names.
pub(super) fn remarked(name: &str) -> Option<String> {
    kube_proxy::is_service_port_name(name).then(|| ["service ", name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_name_their_service() {
        let of = |chain| object(chain).unwrap_or_default();
        assert_eq!(of("service-ULMVA6XW-ns1/svc1/tcp/p80"), "service ns1/svc1:p80");
        assert_eq!(of("endpoint-GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80"), "service ns5/svc5:p80");
        assert_eq!(of("external-42NFTM6N-ns2/svc2/tcp/"), "service ns2/svc2");
        assert_eq!(of("firewall-check"), "");
        assert_eq!(of("service-endpoints-check"), "");
        assert_eq!(of("endpoint-\u{e9}"), "");
    }
}

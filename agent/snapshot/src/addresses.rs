//! Interface addresses, as `ip -j addr` prints them.
//!
//! Scopes and lifetimes are left out: rules do not ask for them.

use std::net::IpAddr;

use ipnet::IpNet;
use model::node_state::InterfaceAddress;

use crate::error::{SnapshotError, Source};
use crate::json;

/// Reads `ip -j addr`.
pub fn addresses(text: &str) -> Result<Vec<InterfaceAddress>, SnapshotError> {
    json::list(Source::Addresses, text, |entry| {
        let interface = entry.text("ifname").ok_or_else(|| entry.error("no `ifname`"))?;
        let read = |address: json::Entry<'_>| {
            // Addresses of other families (MPLS, InfiniBand) have no `local`.
            let local = address.text("local")?;
            let parsed = local.parse::<IpAddr>().ok().zip(address.number("prefixlen"));
            let net = parsed.and_then(|(ip, length)| IpNet::new(ip, u8::try_from(length).ok()?).ok());
            Some(net.ok_or_else(|| address.error("no address with a prefix length")))
        };
        entry
            .entries("addr_info")
            .filter_map(read)
            .map(|net| Ok(InterfaceAddress { interface: interface.to_owned(), address: net? }))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_read() {
        let text = r#"[{"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8},
            {"family":"inet6","local":"::1","prefixlen":128,"nodad":true}]},{"ifname":"v1","addr_info":[]}]"#;
        let found: Vec<_> = addresses(text)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.interface, entry.address.to_string()))
            .collect();
        assert_eq!(
            found,
            [("lo".to_owned(), "127.0.0.1/8".to_owned()), ("lo".to_owned(), "::1/128".to_owned())]
        );
    }

    #[test]
    fn an_impossible_prefix_is_refused() {
        let text = r#"[{"ifname":"lo","addr_info":[{"local":"127.0.0.1","prefixlen":33}]}]"#;
        assert!(matches!(addresses(text), Err(SnapshotError::Entry { entry: 1, .. })));
    }
}

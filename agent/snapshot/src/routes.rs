//! Routes, as `ip -j route show table all` prints them.
//!
//! Several next hops of one route become one route each; whoever chooses treats equal routes as a choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::flow::Family;
use model::node_state::{Route, RouteKind};

use crate::error::{SnapshotError, Source};
use crate::json::{self, Entry};

/// Reads `ip -j route show table all`, or the same with `-6`.
///
/// Without a family option the text holds both families; `default` then belongs to that of its gateway, and `family` is
/// for a default route that has none.
pub fn routes(text: &str, family: Family) -> Result<Vec<Route>, SnapshotError> {
    json::list(Source::Routes, text, |entry| {
        let Some(kind) = kind(entry)? else { return Ok(Vec::new()) };
        let table = match entry.get("table") {
            None => 254,
            Some(value) => json::table(value).ok_or_else(|| entry.error("a table with an unknown name"))?,
        };
        let base = Route {
            table,
            destination: destination(entry, family)?,
            kind,
            gateway: gateway(entry),
            device: entry.text("dev").map(str::to_owned),
            prefer_src: entry.text("prefsrc").and_then(|address| address.parse().ok()),
            metric: entry.number("metric").unwrap_or_default(),
        };
        let hops: Vec<Route> = entry
            .entries("nexthops")
            .map(|hop| Route {
                gateway: gateway(&hop),
                device: hop.text("dev").map(str::to_owned),
                ..base.clone()
            })
            .collect();
        Ok(if hops.is_empty() { vec![base] } else { hops })
    })
}

/// `None` for the kinds that decide nothing for a connection's first packet (anycast, nat, xresolve).
fn kind(entry: &Entry<'_>) -> Result<Option<RouteKind>, SnapshotError> {
    Ok(Some(match entry.text("type").unwrap_or("unicast") {
        "unicast" => RouteKind::Unicast,
        "local" => RouteKind::Local,
        "broadcast" => RouteKind::Broadcast,
        "multicast" => RouteKind::Multicast,
        "blackhole" => RouteKind::Blackhole,
        "unreachable" => RouteKind::Unreachable,
        "prohibit" => RouteKind::Prohibit,
        "throw" => RouteKind::Throw,
        "anycast" | "nat" | "xresolve" => return Ok(None),
        _ => return Err(entry.error("an unknown kind of route")),
    }))
}

fn gateway(entry: &Entry<'_>) -> Option<IpAddr> {
    let other_family = || entry.get("via")?.get("host")?.as_str();
    entry.text("gateway").or_else(other_family)?.parse().ok()
}

fn destination(entry: &Entry<'_>, asked: Family) -> Result<IpNet, SnapshotError> {
    let text = entry.text("dst").ok_or_else(|| entry.error("no `dst`"))?;
    if matches!(text, "default" | "all") {
        // Only IPv6 routes have a preference (RFC 4191).
        let told = entry.get("pref").map(|_| Family::Ipv6);
        let hop = || entry.entries("nexthops").find_map(|hop| gateway(&hop));
        let own = || entry.text("gateway").and_then(|text| text.parse().ok()).or_else(hop).map(Family::of);
        let unspecified = match told.or_else(own).unwrap_or(asked) {
            Family::Ipv4 => IpNet::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            Family::Ipv6 => IpNet::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        };
        return unspecified.map_err(|_| entry.error("no prefix"));
    }
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| entry.error("a `dst` that is no prefix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_tables_and_next_hops() {
        let text = r#"[{"dst":"default","gateway":"10.0.0.9","dev":"br0","table":"100","flags":["linkdown"]},
            {"dst":"10.7.0.0/16","flags":[],"nexthops":[{"gateway":"10.0.0.2","dev":"br0","weight":1},{"gateway":"10.0.0.3","dev":"br1"}]},
            {"type":"unreachable","dst":"10.8.0.0/16","metric":5,"flags":[]},{"type":"local","dst":"127.0.0.1","dev":"lo","table":"local"},
            {"dst":"default","dev":"br0","metric":7,"pref":"medium"},{"dst":"10.6.0.0/16","via":{"family":"inet6","host":"fe80::5"},"dev":"br0"},
            {"type":"anycast","dst":"fd00::","table":"local"},{"dst":"default","dev":"tun0"}]"#;
        let view: Vec<_> = routes(text, Family::Ipv4)
            .unwrap()
            .into_iter()
            .map(|route| {
                (
                    route.destination.to_string(),
                    route.table,
                    route.kind,
                    route.gateway.map(|ip| ip.to_string()),
                    route.metric,
                )
            })
            .collect();
        let unicast = RouteKind::Unicast;
        let row = |net: &str, table, kind, gateway: Option<&str>, metric| {
            (net.to_owned(), table, kind, gateway.map(str::to_owned), metric)
        };
        assert_eq!(
            view,
            [
                row("0.0.0.0/0", 100, unicast, Some("10.0.0.9"), 0),
                row("10.7.0.0/16", 254, unicast, Some("10.0.0.2"), 0),
                row("10.7.0.0/16", 254, unicast, Some("10.0.0.3"), 0),
                row("10.8.0.0/16", 254, RouteKind::Unreachable, None, 5),
                row("127.0.0.1/32", 255, RouteKind::Local, None, 0),
                row("::/0", 254, unicast, None, 7),
                row("10.6.0.0/16", 254, unicast, Some("fe80::5"), 0),
                row("0.0.0.0/0", 254, unicast, None, 0),
            ]
        );
    }

    #[test]
    fn nonsense_is_refused_with_its_entry() {
        for text in [
            r#"[{}, {"dst":"x"}]"#,
            r#"[{}, {"dst":"default","table":"vpn"}]"#,
            r#"[{}, {"dst":"::/0","type":"odd"}]"#,
        ] {
            assert!(
                matches!(routes(text, Family::Ipv4), Err(SnapshotError::Entry { entry: 2, .. })),
                "{text}"
            );
        }
    }
}

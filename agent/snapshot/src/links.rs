//! Interfaces, as `ip -j -d link` prints them.
//!
//! Addresses are a text of their own.

use std::collections::HashMap;

use model::node_state::Link;

use crate::error::{SnapshotError, Source};
use crate::json;

/// Reads `ip -j -d link`.
///
/// A master or a veth peer of the same namespace is printed by name and looked up; one in another namespace is printed
/// by its index there.
pub fn links(text: &str) -> Result<Vec<Link>, SnapshotError> {
    let mut relations: Vec<(Option<String>, Option<String>)> = Vec::new();
    let mut links = json::list(Source::Links, text, |entry| {
        let name = entry.text("ifname").ok_or_else(|| entry.error("no `ifname`"))?;
        let index = entry.number("ifindex").ok_or_else(|| entry.error("no `ifindex`"))?;
        let flags =
            entry.get("flags").and_then(|flags| flags.as_array()).map(Vec::as_slice).unwrap_or_default();
        let kind =
            entry.get("linkinfo").and_then(|info| info.get("info_kind")).and_then(|kind| kind.as_str());
        let kind = kind.unwrap_or_default();
        let peer = entry.text("link").filter(|_| kind == "veth");
        relations.push((entry.text("master").map(str::to_owned), peer.map(str::to_owned)));
        Ok(vec![Link {
            index,
            name: name.to_owned(),
            up: flags.iter().any(|flag| flag == "UP"),
            master: entry.number("master"),
            peer_index: entry.number("link_index").filter(|_| kind == "veth"),
            kind: kind.to_owned(),
            mtu: entry.number("mtu").unwrap_or_default(),
        }])
    })?;
    let indices: HashMap<String, u32> = links.iter().map(|link| (link.name.clone(), link.index)).collect();
    for (link, (master, peer)) in links.iter_mut().zip(relations) {
        link.master = link.master.or_else(|| indices.get(&master?).copied());
        link.peer_index = link.peer_index.or_else(|| indices.get(&peer?).copied());
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536},{},
      {"ifindex":2,"ifname":"br0","flags":["NO-CARRIER"],"mtu":1500,"linkinfo":{"info_kind":"bridge","info_data":{"gc_timer":0.05}}},
      {"ifindex":4,"link":"v1","ifname":"v0","flags":["UP","M-DOWN"],"mtu":1400,"master":"br0","linkinfo":{"info_kind":"veth"}},
      {"ifindex":5,"link_index":7,"ifname":"v2","flags":[],"link_netnsid":0,"linkinfo":{"info_kind":"veth"}},
      {"ifindex":3,"link":"v0","ifname":"v1","flags":[],"linkinfo":{"info_kind":"veth"}}]"#;

    #[test]
    fn relations_are_resolved() {
        let links = links(TEXT).unwrap();
        let view: Vec<_> = links
            .iter()
            .map(|link| {
                (link.name.as_str(), link.index, link.up, link.master, link.peer_index, link.kind.as_str())
            })
            .collect();
        assert_eq!(
            view,
            [
                ("lo", 1, true, None, None, ""),
                ("br0", 2, false, None, None, "bridge"),
                ("v0", 4, true, Some(2), Some(3), "veth"),
                ("v2", 5, false, None, Some(7), "veth"),
                ("v1", 3, false, None, Some(4), "veth"),
            ]
        );
        assert_eq!(links[2].mtu, 1400);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = links(r#"[{"ifname":"x"}]"#).unwrap_err().to_string();
        assert_eq!(error, r#"read links (ip -j -d link), entry 1: no `ifindex`: `{\"ifname\":\"x\"}`"#);
        assert!(matches!(links("Object \"x\" is unknown"), Err(SnapshotError::Json { .. })));
        assert_eq!(links("").unwrap(), []);
    }
}

//! The packet of a line or of flags.

use std::net::{IpAddr, SocketAddr};

use model::flow::{Origin, Packet, Protocol};
use serde::Deserialize;

/// A packet as asked for. Everything is text until it is needed, so that a mistake is told in the asker's words.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// `pod`, `node` or `external`; needed unless the source is one of the node's addresses.
    pub origin: Option<String>,
    /// Source address.
    pub src: String,
    /// Destination address as the sender writes it, with its port or without.
    pub dst: String,
    /// Destination port.
    pub port: Option<u16>,
    /// `tcp`, `udp` or `sctp` in any case; TCP where it is missing.
    pub proto: Option<String>,
    /// The interface it arrives on, where the routes do not tell.
    pub in_interface: Option<String>,
}

impl Asked {
    /// The packet; `own` are the node's addresses.
    pub fn packet(&self, own: &[IpAddr]) -> Result<Packet, String> {
        let src: IpAddr = self.src.parse().map_err(|_| format!("src: `{}` is no IP address", self.src))?;
        let dst = match (self.dst.parse::<IpAddr>(), self.dst.parse::<SocketAddr>(), self.port) {
            (Ok(address), _, Some(port)) => SocketAddr::new(address, port),
            (Ok(_), _, None) => return Err("port is missing".to_owned()),
            (_, Ok(dst), None) => dst,
            (_, Ok(dst), Some(port)) if dst.port() == port => dst,
            (_, Ok(dst), Some(port)) => {
                return Err(format!("dst says port {}, port says {port}", dst.port()));
            }
            _ => return Err(format!("dst: `{}` is no IP address", self.dst)),
        };
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(format!("{src} and {} are of different families", dst.ip()));
        }
        let protocol = match &self.proto {
            None => Protocol::Tcp,
            Some(word) => word.parse::<Protocol>().map_err(|error| format!("proto: {error}"))?,
        };
        let origin = match self.origin.as_deref() {
            Some("pod") => Origin::Pod,
            Some("node") => Origin::Node,
            Some("external") => Origin::External,
            Some(other) => return Err(format!("origin: `{other}` is none of pod, node, external")),
            None if own.contains(&src) => Origin::Node,
            None => return Err(format!("origin is missing: is {src} a pod of this node, or external?")),
        };
        Ok(Packet { origin, in_interface: self.in_interface.clone(), protocol, src, src_port: None, dst })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(json: &str) -> Result<Packet, String> {
        let asked: Asked = serde_json::from_str(json).map_err(|error| error.to_string())?;
        asked.packet(&["192.168.77.11".parse().expect("address")])
    }

    #[test]
    fn all_fields_are_read() {
        let json = r#"{"id":1,"origin":"external","src":"fd00::9","dst":"fd00::1","port":80,"proto":"uDp","inInterface":"eth0"}"#;
        let read = packet(json).expect("a packet");
        assert_eq!(read.dst.to_string(), "[fd00::1]:80");
        assert_eq!((read.origin, read.protocol), (Origin::External, Protocol::Udp));
        assert_eq!(read.in_interface.as_deref(), Some("eth0"));
        let own = packet(r#"{"src":"192.168.77.11","dst":"10.96.0.1:443"}"#).expect("a packet");
        assert_eq!((own.origin, own.protocol, own.dst.port()), (Origin::Node, Protocol::Tcp, 443));
    }

    #[test]
    fn mistakes_are_told_in_the_askers_words() {
        for (json, why) in [
            (r#"{"src":"web/client","dst":"1.2.3.4","port":1}"#, "src: `web/client` is no IP address"),
            (r#"{"src":"1.2.3.4","dst":"api","port":1}"#, "dst: `api` is no IP address"),
            (r#"{"origin":"pod","src":"1.2.3.4","dst":"1.2.3.5"}"#, "port is missing"),
            (
                r#"{"origin":"pod","src":"1.2.3.4","dst":"::1","port":1}"#,
                "1.2.3.4 and ::1 are of different families",
            ),
            (
                r#"{"origin":"moon","src":"1.2.3.4","dst":"1.2.3.5","port":1}"#,
                "origin: `moon` is none of pod, node, external",
            ),
            (
                r#"{"src":"1.2.3.4","dst":"1.2.3.5","port":1}"#,
                "origin is missing: is 1.2.3.4 a pod of this node, or external?",
            ),
        ] {
            assert_eq!(packet(json).expect_err(json), why);
        }
        let proto = packet(r#"{"origin":"pod","src":"1.2.3.4","dst":"1.2.3.5","port":1,"proto":"icmp"}"#);
        assert!(proto.expect_err("icmp").starts_with("proto: unknown protocol `icmp`"));
        assert!(packet(r#"{"origin":"pod","src":"1.2.3.4","dst":"1.2.3.5","port":70000}"#).is_err());
    }
}

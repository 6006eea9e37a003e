//! From a dropped packet to the packet whose walk explains it: where it entered the namespace it was dropped in.

use std::net::IpAddr;

use model::{Origin, Packet, Tuple};

/// From where the packet is looked at.
#[derive(Clone, Copy, Debug)]
pub enum Viewpoint<'a> {
    /// The node's own namespace.
    Node {
        /// Whether an address belongs to one of this node's pods.
        pods: &'a dyn PodAddresses,
    },
    /// A pod's namespace.
    Pod,
}

/// Which addresses are pods of this node.
pub trait PodAddresses: std::fmt::Debug {
    /// Whether this address is on a pod's interface.
    fn contains(&self, address: IpAddr) -> bool;
}

/// The packet to walk for a drop in a namespace that has the addresses `local`.
pub fn packet_of(
    tuple: &Tuple,
    src_port: u16,
    in_interface: Option<&str>,
    viewpoint: Viewpoint<'_>,
    local: &[IpAddr],
) -> Packet {
    let own = local.contains(&tuple.src);
    let origin = match viewpoint {
        Viewpoint::Node { pods } if pods.contains(tuple.src) && !own => Origin::Pod,
        Viewpoint::Node { .. } | Viewpoint::Pod if own => Origin::Node,
        Viewpoint::Node { .. } | Viewpoint::Pod => Origin::External,
    };
    // A packet that a process here sends has come in by no interface, whatever the tracer saw on a second pass.
    let in_interface = if origin == Origin::Node { None } else { in_interface.map(str::to_owned) };
    Packet {
        origin,
        in_interface,
        protocol: tuple.protocol,
        src: tuple.src,
        src_port: Some(src_port),
        dst: tuple.dst,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use model::Protocol;

    use super::*;

    #[derive(Debug)]
    struct Pods(Vec<IpAddr>);

    impl PodAddresses for Pods {
        fn contains(&self, address: IpAddr) -> bool {
            self.0.contains(&address)
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    fn origin(src: u8, viewpoint: Viewpoint<'_>) -> (Origin, Option<String>) {
        let dst = SocketAddr::new(ip(9), 80);
        let tuple = Tuple { protocol: Protocol::Tcp, src: ip(src), dst };
        let packet = packet_of(&tuple, 40_000, Some("veth1"), viewpoint, &[ip(1)]);
        assert_eq!((packet.src, packet.dst, packet.src_port), (ip(src), dst, Some(40_000)));
        (packet.origin, packet.in_interface)
    }

    #[test]
    fn in_the_node() {
        let pods = Pods(vec![ip(2), ip(1)]);
        let node = Viewpoint::Node { pods: &pods };
        assert_eq!(origin(2, node), (Origin::Pod, Some("veth1".to_owned())));
        assert_eq!(origin(1, node), (Origin::Node, None), "an address of the node is the node's first");
        assert_eq!(origin(3, node), (Origin::External, Some("veth1".to_owned())));
    }

    #[test]
    fn in_a_pod() {
        assert_eq!(origin(1, Viewpoint::Pod), (Origin::Node, None), "it passes OUTPUT");
        assert_eq!(
            origin(2, Viewpoint::Pod),
            (Origin::External, Some("veth1".to_owned())),
            "it passes INPUT"
        );
    }
}

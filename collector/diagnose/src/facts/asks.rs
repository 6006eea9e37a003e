//! The probes a question needs, each built in one place so that what is asked and what is looked up agree.
//!
//! When to send which, `next_probes` decides.

use std::net::{IpAddr, SocketAddr};

use model::probe::Scope;
use model::walk::{Branch, Masquerade};
use model::{Case, Family, Origin, Packet, Probe};

use super::source::{SourceFacts, pod_target};

/// What the rules of the source's node do to the packet.
pub(crate) fn source_walk(
    case: &Case,
    source: &SourceFacts<'_>,
    src: IpAddr,
    dst: SocketAddr,
) -> Option<Probe> {
    Some(Probe::Walk {
        node: source.node?.to_owned(),
        scope: Scope::Node,
        packet: packet(case, source.origin, src, dst),
    })
}

/// What the rules inside the source pod do to it, if the pod has a network namespace of its own.
pub(crate) fn pod_walk(case: &Case, source: &SourceFacts<'_>, src: IpAddr, dst: SocketAddr) -> Option<Probe> {
    Some(Probe::Walk {
        node: source.node?.to_owned(),
        scope: Scope::Pod(source.target()?),
        packet: packet(case, Origin::Node, src, dst),
    })
}

/// What the rules of the destination's node do to it when it arrives from another node.
pub(crate) fn arrival_walk(
    case: &Case,
    source: &SourceFacts<'_>,
    src: IpAddr,
    branch: Option<&Branch>,
    node: &str,
    dst: SocketAddr,
) -> Probe {
    let masqueraded = branch.is_some_and(|branch| branch.masquerade == Masquerade::Yes);
    let src = if masqueraded { node_address(case, source.node, src).unwrap_or(src) } else { src };
    Probe::Walk {
        node: node.to_owned(),
        scope: Scope::Node,
        packet: packet(case, Origin::External, src, dst),
    }
}

/// What listens in a pod.
pub(crate) fn listeners(case: &Case, node: &str, pod: &model::objects::Pod) -> Probe {
    Probe::Listeners { node: node.to_owned(), pod: pod_target(pod), protocol: case.question.protocol }
}

fn packet(case: &Case, origin: Origin, src: IpAddr, dst: SocketAddr) -> Packet {
    Packet { origin, in_interface: None, protocol: case.question.protocol, src, src_port: None, dst }
}

/// The node's address of the same family: what a masqueraded source becomes as far as the objects tell.
fn node_address(case: &Case, node: Option<&str>, like: IpAddr) -> Option<IpAddr> {
    let node = case.objects.nodes.get(node?)?;
    node.addresses.iter().copied().find(|address| Family::of(*address) == Family::of(like))
}

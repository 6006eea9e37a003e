//! Switches of a node's kernel.

use super::{Destination, Fault, How, Need, Probe, Reach, Source, Symptom};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "forwarding-off",
        breaks: "net.ipv4.ip_forward is 0 on the server's node",
        cause: "H1",
        symptom: Symptom::Silent,
        reach: Reach::Node,
        needs: &[Need::TwoNodes],
        inject: |stage| stage.sysctl(&stage.scene.server_node(), "net.ipv4.ip_forward", "0"),
        ..Fault::USUAL
    },
    Fault {
        name: "bridge-nf-off",
        breaks: "net.bridge.bridge-nf-call-iptables is 0, so replies between pods of one node are not translated back",
        cause: "H13",
        probe: Probe { from: Source::Pod("neighbour"), to: Destination::Service("api", 80), how: How::Tcp },
        symptom: Symptom::Silent,
        reach: Reach::Node,
        world: |stage| {
            stage.usual()?;
            stage.create(&super::listener::pod(stage, "neighbour").object())
        },
        inject: |stage| stage.sysctl(&stage.scene.server_node(), "net.bridge.bridge-nf-call-iptables", "0"),
        ..Fault::USUAL
    },
];

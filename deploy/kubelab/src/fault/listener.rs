//! Servers that do not listen where they should, and pods that are cut off.

use model::Protocol;
use netlab::Listen;

use super::journal::At;
use super::stage::SERVED;
use super::{Destination, Fault, How, Probe, Source, Stage, Symptom};
use crate::manifest::{Pod, Port};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "listener-gone",
        breaks: "nothing listens on the port in the pod",
        cause: "P1",
        inject: |stage| stage.apply(&stage.scene.server().serve(SERVED).silent().object()),
        ..Fault::USUAL
    },
    Fault {
        name: "loopback-only",
        breaks: "the server listens on 127.0.0.1 only",
        cause: "P2",
        inject: |stage| listen(stage, &Listen::on_loopback(SERVED, "")),
        ..Fault::USUAL
    },
    Fault {
        name: "one-family",
        breaks: "the server listens on IPv6 only, and the client uses IPv4",
        cause: "P3",
        inject: |stage| listen(stage, &Listen { v6only: true, ..Listen::on_all(SERVED, "") }),
        ..Fault::USUAL
    },
    Fault {
        name: "backlog-full",
        breaks: "the server's queue of connections is full: it takes none any more",
        cause: "P4",
        symptom: Symptom::Silent,
        // The attempts of whoever looks fill it.
        inject: |stage| listen(stage, &Listen { backlog: 0, accept: false, ..Listen::on_all(SERVED, "") }),
        ..Fault::USUAL
    },
    Fault {
        name: "udp-listener-gone",
        breaks: "no socket of the pod takes the datagrams",
        cause: "P17",
        probe: Probe { from: Source::Pod("client"), to: Destination::Service("api", 53), how: How::Udp },
        world: |stage| {
            stage.usual_clients()?;
            stage.create(&stage.scene.server().declare(None, Protocol::Udp, 53).object())?;
            stage.create(&stage.scene.service().port(Port::udp(53)).object())
        },
        inject: |stage| stage.apply(&stage.scene.server().declare(None, Protocol::Udp, 53).silent().object()),
        ..Fault::USUAL
    },
    Fault {
        name: "pod-link-down",
        breaks: "the server's interface is down on its node",
        cause: "P10",
        symptom: Symptom::Lost,
        inject: |stage| {
            let interface = stage.interface("api")?;
            let node = stage.scene.server_node();
            stage.ip(&node, &format!("link set {interface} down"), &format!("link set {interface} up"))
        },
        ..Fault::USUAL
    },
    Fault {
        name: "pod-without-default-route",
        breaks: "the client has no default route",
        cause: "P10",
        symptom: Symptom::NetUnreachable,
        inject: |stage| {
            let pod = At::Pod(stage.scene.key("client"));
            let route = stage.read(&pod, &["ip", "-4", "route", "show", "default"])?;
            stage.ip(&pod, "-4 route del default", &format!("-4 route add {}", route.trim()))
        },
        ..Fault::USUAL
    },
];

/// A pod on the server's node that listens on nothing.
pub fn pod(stage: &Stage<'_>, name: &str) -> Pod {
    Pod::new(&stage.scene.namespace, name).node(&stage.scene.second)
}

fn listen(stage: &mut Stage<'_>, listen: &Listen) -> anyhow::Result<()> {
    stage.apply(&stage.scene.server().serve(SERVED).listen(listen).object())
}

//! What stands in EndpointSlices and what should.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use super::stage::SERVED;
use super::{Fault, Need, Scene, Stage, Symptom};
use crate::manifest::{Service, Slice};

/// The place in a node's range of an address that no pod gets: they are given out from the start.
const NOBODY: u32 = 250;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "not-ready",
        breaks: "the readiness probe of all the Service's pods fails",
        cause: "E1",
        inject: |stage| stage.apply(&stage.scene.server().serve(SERVED).not_ready().object()),
        ..Fault::USUAL
    },
    Fault {
        name: "stale-slice",
        breaks: "an EndpointSlice made by hand names an address that no pod has any more",
        cause: "E3",
        symptom: Symptom::Lost,
        needs: &[Need::TwoNodes],
        world: by_hand,
        inject: |stage| {
            let address = nobody(stage)?;
            stage.apply(&slice(stage, address).of("api").object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "slice-label",
        breaks: "an EndpointSlice made by hand lacks the label with the name of its Service",
        cause: "S19",
        world: by_hand,
        inject: |stage| {
            let address = stage.address("api")?;
            // kube-proxy does not notice that a slice loses its Service (`endpointSliceCacheKeys` in pkg/proxy/endpointslicecache.go).
            stage.delete(&stage.target("discovery.k8s.io/v1", "EndpointSlice", "by-hand"))?;
            stage.apply(&slice(stage, address).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "host-port-taken",
        breaks: "another pod has the hostPort on every node, so the Service's pod is not scheduled",
        cause: "P12",
        world: |stage| {
            stage.usual_clients()?;
            stage.create(&claiming(stage, "api").label("app", "api").serve(SERVED).object())?;
            stage.create(&stage.scene.service().port(Scene::port()).object())
        },
        inject: |stage| {
            stage.delete(&stage.target("v1", "Pod", "api"))?;
            for (number, node) in stage.cluster.record().nodes.clone().iter().enumerate() {
                stage.apply(&claiming(stage, &format!("squatter-{number}")).node(&node.name).object())?;
            }
            stage.apply(&claiming(stage, "api").label("app", "api").serve(SERVED).object())
        },
        ..Fault::USUAL
    },
];

/// A Service without a selector, and a slice that names the server.
pub fn by_hand(stage: &Stage<'_>) -> Result<()> {
    stage.usual_clients()?;
    stage.create(&stage.scene.server().serve(SERVED).object())?;
    stage.create(&Service::new(&stage.scene.namespace, "api").port(Scene::port()).object())?;
    stage.create(&slice(stage, stage.address("api")?).of("api").object())
}

pub fn slice(stage: &Stage<'_>, address: Ipv4Addr) -> Slice {
    Slice::new(&stage.scene.namespace, "by-hand").endpoint(IpAddr::V4(address)).tcp("tcp-80", SERVED)
}

fn claiming(stage: &Stage<'_>, name: &str) -> crate::manifest::Pod {
    /// No Service of the faults has this node port.
    const HOST_PORT: u16 = 18_080;
    crate::manifest::Pod::new(&stage.scene.namespace, name).host_port(HOST_PORT)
}

/// An address of the server's node that no pod has.
pub fn nobody(stage: &Stage<'_>) -> Result<Ipv4Addr> {
    let plan = stage.cluster.record().nodes.iter().find(|plan| plan.name == stage.scene.second);
    let range = plan.context("the server's node")?.pod_cidr;
    Ok(Ipv4Addr::from(u32::from(range.network()) + NOBODY))
}

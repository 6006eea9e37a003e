//! Fields of a Service that are not what the client or the pods think.

use std::net::Ipv4Addr;

use anyhow::Result;
use serde_json::json;

use super::stage::SERVED;
use super::{Destination, Fault, How, Need, Probe, Scene, Source, Stage, Symptom};
use crate::manifest::{Port, Service};

/// Load balancers' addresses: of TEST-NET-3 (RFC 5737), which nobody has.
const BALANCER_PENDING: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const BALANCER_RANGES: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
/// Node ports, unique among faults.
const NODE_PORT: u16 = 30_801;
const NODE_PORT_MOVED: u16 = 30_802;
const NODE_PORT_LOCAL: u16 = 30_803;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "target-port",
        breaks: "the Service's targetPort is not the port that its pods listen on",
        cause: "S5",
        inject: |stage| stage.apply(&stage.scene.service().port(Port::tcp(80).to(9090)).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "named-target-port",
        breaks: "the Service's targetPort is a name that no pod declares",
        cause: "S6",
        inject: |stage| stage.apply(&stage.scene.service().port(Port::tcp(80).to_named("web")).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "service-port",
        breaks: "the client uses a port that the Service does not list",
        cause: "S2",
        symptom: Symptom::Untranslated,
        inject: |stage| stage.apply(&stage.scene.service().port(Port::tcp(81).to(SERVED)).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "service-protocol",
        breaks: "the Service's port is for UDP, and the client and the pods speak TCP",
        cause: "S7",
        symptom: Symptom::Untranslated,
        inject: |stage| stage.apply(&stage.scene.service().port(Port::udp(80).to(SERVED)).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "selector",
        breaks: "the Service's selector matches no pod",
        cause: "S3",
        inject: |stage| {
            let service = Service::new(&stage.scene.namespace, "api").select("app", "my-api");
            stage.apply(&service.port(Scene::port()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "selector-too-broad",
        breaks: "the Service's selector matches pods that do not serve it as well",
        cause: "S4",
        probe: Probe { from: Source::Pod("client"), to: Destination::Service("api", 80), how: How::Often },
        symptom: Symptom::Sometimes,
        world: |stage| {
            let server = stage.scene.server().label("part-of", "shop").serve(SERVED);
            let worker =
                super::listener::pod(stage, "worker").label("app", "worker").label("part-of", "shop");
            stage.usual_clients()?;
            stage.create(&server.object())?;
            stage.create(&worker.object())?;
            stage.create(&stage.scene.service().port(Scene::port()).object())
        },
        inject: |stage| {
            let service = Service::new(&stage.scene.namespace, "api").select("part-of", "shop");
            stage.apply(&service.port(Scene::port()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "headless-port",
        breaks: "the Service is headless, so nobody translates the port that the client uses",
        cause: "S18",
        probe: Probe { from: Source::Pod("client"), to: Destination::Headless("api", 80), how: How::Tcp },
        inject: |stage| {
            // A Service with an address cannot lose it.
            stage.delete(&stage.target("v1", "Service", "api"))?;
            stage.apply(&stage.scene.service().headless().port(Scene::port()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "service-proxy-name",
        breaks: "a label of the Service gives it to another service proxy, and there is none",
        cause: "S20",
        symptom: Symptom::Silent,
        inject: |stage| {
            let service = stage.scene.service().label("service.kubernetes.io/service-proxy-name", "other");
            stage.apply(&service.port(Scene::port()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "internal-local",
        breaks: "internalTrafficPolicy is Local, and no pod of the Service is on the client's node",
        cause: "S13",
        symptom: Symptom::Silent,
        needs: &[Need::TwoNodes],
        inject: |stage| stage.apply(&stage.scene.service().internal_local().port(Scene::port()).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "external-local",
        breaks: "externalTrafficPolicy is Local, and no pod of the Service is on the node that is asked",
        cause: "S12",
        probe: Probe { from: Source::Machine, to: Destination::NodePort(NODE_PORT_LOCAL), how: How::Tcp },
        symptom: Symptom::Silent,
        needs: &[Need::TwoNodes],
        world: |stage| {
            usual_pods(stage)?;
            stage.create(&on_node_port(stage, NODE_PORT_LOCAL).object())
        },
        inject: |stage| stage.apply(&on_node_port(stage, NODE_PORT_LOCAL).external_local().object()),
        ..Fault::USUAL
    },
    Fault {
        name: "node-port",
        breaks: "the client uses a node port that is not the Service's",
        cause: "S9",
        probe: Probe { from: Source::Pod("client"), to: Destination::NodePort(NODE_PORT), how: How::Tcp },
        world: |stage| {
            usual_pods(stage)?;
            stage.create(&on_node_port(stage, NODE_PORT).object())
        },
        inject: |stage| stage.apply(&on_node_port(stage, NODE_PORT_MOVED).object()),
        ..Fault::USUAL
    },
    Fault {
        name: "load-balancer-pending",
        breaks: "nobody has given the Service of type LoadBalancer an address",
        cause: "S10",
        probe: Probe {
            from: Source::Pod("client"),
            to: Destination::Balancer("api", BALANCER_PENDING, 80),
            how: How::Tcp,
        },
        symptom: Symptom::NoAddress,
        world: |stage| balanced(stage, BALANCER_PENDING),
        inject: |stage| {
            let target = stage.target("v1", "Service", "api");
            stage.set_status(&target, &json!({ "loadBalancer": { "ingress": null } }))
        },
        ..Fault::USUAL
    },
    Fault {
        name: "source-ranges",
        breaks: "loadBalancerSourceRanges do not hold the client's address",
        cause: "S11",
        probe: Probe {
            from: Source::Pod("client"),
            to: Destination::Balancer("api", BALANCER_RANGES, 80),
            how: How::Tcp,
        },
        symptom: Symptom::Silent,
        world: |stage| balanced(stage, BALANCER_RANGES),
        inject: |stage| {
            let service = stage.scene.service().load_balancer().source_ranges(&["198.51.100.0/24"]);
            stage.apply(&service.port(Scene::port()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "affinity",
        breaks: "sessionAffinity keeps the client at a pod whose server is gone",
        cause: "S15",
        world: |stage| {
            usual_pods(stage)?;
            let second = super::listener::pod(stage, "api-2").label("app", "api").serve(SERVED);
            stage.create(&second.object())?;
            stage.create(&stage.scene.service().affinity().port(Scene::port()).object())
        },
        inject: |stage| {
            let answered = stage.answer()?;
            let name = answered.rsplit('/').next().unwrap_or("api").to_owned();
            let server = super::listener::pod(stage, &name).label("app", "api").serve(SERVED);
            stage.apply(&server.silent().object())
        },
        ..Fault::USUAL
    },
];

fn usual_pods(stage: &Stage<'_>) -> Result<()> {
    stage.usual_clients()?;
    stage.create(&stage.scene.server().serve(SERVED).object())
}

fn on_node_port(stage: &Stage<'_>, port: u16) -> Service {
    stage.scene.service().node_port().port(Scene::port().node_port(port))
}

/// A Service of type LoadBalancer, and the address that a cloud would write into its status.
fn balanced(stage: &Stage<'_>, address: Ipv4Addr) -> Result<()> {
    usual_pods(stage)?;
    stage.create(&stage.scene.service().load_balancer().port(Scene::port()).object())?;
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
    stage.cluster.patch_status(&stage.target("v1", "Service", "api"), &status)
}

//! NetworkPolicies that deny what somebody needs.
//!
//! Each world has a policy that admits the client, except where the fault is that there is a policy at all; so what is
//! broken is the one field that is meant.

use anyhow::Result;
use ipnet::IpNet;
use model::Protocol;
use serde_json::json;

use super::stage::SERVED;
use super::{Destination, Fault, How, Need, Probe, Scene, Source, Stage, Symptom};
use crate::manifest::{Namespace, Peer, Pod, Policy, Port, Rule};

/// A node port, unique among faults.
const NODE_PORT: u16 = 30_804;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "policy-deny-ingress",
        breaks: "a policy isolates the server for ingress and admits nobody",
        cause: "N1",
        inject: |stage| stage.apply(&policy(stage).deny_ingress().object()),
        ..DENIED
    },
    Fault {
        name: "policy-deny-egress",
        breaks: "a policy isolates the client for egress and admits nothing",
        cause: "N2",
        inject: |stage| {
            let policy = Policy::new(&stage.scene.namespace, "policy").select("role", "client");
            stage.apply(&policy.deny_egress().object())
        },
        ..DENIED
    },
    Fault {
        name: "policy-pod-label",
        breaks: "the policy admits pods with a label that the client has with another value",
        cause: "N3",
        world: |stage| admitted(stage, Rule::new().peer(Peer::pods([("role", "client")]))),
        inject: |stage| admit(stage, Rule::new().peer(Peer::pods([("role", "allowed-client")]))),
        ..DENIED
    },
    Fault {
        name: "policy-namespace-label",
        breaks: "the policy admits a namespace by a label that the client's namespace lacks",
        cause: "N4",
        probe: Probe { from: Source::OtherPod("client"), to: Destination::Service("api", 80), how: How::Tcp },
        world: |stage| {
            let other = stage.scene.other();
            stage.create(&Namespace::new(&other).label("team", "web").object())?;
            let client = Pod::new(&other, "client").node(&stage.scene.first).label("role", "client");
            stage.create(&client.object())?;
            admitted(stage, Rule::new().peer(Peer::namespace([("team", "web")])))
        },
        inject: |stage| stage.apply(&Namespace::new(stage.scene.other()).object()),
        ..DENIED
    },
    Fault {
        name: "policy-service-port",
        breaks: "the policy lists the Service's port instead of the port of the pods",
        cause: "N6",
        world: |stage| admitted(stage, Rule::new().tcp(SERVED)),
        inject: |stage| admit(stage, Rule::new().tcp(80)),
        ..DENIED
    },
    Fault {
        name: "policy-protocol",
        breaks: "the policy admits port 53 without a protocol, which means TCP, and the client asks by UDP",
        cause: "N7",
        probe: Probe { from: Source::Pod("client"), to: Destination::Service("api", 53), how: How::Udp },
        world: |stage| {
            stage.usual_clients()?;
            stage.create(&stage.scene.server().declare(None, Protocol::Udp, 53).object())?;
            stage.create(&stage.scene.service().port(Port::udp(53)).object())?;
            stage.create(&policy(stage).ingress(Rule::new().udp(53)).object())
        },
        inject: |stage| admit(stage, Rule::new().port(json!({ "port": 53 }))),
        ..DENIED
    },
    Fault {
        name: "policy-named-port",
        breaks: "the policy names a port that the server does not declare",
        cause: "N8",
        world: |stage| admitted(stage, Rule::new().named("http")),
        inject: |stage| admit(stage, Rule::new().named("web")),
        ..DENIED
    },
    Fault {
        name: "policy-except",
        breaks: "the policy admits a block of addresses with an exception that holds the client's",
        cause: "N10",
        world: |stage| admitted(stage, Rule::new().peer(Peer::block(pods(stage), &[]))),
        inject: |stage| {
            let client = IpNet::from(std::net::IpAddr::V4(stage.address("client")?));
            admit(stage, Rule::new().peer(Peer::block(pods(stage), &[client])))
        },
        ..DENIED
    },
    Fault {
        name: "policy-translated-source",
        breaks: "the policy admits the client's address, but the way through another node replaces it by that node's",
        cause: "N11",
        probe: Probe { from: Source::Machine, to: Destination::NodePort(NODE_PORT), how: How::Tcp },
        needs: &[Need::Policies, Need::TwoNodes],
        world: |stage| {
            stage.usual_clients()?;
            // On the node that is asked; the policy then sees the client's own address.
            let server = Pod::new(&stage.scene.namespace, "api").node(&stage.scene.first).label("app", "api");
            stage.create(&server.serve(SERVED).object())?;
            let service = stage.scene.service().node_port().external_local();
            stage.create(&service.port(Scene::port().node_port(NODE_PORT)).object())?;
            let machine = Rule::new().peer(Peer::block(stage.scene.machine.into(), &[]));
            stage.create(&policy(stage).ingress(machine).object())
        },
        inject: |stage| {
            stage.delete(&stage.target("v1", "Pod", "api"))?;
            stage.apply(&stage.scene.server().serve(SERVED).object())?;
            let service = stage.scene.service().node_port();
            stage.apply(&service.port(Scene::port().node_port(NODE_PORT)).object())
        },
        ..DENIED
    },
    Fault {
        name: "policy-host-network",
        breaks: "the client is in its node's network, where no policy's pod selector finds it",
        cause: "N12",
        needs: &[Need::Policies, Need::TwoNodes],
        world: |stage| admitted(stage, Rule::new().peer(Peer::pods([("role", "client")]))),
        inject: |stage| {
            stage.delete(&stage.target("v1", "Pod", "client"))?;
            stage.apply(&stage.scene.client().host_network().object())
        },
        ..DENIED
    },
];

/// What each engine does to what is denied: silence with most, an ICMP port unreachable with kube-router.
const DENIED: Fault = Fault { symptom: Symptom::Denied, needs: &[Need::Policies], ..Fault::USUAL };

fn policy(stage: &Stage<'_>) -> Policy {
    Policy::new(&stage.scene.namespace, "policy").select("app", "api")
}

/// The usual world, in which this is admitted to the server and nothing else. Its port is declared as `http`.
fn admitted(stage: &Stage<'_>, rule: Rule) -> Result<()> {
    stage.usual_clients()?;
    stage.create(&stage.scene.server().declare(Some("http"), Protocol::Tcp, SERVED).object())?;
    stage.create(&stage.scene.service().port(Scene::port()).object())?;
    stage.create(&policy(stage).ingress(rule).object())
}

/// Admits this instead.
fn admit(stage: &mut Stage<'_>, rule: Rule) -> Result<()> {
    stage.apply(&policy(stage).ingress(rule).object())
}

/// All pods' addresses.
fn pods(stage: &Stage<'_>) -> IpNet {
    IpNet::V4(stage.cluster.record().spec.pod_cidr)
}

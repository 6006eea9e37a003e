//! Names that lead nowhere.

use super::{Destination, Fault, How, Probe, Source, Stage, Symptom};
use crate::manifest::{Namespace, Pod, Service};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "service-absent",
        breaks: "there is no Service of the name that the client asks for",
        cause: "S1",
        symptom: Symptom::NoName,
        inject: |stage| stage.delete(&stage.target("v1", "Service", "api")),
        ..Fault::USUAL
    },
    Fault {
        name: "wrong-namespace",
        breaks: "the client asks for a bare name whose Service is in another namespace",
        cause: "D1",
        probe: Probe { from: Source::OtherPod("client"), to: Destination::Name("api", 80), how: How::Tcp },
        symptom: Symptom::NoName,
        world: |stage| {
            stage.usual()?;
            let other = stage.scene.other();
            stage.create(&Namespace::new(&other).object())?;
            stage.create(&Pod::new(&other, "client").node(&stage.scene.first).object())?;
            let server = Pod::new(&other, "api").node(&stage.scene.second).label("app", "api");
            stage.create(&server.serve(super::stage::SERVED).object())?;
            stage.create(&own_service(stage).object())
        },
        inject: |stage| {
            let target = crate::api::Target::new("v1", "Service", Some(&stage.scene.other()), "api");
            stage.delete(&target)
        },
        ..Fault::USUAL
    },
];

/// The Service of the same name in the client's own namespace.
fn own_service(stage: &Stage<'_>) -> Service {
    Service::new(stage.scene.other(), "api").select("app", "api").port(super::Scene::port())
}

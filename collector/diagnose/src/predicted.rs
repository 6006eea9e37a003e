//! What keeps objects alone from predicting that a connection is delivered.
//!
//! It finds no cause and blames nothing: whatever speaks against a prediction makes the answer inconclusive, in words.

use model::objects::{Pod, ServiceType};
use model::question::Source;

use crate::facts::{Facts, Target, Way};
use crate::words;

/// Why nothing can be predicted for any way: the ends themselves.
pub(crate) fn ends(facts: &Facts<'_>) -> Option<String> {
    if let Some(pod) = facts.source.pod.filter(|pod| pod.addresses.is_empty() && !pod.phase.is_empty()) {
        return Some(format!(
            "{} has no address yet ({}), so nothing connects from it",
            pod.key(),
            pod.phase
        ));
    }
    if let Target::Pod(pod) = facts.target
        && pod.addresses.is_empty()
    {
        let phase = if pod.phase.is_empty() { "no status" } else { &pod.phase };
        return Some(format!("{} has no address yet ({phase}), so nothing connects to it", pod.key()));
    }
    if let Some(local) = facts.only_local() {
        return Some(local);
    }
    let Source::External { address, .. } = &facts.case.question.source else { return None };
    let service = facts.target.service()?.service;
    let given = !service.external_ips.is_empty() || !service.load_balancer_ips.is_empty();
    let open = given || matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer);
    (!open).then(|| {
        let name = service.key();
        format!(
            "how {address} gets to {name} is not known: it has no address for clients outside the cluster"
        )
    })
}

/// Why a way cannot be predicted to be open.
pub(crate) fn way(facts: &Facts<'_>, way: &Way<'_>) -> Option<String> {
    let Some(pod) = way.pod else {
        let at = way.destination;
        return Some(match facts.target {
            Target::Node(node) => format!("what listens on {at} of node {} is not known", node.meta.key.name),
            _ => format!("no pod in the objects owns {}, so what is there is not known", at.ip()),
        });
    };
    if pod.ready() == Some(false) {
        return Some(format!("{} is not ready, so whether it takes connections is not known", pod.key()));
    }
    let contradicted = contradicted(pod, way)?;
    // What the slices leave out is told before what a pod declares.
    Some(facts.behind().unwrap_or(contradicted))
}

/// Declared ports prove nothing; but where they speak against a way, it is not called open.
fn contradicted(pod: &Pod, way: &Way<'_>) -> Option<String> {
    let port = way.destination.port();
    let declared: Vec<String> =
        pod.declared_ports().map(|declared| format!("{}/{}", declared.port, declared.protocol)).collect();
    let fits = |port: u16| declared.iter().any(|known| *known == format!("{port}/{}", way.protocol));
    (!declared.is_empty() && !fits(port)).then(|| {
        format!(
            "whether {} listens on {port}/{} is not known: it declares only {}",
            pod.key(),
            way.protocol,
            words::list(&declared, 4)
        )
    })
}

//! The endpoints of the asked Service port by intent: what its slices say, or what its pods make of it.
//!
//! Only what the objects say; whether rules agree is in `ways`.

use std::net::SocketAddr;

use model::objects::{Pod, TargetPort};
use model::{Case, Family, Key};

use super::target::Target;

/// An endpoint by intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intended {
    /// Address and target port.
    pub at: SocketAddr,
    /// The pod behind it.
    pub pod: Option<Key>,
    /// Its node.
    pub node: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether a proxy sends traffic to it: ready, or serving while it terminates when none is ready
    /// (KEP-1669, proxying terminating endpoints).
    pub used: bool,
}

/// The endpoints of the asked port, in every family.
pub(super) fn intended(case: &Case, target: &Target<'_>) -> Vec<Intended> {
    let Target::Service(named) = target else {
        return Vec::new();
    };
    let Some(port) = named.port else {
        return Vec::new();
    };
    let key = named.service.key();
    let mut all = Vec::new();
    if case.objects.coverage.slices {
        for slice in case.objects.slices_of(key) {
            let number = slice
                .ports
                .iter()
                .find(|listed| listed.name == port.name && listed.protocol == port.protocol)
                .and_then(|listed| listed.port);
            let Some(number) = number else { continue };
            for endpoint in &slice.endpoints {
                let Some(address) = endpoint.addresses.first() else { continue };
                all.push((
                    Intended {
                        at: SocketAddr::new(*address, number),
                        pod: endpoint.pod.clone(),
                        node: endpoint.node.clone(),
                        ready: endpoint.ready,
                        used: false,
                    },
                    endpoint.serving && endpoint.terminating,
                ));
            }
        }
    } else if named.selects() {
        let selector = named.service.pod_selector();
        for pod in case.objects.pods_in(&key.namespace) {
            if pod.finished() || !selector.matches(pod.labels()) {
                continue;
            }
            let Some(number) = target_port(pod, port) else { continue };
            let ready = !pod.meta.deleting && (named.service.publish_not_ready || pod.ready() != Some(false));
            for address in &pod.addresses {
                all.push((
                    Intended {
                        at: SocketAddr::new(*address, number),
                        pod: Some(pod.key().clone()),
                        node: pod.node.clone(),
                        ready,
                        used: false,
                    },
                    pod.meta.deleting && pod.ready() == Some(true),
                ));
            }
        }
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let of = |backend: &Intended| Family::of(backend.at.ip()) == family;
        let any_ready = all.iter().any(|(backend, _)| of(backend) && backend.ready);
        for (backend, fallback) in all.iter_mut().filter(|(backend, _)| of(backend)) {
            backend.used = if any_ready { backend.ready } else { *fallback };
        }
    }
    all.into_iter().map(|(backend, _)| backend).collect()
}

fn target_port(pod: &Pod, port: &model::objects::ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => pod.named_port(name, port.protocol),
    }
}

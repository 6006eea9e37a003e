//! The endpoints of the asked Service port by intent: what its slices say, or what its pods make of it.
//!
//! Only what the objects say; whether rules agree is in `ways`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::{Case, Family, Key};
use objects::view::{self, LeftOut};

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
///
/// A pod from a manifest has no status and no address; where nothing else is known it is taken for the endpoint it would
/// become, at the unspecified address.
pub(super) fn intended(case: &Case, target: &Target<'_>) -> Vec<Intended> {
    let Target::Service(named) = target else {
        return Vec::new();
    };
    let Some(port) = named.port else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut planned: Vec<Intended> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let backends = view::backends(&case.objects, named.service.key(), port, family);
        let eligible = backends.eligible();
        all.extend(backends.endpoints.iter().map(|backend| Intended {
            at: backend.address,
            pod: backend.pod.clone(),
            node: backend.node.clone(),
            ready: backend.ready,
            used: eligible.contains(&backend),
        }));
        for (pod, why) in &backends.left_out {
            let LeftOut::NoStatus { port } = why else { continue };
            if planned.iter().any(|known| known.pod.as_ref() == Some(pod)) {
                continue;
            }
            planned.push(Intended {
                at: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port),
                pod: Some(pod.clone()),
                node: case.objects.pods.get(pod).and_then(|pod| pod.node.clone()),
                ready: false,
                used: true,
            });
        }
    }
    if !case.live && !all.iter().any(|backend| backend.used) {
        all.append(&mut planned);
    }
    all
}

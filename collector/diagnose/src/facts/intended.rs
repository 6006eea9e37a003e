//! The endpoints of the asked Service port by intent: what its slices say, or what its pods make of it.
//!
//! Only what the objects say; whether rules agree is in `ways`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::objects::{Origin, Pod, TrafficPolicy};
use model::question::Source;
use model::{Case, Family, Key};
use objects::view::{self, LeftOut};

use super::Facts;
use super::target::{Named, Target};
use crate::words;

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
    /// Whether it is only what a pod of a manifest would become: no status and no slice speaks of it.
    pub planned: bool,
}

/// The endpoints of the asked port, in every family.
///
/// A pod from a manifest has no status and no address; where nothing else is known it is taken for the endpoint it would
/// become, at the unspecified address.
pub(super) fn intended(case: &Case, target: &Target<'_>) -> Vec<Intended> {
    let Target::Service(named) = target else {
        return Vec::new();
    };
    // Behind a headless name any port of a pod can be dialled, listed or not.
    let Some(port) = named.port.or_else(|| named.service.ports.first().filter(|_| named.service.headless))
    else {
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
            planned: false,
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
                planned: true,
            });
        }
    }
    own_the_only_one(case, named, &mut all);
    if !case.live && !all.iter().any(|backend| backend.used) {
        all.append(&mut planned);
    }
    all
}

/// A slice written by hand need not say whose an endpoint is, and a pod's manifest has no address. One endpoint and one
/// selected pod belong together all the same.
fn own_the_only_one(case: &Case, named: &Named<'_>, all: &mut [Intended]) {
    if case.live || !named.selects() {
        return;
    }
    let [only] = all else { return };
    let pods = view::selected(&case.objects, named.service);
    if let ([pod], None) = (pods.as_slice(), &only.pod)
        && pod.addresses.is_empty()
    {
        only.pod = Some(pod.key().clone());
        only.node = only.node.take().or_else(|| pod.node.clone());
    }
}

impl<'a> Facts<'a> {
    /// That a selector is right and the slices do not show it: `shop/api selects shop/api-0, but …`.
    pub fn behind(&self) -> Option<String> {
        let named = self.target.service()?;
        let names: Vec<String> = self.unlisted()?.iter().map(|pod| pod.key().to_string()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} selects {}, but its EndpointSlices do not list it: they are behind the pods",
                named.name(),
                words::list(&names, 3)
            )
        })
    }

    /// That the Service sends to endpoints of the client's own node only, and there is none.
    pub fn only_local(&self) -> Option<String> {
        let named = self.target.service()?;
        let outside = matches!(self.case.question.source, Source::External { .. });
        let (field, policy) = if outside {
            ("externalTrafficPolicy", named.service.external_policy)
        } else {
            ("internalTrafficPolicy", named.service.internal_policy)
        };
        if policy == TrafficPolicy::Cluster {
            return None;
        }
        let name = named.name();
        let Some(node) = self.source.node else {
            return Some(format!("the {field} of {name} is Local, and the client's node is not known"));
        };
        let here = self.intended.iter().any(|backend| backend.used && backend.node.as_deref() == Some(node));
        (!here).then(|| format!("the {field} of {name} is Local, and no ready endpoint is on {node}"))
    }

    /// Selected pods that are ready, or of whose state nothing is known, and that the Service's slices do not list.
    /// `None` where its endpoints are not taken from slices.
    pub fn unlisted(&self) -> Option<Vec<&'a Pod>> {
        let objects = &self.case.objects;
        let service = self.target.service().filter(|named| named.selects())?.service;
        let slices: Vec<_> = objects.slices_of(service.key()).collect();
        let read = match objects.origin {
            Origin::ApiServer => objects.coverage.slices,
            Origin::Files => !slices.is_empty(),
        };
        if !read {
            return None;
        }
        let lists = |pod: &Pod| {
            slices.iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
                endpoint.pod.as_ref() == Some(pod.key())
                    || endpoint.addresses.iter().any(|address| pod.addresses.contains(address))
            }) || self.intended.iter().any(|known| !known.planned && known.pod.as_ref() == Some(pod.key()))
        };
        let family = |pod: &Pod| {
            let own: BTreeSet<Family> = service.cluster_ips.iter().copied().map(Family::of).collect();
            own.is_empty() || pod.addresses.iter().any(|address| own.contains(&Family::of(*address)))
        };
        let stateless = |pod: &Pod| objects.origin == Origin::Files && without_status(pod);
        let ready = |pod: &Pod| {
            pod.ready() == Some(true) && !pod.meta.deleting && !pod.addresses.is_empty() && family(pod)
        };
        Some(
            view::selected(objects, service)
                .into_iter()
                .filter(|pod| !pod.finished() && (ready(pod) || stateless(pod)) && !lists(pod))
                .collect(),
        )
    }
}

/// Whether nothing is said of a pod's state, as in a manifest.
pub(super) fn without_status(pod: &Pod) -> bool {
    pod.phase.is_empty() && pod.conditions.is_empty() && pod.addresses.is_empty()
}

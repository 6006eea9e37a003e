//! Policies of kinds that are not evaluated: which objects are such, which pods they may be about, and what they could
//! do to a verdict.
//!
//! Nothing here is refused or warned of: what cannot be told is taken to be about more pods, never fewer.

mod selecting;

use model::Timestamp;
use model::objects::{Directions, OtherPolicy, Power, Selector};
use serde_json::Value;

use super::fields::Fields;
use super::meta::{self, Scope};
use super::{Input, selector};
use crate::problem::Problems;

/// How to find the pods a kind is about.
#[derive(Clone, Copy)]
enum Selects {
    /// All of its namespace, or what is not understood here.
    Any,
    /// A label selector at this key of the spec.
    Labels(&'static str),
    /// `spec.selector.matchLabels` of Istio; a target names something else.
    Istio,
    /// Cilium's, whose keys say where a label comes from.
    Cilium,
    /// Calico's expressions.
    Calico,
}

/// One kind that is known by name.
struct Known {
    /// The group, or its end behind a dot.
    group: &'static str,
    kind: &'static str,
    /// Whether it has no namespace.
    cluster: bool,
    power: Power,
    directions: Directions,
    selects: Selects,
}

const fn known(
    group: &'static str,
    kind: &'static str,
    cluster: bool,
    power: Power,
    directions: Directions,
    selects: Selects,
) -> Known {
    Known { group, kind, cluster, power, directions, selects }
}

use Directions::{Both, Egress, Ingress};
use Power::{Elsewhere, Overrides, Restricts};

/// Kinds by group. Staged policies of Calico are only tried out; MultiNetworkPolicies are about secondary networks.
/// Service meshes and egress firewalls drop what NetworkPolicies admit and admit nothing that those deny.
const KNOWN: &[Known] = &[
    known("projectcalico.org", "NetworkPolicy", false, Overrides, Both, Selects::Calico),
    known("projectcalico.org", "GlobalNetworkPolicy", true, Overrides, Both, Selects::Calico),
    known("projectcalico.org", "StagedNetworkPolicy", false, Elsewhere, Both, Selects::Any),
    known("projectcalico.org", "StagedGlobalNetworkPolicy", true, Elsewhere, Both, Selects::Any),
    known("projectcalico.org", "StagedKubernetesNetworkPolicy", false, Elsewhere, Both, Selects::Any),
    known("cilium.io", "CiliumNetworkPolicy", false, Overrides, Both, Selects::Cilium),
    known("cilium.io", "CiliumClusterwideNetworkPolicy", true, Overrides, Both, Selects::Cilium),
    known("antrea.io", "NetworkPolicy", false, Overrides, Both, Selects::Any),
    known("antrea.io", "ClusterNetworkPolicy", true, Overrides, Both, Selects::Any),
    known("antrea.tanzu.vmware.com", "NetworkPolicy", false, Overrides, Both, Selects::Any),
    known("antrea.tanzu.vmware.com", "ClusterNetworkPolicy", true, Overrides, Both, Selects::Any),
    known("nsx.vmware.com", "SecurityPolicy", false, Overrides, Both, Selects::Any),
    known(
        "networking.k8s.aws",
        "ApplicationNetworkPolicy",
        false,
        Overrides,
        Both,
        Selects::Labels("podSelector"),
    ),
    known("networking.k8s.aws", "ClusterNetworkPolicy", true, Overrides, Both, Selects::Any),
    known(
        "vpcresources.k8s.aws",
        "SecurityGroupPolicy",
        false,
        Restricts,
        Both,
        Selects::Labels("podSelector"),
    ),
    known("networking.gke.io", "FQDNNetworkPolicy", false, Overrides, Egress, Selects::Labels("podSelector")),
    known("k8s.ovn.org", "EgressFirewall", false, Restricts, Egress, Selects::Any),
    known("network.openshift.io", "EgressNetworkPolicy", false, Restricts, Egress, Selects::Any),
    known("k8s.cni.cncf.io", "MultiNetworkPolicy", false, Elsewhere, Both, Selects::Any),
    known("security.istio.io", "AuthorizationPolicy", false, Restricts, Ingress, Selects::Istio),
    known("security.istio.io", "PeerAuthentication", false, Restricts, Ingress, Selects::Istio),
    known("security.istio.io", "RequestAuthentication", false, Restricts, Ingress, Selects::Istio),
    known("policy.linkerd.io", "Server", false, Restricts, Ingress, Selects::Labels("podSelector")),
    known("policy.linkerd.io", "ServerAuthorization", false, Restricts, Ingress, Selects::Any),
    known("policy.linkerd.io", "AuthorizationPolicy", false, Restricts, Ingress, Selects::Any),
    known("kuma.io", "TrafficPermission", true, Restricts, Ingress, Selects::Any),
    known("kuma.io", "MeshTrafficPermission", true, Restricts, Ingress, Selects::Any),
    known("consul.hashicorp.com", "ServiceIntentions", true, Restricts, Ingress, Selects::Any),
];

/// Where Istio's policies are about every namespace, unless told otherwise at installation (`rootNamespace`).
const ISTIO_ROOT: &str = "istio-system";

/// A kind that is not known by name counts as a policy if its name ends so.
const LIKE_A_POLICY: &str = "NetworkPolicy";

/// Reads an object of another kind; `None` if it is no policy, or has no name.
pub(crate) fn read(
    api_version: &str,
    kind: &str,
    value: &Value,
    source: &str,
    changed_at: Timestamp,
) -> Option<OtherPolicy> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let in_group = |known: &&Known| {
        known.kind == kind
            && group.strip_suffix(known.group).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
    let unknown = known("", "", namespace.is_empty(), Overrides, Both, Selects::Any);
    let known = match KNOWN.iter().find(in_group) {
        Some(known) => known,
        None if kind.ends_with(LIKE_A_POLICY) => &unknown,
        None => return None,
    };
    let problems = Problems::default();
    let top = Fields::unchecked(value, String::new(), &problems)?;
    let scope = if known.cluster { Scope::Cluster } else { Scope::Namespaced };
    let input = Input { value, path: "", source, changed_at };
    let meta = meta::read(&top, input, scope, |_| Ok(()))?;
    let root = matches!(known.selects, Selects::Istio) && meta.key.namespace == ISTIO_ROOT;
    let spec = &value["spec"];
    let (power, pods) = match known.selects {
        Selects::Any => (known.power, None),
        Selects::Labels(key) => (known.power, labels(&top, key)),
        Selects::Istio if spec.get("targetRef").or_else(|| spec.get("targetRefs")).is_some() => {
            (known.power, None)
        }
        Selects::Istio => (known.power, labels(&top, "selector")),
        // One that selects nodes is about the nodes' own traffic.
        Selects::Cilium if spec.get("nodeSelector").is_some() && spec.get("endpointSelector").is_none() => {
            (Elsewhere, None)
        }
        Selects::Cilium => (known.power, selecting::cilium(spec)),
        Selects::Calico => (known.power, selecting::calico(spec)),
    };
    Some(OtherPolicy {
        meta,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        everywhere: known.cluster || root,
        pods,
        power,
        directions: known.directions,
    })
}

/// A label selector of the spec, if it could be read whole.
fn labels(top: &Fields<'_>, key: &str) -> Option<Selector> {
    let problems = Problems::default();
    let noting = top.noting_in(&problems);
    let found = noting.unchecked_child("spec").and_then(|spec| selector::read(&spec, key));
    found.filter(|_| problems.into_inner().is_empty())
}

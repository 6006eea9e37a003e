//! A policy has a rule for such pods, but not in that namespace: its labels do not fit, or none is asked for.
//!
//! **What the user sees.** As with any denial: silence or a refusal; the same client in the policy's own namespace gets
//! through.
//!
//! **Proof.** The nearest rule admits the port and the pod's labels, and misses only its namespace: the `namespaceSelector`
//! asks for a label the namespace does not have, or there is none, which means the policy's own namespace. The walk ends in
//! a policy engine's rule, and the kernel dropped first packets there after policies, pods and namespaces last changed.
//!
//! **Confused with.** Labels of the pod itself that do not fit (N3).
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicyPeer`; every namespace has the label `kubernetes.io/metadata.name`
//! (KEP-2161).

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial::kind::{Blamed, Kind, label_namespace, near_miss};
use crate::facts::{Direction, Facts};
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "N4",
    slug: "namespace-not-admitted",
    title: "a policy's rule does not admit the other end's namespace",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    near_miss(facts, &META, Kind::Namespace, |blamed| {
        let Blamed { policy, miss, direction, way, to } = blamed;
        let port = facts.ways[*way].destination.port();
        let source = &facts.source.name;
        let mut fixes = Vec::new();
        let mut other = None;
        for miss in &miss.misses {
            match miss {
                NearMiss::NamespaceLabels { namespace, unmet, .. } => {
                    other = Some(namespace);
                    fixes.extend(label_namespace(namespace, unmet));
                }
                NearMiss::OtherNamespace { own, actual, .. } => {
                    other = Some(actual);
                    let text = format!(
                        "Give the rule's peer a namespaceSelector for {actual}; without one it means {own} only"
                    );
                    fixes.push((text, String::new()));
                }
                _ => {}
            }
        }
        let other = other?;
        let title = match direction {
            Direction::Ingress => {
                format!(
                    "NetworkPolicy {policy} does not admit namespace {other}, and so not {source}, to {to} on {port}"
                )
            }
            Direction::Egress => {
                format!(
                    "NetworkPolicy {policy} does not let {source} out to namespace {other}, and so not to {to} on {port}"
                )
            }
        };
        Some((title, fixes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::objects::{Peer, PolicyRule, Selector};

    /// Admits the client's label, in namespaces with a label, or in its own only.
    fn denied(namespaces: Option<(&str, &str)>) -> Build {
        let equal = |(key, value): (&str, &str)| Selector::equalities([(&key.to_owned(), &value.to_owned())]);
        let peer = Peer::Pods { namespaces: namespaces.map(equal), pods: Some(equal(("app", "client"))) };
        Build::shop().policy("shop", "allow-web", |policy| {
            policy.isolates_ingress = true;
            policy.ingress.push(PolicyRule { peers: vec![peer], ports: Vec::new() });
        })
    }

    #[test]
    fn found_with_the_label_to_give() {
        let finding = found(&denied(Some(("team", "web"))).case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/allow-web does not admit namespace web, and so not web/client, to shop/api-0 on 8080"
        );
        assert_eq!(finding.fixes[0].command, "kubectl label namespace web team=web --overwrite");
    }

    #[test]
    fn found_where_no_namespace_is_asked_for() {
        let finding = found(&denied(None).case(), rule);
        assert!(finding.fixes[0].text.contains("without one it means shop only"), "{:?}", finding.fixes);
    }

    #[test]
    fn the_name_of_a_namespace_is_not_to_be_changed() {
        let finding = found(&denied(Some(("kubernetes.io/metadata.name", "web-2"))).case(), rule);
        assert!(finding.fixes.iter().all(|fix| !fix.command.contains("label namespace")));
    }

    #[test]
    fn ruled_out_where_the_pod_itself_is_not_meant() {
        let labels = Build::shop().admits_pods("shop", "allow-web", "app", "frontend").case();
        assert!(ruled_out(&labels, rule).contains("in this way"));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = denied(None).objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}

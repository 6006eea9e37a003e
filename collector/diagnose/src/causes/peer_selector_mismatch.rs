//! A policy has a rule that is meant for such clients, but its selectors do not match this one's labels.
//!
//! **What the user sees.** As with any denial: silence or a refusal. Often after labels were renamed on one side.
//!
//! **Proof.** The nearest rule of all isolating policies admits the port and misses the client by labels of the pod, or of the
//! pod and its namespace; the walk on the destination's node ends in a policy engine's rule, and the kernel dropped first packets
//! there after policies, pods and namespaces last changed.
//!
//! **Confused with.** Policies without any rule that could be meant (N1). A rule that misses by the namespace alone (N4).
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicyPeer`: both selectors in one entry mean both, in two entries either.

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial;
use crate::denial::kind::{Kind, equalities, kind, label_namespace};
use crate::facts::{Direction, Facts};
use crate::ruling::{Finding, Meta, Ruling};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N3",
    slug: "peer-selector-mismatch",
    title: "a policy's peer selector does not match the client's labels",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let denial = match denial::look(facts, Direction::Ingress, |found| kind(found) == Kind::PodLabels) {
        Ok(denial) => denial,
        Err(ruling) => return ruling,
    };
    let first = denial.ways[0];
    let Some((policy, miss)) = facts.direction(first, Direction::Ingress).and_then(denial::nearest) else {
        return Ruling::NotApplicable;
    };
    let names = facts.names(&denial.ways);
    let title = format!(
        "NetworkPolicy {policy} does not admit {} to {} on {}",
        facts.source.name,
        words::list(&names, 2),
        facts.ways[first].destination.port()
    );
    let misses = miss.misses.clone();
    let finding = denial::finding(facts, &META, Direction::Ingress, &denial, title);
    Ruling::Found(Box::new(advise(facts, first, &misses, finding)))
}

/// Labels to give, where single values are wanted; a policy of its own in any case.
fn advise(facts: &Facts<'_>, way: usize, misses: &[NearMiss], mut finding: Finding) -> Finding {
    for miss in misses {
        match miss {
            NearMiss::PodLabels { unmet, .. } => {
                let Some((pod, labels)) = facts.source.pod.zip(equalities(unmet)) else { continue };
                let what = match &pod.workload {
                    Some(workload) => format!(
                        "Give the client the label (to last, in the template of {} {})",
                        workload.kind, workload.name
                    ),
                    None => "Give the client the label".to_owned(),
                };
                let command = format!(
                    "kubectl -n {} label pod {} {} --overwrite",
                    words::shell(&pod.key().namespace),
                    words::shell(&pod.key().name),
                    labels.join(" ")
                );
                finding = finding.fix(what, command);
            }
            NearMiss::NamespaceLabels { namespace, unmet, .. } => {
                if let Some((what, command)) = label_namespace(namespace, unmet) {
                    finding = finding.fix(what, command);
                }
            }
            _ => {}
        }
    }
    match denial::admit(facts, way, Direction::Ingress) {
        Some(command) => finding.fix("Or admit it as it is, by a policy of its own", command),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::Certainty;

    fn denied() -> Build {
        Build::shop().isolates("shop", "default-deny").admits_pods("shop", "allow-web", "app", "frontend")
    }

    #[test]
    fn found_with_the_label_to_give() {
        let finding = found(&denied().case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/allow-web does not admit web/client to shop/api-0 on 8080"
        );
        assert!(finding.because.iter().any(|reason| reason.text.contains("web/client has app=client")));
        assert_eq!(finding.fixes[0].command, "kubectl -n web label pod client app=frontend --overwrite");
    }

    #[test]
    fn proven_on_the_destination_node() {
        let engine = rule_ref("KUBE-POD-FW-A", "-j REJECT", "kube-router");
        let build = denied().live().forwarded().dropped_at_destination(engine);
        let case = build.drop_on("node-2", "api-0", "NETFILTER_DROP", 1, 500).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn ruled_out_where_nothing_is_near_or_it_matches() {
        let far = Build::shop().isolates("shop", "default-deny").case();
        assert!(ruled_out(&far, rule).contains("in another way"));
        let matches =
            Build::shop().isolates("shop", "deny").admits_pods("shop", "allow", "app", "client").case();
        assert!(ruled_out(&matches, rule).contains("admit this"));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = denied().objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}

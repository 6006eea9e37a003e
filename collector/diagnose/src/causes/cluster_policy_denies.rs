//! A rule of a cluster-wide policy denies the connection: ClusterNetworkPolicy, AdminNetworkPolicy or
//! BaselineAdminNetworkPolicy.
//!
//! **What the user sees.** Silence, although no NetworkPolicy is there to blame, or although one admits it. Those who own
//! the namespace often may not even read the policy.
//!
//! **Proof.** The policies, evaluated as network-policy-api defines them, deny by this rule; the walk on the enforcing node
//! ends in a policy engine's rule, and the kernel dropped first packets there after policies and pods last changed.
//!
//! **Confused with.** A denial by NetworkPolicies, which isolate and admit (N1, N2 and the near misses): a rule of these
//! policies denies what it names and nothing else.
//!
//! **References.** network-policy-api, `ClusterNetworkPolicySpec`: the Admin tier is asked before NetworkPolicies, the
//! Baseline tier where none isolates the pod.

use model::Stage;
use model::explanation::EvidenceKind;
use model::objects::Tier;
use policy::{DecidedBy, DetailedDirection, PolicyKind};

use crate::denial;
use crate::facts::{Direction, Facts};
use crate::ruling::{Finding, Meta, Ruling};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N17",
    slug: "cluster-policy-denies",
    title: "a rule of a cluster-wide policy denies it",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let objects = &facts.case.objects;
    // Most clusters have none, and need not be told so.
    if objects.cluster_policies.is_empty() && objects.coverage.cluster_policies.missing().next().is_none() {
        return Ruling::NotApplicable;
    }
    let mut otherwise = Ruling::NotApplicable;
    for direction in [Direction::Egress, Direction::Ingress] {
        let by_tier = |found: &DetailedDirection| matches!(found.decided_by, DecidedBy::Tier(_));
        match denial::look_for(facts, direction, by_tier) {
            Ok(denial) => return found(facts, direction, &denial),
            Err(Ruling::CannotTell(gap)) => otherwise = Ruling::CannotTell(gap),
            // Not knowing one direction is more than having ruled out the other.
            Err(Ruling::RuledOut(_)) if !matches!(otherwise, Ruling::CannotTell(_)) => {
                otherwise = Ruling::RuledOut("no cluster-wide policy denies it".into());
            }
            Err(_) => {}
        }
    }
    otherwise
}

fn found(facts: &Facts<'_>, direction: Direction, denial: &denial::Denial<'_>) -> Ruling {
    let way = denial.ways.first().copied().unwrap_or_default();
    let Some(detailed) = facts.direction(way, direction) else { return Ruling::NotApplicable };
    let parts = facts.denying(way, direction);
    let to = words::list(&facts.names(&denial.ways), 2);
    let who = denial::denying(facts, way, direction);
    let port = facts.ways[way].destination.port();
    let verb = if parts.len() == 1 { "denies" } else { "deny" };
    let title = format!("{who} {verb} {} to {to} on {port}", facts.source.name);
    let mut reasons = Vec::new();
    for part in &parts {
        let text = format!("{} {}", part.policy, part.says);
        let PolicyKind::Cluster(kind) = part.kind else { continue };
        let object = facts.case.objects.cluster_policies.get(&(kind, part.policy.name.clone()));
        reasons.push(match object {
            Some(policy) => facts.object(&policy.meta, text),
            None => facts.objects(text),
        });
    }
    let order = match detailed.decided_by {
        DecidedBy::Tier(Tier::Baseline) => "no NetworkPolicy isolates it, so the Baseline tier decides",
        _ => "the Admin tier decides before any NetworkPolicy is asked",
    };
    reasons.push(facts.objects(order.to_owned()));
    let (place, verdict) = denial::place(facts, direction, denial);
    let first = reasons.remove(0);
    let sure = denial::sure(facts, direction, denial);
    let mut finding = Finding::new(&META, sure, verdict, place, title, first)
        .because_all(reasons)
        .on_ways(denial.ways.iter().copied());
    for part in &parts {
        finding = finding.blame(denial::object(part, &format!("spec.{}", direction.word())));
    }
    if let Some(reason) = denial::enforced(facts, denial) {
        finding = finding.because(reason);
    }
    if let Some(patch) = &detailed.patch {
        let text = format!("{} {}: {}", patch.kind.word(), patch.policy, patch.says);
        finding = finding.fix(text, patch.command());
    }
    Ruling::Found(Box::new(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::objects::{
        Action, ClusterPeer, ClusterPolicy, ClusterRule, ClusterSubject, NamespacePeer, Selector,
    };
    use model::{Basis, Certainty, Key};

    fn policy(tier: Tier) -> ClusterPolicy {
        let mut policy = ClusterPolicy {
            tier,
            priority: 10,
            subject: ClusterSubject::default(),
            ingress: vec![ClusterRule {
                name: "no-web".into(),
                action: Action::Deny,
                peers: vec![ClusterPeer::Pods {
                    namespaces: NamespacePeer::Selected(Selector::default()),
                    pods: None,
                }],
                ports: Vec::new(),
                unread: false,
            }],
            ..ClusterPolicy::default()
        };
        policy.meta.key = Key::new("", "lock-down");
        policy
    }

    fn denied(tier: Tier) -> Build {
        Build::shop().objects(|set| {
            let policy = policy(tier);
            set.cluster_policies.insert((policy.kind, policy.name().to_owned()), policy);
        })
    }

    #[test]
    fn predicted_with_the_rule_and_a_patch() {
        let finding = found(&denied(Tier::Admin).admits_all("shop", "allow-all").case(), rule);
        assert_eq!(finding.title, "ClusterNetworkPolicy lock-down denies web/client to shop/api-0 on 8080");
        assert_eq!(finding.because[0].text, "lock-down rule 1 (no-web) denies all pods in any namespace");
        assert!(finding.because[1].text.contains("before any NetworkPolicy"), "{:?}", finding.because);
        assert_eq!(finding.objects[0].kind, "ClusterNetworkPolicy");
        let command = &finding.fixes[0].command;
        assert!(command.starts_with("kubectl patch clusternetworkpolicy lock-down"), "{command}");
        assert!(command.contains("\"action\":\"Pass\""), "a NetworkPolicy admits it: {command}");
    }

    #[test]
    fn the_baseline_is_asked_last() {
        let finding = found(&denied(Tier::Baseline).case(), rule);
        assert!(finding.because[1].text.contains("the Baseline tier decides"), "{:?}", finding.because);
        let isolated = denied(Tier::Baseline).admits_all("shop", "allow-all").case();
        assert!(ruled_out(&isolated, rule).contains("no cluster-wide policy denies it"));
    }

    #[test]
    fn proven_by_a_drop_of_the_engine() {
        let engine = rule_ref("KUBE-POD-FW-N6X", "-j DROP", "kube-router");
        let build = denied(Tier::Admin).live().forwarded().dropped_at_destination(engine);
        assert_eq!(found(&build.clone().case(), rule).certainty, Certainty::Likely);
        let finding = found(&build.drop_on("node-2", "api-0", "NETFILTER_DROP", 4, 1_000).case(), rule);
        assert_eq!((finding.certainty, finding.basis()), (Certainty::Proven, Basis::Observed));
    }

    #[test]
    fn ruled_out_where_none_denies() {
        assert!(matches!(rule(&Facts::of(&Build::shop().case())), Ruling::NotApplicable));
        let elsewhere = denied(Tier::Admin).objects(|set| {
            for policy in set.cluster_policies.values_mut() {
                policy.ingress.clear();
            }
        });
        assert!(ruled_out(&elsewhere.clone().case(), rule).contains("no cluster-wide policy denies it"));
        let isolated = elsewhere.isolates("shop", "deny").case();
        assert!(ruled_out(&isolated, rule).contains("no cluster-wide policy denies it"));
    }

    #[test]
    fn cannot_tell_where_they_were_not_read() {
        let case = Build::shop().objects(|set| set.coverage.cluster_policies.cluster = false).case();
        assert!(cannot_tell(&case, rule).why.contains("ClusterNetworkPolicies were not read"));
    }
}

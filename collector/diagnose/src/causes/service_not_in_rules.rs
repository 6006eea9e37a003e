//! The Service is in the API, but the rules of the source's node do not know it, so its packets leave untranslated.
//!
//! **What the user sees.** Silence, or an ICMP error from a router; "network unreachable" where there is no default route.
//! From other nodes it may work.
//!
//! **Proof.** kube-proxy serves this node (its chains are hooked in and hold other Services), the walk finds no rule for
//! this address and port, and the kernel dropped first packets still addressed to the Service after it last changed.
//!
//! **Confused with.** A port the Service does not list (S2). A node that nobody serves, or another data plane: then the
//! lack of a rule means nothing, and this cannot be told.
//!
//! **References.** `pkg/proxy/iptables/proxier.go`: every listed port of every cluster address has a rule in KUBE-SERVICES,
//! in table nat with endpoints and in table filter without.

use model::explanation::EvidenceKind;
use model::objects::Origin;
use model::{Gap, ObjectRef, Outcome, Place, Stage, Verdict};

use crate::facts::Facts;
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "K18",
    slug: "service-not-in-rules",
    title: "the node's rules do not know the Service",
    stage: Stage::SourceNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["H27", "H28"],
};

/// kube-proxy batches changes (`minSyncPeriod`, 1 s) and may need some seconds for large rule sets.
const PATIENCE_MS: u64 = 10_000;

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service().filter(|named| named.translated()) else {
        return Ruling::NotApplicable;
    };
    if named.port.is_none() {
        return Ruling::NotApplicable;
    }
    let Some(first) = facts.attempts.first() else { return Ruling::NotApplicable };
    let walk = match &first.walk {
        Ok(walk) => *walk,
        Err(gap) => return Ruling::CannotTell(gap.clone()),
    };
    let node = facts.source.node.unwrap_or("the node");
    let asked = named.name_and_port();
    if walk.proxy.knows_destination || facts.sent_on() {
        return Ruling::RuledOut(format!("the rules of {node} know {asked}"));
    }
    if let Some(gap) = &first.blind {
        return Ruling::CannotTell(gap.clone());
    }
    if walk.proxy.services == 0 || walk.proxy.evidence.is_empty() {
        return Ruling::CannotTell(Gap::new(
            format!("whether {node} should know {asked}"),
            "its rules hold no other Service either, so nothing shows that kube-proxy works there",
        ));
    }
    let changed = Facts::changed([&named.service.meta]);
    let current = facts.case.objects.origin == Origin::ApiServer;
    if current && changed.age_ms(facts.case.now) < PATIENCE_MS {
        return Ruling::CannotTell(Gap::new(
            format!("whether {node} will know {asked}"),
            format!(
                "the Service changed {} ago, and kube-proxy follows in a moment",
                words::age(changed, facts.case.now)
            ),
        ));
    }
    let Some(refusal) = facts.refusal() else {
        let gap = walk.gaps.first().cloned();
        return Ruling::CannotTell(
            gap.unwrap_or_else(|| Gap::new(format!("rules of {node}"), "the walk did not come to an end")),
        );
    };

    let (verdict, ending) = match (refusal.branch.outcome, &refusal.branch.out_interface) {
        (Outcome::Rejected, _) => (Verdict::Rejected, "is refused there".to_owned()),
        (_, Some(device)) => (Verdict::Dropped, format!("leaves untranslated by {device}")),
        _ => (Verdict::Dropped, "is lost untranslated".to_owned()),
    };
    let proof = facts.prove_refusal(&refusal, Facts::changed([&named.service.meta]));
    let address = refusal.branch.destination;
    let reason = facts.rules(
        node,
        walk,
        format!(
            "no rule of {node} matches {address}; its rules hold {}",
            words::count(walk.proxy.services as usize, "other Service port")
        ),
    );
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        verdict,
        Place::node(node, Stage::SourceNode),
        format!("the rules of {node} do not know Service {asked}, so what is sent to {address} {ending}"),
        facts.object(&named.service.meta, format!("{} lists port {}", named.name(), address.port())),
    )
    .because(reason)
    .blame(ObjectRef::service(named.service.key(), ""));
    for evidence in walk.proxy.evidence.iter().take(2) {
        finding = finding.because(facts.rules(node, walk, evidence.clone()));
    }
    let command = format!(
        "kubectl -n kube-system get pods -o wide -l k8s-app=kube-proxy --field-selector spec.nodeName={}",
        words::shell(node)
    );
    Ruling::Found(Box::new(finding.fix(format!("See why kube-proxy on {node} has not written it"), command)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, NOW, cannot_tell, found, ruled_out};
    use model::{Certainty, ServiceProxy};

    fn leaks() -> Build {
        Build::shop().live().leaks_at_source().proxy(|proxy| {
            proxy.knows_destination = false;
            proxy.knows_address = false;
        })
    }

    #[test]
    fn found_where_kube_proxy_serves_the_node() {
        let finding = found(&leaks().case(), rule);
        assert_eq!(finding.certainty, Certainty::Likely);
        assert!(finding.title.contains("do not know Service shop/api:80"));
    }

    #[test]
    fn proven_by_a_lost_untranslated_packet() {
        let dst = "10.96.12.7:80".parse().expect("an address");
        let owner = model::NetnsOwner::Node;
        let case = leaks().dropped("node-1", owner, dst, "IP_INNOROUTES", 2, 1_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn ruled_out_where_the_rules_know_it() {
        assert!(ruled_out(&Build::shop().live().forwarded().case(), rule).contains("know shop/api:80"));
    }

    #[test]
    fn cannot_tell_in_the_first_moments() {
        let fresh = leaks().objects(|set| Build::service(set).meta.changed_at = NOW.minus_ms(2_000)).case();
        assert!(cannot_tell(&fresh, rule).why.contains("follows in a moment"));
    }

    #[test]
    fn cannot_tell_without_positive_evidence() {
        let nobody = leaks().proxy(|proxy| proxy.mode = ServiceProxy::None).case();
        assert!(cannot_tell(&nobody, rule).why.contains("none of its rules shows"));
        let empty = leaks().proxy(|proxy| proxy.services = 0).case();
        assert!(cannot_tell(&empty, rule).why.contains("no other Service"));
        let other = leaks().proxy(|proxy| proxy.mode = ServiceProxy::Other).case();
        assert!(cannot_tell(&other, rule).why.contains("data plane"));
        assert_eq!(cannot_tell(&Build::shop().live().case(), rule).what, "rules of node-1");
    }
}

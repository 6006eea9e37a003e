//! Pods are selected and ready, but the Service's EndpointSlices do not list them: the slices are behind the pods.
//!
//! **What the user sees.** "Connection refused" at once although the pods are ready, until the slices follow.
//!
//! **Proof.** A selected pod is ready and has had an address for a while, and no slice of the Service lists it; the rules
//! of the source's node reject the address, and the kernel dropped first packets by that rule after Service, slices and
//! pods last changed. Slices in files may be older than the pods beside them, or written by hand: by files alone this is
//! never found, only told as what could not be checked.
//!
//! **Confused with.** A selector that matches nothing (S3): here it matches. Pods that are not ready (E1). A named
//! targetPort that a pod does not declare (S6): the pod is then listed, without the port.
//!
//! **References.** `staging/src/k8s.io/endpointslice/reconciler.go`; kubernetes/kubernetes issue 117193.

use model::explanation::EvidenceKind;
use model::objects::Origin;
use model::{Gap, ObjectRef, Place, Stage, Verdict};

use crate::facts::{Facts, Refusal};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "E3",
    slug: "stale-slice",
    title: "the EndpointSlices do not list a selected pod that is ready",
    stage: Stage::Endpoints,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["H27"],
};

/// The controller needs a moment; it batches changes for about a second and retries slower.
const PATIENCE_MS: u64 = 10_000;

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service() else { return Ruling::NotApplicable };
    if named.port.is_none() || !named.selects() {
        return Ruling::NotApplicable;
    }
    let objects = &facts.case.objects;
    let name = named.name();
    if !objects.coverage.pods {
        return Ruling::CannotTell(Gap::new(
            format!("pods in {}", named.service.key().namespace),
            "they could not be read",
        ));
    }
    let Some(unlisted) = facts.unlisted() else { return Ruling::NotApplicable };
    let names: Vec<String> = unlisted.iter().map(|pod| pod.key().to_string()).collect();
    if names.is_empty() {
        return Ruling::RuledOut(format!("the slices of {name} list every selected pod that is ready"));
    }
    let listed = words::list(&names, 3);
    let changed = facts.ends_changed().max(Facts::changed(unlisted.iter().map(|pod| &pod.meta)));
    let current = objects.origin == Origin::ApiServer;
    if current && changed.age_ms(facts.case.now) < PATIENCE_MS {
        return Ruling::CannotTell(Gap::new(
            format!("whether the slices of {name} will list {listed}"),
            format!(
                "something changed {} ago, and they follow in a moment",
                words::age(changed, facts.case.now)
            ),
        ));
    }

    let refusal = facts.refusal().filter(Refusal::stops);
    if refusal.is_none() && !current {
        let be = if names.len() == 1 { "is" } else { "are" };
        return Ruling::CannotTell(Gap::new(
            format!("the EndpointSlices of {name}"),
            format!("{listed} {be} selected, and none of them lists it: they are behind the pods"),
        ));
    }
    let alone = !facts.intended.iter().any(|backend| backend.used && !backend.planned);
    let proof = refusal.and_then(|refusal| facts.prove_refusal(&refusal, changed));
    let (verdict, at, ending) = if alone {
        let (verdict, at, ending) = facts.without_endpoint();
        (verdict, at, format!(", {ending}"))
    } else {
        (Verdict::Inconclusive, Place::intent(Stage::Endpoints), String::new())
    };
    let have = if names.len() == 1 { "has" } else { "have" };
    let selects = format!("{name} selects {}, and {listed} {have} it", named.service.pod_selector());
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        verdict,
        at,
        format!("the EndpointSlices of Service {name} do not list {listed}, which it selects{ending}"),
        facts.object(&named.service.meta, selects),
    )
    .because(facts.objects(match objects.slices_of(named.service.key()).count() {
        0 => "it has no EndpointSlice".to_owned(),
        1 => format!("its only EndpointSlice does not list {listed}"),
        number => format!("none of its {} lists {listed}", words::count(number, "EndpointSlice")),
    }));
    for slice in objects.slices_of(named.service.key()).take(3) {
        finding = finding.blame(ObjectRef {
            api_version: "discovery.k8s.io/v1".into(),
            kind: "EndpointSlice".into(),
            key: slice.key().clone(),
            field: "endpoints".into(),
        });
    }
    if let Some(refusal) = refusal {
        let text = format!("the rules of {} {} {}", refusal.node, refusal.verb(), refusal.branch.destination);
        finding = finding.because(facts.rules(refusal.node, refusal.walk, text));
    }
    if current {
        finding = finding.fix(
            "See why the endpoint slice controller is behind",
            "kubectl -n kube-system get pods -l component=kube-controller-manager",
        );
    }
    if !alone || facts.sent_on() {
        finding = finding.note();
    }
    Ruling::Found(Box::new(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, NOW, cannot_tell, found, ruled_out};
    use model::objects::EndpointSlice;
    use model::{Basis, Certainty, Family, Key};

    /// The one slice of the Service is empty, though its pod is ready.
    fn behind() -> Build {
        Build::shop().objects(|set| {
            set.coverage.slices = true;
            let mut meta = set.services[&Key::new("shop", "api")].meta.clone();
            meta.key.name = "api-x7k2p".into();
            let slice = EndpointSlice {
                meta,
                service: Some("api".into()),
                family: Some(Family::Ipv4),
                endpoints: Vec::new(),
                ports: Vec::new(),
            };
            set.slices.insert(slice.key().clone(), slice);
        })
    }

    #[test]
    fn found_where_the_node_refuses_for_it() {
        let build = behind().live().rejected_at_source();
        let finding = found(&build.clone().case(), rule);
        assert_eq!(
            finding.title,
            "the EndpointSlices of Service shop/api do not list shop/api-0, which it selects, so node-1 refuses \
             every connection to it"
        );
        assert_eq!((finding.certainty, finding.verdict), (Certainty::Likely, Verdict::Rejected));
        let seen = found(&build.drop_at_source(3, 1_000).case(), rule);
        assert_eq!(seen.certainty, Certainty::Proven);
    }

    #[test]
    fn predicted_from_what_the_server_has() {
        let finding = found(&behind().case(), rule);
        assert_eq!((finding.basis(), finding.verdict), (Basis::Objects, Verdict::Rejected));
    }

    #[test]
    fn ruled_out_where_the_slices_list_it_and_not_asked_without_slices() {
        let unready = behind().objects(|set| {
            Build::pod(set, "api-0").conditions[0].status = "False".into();
        });
        assert!(ruled_out(&unready.case(), rule).contains("every selected pod that is ready"));
        assert!(matches!(rule(&Facts::of(&Build::shop().case())), Ruling::NotApplicable));
    }

    #[test]
    fn cannot_tell_in_the_first_moments_or_from_files() {
        let fresh = behind().objects(|set| Build::pod(set, "api-0").meta.changed_at = NOW.minus_ms(2_000));
        assert!(cannot_tell(&fresh.case(), rule).why.contains("follow in a moment"));
        let files = behind().objects(|set| set.origin = Origin::Files);
        assert!(cannot_tell(&files.case(), rule).why.contains("behind the pods"));
    }
}

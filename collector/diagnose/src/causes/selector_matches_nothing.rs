//! The Service's selector matches no pod, so there is nothing to send a connection to.
//!
//! **What the user sees.** "Connection refused" at once: kube-proxy rejects what is sent to a Service without
//! endpoints.
//!
//! **Proof.** No pod of the namespace has the labels; the EndpointSlices are empty; the rules of the source's node reject
//! the address, and the kernel dropped first packets by that rule after Service and slices last changed.
//!
//! **Confused with.** Pods that match but are not ready (E1): same rule, same refusal. A pod that refuses (P1, S5): the
//! refusal comes from the pod, not from the node. A Service without any selector has its endpoints made by hand (S19).
//!
//! **References.** `pkg/proxy/iptables/proxier.go`, "has no endpoints"; Debug Services, "Does the Service have any
//! EndpointSlices?".

use std::collections::BTreeMap;

use model::explanation::EvidenceKind;
use model::objects::{Pod, ServiceType};
use model::{Gap, ObjectRef, Stage};

use crate::facts::{Facts, Named, Refusal};
use crate::near::{Nearness, nearness};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "S3",
    slug: "selector-matches-nothing",
    title: "the Service's selector matches no pod",
    stage: Stage::Endpoints,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["E1", "H27"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service() else { return Ruling::NotApplicable };
    if named.service.kind == ServiceType::ExternalName {
        return Ruling::NotApplicable;
    }
    let name = named.name();
    if !named.selects() {
        return Ruling::RuledOut(format!("{name} has no selector; its endpoints are made by hand"));
    }
    let objects = &facts.case.objects;
    if !objects.coverage.pods {
        return Ruling::CannotTell(Gap::new(
            format!("pods in {}", named.service.key().namespace),
            "they could not be read",
        ));
    }
    let selector = named.service.pod_selector();
    let pods = || objects.pods_in(&named.service.key().namespace).filter(|pod| !pod.finished());
    let matching: Vec<String> =
        pods().filter(|pod| selector.matches(pod.labels())).map(|pod| pod.key().to_string()).collect();
    if !matching.is_empty() {
        return Ruling::RuledOut(format!("{selector} selects {}", words::list(&matching, 3)));
    }
    if facts.intended.iter().any(|backend| backend.used) {
        return Ruling::CannotTell(Gap::new(
            format!("the pods behind {name}"),
            "its EndpointSlices list endpoints, but no pod at hand has its labels",
        ));
    }

    let slices = objects.slices_of(named.service.key()).count();
    if slices == 0
        && let Some(gap) = facts.pods_not_given()
    {
        return Ruling::CannotTell(gap);
    }

    let changed = Facts::changed([&named.service.meta])
        .max(Facts::changed(objects.slices_of(named.service.key()).map(|slice| &slice.meta)));
    let refusal = facts.refusal();
    let proof = refusal.filter(Refusal::stops).and_then(|refusal| facts.prove_refusal(&refusal, changed));
    let (verdict, at, ending) = facts.without_endpoint();
    let ended = objects
        .pods_in(&named.service.key().namespace)
        .filter(|pod| pod.finished() && selector.matches(pod.labels()))
        .count();
    let (running, none) = match ended {
        0 => ("", format!("no pod in {} has it", named.service.key().namespace)),
        number => ("running ", format!("{} had it and ended", words::count(number, "pod"))),
    };
    let first = facts.object(&named.service.meta, format!("{name} selects {selector}; {none}"));
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        verdict,
        at,
        format!("Service {name} selects no {running}pod, {ending}"),
        first,
    )
    .blame(ObjectRef::service(named.service.key(), "spec.selector"));
    finding = nearest(facts, named, pods(), finding);
    if objects.coverage.slices && slices > 0 {
        let be = if slices == 1 { "is" } else { "are" };
        let text = format!("its {} {be} empty", words::count(slices, "EndpointSlice"));
        finding = finding.because(facts.objects(text));
    }
    if let Some(refusal) = refusal.filter(Refusal::stops) {
        let text = format!("the rules of {} {} {}", refusal.node, refusal.verb(), refusal.branch.destination);
        finding = finding.because(facts.rules(refusal.node, refusal.walk, text));
    }
    if facts.sent_on() {
        // The rules have not followed yet: what happens now is not the selector's doing.
        let text = "the rules of the source's node still send it to endpoints that were there before";
        finding = finding.because(facts.objects(text)).note();
    }
    Ruling::Found(Box::new(finding))
}

/// Labels that come near the selector.
struct Near {
    /// How near the farthest of them is.
    how: Nearness,
    /// The pods' values of the selector's keys.
    values: BTreeMap<String, String>,
    pods: Vec<(String, Option<bool>)>,
}

/// Adds the pods with near labels and how to make the two agree.
fn nearest<'p>(
    facts: &Facts<'_>,
    named: &Named<'_>,
    pods: impl Iterator<Item = &'p Pod>,
    finding: Finding,
) -> Finding {
    let service = named.service;
    let mut groups: Vec<Near> = Vec::new();
    for pod in pods {
        let Some((how, values)) = compare(&service.selector, pod.labels()) else { continue };
        let entry = (pod.key().name.clone(), pod.ready());
        match groups.iter_mut().find(|group| group.values == values) {
            Some(group) => group.pods.push(entry),
            None => groups.push(Near { how, values, pods: vec![entry] }),
        }
    }
    groups.sort_by(|a, b| a.how.cmp(&b.how).then_with(|| a.values.cmp(&b.values)));
    let namespace = &service.key().namespace;
    let show = format!("kubectl -n {} get pods --show-labels", words::shell(namespace));
    let Some(best) = groups.first() else {
        return finding.fix("Compare the selector with the labels of the pods", show);
    };
    let text = format!("nearest: {}", described(best));
    let finding = finding.because(facts.objects(text));
    if best.how == Nearness::Far {
        return finding.fix("Make selector and labels agree", show);
    }
    finding.fix("Make selector and label agree, either way", patch(named, &best.values))
}

/// `my-application has app=my-application (1 pod, ready)`.
fn described(near: &Near) -> String {
    let labels: Vec<String> = near.values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let names: Vec<&str> = near.pods.iter().map(|(name, _)| name.as_str()).collect();
    let ready = near.pods.iter().filter(|(_, ready)| *ready == Some(true)).count();
    let state = match (near.pods.len(), ready) {
        // A manifest says nothing of readiness.
        (all, _) if near.pods.iter().any(|(_, ready)| ready.is_none()) => words::count(all, "pod"),
        (1, 1) => "1 pod, ready".to_owned(),
        (1, _) => "1 pod, not ready".to_owned(),
        (all, ready) => format!("{all} pods, {ready} ready"),
    };
    let have = if near.pods.len() == 1 { "has" } else { "have" };
    format!("{} {have} {} ({state})", words::list(&names, 3), labels.join(","))
}

/// The pod's values for the selector's keys, and how near they are; `None` if it shares no key.
fn compare(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> Option<(Nearness, BTreeMap<String, String>)> {
    let mut worst = Nearness::Same;
    let mut values = BTreeMap::new();
    for (key, wanted) in selector {
        if let Some(value) = labels.get(key) {
            worst = worst.max(nearness(wanted, value));
            values.insert(key.clone(), value.clone());
            continue;
        }
        worst = Nearness::Far;
        // A label whose key was mistyped, with the very value.
        let typed =
            labels.iter().find(|(other, value)| *value == wanted && nearness(key, other) != Nearness::Far);
        if let Some((other, value)) = typed {
            values.insert(other.clone(), value.clone());
        }
    }
    (!values.is_empty()).then_some((worst, values))
}

fn patch(named: &Named<'_>, values: &BTreeMap<String, String>) -> String {
    let changed: Vec<String> = values
        .iter()
        .filter(|(key, value)| named.service.selector.get(*key) != Some(value))
        .map(|(key, value)| format!("{}:{}", words::json(key), words::json(value)))
        .collect();
    let json = format!("{{\"spec\":{{\"selector\":{{{}}}}}}}", changed.join(","));
    let key = named.service.key();
    words::patch(&key.namespace, "service", &key.name, &json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::{Certainty, Outcome};

    fn fault() -> Build {
        Build::shop().objects(|set| {
            set.pods
                .get_mut(&model::Key::new("shop", "api-0"))
                .expect("the pod")
                .meta
                .labels
                .insert("app".into(), "api-server".into());
        })
    }

    #[test]
    fn found_with_the_nearest_labels_and_a_patch() {
        let finding = found(&fault().case(), rule);
        assert_eq!(finding.title, "Service shop/api selects no pod, so every connection to it is refused");
        assert_eq!(finding.certainty, Certainty::Likely);
        assert_eq!(finding.because[1].text, "nearest: api-0 has app=api-server (1 pod, ready)");
        assert_eq!(
            finding.fixes[0].command,
            r#"kubectl -n shop patch service api -p '{"spec":{"selector":{"app":"api-server"}}}'"#
        );
    }

    #[test]
    fn proven_by_a_fresh_rejection_on_the_node() {
        let case = fault().live().rejected_at_source().drop_at_source(3, 2_000).case();
        let finding = found(&case, rule);
        assert_eq!(finding.certainty, Certainty::Proven);
        assert_eq!(
            finding.because.last().expect("a reason").text,
            "node-1 dropped 3 SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT)"
        );
        assert!(finding.title.ends_with("so node-1 refuses every connection to it"));
    }

    #[test]
    fn an_older_rejection_is_history() {
        let case = fault().live().rejected_at_source().drop_at_source(3, 900_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn a_drop_by_a_rule_of_then_is_history() {
        let rejected = || fault().live().rejected_at_source().drop_at_source(3, 2_000);
        let now = rule_ref("KUBE-SERVICES", "-d 10.96.12.7/32 -p tcp --dport 80 -j REJECT", "kube-proxy");
        let same = rejected().walked(Outcome::Rejected, now).case();
        assert_eq!(found(&same, rule).certainty, Certainty::Proven);
        let then = rule_ref("FORWARD", "-d 10.96.12.7/32 -j DROP", "");
        let other = rejected().walked(Outcome::Dropped, then).case();
        assert_eq!(found(&other, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn ruled_out_where_a_pod_is_selected() {
        assert_eq!(ruled_out(&Build::shop().case(), rule), "app=api selects shop/api-0");
    }

    #[test]
    fn cannot_tell_without_pods() {
        let case = fault().objects(|set| set.coverage.pods = false).case();
        assert_eq!(cannot_tell(&case, rule).what, "pods in shop");
    }
}

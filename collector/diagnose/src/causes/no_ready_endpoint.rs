//! Pods are selected, but none of them is ready, so the Service has no endpoint to send to.
//!
//! **What the user sees.** "Connection refused" at once, as with a selector that matches nothing: kube-proxy rejects.
//!
//! **Proof.** Every selected pod has a reason not to be ready in its status; the rules of the source's node reject the
//! address, and the kernel dropped first packets by that rule after Service, slices and pods last changed.
//!
//! **Confused with.** A selector that matches nothing (S3). Pods that are ready but whose named targetPort does not exist
//! (S6): they are no endpoints either.
//!
//! **References.** `staging/src/k8s.io/endpointslice/utils.go`, `podToEndpoint`; KEP-1669 (terminating endpoints are used
//! when nothing is ready).

use model::explanation::EvidenceKind;
use model::objects::{ContainerState, Pod, TargetPort};
use model::{Gap, ObjectRef, Stage};

use crate::facts::{Facts, Refusal};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "E1",
    slug: "no-ready-endpoint",
    title: "no selected pod is ready",
    stage: Stage::Endpoints,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["H27"],
};

/// How many pods are told one by one.
const TOLD: usize = 5;

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service() else { return Ruling::NotApplicable };
    let Some(port) = named.port.filter(|_| named.selects()) else { return Ruling::NotApplicable };
    let objects = &facts.case.objects;
    if !objects.coverage.pods {
        return Ruling::CannotTell(Gap::new(
            format!("pods in {}", named.service.key().namespace),
            "they could not be read",
        ));
    }
    let used = facts.intended.iter().filter(|backend| backend.used).count();
    let planned: Vec<String> = facts
        .intended
        .iter()
        .filter(|backend| backend.planned)
        .filter_map(|backend| Some(backend.pod.as_ref()?.to_string()))
        .collect();
    if !planned.is_empty() {
        let be = if planned.len() == 1 { "is" } else { "are" };
        return Ruling::CannotTell(Gap::new(
            format!("whether {} {be} ready", words::list(&planned, 3)),
            "a manifest says nothing of a pod's state",
        ));
    }
    if used > 0 {
        let ready = facts.intended.iter().filter(|backend| backend.ready).count();
        return Ruling::RuledOut(format!("{} ready", words::count(ready.max(used), "endpoint")));
    }
    let selector = named.service.pod_selector();
    let pods: Vec<&Pod> = objects
        .pods_in(&named.service.key().namespace)
        .filter(|pod| !pod.finished() && selector.matches(pod.labels()))
        .collect();
    if pods.is_empty() {
        return match facts.pods_not_given() {
            Some(gap) => Ruling::CannotTell(gap),
            None => Ruling::RuledOut("no pod is selected at all (S3)".into()),
        };
    }
    let told: Vec<(&Pod, String)> =
        pods.iter().filter_map(|pod| why_not_ready(pod).map(|why| (*pod, why))).collect();
    if facts.unlisted().is_some_and(|unlisted| !unlisted.is_empty()) {
        return Ruling::RuledOut("a selected pod is ready; its slices do not list it (E3)".into());
    }
    if let TargetPort::Name(name) = &port.target
        && pods.iter().all(|pod| pod.named_port(name, port.protocol).is_none())
    {
        return Ruling::RuledOut(format!("it is not readiness: no pod declares a port named {name} (S6)"));
    }
    if told.len() < pods.len() {
        return Ruling::CannotTell(Gap::new(
            format!("why {} has no endpoint", named.name()),
            format!("{} of {} selected pods look ready", pods.len() - told.len(), pods.len()),
        ));
    }

    let changed = facts.ends_changed().max(Facts::changed(pods.iter().map(|pod| &pod.meta)));
    let refusal = facts.refusal().filter(Refusal::stops);
    let proof = refusal.and_then(|refusal| facts.prove_refusal(&refusal, changed));
    let (verdict, at, ending) = facts.without_endpoint();
    let who = match pods.as_slice() {
        [pod] => format!("the only pod of Service {}, {}, is not ready", named.name(), pod.key()),
        pods => format!("none of the {} pods of Service {} is ready", pods.len(), named.name()),
    };
    let mut reasons =
        told.iter().take(TOLD).map(|(pod, why)| facts.object(&pod.meta, format!("{}: {why}", pod.key())));
    let Some(first) = reasons.next() else { return Ruling::NotApplicable };
    let mut finding = Finding::new(&META, Sure::by(proof), verdict, at, format!("{who}, {ending}"), first)
        .because_all(reasons);
    if told.len() > TOLD {
        let text = format!("{} alike", words::count(told.len() - TOLD, "more pod"));
        finding = finding.because(facts.objects(text));
    }
    if let Some(refusal) = refusal {
        let text = format!("the rules of {} {} {}", refusal.node, refusal.verb(), refusal.branch.destination);
        finding = finding.because(facts.rules(refusal.node, refusal.walk, text));
    }
    for (pod, _) in &told {
        finding = finding.blame(ObjectRef::pod(pod.key(), "status.conditions"));
    }
    if facts.sent_on() {
        let text = "the rules of the source's node still send it to endpoints that were there before";
        finding = finding.because(facts.objects(text)).note();
    }
    let key = told[0].0.key();
    Ruling::Found(Box::new(finding.fix(
        "Make the pod ready; its events say what is in the way",
        format!("kubectl -n {} describe pod {}", words::shell(&key.namespace), words::shell(&key.name)),
    )))
}

/// Why a pod is not ready, by the most telling part of its status; `None` if it looks ready.
fn why_not_ready(pod: &Pod) -> Option<String> {
    if pod.meta.deleting {
        return Some("is being deleted".into());
    }
    if let Some(condition) = pod.condition("PodScheduled")
        && condition.status == "False"
    {
        return Some(with_detail(&format!("is not scheduled ({})", condition.reason), &condition.message));
    }
    for container in &pod.containers {
        let restarts = match container.restarts {
            0 => String::new(),
            number => format!(", {}", words::count(number as usize, "restart")),
        };
        match &container.state {
            ContainerState::Waiting(reason) => {
                return Some(format!("container {} waits: {reason}{restarts}", container.name));
            }
            ContainerState::Terminated(reason) => {
                return Some(format!("container {} ended: {reason}{restarts}", container.name));
            }
            ContainerState::Running if container.ready == Some(false) => {
                let probe = if container.readiness_probe {
                    "its readiness probe fails"
                } else {
                    "it is not ready, though it has no readiness probe"
                };
                return Some(format!("container {} runs, but {probe}{restarts}", container.name));
            }
            ContainerState::Running | ContainerState::Unknown => {}
        }
    }
    if let Some(gate) = pod
        .readiness_gates
        .iter()
        .find(|gate| pod.condition(gate).is_none_or(|condition| condition.status != "True"))
    {
        return Some(format!("readiness gate {gate} is not true"));
    }
    if pod.addresses.is_empty() {
        let phase = if pod.phase.is_empty() { "no status" } else { &pod.phase };
        return Some(format!("has no address yet ({phase})"));
    }
    let ready = pod.condition("Ready")?;
    (ready.status != "True").then(|| with_detail(&format!("is not ready ({})", ready.reason), &ready.message))
}

fn with_detail(text: &str, message: &str) -> String {
    if message.is_empty() { text.to_owned() } else { format!("{text}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Certainty;

    fn unready(change: impl FnOnce(&mut Pod)) -> Build {
        Build::shop().objects(|set| {
            let pod = Build::pod(set, "api-0");
            pod.conditions[0].status = "False".into();
            pod.conditions[0].reason = "ContainersNotReady".into();
            change(pod);
        })
    }

    #[test]
    fn each_reason_is_told() {
        let first = |build: Build| found(&build.case(), rule).because[0].text.clone();
        assert_eq!(
            first(unready(|pod| {
                pod.containers[0].state = ContainerState::Waiting("CrashLoopBackOff".into());
                pod.containers[0].restarts = 7;
            })),
            "shop/api-0: container main waits: CrashLoopBackOff, 7 restarts"
        );
        assert_eq!(
            first(unready(|pod| {
                pod.containers[0].state = ContainerState::Running;
                pod.containers[0].ready = Some(false);
                pod.containers[0].readiness_probe = true;
            })),
            "shop/api-0: container main runs, but its readiness probe fails"
        );
        assert_eq!(
            first(unready(|pod| pod.readiness_gates.push("lb.example/ready".into()))),
            "shop/api-0: readiness gate lb.example/ready is not true"
        );
        assert_eq!(first(unready(|_| {})), "shop/api-0: is not ready (ContainersNotReady)");
        assert_eq!(first(unready(|pod| pod.meta.deleting = true)), "shop/api-0: is being deleted");
    }

    #[test]
    fn proven_by_a_fresh_rejection() {
        let case = unready(|_| {}).live().rejected_at_source().drop_at_source(2, 1_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
        let old = unready(|_| {}).live().rejected_at_source().drop_at_source(2, 700_000).case();
        assert_eq!(found(&old, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn ruled_out_where_one_is_ready() {
        assert_eq!(ruled_out(&Build::shop().case(), rule), "1 endpoint ready");
    }

    #[test]
    fn ruled_out_where_pods_are_ready_but_slices_are_empty() {
        let case = Build::shop().objects(|set| set.coverage.slices = true).case();
        assert!(ruled_out(&case, rule).contains("E3"));
    }

    #[test]
    fn cannot_tell_from_a_manifest_without_a_status() {
        let case = Build::shop().objects(|set| {
            set.origin = model::objects::Origin::Files;
            let pod = Build::pod(set, "api-0");
            pod.addresses.clear();
            pod.conditions.clear();
            pod.phase.clear();
        });
        assert!(cannot_tell(&case.case(), rule).why.contains("nothing of a pod's state"));
    }
}

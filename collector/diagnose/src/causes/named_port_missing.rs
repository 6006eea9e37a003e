//! The Service's targetPort is a name, and no selected pod declares a port of that name and protocol.
//!
//! **What the user sees.** "Connection refused" at once although the pods are ready: without the number behind the name
//! they are endpoints without a port.
//!
//! **Proof.** No selected pod has a container port with that name and protocol, so no slice has a port for it; the rules of
//! the source's node reject the address, and the kernel dropped first packets by that rule after Service, slices and pods
//! last changed.
//!
//! **Confused with.** Pods that are not ready (E1). A wrong number (S5): then there are endpoints, and they refuse.
//!
//! **References.** `pkg/api/v1/pod/util.go`, `FindPort`: name and protocol must both match; kubernetes/kubernetes issue
//! 84160.

use model::explanation::EvidenceKind;
use model::objects::{Pod, TargetPort};
use model::{Gap, ObjectRef, Stage};

use crate::facts::{Facts, Named, Refusal};
use crate::near;
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "S6",
    slug: "named-port-missing",
    title: "no selected pod declares the port that targetPort names",
    stage: Stage::Endpoints,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["H27"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service().filter(|named| named.translated() && named.selects()) else {
        return Ruling::NotApplicable;
    };
    let Some(port) = named.port else { return Ruling::NotApplicable };
    let TargetPort::Name(name) = &port.target else { return Ruling::NotApplicable };
    let objects = &facts.case.objects;
    let namespace = &named.service.key().namespace;
    if !objects.coverage.pods {
        return Ruling::CannotTell(Gap::new(format!("pods in {namespace}"), "they could not be read"));
    }
    let selector = named.service.pod_selector();
    let pods: Vec<&Pod> =
        objects.pods_in(namespace).filter(|pod| !pod.finished() && selector.matches(pod.labels())).collect();
    if pods.is_empty() {
        return Ruling::NotApplicable;
    }
    let wanted = format!("{name} ({})", port.protocol.upper());
    let have = pods.iter().filter(|pod| pod.named_port(name, port.protocol).is_some()).count();
    if have > 0 {
        return Ruling::RuledOut(format!("{} declares the port named {wanted}", share(have, pods.len())));
    }
    if facts.intended.iter().any(|backend| backend.used) {
        return Ruling::CannotTell(Gap::new(
            format!("what targetPort {name} of {} stands for", named.name()),
            "its EndpointSlices give it a port, and no pod at hand declares one of that name",
        ));
    }

    let changed = facts.ends_changed().max(Facts::changed(pods.iter().map(|pod| &pod.meta)));
    let refusal = facts.refusal().filter(Refusal::stops);
    let proof = refusal.and_then(|refusal| facts.prove_refusal(&refusal, changed));
    let (verdict, at, ending) = facts.without_endpoint();
    let who = match pods.as_slice() {
        [pod] => format!("its pod {} declares no port of that name", pod.key()),
        pods => format!("none of its {} pods declares a port of that name", pods.len()),
    };
    let index = named.service.ports.iter().position(|listed| listed == port).unwrap_or_default();
    let text = format!("{} port {} sends to the port named {wanted}", named.name(), port.port);
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        verdict,
        at,
        format!("Service {} sends to targetPort {name}, but {who}, {ending}", named.name()),
        facts.object(&named.service.meta, text),
    )
    .blame(ObjectRef::service(named.service.key(), &format!("spec.ports[{index}].targetPort")));
    for pod in pods.iter().take(3) {
        finding = finding.because(facts.object(&pod.meta, declares(pod)));
    }
    if let Some(refusal) = refusal {
        let text = format!("the rules of {} {} {}", refusal.node, refusal.verb(), refusal.branch.destination);
        finding = finding.because(facts.rules(refusal.node, refusal.walk, text));
    }
    Ruling::Found(Box::new(advise(named, name, index, &pods, finding)))
}

/// `every selected pod`, or `2 of 3 selected pods` that each do.
fn share(have: usize, all: usize) -> String {
    if have == all { "every selected pod".into() } else { format!("each of {have} of {all} selected pods") }
}

/// `shop/api-0 declares http (8080/tcp)`.
fn declares(pod: &Pod) -> String {
    let ports: Vec<String> = pod
        .declared_ports()
        .map(|declared| match &declared.name {
            Some(name) => format!("{name} ({}/{})", declared.port, declared.protocol),
            None => format!("{}/{} without a name", declared.port, declared.protocol),
        })
        .collect();
    match ports.as_slice() {
        [] => format!("{} declares no port at all", pod.key()),
        ports => format!("{} declares {}", pod.key(), words::list(ports, 4)),
    }
}

fn advise(named: &Named<'_>, name: &str, index: usize, pods: &[&Pod], finding: Finding) -> Finding {
    let port = &named.service.ports[index];
    let every = |found: &str| pods.iter().all(|pod| pod.named_port(found, port.protocol).is_some());
    let names: Vec<&str> = pods
        .iter()
        .flat_map(|pod| pod.declared_ports())
        .filter(|declared| declared.protocol == port.protocol)
        .filter_map(|declared| declared.name.as_deref())
        .filter(|found| every(found))
        .collect();
    let near = near::nearest(name, names.iter().map(|found| (*found, *found)), 1).first().copied();
    let only = names.first().copied().filter(|first| names.iter().all(|found| found == first));
    let Some(meant) = near.or(only) else {
        let text =
            format!("Name the container port {name} in the pods' template, or set targetPort to its number");
        return finding.fix(text, "");
    };
    let patch = format!(
        "[{{\"op\":\"replace\",\"path\":\"/spec/ports/{index}/targetPort\",\"value\":{}}}]",
        words::json(meant)
    );
    let key = named.service.key();
    let command = format!(
        "kubectl -n {} patch service {} --type=json -p {}",
        words::shell(&key.namespace),
        words::shell(&key.name),
        words::shell(&patch)
    );
    finding.fix(format!("Send to {meant}, or name the container port {name}"), command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::{Basis, Certainty, Protocol, Verdict};

    /// The Service sends to the port named `web`; its pod declares `http`, or what is asked for.
    fn sends_to_web(declared: &str, protocol: Protocol) -> Build {
        let declared = declared.to_owned();
        Build::shop().declares("api-0", 8080).objects(move |set| {
            Build::service(set).ports[0].target = TargetPort::Name("web".into());
            let port = &mut Build::pod(set, "api-0").containers[0].ports[0];
            port.name = Some(declared);
            port.protocol = protocol;
        })
    }

    #[test]
    fn found_with_the_name_that_is_declared() {
        let finding = found(&sends_to_web("http", Protocol::Tcp).case(), rule);
        assert_eq!(
            finding.title,
            "Service shop/api sends to targetPort web, but its pod shop/api-0 declares no port of that name, so every \
             connection to it is refused"
        );
        assert_eq!((finding.certainty, finding.basis()), (Certainty::Likely, Basis::Objects));
        assert_eq!(
            finding.fixes[0].command,
            "kubectl -n shop patch service api --type=json -p \
             '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":\"http\"}]'"
        );
    }

    #[test]
    fn found_where_only_the_protocol_differs() {
        let finding = found(&sends_to_web("web", Protocol::Udp).case(), rule);
        assert!(finding.because.iter().any(|reason| reason.text == "shop/api-0 declares web (8080/udp)"));
    }

    #[test]
    fn proven_by_a_refusal() {
        let build = sends_to_web("http", Protocol::Tcp).live().rejected_at_source().drop_at_source(2, 1_000);
        let finding = found(&build.case(), rule);
        assert_eq!((finding.certainty, finding.verdict), (Certainty::Proven, Verdict::Rejected));
    }

    #[test]
    fn ruled_out_where_a_pod_declares_it() {
        let why = ruled_out(&sends_to_web("web", Protocol::Tcp).case(), rule);
        assert_eq!(why, "every selected pod declares the port named web (TCP)");
    }

    #[test]
    fn cannot_tell_without_pods() {
        let case = sends_to_web("http", Protocol::Tcp).objects(|set| set.coverage.pods = false).case();
        assert!(cannot_tell(&case, rule).why.contains("could not be read"));
    }
}

//! The Service sends to a port on which its pods do not listen, while they do listen on another.
//!
//! **What the user sees.** "Connection refused" at once, from every pod of the Service.
//!
//! **Proof.** No pod of the Service has a socket on the numeric targetPort, all of them have one elsewhere, and a pod's
//! kernel dropped first packets to the targetPort for want of a socket (`NO_SOCKET`). From objects alone, only that the
//! containers declare other ports: a container port list is informative and proves nothing, so that is never more than
//! likely. It is said at all only where the Service's slices list the pods with that port, or no slices are at hand; where
//! slices are at hand and leave a pod out, the slices are what there is to speak about (E3).
//!
//! **Confused with.** A pod that listens nowhere, one bad pod among good ones, or a pod that declares the very port and
//! listens only on others, as with a side car while the application is down (P1). A named targetPort that no container
//! has (S6): then there are no endpoints at all.
//!
//! **References.** `net/ipv4/tcp_ipv4.c`, `tcp_v4_rcv`; core/v1 `ServicePort.targetPort` and `ContainerPort`: "not
//! specifying a port here DOES NOT prevent that port from being exposed".

use std::collections::BTreeSet;

use model::explanation::EvidenceKind;
use model::objects::{Pod, ServicePort, TargetPort};
use model::{Gap, ObjectRef, Place, Stage, Verdict};

use crate::facts::{Facts, Listening, Named};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "S5",
    slug: "wrong-target-port",
    title: "the Service's targetPort is not the port its pods listen on",
    stage: Stage::Destination,
    needs: &[EvidenceKind::Object, EvidenceKind::Sockets, EvidenceKind::Drop],
    supersedes: &["P1", "H28"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service().filter(|named| named.translated()) else {
        return Ruling::NotApplicable;
    };
    let Some(port) = named.port else { return Ruling::NotApplicable };
    let TargetPort::Number(target) = port.target else { return Ruling::NotApplicable };
    if facts.live_ways().next().is_none() {
        return Ruling::NotApplicable;
    }
    let ways = facts.refused().by_target_port;
    if !ways.is_empty() {
        return Ruling::Found(Box::new(by_sockets(facts, named, port, target, &ways)));
    }
    let unknown = facts.live_ways().find_map(|(_, way)| match way.listening() {
        Listening::Unknown(gap) => Some(gap),
        _ => None,
    });
    if let Some(gap) = unknown {
        return by_declarations(facts, named, port, target, gap);
    }
    let nowhere = facts
        .live_ways()
        .all(|(_, way)| matches!(way.listening(), Listening::Nothing { elsewhere } if elsewhere.is_empty()));
    Ruling::RuledOut(if nowhere {
        "its pods listen on no other port either".into()
    } else {
        format!("a pod of {} listens on targetPort {target}, or declares it", named.name())
    })
}

fn by_sockets(
    facts: &Facts<'_>,
    named: &Named<'_>,
    port: &ServicePort,
    target: u16,
    ways: &[usize],
) -> Finding {
    let names = facts.names(ways);
    let common = facts.common_ports(ways);
    let right = likely_port(facts, port, ways, &common);
    let listens: Vec<String> = common.iter().map(ToString::to_string).collect();
    let they = match (names.len(), listens.is_empty()) {
        (1, _) => format!("{} listens on {}", names[0], words::list(&listens, 4)),
        (_, false) => format!("its {} pods listen on {}", names.len(), words::list(&listens, 4)),
        (_, true) => format!("its {} pods listen on other ports", names.len()),
    };
    let proof = facts.prove_no_socket(ways);
    let first = &facts.ways[ways[0]];
    let at = match first.pod {
        Some(pod) => Place::pod(pod.node.clone(), pod.key().clone(), Stage::Destination),
        None => Place::intent(Stage::Destination),
    };
    let text = format!("{} port {} sends to targetPort {target}", named.name(), port.port);
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        Verdict::Rejected,
        at,
        format!("Service {} sends to targetPort {target}, but {they}", named.name()),
        facts.object(&named.service.meta, text),
    )
    .on_ways(ways.iter().copied());
    for index in ways.iter().take(3) {
        let way = &facts.ways[*index];
        let (Ok(report), Some(node)) = (&way.listeners, way.node) else { continue };
        let Listening::Nothing { elsewhere } = way.listening() else { continue };
        let ports: Vec<String> = elsewhere
            .iter()
            .map(|listener| match &listener.process {
                Some(process) => format!("{} ({process})", listener.local.port()),
                None => listener.local.port().to_string(),
            })
            .collect();
        let text = format!(
            "nothing listens on {target} in {}; it listens on {}",
            way.name(),
            words::list(&ports, 5)
        );
        finding = finding.because(facts.sockets(node, report, text));
    }
    advise(named, port, right, finding)
}

/// From declared container ports: only where every pod declares some, and none the targetPort.
fn by_declarations(
    facts: &Facts<'_>,
    named: &Named<'_>,
    port: &ServicePort,
    target: u16,
    gap: Gap,
) -> Ruling {
    let ways: Vec<usize> = facts.live_ways().map(|(index, _)| index).collect();
    let declared = |pod: &Pod| -> BTreeSet<u16> {
        pod.declared_ports()
            .filter(|declared| declared.protocol == port.protocol)
            .map(|declared| declared.port)
            .collect()
    };
    let sets: Option<Vec<BTreeSet<u16>>> =
        ways.iter().map(|way| facts.ways[*way].pod.map(declared)).collect();
    // Where its slices leave a pod out, what is to be said of this Service is that.
    if let Some(unlisted) = facts.unlisted()
        && ways.iter().any(|way| unlisted.iter().any(|pod| facts.ways[*way].pod == Some(pod)))
    {
        return Ruling::CannotTell(gap);
    }
    let heard = facts.live_ways().any(|(_, way)| !matches!(way.listening(), Listening::Unknown(_)));
    let Some(sets) =
        sets.filter(|sets| !heard && sets.iter().all(|set| !set.is_empty() && !set.contains(&target)))
    else {
        return Ruling::CannotTell(gap);
    };
    let common: Vec<u16> = sets
        .iter()
        .skip(1)
        .fold(sets[0].clone(), |common, set| common.intersection(set).copied().collect())
        .into_iter()
        .collect();
    let names = facts.names(&ways);
    let ports: Vec<String> = if common.is_empty() {
        sets.iter().flatten().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
    } else {
        common.iter().map(ToString::to_string).collect()
    };
    let verb = if names.len() == 1 { "declares" } else { "declare" };
    let sure = if common.len() == 1 { Sure::Likely } else { Sure::Possible };
    let finding = Finding::new(
        &META,
        sure,
        Verdict::Rejected,
        Place::intent(Stage::Destination),
        format!(
            "Service {} sends to targetPort {target}, but {} {verb} only {}",
            named.name(),
            words::list(&names, 2),
            words::list(&ports, 4)
        ),
        facts.object(
            &named.service.meta,
            format!("{} port {} sends to targetPort {target}", named.name(), port.port),
        ),
    )
    .because(facts.objects(format!(
        "{} {verb} container port {}, not {target}; a declared port proves nothing alone",
        words::list(&names, 3),
        words::list(&ports, 4)
    )))
    .on_ways(ways);
    let right = common.first().copied().filter(|_| common.len() == 1);
    Ruling::Found(Box::new(advise(named, port, right, finding)))
}

/// The one port that is meant, where that can be said: the only common one, else the one the Service itself shows, else the
/// one the containers declare.
fn likely_port(facts: &Facts<'_>, port: &ServicePort, ways: &[usize], common: &[u16]) -> Option<u16> {
    if let [only] = common {
        return Some(*only);
    }
    if common.contains(&port.port) {
        return Some(port.port);
    }
    let declared = |number: &u16| {
        ways.iter().filter_map(|way| facts.ways[*way].pod).all(|pod| {
            pod.declared_ports()
                .any(|declared| declared.port == *number && declared.protocol == port.protocol)
        })
    };
    let mut candidates = common.iter().copied().filter(|number| declared(number));
    candidates.next().filter(|_| candidates.next().is_none())
}

fn advise(named: &Named<'_>, port: &ServicePort, right: Option<u16>, finding: Finding) -> Finding {
    let key = named.service.key();
    let index = named.service.ports.iter().position(|listed| listed == port).unwrap_or_default();
    let finding = finding.blame(ObjectRef::service(key, &format!("spec.ports[{index}].targetPort")));
    let Some(right) = right else {
        return finding.fix("Set targetPort to the port on which the pods serve this", "");
    };
    // A JSON patch by index: the merge key `port` alone cannot tell TCP from UDP on one number.
    let patch =
        format!("[{{\"op\":\"replace\",\"path\":\"/spec/ports/{index}/targetPort\",\"value\":{right}}}]");
    let command = format!(
        "kubectl -n {} patch service {} --type=json -p {}",
        words::shell(&key.namespace),
        words::shell(&key.name),
        words::shell(&patch)
    );
    finding.fix(format!("Send to {right}"), command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::{Basis, Certainty};

    #[test]
    fn found_with_the_port_that_listens() {
        let case = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:80"]).case();
        let finding = found(&case, rule);
        assert_eq!(finding.title, "Service shop/api sends to targetPort 8080, but shop/api-0 listens on 80");
        assert_eq!(finding.certainty, Certainty::Likely);
        assert_eq!(
            finding.fixes[0].command,
            "kubectl -n shop patch service api --type=json -p \
             '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":80}]'"
        );
    }

    #[test]
    fn proven_by_a_packet_without_a_socket() {
        let build = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:80"]);
        let fresh = build.clone().no_socket("api-0", 2, 1_000).case();
        assert_eq!(found(&fresh, rule).certainty, Certainty::Proven);
        let old = build.no_socket("api-0", 2, 900_000).case();
        assert_eq!(found(&old, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn declared_ports_alone_are_never_proof() {
        let finding = found(&Build::shop().declares("api-0", 80).case(), rule);
        assert_eq!((finding.certainty, finding.basis()), (Certainty::Likely, Basis::Objects));
        let two = found(&Build::shop().declares("api-0", 80).declares("api-0", 9090).case(), rule);
        assert_eq!(two.certainty, Certainty::Possible);
    }

    #[test]
    fn ruled_out_where_the_pod_listens() {
        let case = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"]).case();
        assert!(ruled_out(&case, rule).contains("targetPort 8080"));
    }

    #[test]
    fn cannot_tell_from_nothing() {
        assert_eq!(cannot_tell(&Build::shop().case(), rule).what, "listeners of shop/api-0");
        assert_eq!(
            cannot_tell(&Build::shop().declares("api-0", 8080).case(), rule).what,
            "listeners of shop/api-0"
        );
    }
}

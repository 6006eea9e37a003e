//! The Service does not list the port, so no rule matches and the packet leaves as it came.
//!
//! **What the user sees.** Silence, or an ICMP error from some router: in iptables and IPVS mode an unlisted port of a
//! cluster address is not handled at all and follows the default route. kube-proxy in nftables mode rejects it.
//!
//! **Proof.** The Service's port list; the rules of the source's node do not translate the address with that port; the
//! kernel dropped first packets still addressed to the Service.
//!
//! **Confused with.** A Service missing from a node's rules (K18): there the port is listed. A targetPort that is wrong
//! (S5): there the Service's own port is right.
//!
//! **References.** The leak: `pkg/proxy/iptables/proxier.go` writes rules for listed ports only; nftables:
//! `pkg/proxy/nftables/README.md`, "cluster-ips".

use model::explanation::EvidenceKind;
use model::objects::{ServicePort, ServiceType};
use model::question::{Destination, PortAsk, Source};
use model::{Gap, ObjectRef, Outcome, Place, Stage, Verdict};

use crate::facts::{Facts, Named};
use crate::near;
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "S2",
    slug: "port-not-listed",
    title: "the Service does not list the port",
    stage: Stage::Name,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["S3", "E1", "K18", "H27", "H28"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let Some(named) = facts.target.service() else {
        return match &facts.case.question.destination {
            Destination::Service(key) => Ruling::CannotTell(Gap::new(
                format!("ports of Service {key}"),
                "it is not among the objects any more",
            )),
            _ => Ruling::NotApplicable,
        };
    };
    let service = named.service;
    // A headless or alias Service has no rules: its port list decides nothing.
    if service.headless || service.kind == ServiceType::ExternalName {
        return Ruling::NotApplicable;
    }
    let protocol = facts.case.question.protocol;
    let (asked, unnamed) = match &facts.case.question.port {
        PortAsk::Number(number) => (number.to_string(), None),
        PortAsk::UnknownName(name) => (name.clone(), Some(name.as_str())),
    };
    if let (Some(port), None) = (named.port, unnamed) {
        return Ruling::RuledOut(format!("{} lists {}/{protocol}", named.name(), port.port));
    }

    let by_node = node_port(facts, named);
    if let (Some(port), Source::External { .. }) = (by_node, &facts.case.question.source) {
        return Ruling::CannotTell(Gap::new(
            format!("node port {} of {}", named.number.unwrap_or_default(), named.name()),
            format!("node ports are not followed; what is behind it is {}:{}", named.name(), port.port),
        ));
    }

    let listed: Vec<String> = service
        .ports
        .iter()
        .map(|port| match port.name.as_str() {
            "" => format!("{}/{}", port.port, port.protocol),
            name => format!("{}/{} ({name})", port.port, port.protocol),
        })
        .collect();
    let has = if listed.is_empty() { "no port".to_owned() } else { words::list(&listed, 6) };
    let first = facts.object(&service.meta, format!("{} lists {has}", named.name()));

    let refusal = facts.refusal();
    let (verdict, at, ending) = match (unnamed, refusal) {
        (Some(_), _) => (Verdict::Unresolved, Place::intent(Stage::Name), String::new()),
        (None, Some(refusal)) if refusal.stops() => {
            let verb = if refusal.verdict() == Verdict::Rejected { "refuses" } else { "drops" };
            (
                refusal.verdict(),
                Place::node(refusal.node, Stage::SourceNode),
                format!("; {} {verb} it", refusal.node),
            )
        }
        (None, Some(refusal)) => (
            Verdict::Dropped,
            Place::node(refusal.node, Stage::SourceNode),
            format!("; {} sends it on untranslated", refusal.node),
        ),
        (None, None) => (Verdict::Dropped, Place::intent(Stage::Name), String::new()),
    };
    let proof = refusal
        .filter(|_| unnamed.is_none())
        .and_then(|refusal| facts.prove_refusal(&refusal, Facts::changed([&service.meta])));
    let asked =
        if unnamed.is_some() { format!("port named {asked}") } else { format!("port {asked}/{protocol}") };
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        verdict,
        at,
        format!("Service {} has no {asked}{ending}", named.name()),
        first,
    )
    .blame(ObjectRef::service(service.key(), "spec.ports"));
    if let Some(refusal) = refusal.filter(|_| unnamed.is_none()) {
        let text = match (refusal.branch.outcome, &refusal.branch.out_interface) {
            (Outcome::Rejected, _) => {
                format!("the rules of {} reject {}", refusal.node, refusal.branch.destination)
            }
            (Outcome::Dropped, _) => format!("{} drops {}", refusal.node, refusal.branch.destination),
            (_, Some(device)) => format!(
                "no rule of {} translates {}; it leaves by {device}",
                refusal.node, refusal.branch.destination
            ),
            (_, None) => {
                format!("no rule of {} translates {}", refusal.node, refusal.branch.destination)
            }
        };
        finding = finding.because(facts.rules(refusal.node, refusal.walk, text));
    }
    Ruling::Found(Box::new(advise(facts, named, unnamed, finding)))
}

/// The port whose node port is asked for, if it is one.
fn node_port<'a>(facts: &Facts<'_>, named: &Named<'a>) -> Option<&'a ServicePort> {
    let protocol = facts.case.question.protocol;
    let asked = |port: &&ServicePort| port.node_port == named.number && port.protocol == protocol;
    named.service.ports.iter().filter(|_| named.number.is_some()).find(asked)
}

/// Names the port that may be meant.
fn advise(facts: &Facts<'_>, named: &Named<'_>, unnamed: Option<&str>, finding: Finding) -> Finding {
    let service = named.service;
    let protocol = facts.case.question.protocol;
    if let Some(name) = unnamed {
        let names = service.ports.iter().map(|port| (port.name.as_str(), port));
        return match near::nearest(name, names, 1).first().or(service.ports.first().as_ref()) {
            Some(port) => finding.fix(format!("Use {}:{}", named.name(), port.port), ""),
            None => finding,
        };
    }
    let number = named.number.unwrap_or_default();
    // The other protocol on the same number, then a targetPort taken for the port, then the only port, then the nearest.
    if let Some(port) = service.ports.iter().find(|port| port.port == number) {
        return finding
            .fix(format!("Ask for {number}/{}, or list {number}/{protocol} too", port.protocol), "");
    }
    let target = service.ports.iter().find(|port| port.target == model::objects::TargetPort::Number(number));
    if let Some(port) = target {
        let text = format!("{number} is the targetPort of port {}, not a port of the Service", port.port);
        return finding
            .because(facts.object(&service.meta, text))
            .fix(format!("Use {}:{}", named.name(), port.port), "");
    }
    if let Some(port) = node_port(facts, named) {
        let text = format!("{number} is the node port of port {}; only nodes answer on it", port.port);
        return finding
            .because(facts.object(&service.meta, text))
            .fix(format!("Use {}:{}, or {number} on a node's address", named.name(), port.port), "");
    }
    let same = service.ports.iter().filter(|port| port.protocol == protocol);
    match same.min_by_key(|port| port.port.abs_diff(number)) {
        Some(port) => finding
            .fix(format!("Use {}:{}, or add {number} to the Service's ports", named.name(), port.port), ""),
        None => finding.fix(format!("Add {number}/{protocol} to the Service's ports"), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Certainty;

    #[test]
    fn found_with_the_port_that_may_be_meant() {
        let finding = found(&Build::shop().port(81).case(), rule);
        assert_eq!(finding.title, "Service shop/api has no port 81/tcp");
        assert_eq!(finding.verdict, Verdict::Dropped);
        assert_eq!(finding.fixes[0].text, "Use shop/api:80, or add 81 to the Service's ports");
    }

    #[test]
    fn a_target_port_taken_for_the_port_is_named() {
        let finding = found(&Build::shop().port(8080).case(), rule);
        assert!(finding.because[1].text.contains("8080 is the targetPort of port 80"));
    }

    #[test]
    fn an_unknown_name_is_unresolved() {
        let case = Build::shop().port_name("htp").case();
        let finding = found(&case, rule);
        assert_eq!(finding.verdict, Verdict::Unresolved);
        assert_eq!(finding.fixes[0].text, "Use shop/api:80");
    }

    #[test]
    fn the_leak_is_told_from_the_rules() {
        let case = Build::shop().port(81).live().leaks_at_source().case();
        let finding = found(&case, rule);
        assert_eq!(finding.certainty, Certainty::Likely);
        assert!(finding.title.ends_with("; node-1 sends it on untranslated"));
    }

    #[test]
    fn ruled_out_where_it_is_listed() {
        assert_eq!(ruled_out(&Build::shop().case(), rule), "shop/api lists 80/tcp");
    }

    #[test]
    fn cannot_tell_of_a_service_that_went_away() {
        let case = Build::shop().objects(|set| set.services.clear()).case();
        assert_eq!(cannot_tell(&case, rule).what, "ports of Service shop/api");
    }

    #[test]
    fn not_applicable_to_a_headless_service() {
        let case = Build::shop().port(81).objects(|set| Build::service(set).headless = true).case();
        assert!(matches!(rule(&Facts::of(&case)), Ruling::NotApplicable));
    }
}

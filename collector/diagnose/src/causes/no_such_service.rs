//! There is no Service of that name, and none of the same name elsewhere that could be meant.
//!
//! **What the user sees.** "Could not resolve host", NXDOMAIN; with an old address in hand, silence or a refusal by
//! whoever owns the address now.
//!
//! **Proof.** The Services at hand do not hold the name. For a bare name that is every name its search list makes of
//! it. Nothing was sent, so there is no kernel evidence to be had and the finding is never more than likely.
//!
//! **Confused with.** The right name in the wrong namespace (D1), which has its own answer. A Service whose DNS name
//! does not resolve although it exists is a DNS fault (D2 and on).
//!
//! **References.** Debug Services, "Does the Service exist?"
//! (<https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/>).

use model::explanation::EvidenceKind;
use model::question::Destination;
use model::{Gap, Key, Place, Stage, Verdict};

use crate::facts::Facts;
use crate::near;
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "S1",
    slug: "no-such-service",
    title: "the Service does not exist",
    stage: Stage::Name,
    needs: &[EvidenceKind::Object],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let (wanted, title) = match &facts.case.question.destination {
        Destination::Service(key) if facts.case.objects.services.contains_key(key) => {
            return Ruling::RuledOut(format!("Service {key} exists"));
        }
        Destination::NoService(key) | Destination::Service(key) => {
            (key.clone(), format!("there is no Service {key}"))
        }
        Destination::NoName { name, tried } => {
            let Some(first) = tried.first() else { return Ruling::NotApplicable };
            (first.clone(), format!("{name} leads to no Service as {} looks it up", facts.source.name))
        }
        _ => return Ruling::NotApplicable,
    };
    if !facts.case.objects.coverage.services {
        return Ruling::CannotTell(Gap::new("Services", "they could not be read"));
    }
    let reason = match &facts.case.question.destination {
        Destination::NoName { tried, .. } => {
            let names: Vec<String> = tried.iter().map(ToString::to_string).collect();
            format!("its search list makes {} of it; none is a Service", words::list(&names, 4))
        }
        _ => format!("no Service {wanted} is among {}", total(facts)),
    };
    let first = facts.objects(reason);
    let mut finding =
        Finding::new(&META, Sure::Likely, Verdict::Unresolved, Place::intent(Stage::Name), title, first);
    let nearest = nearest(facts, &wanted);
    if nearest.is_empty() {
        let command = format!("kubectl -n {} get services", words::shell(&wanted.namespace));
        finding = finding.fix(format!("See which Services {} has", wanted.namespace), command);
    } else {
        let names: Vec<String> = nearest.iter().map(|key| described(facts, key)).collect();
        finding = finding
            .because(facts.objects(format!("nearest: {}", words::list(&names, 3))))
            .fix(format!("Connect to {}, or create {wanted}", nearest[0]), "");
    }
    Ruling::Found(Box::new(finding))
}

fn total(facts: &Facts<'_>) -> String {
    words::count(facts.case.objects.services.len(), "Service")
}

/// Services that may be meant: of the same name anywhere, then of near names in the namespace, then anywhere.
fn nearest(facts: &Facts<'_>, wanted: &Key) -> Vec<Key> {
    let services = facts.case.objects.services.keys();
    let mut found: Vec<Key> =
        services.clone().filter(|key| key.name == wanted.name && *key != wanted).cloned().collect();
    let here = services.clone().filter(|key| key.namespace == wanted.namespace);
    let beyond = services.filter(|key| key.namespace != wanted.namespace);
    for key in near::nearest(&wanted.name, here.map(|key| (key.name.as_str(), key)), 3)
        .into_iter()
        .chain(near::nearest(&wanted.name, beyond.map(|key| (key.name.as_str(), key)), 3))
    {
        if !found.contains(key) {
            found.push(key.clone());
        }
    }
    found.truncate(3);
    found
}

/// `shop/api (port 80)`.
fn described(facts: &Facts<'_>, key: &Key) -> String {
    let ports: Vec<String> = facts
        .case
        .objects
        .services
        .get(key)
        .map(|service| service.ports.iter().map(|port| port.port.to_string()).collect())
        .unwrap_or_default();
    match ports.as_slice() {
        [] => key.to_string(),
        [port] => format!("{key} (port {port})"),
        ports => format!("{key} (ports {})", words::list(ports, 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};

    #[test]
    fn found_with_the_nearest_name() {
        let case = Build::shop().missing("shop/apu").case();
        let finding = found(&case, rule);
        assert_eq!(finding.title, "there is no Service shop/apu");
        assert_eq!(finding.verdict, Verdict::Unresolved);
        assert!(finding.because.iter().any(|reason| reason.text == "nearest: shop/api (port 80)"));
    }

    #[test]
    fn ruled_out_where_it_exists() {
        assert_eq!(ruled_out(&Build::shop().case(), rule), "Service shop/api exists");
    }

    #[test]
    fn cannot_tell_without_services() {
        let case = Build::shop().missing("shop/apu").objects(|set| set.coverage.services = false).case();
        assert_eq!(cannot_tell(&case, rule).what, "Services");
    }
}

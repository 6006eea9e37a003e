//! The Service exists, but in another namespace than the one in which the name is looked up.
//!
//! **What the user sees.** "Could not resolve host", NXDOMAIN, from this namespace; from the other it works.
//!
//! **Proof.** None of the names that the client's search list makes is a Service, and a Service of the same name exists
//! elsewhere. Nothing was sent, so there is no kernel evidence to be had and the finding is never more than likely.
//!
//! **Confused with.** A Service that exists nowhere (S1), a typing mistake included.
//!
//! **References.** DNS for Services and Pods: "A DNS query may return different results based on the namespace of the Pod
//! making it".

use std::collections::BTreeSet;

use model::explanation::EvidenceKind;
use model::question::Destination;
use model::{Gap, Key, ObjectRef, Place, Stage, Verdict};

use crate::facts::Facts;
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "D1",
    slug: "right-name-wrong-namespace",
    title: "the Service exists, but in another namespace",
    stage: Stage::Name,
    needs: &[EvidenceKind::Object],
    supersedes: &["S1"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let case = facts.case;
    let own = case.question.source_pod().map(|pod| pod.namespace.as_str());
    let (typed, tried) = match &case.question.destination {
        Destination::NoName { name, tried } => (name.clone(), tried.clone()),
        // An object named in the client's own namespace is what the bare name would be looked up as.
        Destination::NoService(key) if own == Some(key.namespace.as_str()) => {
            (key.to_string(), vec![key.clone()])
        }
        Destination::Service(key) => {
            return Ruling::RuledOut(format!("the name leads to Service {key}"));
        }
        _ => return Ruling::NotApplicable,
    };
    if !case.objects.coverage.services {
        return Ruling::CannotTell(Gap::new("Services", "they could not be read"));
    }
    let names: BTreeSet<&str> = tried.iter().map(|key| key.name.as_str()).collect();
    let elsewhere: Vec<&Key> = case
        .objects
        .services
        .keys()
        .filter(|key| names.contains(key.name.as_str()) && !tried.contains(key))
        .collect();
    let Some(meant) = elsewhere.first() else {
        return Ruling::RuledOut("no Service of that name exists in any namespace".into());
    };
    let title = match elsewhere.as_slice() {
        [only] => format!(
            "{typed} leads nowhere from {}: Service {} is in namespace {}",
            facts.source.name, only.name, only.namespace
        ),
        many => {
            let namespaces: Vec<&str> = many.iter().map(|key| key.namespace.as_str()).collect();
            format!(
                "{typed} leads nowhere from {}: Services called {} are in {}",
                facts.source.name,
                meant.name,
                words::list(&namespaces, 3)
            )
        }
    };
    let looked_up: Vec<String> = tried.iter().map(ToString::to_string).collect();
    let first =
        facts.objects(format!("it is looked up as {}; none is a Service", words::list(&looked_up, 4)));
    let mut finding =
        Finding::new(&META, Sure::Likely, Verdict::Unresolved, Place::intent(Stage::Name), title, first);
    for key in elsewhere.iter().take(3) {
        if let Some(service) = case.objects.services.get(*key) {
            let ports: Vec<String> = service.ports.iter().map(|port| port.port.to_string()).collect();
            let text = format!("Service {key} exists (port {})", words::list(&ports, 4));
            finding = finding.because(facts.object(&service.meta, text)).blame(ObjectRef::service(key, ""));
        }
    }
    let host = format!("{}.{}", meant.name, meant.namespace);
    let name = match case.question.port_number() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    Ruling::Found(Box::new(finding.fix(format!("Use the name {name}"), "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};

    fn bare(name: &str) -> Build {
        let destination = Destination::NoName { name: name.into(), tried: vec![Key::new("web", name)] };
        Build::shop().question(|question| question.destination = destination)
    }

    #[test]
    fn found_in_the_other_namespace() {
        let finding = found(&bare("api").case(), rule);
        assert_eq!(finding.title, "api leads nowhere from web/client: Service api is in namespace shop");
        assert_eq!(finding.fixes[0].text, "Use the name api.shop:80");
        assert_eq!(finding.verdict, Verdict::Unresolved);
    }

    #[test]
    fn an_object_named_in_the_own_namespace_counts() {
        let finding = found(&Build::shop().missing("web/api").case(), rule);
        assert!(finding.title.starts_with("web/api leads nowhere"));
    }

    #[test]
    fn ruled_out_where_nobody_has_the_name() {
        assert!(ruled_out(&bare("cart").case(), rule).contains("no Service of that name"));
        assert!(ruled_out(&Build::shop().case(), rule).contains("leads to Service shop/api"));
    }

    #[test]
    fn cannot_tell_without_services() {
        let case = bare("api").objects(|set| set.coverage.services = false).case();
        assert_eq!(cannot_tell(&case, rule).what, "Services");
    }
}

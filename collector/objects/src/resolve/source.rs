//! Who connects.
//!
//! A source must exist: nothing can be said about a connection from nowhere.

use std::net::IpAddr;

use model::objects::{Key, ObjectSet};
use model::question::{Destination, Source};

use super::error::{Argument, ResolveError};
use super::grammar::{KindWord, Parsed, Subject};
use super::{Ask, owner, pod_of_workload};
use crate::names::shown;
use crate::nearest::{nearest, ranked};

/// The word for an unlabelled pod.
const ANY: &str = "any";
/// How many names an error lists.
const LISTED: usize = 8;

/// Finds the source.
pub(super) fn resolve(
    set: &ObjectSet,
    ask: &Ask,
    parsed: &Parsed,
    destination: &Parsed,
    notes: &mut Vec<String>,
) -> Result<Source, ResolveError> {
    if parsed.port.is_some() {
        let span = parsed.port_span.start - 1..parsed.port_span.end;
        return Err(invalid(ask, span, "a source has no port", "the port belongs to DST"));
    }
    let source = match &parsed.subject {
        Subject::Address(address) => from_address(set, ask, *address, notes)?,
        Subject::Bare(name) if name == ANY => {
            let namespace = destination_namespace(set, ask, destination);
            notes.push(format!("`any` stands for a pod without labels in {namespace}"));
            Source::Any { namespace }
        }
        Subject::Bare(name) => named(set, ask.namespace(), None, name, ask, parsed, notes)?,
        Subject::Named { kind: Some(KindWord::Node), name, .. } => {
            if !set.nodes.contains_key(name) {
                let nodes = set.nodes.keys().map(String::as_str);
                let advice = advice(name, nodes, "Nodes");
                return Err(ResolveError::SourceNotFound { what: "node", name: name.clone(), advice });
            }
            Source::Node(name.clone())
        }
        Subject::Named { namespace, kind, name } => {
            let namespace = namespace.as_deref().unwrap_or_else(|| ask.namespace());
            named(set, namespace, *kind, name, ask, parsed, notes)?
        }
    };
    via(set, ask, source)
}

fn invalid(ask: &Ask, span: std::ops::Range<usize>, reason: &str, advice: &str) -> ResolveError {
    ResolveError::Invalid {
        argument: Argument::Source,
        text: ask.source.clone(),
        span,
        reason: reason.to_owned(),
        advice: advice.to_owned(),
    }
}

fn from_address(
    set: &ObjectSet,
    ask: &Ask,
    address: IpAddr,
    notes: &mut Vec<String>,
) -> Result<Source, ResolveError> {
    match owner(set, address, notes) {
        Some(Destination::Pod(key)) => Ok(Source::Pod(key)),
        Some(Destination::Node(name)) => Ok(Source::Node(name)),
        Some(Destination::Service(key)) => {
            let advice = format!("it is the address of Service {key}; name the pod that connects");
            Err(invalid(ask, 0..ask.source.len(), "a Service does not connect", &advice))
        }
        _ => Ok(Source::External { address, via: None }),
    }
}

/// A pod, or a workload's pod.
fn named(
    set: &ObjectSet,
    namespace: &str,
    kind: Option<KindWord>,
    name: &str,
    ask: &Ask,
    parsed: &Parsed,
    notes: &mut Vec<String>,
) -> Result<Source, ResolveError> {
    let key = Key::new(namespace, name);
    let workload = match kind {
        None | Some(KindWord::Node) => None,
        Some(KindWord::Pod) => Some(None),
        Some(KindWord::Workload(word)) => Some(Some(word)),
        Some(KindWord::Service) => {
            let advice = "name the pod or workload that connects";
            return Err(invalid(ask, parsed.span.clone(), "a Service does not connect", advice));
        }
    };
    let pod = matches!(workload, None | Some(None)) && set.pods.contains_key(&key);
    if pod {
        if workload.is_none() && has_workload(set, namespace, name) {
            notes.push(format!("both a pod and a workload are called {key}; the pod was taken"));
        }
        return Ok(Source::Pod(key));
    }
    if !matches!(workload, Some(None))
        && let Some(pod) = pod_of_workload(set, namespace, workload.flatten(), name, notes)
    {
        return Ok(Source::Pod(pod.key().clone()));
    }
    if !set.coverage.pods {
        return Err(ResolveError::Unreadable { what: "pods", name: key.to_string() });
    }
    let what = match workload {
        None => "pod or workload",
        Some(None) => "pod",
        Some(Some(word)) => word,
    };
    Err(ResolveError::SourceNotFound { what, name: key.to_string(), advice: absent_pod(set, &key) })
}

fn has_workload(set: &ObjectSet, namespace: &str, name: &str) -> bool {
    set.pods_in(namespace).any(|pod| pod.workload.as_ref().is_some_and(|workload| workload.name == name))
}

/// What to say to somebody who named a pod or workload that is not there.
pub(super) fn absent_pod(set: &ObjectSet, key: &Key) -> String {
    let namespace = key.namespace.as_str();
    let spaces =
        || set.namespaces.keys().map(String::as_str).chain(set.pods.keys().map(|key| key.namespace.as_str()));
    if set.pods_in(namespace).next().is_none() && !set.namespaces.contains_key(namespace) {
        let elsewhere = nearest(namespace, spaces()).map(|near| format!("{near}/{}", key.name));
        return match elsewhere {
            Some(near) => format!("did you mean `{near}`? There is no namespace {namespace}"),
            None => match set.pods.keys().find(|pod| pod.name == key.name) {
                Some(pod) => format!("did you mean `{pod}`? There is no namespace {namespace}"),
                None => format!("there is no namespace {namespace}"),
            },
        };
    }
    let pods: Vec<&str> = set.pods_in(namespace).map(|pod| pod.key().name.as_str()).collect();
    let mut names = pods.clone();
    names.extend(set.pods_in(namespace).filter_map(|pod| Some(pod.workload.as_ref()?.name.as_str())));
    let near = nearest(&key.name, names.iter().copied()).map(|near| format!("{namespace}/{near}"));
    let elsewhere = || set.pods.keys().find(|pod| pod.name == key.name).map(ToString::to_string);
    let meant = near.or_else(elsewhere).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let service =
        if set.services.contains_key(key) { format!("{key} is a Service. ") } else { String::new() };
    format!("{service}{meant}Pods in {namespace}: {}", listed(&pods))
}

/// A few names, and how many more there are.
fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() <= LISTED => names.join(", "),
        names => format!("{} and {} more", names[..LISTED].join(", "), names.len() - LISTED),
    }
}

/// The nearest of some names, or the first few of them.
pub(super) fn advice<'a>(name: &str, names: impl Iterator<Item = &'a str>, word: &str) -> String {
    let names: Vec<&str> = names.collect();
    let meant = ranked(name, names.iter().copied()).first().map(|near| format!("did you mean `{near}`? "));
    format!("{}{word}: {}", meant.unwrap_or_default(), listed(&names))
}

/// The namespace DST is in, for `any`.
fn destination_namespace(set: &ObjectSet, ask: &Ask, destination: &Parsed) -> String {
    match &destination.subject {
        Subject::Named { namespace: Some(namespace), .. } => namespace.clone(),
        Subject::Address(address) => match owner(set, *address, &mut Vec::new()) {
            Some(Destination::Service(key) | Destination::Pod(key)) => key.namespace,
            _ => ask.namespace().to_owned(),
        },
        // `api.shop` and `api.shop.svc…` say it themselves, if there is such a namespace.
        Subject::Bare(name) => {
            let said = name.split('.').nth(1).filter(|space| set.namespaces.contains_key(*space));
            said.unwrap_or_else(|| ask.namespace()).to_owned()
        }
        Subject::Named { namespace: None, .. } => ask.namespace().to_owned(),
    }
}

/// Applies `--via`, which only an external client has.
fn via(set: &ObjectSet, ask: &Ask, source: Source) -> Result<Source, ResolveError> {
    let Some(text) = ask.via.as_deref() else { return Ok(source) };
    let name = text.strip_prefix("node/").unwrap_or(text);
    let Source::External { address, .. } = source else {
        return Err(ResolveError::Invalid {
            argument: Argument::Via,
            text: text.to_owned(),
            span: 0..text.len(),
            reason: "says where an external client enters, and the source is not one".to_owned(),
            advice: format!("leave out --via; {} is known to the cluster", shown(&ask.source)),
        });
    };
    if !set.nodes.contains_key(name) {
        let advice = advice(name, set.nodes.keys().map(String::as_str), "Nodes");
        return Err(ResolveError::ViaNotFound { name: name.to_owned(), advice });
    }
    Ok(Source::External { address, via: Some(name.to_owned()) })
}

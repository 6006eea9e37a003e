//! What is connected to.
//!
//! A Service or name that does not exist is a destination too: saying so is the answer.

use model::objects::{Key, ObjectSet};
use model::question::{Destination, Source};

use super::dns::{self, Lookup};
use super::error::{Argument, ResolveError};
use super::grammar::{KindWord, Parsed, Subject};
use super::source::{absent_pod, advice};
use super::{Ask, owner, pod_of_workload};

/// Finds the destination.
pub(super) fn resolve(
    set: &ObjectSet,
    ask: &Ask,
    parsed: &Parsed,
    source: &Source,
    notes: &mut Vec<String>,
) -> Result<Destination, ResolveError> {
    match &parsed.subject {
        Subject::Address(address) => {
            Ok(owner(set, *address, notes).unwrap_or(Destination::Address(*address)))
        }
        Subject::Bare(name) => by_dns(set, ask, parsed, name, source, notes),
        Subject::Named { kind: Some(KindWord::Node), name, .. } => {
            if set.nodes.contains_key(name) {
                return Ok(Destination::Node(name.clone()));
            }
            let advice = advice(name, set.nodes.keys().map(String::as_str), "Nodes");
            Err(ResolveError::DestinationNotFound { what: "node", name: name.clone(), advice })
        }
        Subject::Named { namespace, kind, name } => {
            let namespace = namespace.as_deref().unwrap_or_else(|| ask.namespace());
            named(set, namespace, *kind, name, notes)
        }
    }
}

fn by_dns(
    set: &ObjectSet,
    ask: &Ask,
    parsed: &Parsed,
    name: &str,
    source: &Source,
    notes: &mut Vec<String>,
) -> Result<Destination, ResolveError> {
    if !set.coverage.services {
        return Err(ResolveError::Unreadable { what: "Services", name: name.to_owned() });
    }
    match dns::lookup(set, name, source, ask.namespace(), notes) {
        Lookup::Found(destination) => Ok(destination),
        Lookup::Nothing { tried } => Ok(Destination::NoName { name: name.to_owned(), tried }),
        Lookup::Outside => Err(ResolveError::Invalid {
            argument: Argument::Destination,
            text: ask.destination.clone(),
            span: parsed.span.clone(),
            reason: "is a name outside the cluster, which only the source's own resolver can look up"
                .to_owned(),
            advice: "give the address it resolves to".to_owned(),
        }),
    }
}

fn named(
    set: &ObjectSet,
    namespace: &str,
    kind: Option<KindWord>,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<Destination, ResolveError> {
    let key = Key::new(namespace, name);
    let (service, pod) = (set.services.contains_key(&key), set.pods.contains_key(&key));
    match kind {
        None | Some(KindWord::Service) if service => {
            if kind.is_none() && pod {
                notes.push(format!("both a Service and a pod are called {key}; the Service was taken"));
            }
            Ok(Destination::Service(key))
        }
        None | Some(KindWord::Pod) if pod => Ok(Destination::Pod(key)),
        None | Some(KindWord::Service | KindWord::Node) if set.coverage.services => {
            Ok(Destination::NoService(key))
        }
        None | Some(KindWord::Service | KindWord::Node) => {
            Err(ResolveError::Unreadable { what: "Services", name: key.to_string() })
        }
        Some(KindWord::Pod) => not_found(set, "pod", &key),
        Some(KindWord::Workload(word)) => match pod_of_workload(set, namespace, Some(word), name, notes) {
            Some(pod) => Ok(Destination::Pod(pod.key().clone())),
            None => not_found(set, word, &key),
        },
    }
}

fn not_found(set: &ObjectSet, what: &'static str, key: &Key) -> Result<Destination, ResolveError> {
    if !set.coverage.pods {
        return Err(ResolveError::Unreadable { what: "pods", name: key.to_string() });
    }
    Err(ResolveError::DestinationNotFound { what, name: key.to_string(), advice: absent_pod(set, key) })
}

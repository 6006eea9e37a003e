//! What the user typed, as a question about objects: the grammar of SRC and DST, and names as the source pod sees them.
//!
//! It looks names up and judges nothing: a destination that does not exist is an answer for `diagnose` to give.

mod destination;
mod dns;
mod error;
mod grammar;
mod port;
mod source;

use model::Timestamp;
use model::objects::{ObjectSet, Pod};
use model::question::{Destination, Question};

pub use error::{Argument, ErrorKind, ResolveError};

/// The namespace where neither `-n` nor a context gives one.
const DEFAULT_NAMESPACE: &str = "default";

/// A question as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// SRC.
    pub source: String,
    /// DST.
    pub destination: String,
    /// `-n`, or the context's namespace.
    pub namespace: Option<String>,
    /// `--via`.
    pub via: Option<String>,
    /// `--since` as a moment; the default window before `now` if not given.
    pub since: Option<Timestamp>,
    /// The moment the question is asked.
    pub now: Timestamp,
    /// Length of the default window in milliseconds.
    pub default_window: u64,
}

impl Ask {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(DEFAULT_NAMESPACE)
    }
}

/// Puts objects to the names of a question.
pub fn question(set: &ObjectSet, ask: &Ask) -> Result<Question, ResolveError> {
    let source = grammar::parse(Argument::Source, &ask.source)?;
    let destination = grammar::parse(Argument::Destination, &ask.destination)?;
    let mut notes = Vec::new();
    let from = source::resolve(set, ask, &source, &destination, &mut notes)?;
    let to = destination::resolve(set, ask, &destination, &from, &mut notes)?;
    let (port, protocol) = port::resolve(set, &ask.destination, &destination, &to, &mut notes)?;
    Ok(Question {
        source_text: ask.source.clone(),
        destination_text: ask.destination.clone(),
        source: from,
        destination: to,
        port,
        protocol,
        since: ask.since.unwrap_or_else(|| ask.now.minus_ms(ask.default_window)),
        notes,
    })
}

/// A pod of a workload: the first that is ready, else the first that runs and has an address, else the first.
fn pod_of_workload<'a>(
    set: &'a ObjectSet,
    namespace: &'a str,
    kind: Option<&str>,
    name: &str,
    notes: &mut Vec<String>,
) -> Option<&'a Pod> {
    let mut owned: Vec<(&Pod, &str)> = set
        .pods_in(namespace)
        .filter(|pod| !pod.finished())
        .filter_map(|pod| pod.workload.as_ref().map(|workload| (pod, workload)))
        .filter(|(_, workload)| workload.name == name && kind.is_none_or(|kind| kind == workload.kind))
        .map(|(pod, workload)| (pod, workload.kind.as_str()))
        .collect();
    let first_kind = owned.iter().map(|(_, kind)| *kind).min_by_key(|kind| workload_rank(kind))?;
    owned.retain(|(_, kind)| *kind == first_kind);
    let count = owned.len();
    let (pod, _) = owned.into_iter().min_by_key(|(pod, _)| {
        let usable = pod.phase == "Running" && !pod.addresses.is_empty() && !pod.meta.deleting;
        (pod.meta.deleting, pod.ready() != Some(true), !usable)
    })?;
    let state = if pod.ready() == Some(true) { "the first ready" } else { "the first, none is ready" };
    let which = match count {
        1 => "its only pod".to_owned(),
        count => format!("{state} of its {count} pods"),
    };
    notes.push(format!("{first_kind} {namespace}/{name} stands for {}, {which}", pod.key()));
    Some(pod)
}

fn workload_rank(kind: &str) -> (usize, &str) {
    const ORDER: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Job"];
    (ORDER.iter().position(|word| *word == kind).unwrap_or(ORDER.len()), kind)
}

/// What an address belongs to, with a word on it.
fn owner(set: &ObjectSet, address: std::net::IpAddr, notes: &mut Vec<String>) -> Option<Destination> {
    let (owner, words) = if let Some(service) = set.service_by_address(address) {
        let key = service.key().clone();
        (Destination::Service(key.clone()), format!("Service {key}"))
    } else if let Some(pod) = set.pod_by_address(address) {
        let key = pod.key().clone();
        (Destination::Pod(key.clone()), format!("pod {key}"))
    } else {
        let name = set.node_by_address(address)?.meta.key.name.clone();
        (Destination::Node(name.clone()), format!("node {name}"))
    };
    notes.push(format!("{address} belongs to {words}"));
    Some(owner)
}

#[cfg(test)]
mod tests;

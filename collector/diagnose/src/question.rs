//! The question as understood, in the words of the answer.
//!
//! Understanding it was the resolver's work; this only tells what came out.

use model::explanation::AskedQuestion;
use model::question::{Destination, Source};

use crate::facts::{Facts, Target};

/// The question in words.
pub(crate) fn words(facts: &Facts<'_>) -> AskedQuestion {
    let case = facts.case;
    let question = &case.question;
    let source = match &question.source {
        Source::Pod(key) => format!("pod {key}"),
        Source::Node(name) => format!("node {name}"),
        Source::External { address, via: Some(node) } => format!("external client {address} by node {node}"),
        Source::External { address, via: None } => format!("external client {address}"),
        Source::Any { namespace } => format!("an unlabelled pod in {namespace}"),
    };
    let destination = match &question.destination {
        Destination::Service(key) => format!("service {key}"),
        Destination::Pod(key) => format!("pod {key}"),
        Destination::Node(name) => format!("node {name}"),
        Destination::Address(address) => address.to_string(),
        Destination::NoService(key) => format!("service {key}, which is not there"),
        Destination::NoName { name, .. } => format!("name {name}, which leads nowhere"),
    };
    let mut addresses = facts.target.addresses();
    if let Target::Service(named) = &facts.target
        && named.service.headless
    {
        addresses = facts.attempts.iter().map(|attempt| attempt.dst.ip()).collect();
    }
    AskedQuestion {
        source,
        source_addresses: facts.source.addresses.iter().map(ToString::to_string).collect(),
        destination,
        destination_addresses: addresses.iter().map(ToString::to_string).collect(),
        port: question.port_number().unwrap_or(0),
        protocol: question.protocol.upper().into(),
        window_seconds: u32::try_from(question.since.age_ms(case.now) / 1000).unwrap_or(u32::MAX),
        notes: question.notes.clone(),
    }
}

//! One question put to policies: every destination that it may lead to, and the verdict of each.

use ::policy::{Connection, Detailed, End, PolicyIndex, evaluate_detailed};
use model::explanation::PolicyVerdict;
use model::question::{Destination, Question, Source};
use model::{Family, ObjectSet};
use objects::resolve::{self, Ask};
use objects::view::{self, LeftOut};

use crate::args::Args;
use crate::error::CliError;
use crate::explain::{WINDOW, milliseconds, now};

/// A question with what the policies say.
pub struct Judged {
    /// As understood.
    pub question: Question,
    /// The destinations it may lead to; never empty.
    pub targets: Vec<Target>,
}

/// One destination.
pub struct Target {
    /// In words, behind a Service: `pod shop/api-0 on 8080`.
    pub name: String,
    /// What the policies say of it.
    pub detailed: Detailed,
}

/// A question as typed.
pub fn ask(args: &Args, source: String, destination: String) -> Ask {
    Ask {
        source,
        destination,
        namespace: args.namespace.clone(),
        via: None,
        since: None,
        now: now(),
        default_window: milliseconds(WINDOW),
    }
}

impl Judged {
    /// Finds out where a question leads and asks the policies about each place.
    pub fn of(index: &PolicyIndex<'_>, ask: &Ask) -> Result<Self, CliError> {
        let question = resolve::question(index.set(), ask)?;
        let no_policy = |why: String| CliError::NoPolicy { why };
        let (places, by_service) = places(index.set(), &question).map_err(no_policy)?;
        let src = match &question.source {
            Source::Pod(key) => End::Pod(key.clone()),
            Source::Node(name) => End::Node { name: name.clone() },
            Source::External { address, .. } => End::Address(*address),
            Source::Any { namespace } => End::Unlabelled { namespace: namespace.clone() },
        };
        let governs = |end: &End| matches!(end, End::Pod(_) | End::Unlabelled { .. });
        if !governs(&src) && !places.iter().any(|(dst, _)| governs(dst)) {
            return Err(no_policy("no pod is at either end, and policies are about pods".to_owned()));
        }
        let protocol = question.protocol;
        let targets = places
            .into_iter()
            .map(|(dst, port)| {
                let name = match &dst {
                    End::Pod(key) => format!("pod {key} on {port}"),
                    End::Address(address) => format!("{address} on {port}"),
                    End::Node { name } => format!("node {name} on {port}"),
                    End::Unlabelled { namespace } => format!("a pod of {namespace} on {port}"),
                };
                let connection = Connection { src: src.clone(), dst, port, protocol, by_service };
                Target { name, detailed: evaluate_detailed(index, &connection) }
            })
            .collect();
        Ok(Self { question, targets })
    }

    /// Allowed if every destination is, denied if one is.
    pub fn verdict(&self) -> PolicyVerdict {
        self.worst().detailed.verdict()
    }

    /// A destination that is denied, else one that is not known, else the first.
    pub fn worst(&self) -> &Target {
        let of = |verdict| self.targets.iter().find(|target| target.detailed.verdict() == verdict);
        of(PolicyVerdict::Deny).or_else(|| of(PolicyVerdict::Unknown)).unwrap_or(&self.targets[0])
    }

    /// Whether a Service stands between the ends, so that the destination is another than asked for.
    pub const fn by_service(&self) -> bool {
        matches!(self.question.destination, Destination::Service(_))
    }

    /// Both ends in words: `pod web/client to service shop/api:80/tcp`.
    pub fn heading(&self) -> String {
        let question = &self.question;
        let source = match &question.source {
            Source::Pod(key) => format!("pod {key}"),
            Source::Node(name) => format!("node {name}"),
            Source::External { address, .. } => format!("external client {address}"),
            Source::Any { namespace } => format!("an unlabelled pod in {namespace}"),
        };
        let destination = match &question.destination {
            Destination::Service(key) | Destination::NoService(key) => format!("service {key}"),
            Destination::Pod(key) => format!("pod {key}"),
            Destination::Node(name) => format!("node {name}"),
            Destination::Address(address) => address.to_string(),
            Destination::NoName { name, .. } => name.clone(),
        };
        let port = question.port_number().unwrap_or(0);
        format!("{source} to {destination}:{port}/{}", question.protocol)
    }
}

/// Where a question leads; and whether a Service's rules lead there. `Err` says why it leads nowhere.
fn places(set: &ObjectSet, question: &Question) -> Result<(Vec<(End, u16)>, bool), String> {
    let number = question.port_number().ok_or_else(|| "the Service has no port of that name".to_owned());
    let key = match &question.destination {
        Destination::Pod(key) => return Ok((vec![(End::Pod(key.clone()), number?)], false)),
        Destination::Node(name) => return Ok((vec![(End::Node { name: name.clone() }, number?)], false)),
        Destination::Address(address) => return Ok((vec![(End::Address(*address), number?)], false)),
        Destination::NoService(key) => return Err(format!("there is no Service {key}")),
        Destination::NoName { name, .. } => return Err(format!("the name {name} leads nowhere")),
        Destination::Service(key) => key,
    };
    let number = number?;
    let service = set.services.get(key).ok_or_else(|| format!("there is no Service {key}"))?;
    let port = service
        .ports
        .iter()
        .find(|port| port.port == number && port.protocol == question.protocol)
        .ok_or_else(|| format!("Service {key} has no port {number}/{}", question.protocol))?;
    let mut places: Vec<(End, u16)> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let backends = view::backends(set, key, port, family);
        for backend in backends.endpoints {
            let end = backend.pod.map_or(End::Address(backend.address.ip()), End::Pod);
            places.push((end, backend.address.port()));
        }
        for (pod, why) in backends.left_out {
            // A manifest that says nothing of its state would be an endpoint once it is ready.
            if let LeftOut::NoStatus { port } = why {
                places.push((End::Pod(pod), port));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    if places.is_empty() {
        return Err(format!("Service {key} has no endpoint"));
    }
    Ok((places, !service.headless))
}

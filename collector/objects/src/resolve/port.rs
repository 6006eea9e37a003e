//! The port and protocol asked for.
//!
//! A port the Service does not have is kept: saying so is the answer.

use model::Protocol;
use model::objects::{ObjectSet, Pod, Service};
use model::question::{Destination, PortAsk};

use super::error::{Argument, ResolveError};
use super::grammar::{Parsed, PortWord};

/// Finds port and protocol.
pub(super) fn resolve(
    set: &ObjectSet,
    text: &str,
    parsed: &Parsed,
    destination: &Destination,
    notes: &mut Vec<String>,
) -> Result<(PortAsk, Protocol), ResolveError> {
    let protocol = parsed.protocol.unwrap_or_default();
    match destination {
        Destination::Service(key) => match set.services.get(key) {
            Some(service) => of_service(service, parsed, notes),
            None => Ok((plain(parsed), protocol)),
        },
        Destination::Pod(key) => match set.pods.get(key) {
            Some(pod) => of_pod(pod, parsed),
            None => Ok((plain(parsed), protocol)),
        },
        // There is nothing to look a port up on; the answer will be that there is nothing.
        Destination::NoService(_) | Destination::NoName { .. } => Ok((plain(parsed), protocol)),
        Destination::Node(_) | Destination::Address(_) => match &parsed.port {
            Some(PortWord::Number(port)) => Ok((PortAsk::Number(*port), protocol)),
            Some(PortWord::Name(_)) => Err(ResolveError::Invalid {
                argument: Argument::Destination,
                text: text.to_owned(),
                span: parsed.port_span.clone(),
                reason: "only a Service or a pod has named ports".to_owned(),
                advice: "give the port's number".to_owned(),
            }),
            None => {
                let destination = match destination {
                    Destination::Node(name) => format!("node {name}"),
                    _ => text.to_owned(),
                };
                Err(ResolveError::PortMissing { destination, ports: Vec::new() })
            }
        },
    }
}

/// The port as typed; 0 if none was.
fn plain(parsed: &Parsed) -> PortAsk {
    match &parsed.port {
        Some(PortWord::Number(port)) => PortAsk::Number(*port),
        Some(PortWord::Name(name)) => PortAsk::UnknownName(name.clone()),
        None => PortAsk::Number(0),
    }
}

fn of_service(
    service: &Service,
    parsed: &Parsed,
    notes: &mut Vec<String>,
) -> Result<(PortAsk, Protocol), ResolveError> {
    let asked = parsed.protocol;
    let fits = |protocol: Protocol| asked.is_none_or(|asked| asked == protocol);
    match &parsed.port {
        Some(PortWord::Number(number)) => {
            if asked.is_none()
                && service.port(*number, Protocol::Tcp).is_none()
                && let Some(port) = service.ports.iter().find(|port| port.port == *number)
            {
                let key = service.key();
                notes.push(format!("{key} has port {number} for {} only; that was taken", port.protocol));
                return Ok((PortAsk::Number(*number), port.protocol));
            }
            Ok((PortAsk::Number(*number), asked.unwrap_or_default()))
        }
        Some(PortWord::Name(name)) => {
            match service.ports.iter().find(|port| port.name == *name && fits(port.protocol)) {
                Some(port) => Ok((PortAsk::Number(port.port), port.protocol)),
                None => Ok((PortAsk::UnknownName(name.clone()), asked.unwrap_or_default())),
            }
        }
        None => match service.ports.as_slice() {
            [port] => Ok((PortAsk::Number(port.port), port.protocol)),
            ports => Err(ResolveError::PortMissing {
                destination: format!("Service {}", service.key()),
                ports: ports.iter().map(|port| listed(&port.name, port.port, port.protocol)).collect(),
            }),
        },
    }
}

fn of_pod(pod: &Pod, parsed: &Parsed) -> Result<(PortAsk, Protocol), ResolveError> {
    let asked = parsed.protocol;
    match &parsed.port {
        Some(PortWord::Number(number)) => Ok((PortAsk::Number(*number), asked.unwrap_or_default())),
        Some(PortWord::Name(name)) => {
            let found = pod
                .declared_ports()
                .filter(|port| asked.is_none_or(|asked| asked == port.protocol))
                .find(|port| port.name.as_deref() == Some(name));
            Ok(match found {
                Some(port) => (PortAsk::Number(port.port), port.protocol),
                None => (PortAsk::UnknownName(name.clone()), asked.unwrap_or_default()),
            })
        }
        None => Err(ResolveError::PortMissing {
            destination: format!("pod {}", pod.key()),
            ports: pod
                .declared_ports()
                .map(|port| listed(port.name.as_deref().unwrap_or_default(), port.port, port.protocol))
                .collect(),
        }),
    }
}

fn listed(name: &str, port: u16, protocol: Protocol) -> String {
    let slash = if protocol == Protocol::Tcp { String::new() } else { format!("/{protocol}") };
    if name.is_empty() { format!("{port}{slash}") } else { format!("{port}{slash} ({name})") }
}

//! The grammar of SRC and DST: `[NAMESPACE/][KIND/]NAME`, an address, a DNS name, with `:PORT[/PROTOCOL]`.
//!
//! It reads text only; whether anything of that name exists is looked up elsewhere.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use model::Protocol;

use super::error::{Argument, ResolveError};
use crate::names;
use crate::nearest::within_two_edits;

/// A word for a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KindWord {
    Pod,
    Service,
    Node,
    /// A workload of this kind.
    Workload(&'static str),
}

const KIND_WORDS: &[(&str, KindWord)] = &[
    ("pod", KindWord::Pod),
    ("pods", KindWord::Pod),
    ("po", KindWord::Pod),
    ("svc", KindWord::Service),
    ("service", KindWord::Service),
    ("services", KindWord::Service),
    ("node", KindWord::Node),
    ("nodes", KindWord::Node),
    ("no", KindWord::Node),
    ("deploy", KindWord::Workload("Deployment")),
    ("deployment", KindWord::Workload("Deployment")),
    ("deployments", KindWord::Workload("Deployment")),
    ("sts", KindWord::Workload("StatefulSet")),
    ("statefulset", KindWord::Workload("StatefulSet")),
    ("statefulsets", KindWord::Workload("StatefulSet")),
    ("ds", KindWord::Workload("DaemonSet")),
    ("daemonset", KindWord::Workload("DaemonSet")),
    ("daemonsets", KindWord::Workload("DaemonSet")),
    ("job", KindWord::Workload("Job")),
    ("jobs", KindWord::Workload("Job")),
];

fn kind_word(word: &str) -> Option<KindWord> {
    KIND_WORDS.iter().find(|(text, _)| text.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
}

/// What stands before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Address(IpAddr),
    /// One word without a slash: a name in the namespace at hand, or a DNS name.
    Bare(String),
    /// Two words or three.
    Named {
        namespace: Option<String>,
        kind: Option<KindWord>,
        name: String,
    },
}

/// A port as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortWord {
    Number(u16),
    Name(String),
}

/// An argument taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) subject: Subject,
    /// The bytes of the subject.
    pub(super) span: Range<usize>,
    pub(super) port: Option<PortWord>,
    pub(super) port_span: Range<usize>,
    pub(super) protocol: Option<Protocol>,
}

/// Takes an argument apart.
pub(super) fn parse(argument: Argument, text: &str) -> Result<Parsed, ResolveError> {
    let cx = Cx { argument, text };
    if text.is_empty() {
        return Err(cx.invalid(0..0, "is empty", "name a pod, a Service or an address".to_owned()));
    }
    if let Some(at) = text.find(char::is_whitespace) {
        return Err(cx.invalid(at..at + 1, "a name has no spaces", String::new()));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let (span, port_span) = (0..text.len(), text.len()..text.len());
        let subject = Subject::Address(IpAddr::V6(address));
        return Ok(Parsed { subject, span, port: None, port_span, protocol: None });
    }
    let (subject, span, rest) = if text.starts_with('[') { cx.bracketed()? } else { cx.unbracketed()? };
    let (port, protocol) = match rest {
        Some(start) => cx.port(start)?,
        None => (None, None),
    };
    let port_span = rest.unwrap_or(text.len())..text.len();
    Ok(Parsed { subject, span, port, port_span, protocol })
}

struct Cx<'a> {
    argument: Argument,
    text: &'a str,
}

type Split = (Subject, Range<usize>, Option<usize>);

impl Cx<'_> {
    fn invalid(&self, span: Range<usize>, reason: impl Into<String>, advice: String) -> ResolveError {
        let (argument, text) = (self.argument, self.text.to_owned());
        ResolveError::Invalid { argument, text, span, reason: reason.into(), advice }
    }

    /// `[ADDRESS]` and where its port starts.
    fn bracketed(&self) -> Result<Split, ResolveError> {
        let Some(end) = self.text.find(']') else {
            return Err(self.invalid(0..1, "`[` is not closed", "write [fd00::1]:80".to_owned()));
        };
        let inner = &self.text[1..end];
        let Ok(address) = inner.parse::<Ipv6Addr>() else {
            return Err(self.invalid(1..end, "is not an IPv6 address", String::new()));
        };
        let subject = Subject::Address(IpAddr::V6(address));
        match self.text[end + 1..].chars().next() {
            None => Ok((subject, 0..end + 1, None)),
            Some(':') => Ok((subject, 0..end + 1, Some(end + 2))),
            Some(_) => {
                let span = end + 1..self.text.len();
                Err(self.invalid(span, "only `:PORT` may follow the address", String::new()))
            }
        }
    }

    /// Everything up to the colon, and where the port after it starts.
    fn unbracketed(&self) -> Result<Split, ResolveError> {
        let colon = self.text.find(':');
        let end = colon.unwrap_or(self.text.len());
        if self.text[end..].matches(':').count() > 1 {
            let advice = "write an IPv6 address with a port as [fd00::1]:80".to_owned();
            return Err(self.invalid(0..self.text.len(), "has more than one colon", advice));
        }
        let subject = self.subject(end)?;
        Ok((subject, 0..end, colon.map(|colon| colon + 1)))
    }

    fn subject(&self, end: usize) -> Result<Subject, ResolveError> {
        let text = &self.text[..end];
        if text.is_empty() {
            return Err(self.invalid(0..end, "the name before the port is missing", String::new()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Subject::Address(address));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.contains('.') {
            return Err(self.invalid(0..end, "is not an IP address", String::new()));
        }
        let mut parts = Vec::new();
        let mut start = 0;
        for part in text.split('/') {
            parts.push((part, start..start + part.len()));
            start += part.len() + 1;
        }
        match parts.as_slice() {
            [(name, span)] => {
                self.name(name.strip_suffix('.').unwrap_or(name), span.clone())?;
                Ok(Subject::Bare((*name).to_owned()))
            }
            [(first, first_span), (name, span)] => {
                self.name(name, span.clone())?;
                if let Some(kind) = kind_word(first) {
                    return Ok(Subject::Named {
                        namespace: None,
                        kind: Some(kind),
                        name: (*name).to_owned(),
                    });
                }
                self.namespace(first, first_span.clone())?;
                let namespace = Some((*first).to_owned());
                Ok(Subject::Named { namespace, kind: None, name: (*name).to_owned() })
            }
            [(first, first_span), (second, second_span), (name, span)] => {
                self.name(name, span.clone())?;
                let Some(kind) = kind_word(second) else {
                    return Err(self.unknown_kind(first, second, name, second_span.clone()));
                };
                if kind == KindWord::Node {
                    let advice = format!("write node/{name}");
                    return Err(self.invalid(first_span.clone(), "a node is in no namespace", advice));
                }
                self.namespace(first, first_span.clone())?;
                let namespace = Some((*first).to_owned());
                Ok(Subject::Named { namespace, kind: Some(kind), name: (*name).to_owned() })
            }
            [.., (_, last)] => {
                let advice =
                    "write [NAMESPACE/][KIND/]NAME; a protocol goes behind the port: :53/udp".to_owned();
                Err(self.invalid(last.clone(), "too many parts", advice))
            }
            [] => Err(self.invalid(0..end, "the name is missing", String::new())),
        }
    }

    fn unknown_kind(&self, first: &str, second: &str, name: &str, span: Range<usize>) -> ResolveError {
        let words = KIND_WORDS.iter().map(|(word, _)| *word);
        let advice = if kind_word(first).is_some() {
            format!("the namespace comes first: {second}/{first}/{name}")
        } else if let Some(word) = within_two_edits(second, words) {
            format!("did you mean `{first}/{word}/{name}`?")
        } else {
            "the kinds are pod, deploy, sts, ds, job, svc and node".to_owned()
        };
        self.invalid(span, "is not a kind", advice)
    }

    fn name(&self, name: &str, span: Range<usize>) -> Result<(), ResolveError> {
        match name {
            "" => Err(self.invalid(span, "the name is missing", String::new())),
            name => names::subdomain(name)
                .map_err(|_| self.invalid(span, "is not a valid name", lower_case(name))),
        }
    }

    fn namespace(&self, name: &str, span: Range<usize>) -> Result<(), ResolveError> {
        match name {
            "" => Err(self.invalid(span, "the namespace is missing", String::new())),
            name => names::label(name)
                .map_err(|_| self.invalid(span, "is not a valid namespace", lower_case(name))),
        }
    }

    fn port(&self, start: usize) -> Result<(Option<PortWord>, Option<Protocol>), ResolveError> {
        let text = &self.text[start..];
        let (port, protocol) = match text.split_once('/') {
            Some((port, protocol)) => (port, Some(protocol)),
            None => (text, None),
        };
        let port_span = start..start + port.len();
        let protocol = match protocol {
            Some(word) => Some(word.parse::<Protocol>().map_err(|_| {
                let span = port_span.end + 1..self.text.len();
                self.invalid(span, "is not a protocol", "tcp, udp and sctp are known".to_owned())
            })?),
            None => None,
        };
        if port.is_empty() {
            return Err(self.invalid(port_span, "the port after the colon is missing", String::new()));
        }
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            return match port.parse::<u16>().ok().filter(|port| *port != 0) {
                Some(number) => Ok((Some(PortWord::Number(number)), protocol)),
                None => Err(self.invalid(port_span, "is not a port (1 to 65535)", String::new())),
            };
        }
        if names::label(port).is_err() {
            let advice = "a port is a number or the name of a Service port".to_owned();
            return Err(self.invalid(port_span, "is not a port", advice));
        }
        Ok((Some(PortWord::Name(port.to_owned())), protocol))
    }
}

fn lower_case(name: &str) -> String {
    let lower = name.to_lowercase();
    if lower != name && names::subdomain(&lower).is_ok() {
        format!("names are in lower case: {lower}")
    } else {
        "names have lower-case letters, digits, `-` and `.`".to_owned()
    }
}

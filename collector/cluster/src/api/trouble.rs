//! What an API server's refusal means, in words that say what to grant.

use std::fmt::Write as _;

use model::Gap;

use super::apply::Update;
use crate::status::Kind;

/// Characters of a foreign message that are passed on.
const MESSAGE: usize = 300;

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server answered with an error.
    Refused {
        /// HTTP status.
        code: u16,
        /// Its words.
        message: String,
    },
    /// The connection failed.
    Connection(String),
    /// Nothing came for longer than the server may stay silent.
    Silent,
}

impl Trouble {
    /// Whether the resource version asked for is too old to go on from.
    pub(super) const fn gone(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// Whether the server has no such kind.
    pub(super) const fn not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The same as something to apply to the state.
    pub(super) fn update(&self, kind: Kind, verb: &str) -> Update {
        let forbidden = matches!(self, Self::Refused { code: 403, .. });
        Update::Failed { kind, problem: self.gap(kind, verb), forbidden }
    }

    fn gap(&self, kind: Kind, verb: &str) -> Gap {
        let resource = full_resource(kind);
        match self {
            Self::Refused { code: 403, message } => {
                Gap::new(kind.resource(), format!("the API server forbids `{verb} {resource}`: {message}"))
                    .with_remedy(format!(
                        "grant the account list and watch on {resource}: kubectl create clusterrole \
                         why-dropped-read-{} --verb=list,watch --resource={resource}, and bind it",
                        kind.resource()
                    ))
            }
            Self::Refused { code: 401, message } => Gap::new(
                kind.resource(),
                format!("the API server does not accept the credentials: {message}"),
            )
            .with_remedy("renew the token or certificate of the kubeconfig"),
            Self::Refused { code: 404, .. } => {
                Gap::new(kind.resource(), format!("the API server does not serve {}", kind.api_version()))
            }
            Self::Refused { code, message } => {
                Gap::new(kind.resource(), format!("`{verb} {resource}` failed with status {code}: {message}"))
            }
            Self::Connection(message) => {
                Gap::new(kind.resource(), format!("the API server cannot be reached: {message}"))
            }
            Self::Silent => Gap::new(
                kind.resource(),
                "the connection to the API server went silent; objects may be older than they look",
            ),
        }
    }
}

impl From<&kube::core::Status> for Trouble {
    fn from(status: &kube::core::Status) -> Self {
        Self::Refused { code: status.code, message: bounded(&status.message) }
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self::from(status.as_ref()),
            other => Self::Connection(bounded(&chain(other))),
        }
    }
}

/// `services`, `networkpolicies.networking.k8s.io`: as RBAC messages and `kubectl create clusterrole` write it.
fn full_resource(kind: Kind) -> String {
    match kind.group() {
        "" => kind.resource().to_owned(),
        group => format!("{}.{group}", kind.resource()),
    }
}

/// The error and what caused it; hyper's own text is only "client error (Connect)".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = error.source();
    }
    text
}

fn bounded(text: &str) -> String {
    let mut bounded: String = text.chars().take(MESSAGE).flat_map(char::escape_debug).collect();
    // Quotes are what API messages are full of, and harmless.
    bounded = bounded.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(MESSAGE).is_some() {
        bounded.push('…');
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_kind_names_the_verb_and_what_to_grant() {
        let trouble = Trouble::Refused { code: 403, message: "User \"x\" cannot list".into() };
        let Update::Failed { problem, forbidden, .. } = trouble.update(Kind::NetworkPolicies, "list") else {
            panic!("expected a failure");
        };
        assert!(forbidden);
        assert!(problem.why.contains("`list networkpolicies.networking.k8s.io`"), "{problem}");
        assert!(problem.remedy.contains("--verb=list,watch"), "{}", problem.remedy);
        assert!(
            problem.remedy.contains("--resource=networkpolicies.networking.k8s.io"),
            "{}",
            problem.remedy
        );
    }

    #[test]
    fn foreign_messages_are_cut_and_escaped() {
        let text = bounded(&format!("a \"quoted\"\u{1b}[31m{}", "x".repeat(400)));
        assert!(text.starts_with("a \"quoted\"\\u{1b}[31mxxx"), "{text}");
        assert!(text.ends_with('…') && text.chars().count() < 320, "{text}");
    }
}

//! Why a question cannot be asked, pointing at the part that is wrong.
//!
//! A destination that merely does not exist is no error.

use std::ops::Range;

use crate::names::shown;

/// Which part of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// SRC.
    Source,
    /// DST.
    Destination,
    /// `--via`.
    Via,
}

impl Argument {
    /// The word of the usage line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Source => "SRC",
            Self::Destination => "DST",
            Self::Via => "--via",
        }
    }
}

/// How an error is to be answered by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something named does not exist.
    NotFound,
    /// The question makes no sense as typed.
    InvalidArgument,
}

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is nothing to start from.
    #[error("no {what} named `{}` to start from", shown(name))]
    SourceNotFound {
        /// What was looked for: `pod or workload`, `node` …
        what: &'static str,
        /// The name with its namespace.
        name: String,
        /// What is there instead, as a sentence or two; empty if nothing is near.
        advice: String,
    },
    /// A pod, workload or node named as the destination by its kind does not exist.
    #[error("no {what} named `{}` to connect to", shown(name))]
    DestinationNotFound {
        /// What was looked for.
        what: &'static str,
        /// The name with its namespace.
        name: String,
        /// What is there instead.
        advice: String,
    },
    /// `--via` names no node.
    #[error("no node named `{}` to enter by", shown(name))]
    ViaNotFound {
        /// The name.
        name: String,
        /// What is there instead.
        advice: String,
    },
    /// Objects of a kind could not be read, and the question needs them.
    #[error("{what} could not be read, so `{}` cannot be looked up", shown(name))]
    Unreadable {
        /// The kind, in the plural.
        what: &'static str,
        /// What was looked for.
        name: String,
    },
    /// The port was left out and cannot be guessed.
    #[error("{destination} needs a port")]
    PortMissing {
        /// The destination in words.
        destination: String,
        /// The ports to choose from, as typed after the colon; empty if none are known.
        ports: Vec<String>,
    },
    /// A part of an argument that cannot be read.
    #[error("{} `{}`: {reason}", argument.word(), shown(text))]
    Invalid {
        /// Which argument.
        argument: Argument,
        /// The argument as typed.
        text: String,
        /// The bytes of it that are wrong.
        span: Range<usize>,
        /// What is wrong.
        reason: String,
        /// What to type instead; empty if that is plain.
        advice: String,
    },
}

impl ResolveError {
    /// How it is to be answered.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::SourceNotFound { .. }
            | Self::DestinationNotFound { .. }
            | Self::ViaNotFound { .. }
            | Self::Unreadable { .. } => ErrorKind::NotFound,
            Self::PortMissing { .. } | Self::Invalid { .. } => ErrorKind::InvalidArgument,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SourceNotFound { advice, .. }
            | Self::DestinationNotFound { advice, .. }
            | Self::ViaNotFound { advice, .. }
            | Self::Invalid { advice, .. } => (!advice.is_empty()).then(|| advice.clone()),
            Self::Unreadable { what, .. } => {
                Some(format!("grant the reader list access to {what}, or give the objects with --objects"))
            }
            Self::PortMissing { ports, .. } if ports.is_empty() => {
                Some("write it after a colon: NAME:80 or NAME:53/udp".to_owned())
            }
            Self::PortMissing { ports, .. } => {
                Some(format!("write one of its ports after a colon: {}", ports.join(", ")))
            }
        }
    }

    /// The argument with the wrong part marked under it, in two lines, where a part of one is wrong.
    pub fn pointer(&self) -> Option<String> {
        let Self::Invalid { text, span, .. } = self else { return None };
        let before = text.get(..span.start)?;
        let marked = text.get(span.clone())?;
        let width = |part: &str| part.escape_debug().count();
        let carets = "^".repeat(width(marked).max(1));
        Some(format!("{}\n{}{carets}", text.escape_debug(), " ".repeat(width(before))))
    }
}

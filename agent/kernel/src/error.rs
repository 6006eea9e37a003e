//! What can go wrong while reading the kernel. Not for facts that could not be seen in part: those are gaps.

use std::io;
use std::path::PathBuf;

/// A read of kernel state that failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of /proc or a namespace file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that was to enter the namespace could not be started.
    #[error("start a thread for network namespace {netns}")]
    Thread {
        /// The namespace in words.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// The code run inside the namespace panicked.
    #[error("the reader in network namespace {netns} panicked")]
    Panicked {
        /// The namespace in words.
        netns: String,
    },
    /// setns was refused.
    #[error("enter network namespace {netns} by {}", path.display())]
    Enter {
        /// The namespace in words.
        netns: String,
        /// The path tried.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No path leads to the namespace any more.
    #[error("network namespace {netns} is gone")]
    Gone {
        /// The namespace in words.
        netns: String,
    },
    /// The namespace cookie could not be read.
    #[error("read the cookie of network namespace {netns}")]
    Cookie {
        /// The namespace in words.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// A netlink socket could not be used.
    #[error("{operation} on a netlink socket")]
    NetlinkSocket {
        /// `open`, `send`, `receive`.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel answered a netlink request with an error.
    #[error("{request}{}", extended(text))]
    NetlinkRefused {
        /// The request in words: `dump links`.
        request: &'static str,
        /// The kernel's own extended text, if it gave one.
        text: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("{request}: malformed answer")]
    NetlinkMalformed {
        /// The request in words.
        request: &'static str,
    },
    /// The answer is longer than is read.
    #[error("{request}: more than {limit} MiB")]
    TooMuch {
        /// The request in words.
        request: &'static str,
        /// The limit in MiB.
        limit: usize,
    },
    /// The answer changed under the reader each time it was read.
    #[error("{request}: changed while it was read, {attempts} times in a row")]
    Torn {
        /// The request in words.
        request: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
}

impl Error {
    /// The error with its causes in one line, for a gap's `why`.
    pub fn in_words(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text.push_str(": ");
            text.push_str(&source.to_string());
            cause = source.source();
        }
        text
    }

    /// The errno behind it, if there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { source, .. }
            | Self::Thread { source, .. }
            | Self::Enter { source, .. }
            | Self::Cookie { source, .. }
            | Self::NetlinkSocket { source, .. }
            | Self::NetlinkRefused { source, .. } => source.raw_os_error(),
            Self::Panicked { .. }
            | Self::Gone { .. }
            | Self::NetlinkMalformed { .. }
            | Self::TooMuch { .. }
            | Self::Torn { .. } => None,
        }
    }
}

fn extended(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({})", text.escape_debug()) }
}

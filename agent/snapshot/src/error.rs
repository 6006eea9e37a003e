//! Why a saved text could not be read: which kind of text, what is wrong, and where.
//!
//! It holds no remedies: what to do depends on who asked for the text.

use std::fmt;

/// Characters of a bad text that an error quotes.
const EXCERPT: usize = 120;

/// A kind of saved text, named by the command that prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `ip -j -d link`
    Links,
    /// `ip -j addr`
    Addresses,
    /// `ip -j route show table all`
    Routes,
    /// `ip -j rule`
    RoutingRules,
    /// /proc/net/tcp and tcp6
    Listeners,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Links => "links (ip -j -d link)",
            Self::Addresses => "addresses (ip -j addr)",
            Self::Routes => "routes (ip -j route show table all)",
            Self::RoutingRules => "routing rules (ip -j rule)",
            Self::Listeners => "listeners (/proc/net/tcp)",
        })
    }
}

/// A text that is not what its command prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The whole text is no JSON list.
    #[error("read {from}: {what}: `{excerpt}`")]
    Json {
        /// Which text.
        from: Source,
        /// What the JSON reader says.
        what: String,
        /// Where, escaped.
        excerpt: String,
    },
    /// An entry lacks something or holds what it cannot mean.
    #[error("read {from}, entry {entry}: {what}: `{excerpt}`")]
    Entry {
        /// Which text.
        from: Source,
        /// Which entry or line, counted from 1.
        entry: usize,
        /// What is wrong with it.
        what: &'static str,
        /// The entry's beginning, escaped.
        excerpt: String,
    },
}

impl SnapshotError {
    /// An error about one entry.
    pub(crate) fn entry(from: Source, index: usize, what: &'static str, text: &str) -> Self {
        Self::Entry { from, entry: index + 1, what, excerpt: excerpt(text) }
    }
}

/// The beginning of a text, escaped.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).flat_map(char::escape_debug).collect()
}

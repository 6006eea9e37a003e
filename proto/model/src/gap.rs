//! What could not be seen, and what that costs: the honest part of every answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something an answer would have needed and did not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// What was not seen: "rules of node-2", "NetworkPolicies in shop".
    pub what: String,
    /// Why: "the agent has not reported for 3 min", the rule that is not modelled, quoted.
    pub why: String,
    /// What the reader can do about it; empty if nothing.
    pub remedy: String,
}

impl Gap {
    /// A gap without a remedy.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: String::new() }
    }

    /// The same gap with what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

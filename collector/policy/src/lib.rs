//! Evaluates NetworkPolicies (`networking.k8s.io/v1`) for one connection and says what is missing where they deny.
//!
//! It says what the policies mean, not whether anything enforces them, and it opens no connection to find out.
//! Verdicts are three-valued: what cannot be told from the objects at hand is unknown, never denied.

#![forbid(unsafe_code)]

mod answer;
mod connection;
mod detail;
mod evaluate;
mod index;
mod matching;
mod misses;
mod words;

pub use connection::{Connection, End};
pub use detail::{
    Detailed, DetailedDirection, DetailedPolicy, Doubt, LabelMiss, NearMiss, Note, Outcome, RuleMiss,
};
pub use evaluate::{evaluate, evaluate_detailed, verdict};
pub use index::PolicyIndex;

#[cfg(test)]
mod tests;

//! Evaluates policies for one connection and says what is missing where they deny: NetworkPolicies
//! (`networking.k8s.io/v1`) and the cluster-wide policies of `policy.networking.k8s.io`.
//!
//! It says what the policies mean, not whether anything enforces them, and it opens no connection to find out.
//! Verdicts are three-valued: what cannot be told from the objects at hand is unknown, never denied. Policies of other
//! kinds are not evaluated; where they could change a verdict, it is unknown too.

#![forbid(unsafe_code)]

mod answer;
mod connection;
mod detail;
mod evaluate;
mod exempt;
mod index;
mod matching;
mod misses;
mod names;
mod networks;
mod patch;
pub mod reach;
mod rule;
mod tiers;
mod words;

pub use connection::{Connection, End};
pub use detail::{
    DecidedBy, Detailed, DetailedDirection, DetailedPolicy, Doubt, LabelMiss, ListedPort, NearMiss, Note,
    Outcome, PolicyKind, RuleMiss,
};
pub use evaluate::{evaluate, evaluate_detailed, verdict};
pub use index::PolicyIndex;
pub use patch::Patch;

#[cfg(test)]
mod tests;

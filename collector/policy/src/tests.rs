//! The semantics of NetworkPolicy v1 and of the cluster-wide policies, and what must hold of every verdict.

mod build;
mod conformance;
mod naive;
mod properties;
mod semantics;
mod tiers;
mod words;

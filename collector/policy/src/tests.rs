//! The semantics of NetworkPolicy v1 as tables, and what must hold of every verdict.

mod build;
mod conformance;
mod properties;
mod semantics;
mod words;

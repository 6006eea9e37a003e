//! From a case to an explanation: what to ask which node next, what is wrong, and how sure that is.
//!
//! Two pure functions: [`next_probes()`] and [`diagnose()`]. No clock, no I/O; a case says what moment it speaks about.
//! Every root cause is one file in `causes/`, arguing on [`facts::Facts`] that are read off the case once.

#![forbid(unsafe_code)]

mod bound;
pub mod catalogue;
mod causes;
mod denial;
mod drop_cause;
mod engine;
pub mod facts;
mod near;
mod next_probes;
mod not_checked;
mod path;
mod predicted;
mod question;
pub mod ruling;
#[cfg(test)]
mod testkit;
mod verdict;
mod words;

pub use catalogue::catalogue;
pub use drop_cause::{DropCauses, Likely, likely_cause};
pub use engine::diagnose;
pub use next_probes::{MAX_NODES, next_probes};

//! The per-node agent: sees dropped connection attempts, reads this node's rules on demand, and tells the collector.
//!
//! Reading the kernel is the business of `kernel` and `trace`, walking rules that of `rules`; this crate joins them
//! and keeps the connection. It draws no conclusions.

#![forbid(unsafe_code)]

pub mod app;
pub mod config;
pub mod health;
pub mod link;
pub mod metrics;
pub mod node;
pub mod outbox;
pub mod pods;
pub mod preflight;
pub mod probe;
pub mod publish;
pub mod status;
pub mod walk;
pub mod walks;

#[cfg(test)]
mod testing;

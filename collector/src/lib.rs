//! The collector: takes evidence from agents in, keeps it, and answers questions with it.
//!
//! It opens the ports, keeps the streams and runs the loop of a question. What evidence means is decided in
//! `diagnose`, what objects are in `objects` and `cluster`, and what is on the wire in `proto`.

#![forbid(unsafe_code)]

mod admin;
mod app;
mod archive;
mod causes;
pub mod config;
mod drops;
mod explain;
mod fleet;
mod ingest;
mod metrics;
mod names;
mod queries;

pub use app::{Collector, RunError};

//! Stories: a small cluster's network with a fault, the product's three binaries as processes in it, and what a user
//! would do and read.
//!
//! The network is `netlab`'s or a real cluster's; what is right about an answer is said by the tests, not here.

#![forbid(unsafe_code)]

pub mod demo;
pub mod manifests;
pub mod normalise;
pub mod process;
pub mod program;
pub mod stage;
pub mod world;

pub use manifests::Manifests;
pub use process::{Printed, eventually};
pub use stage::{Answer, Stage};

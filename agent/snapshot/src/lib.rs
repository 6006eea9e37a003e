//! One node's saved state: text and JSON of standard commands to and from the model.
//!
//! Pure: texts in, values out. It reads no files and knows no folder layout beyond one kind of text per module; rule
//! sets are left to the `rules` crate.

#![forbid(unsafe_code)]

mod addresses;
mod error;
mod json;
mod links;
mod listeners;
mod routes;
mod routing_rules;
mod sysctls;

pub use addresses::addresses;
pub use error::{SnapshotError, Source};
pub use links::links;
pub use listeners::listeners;
pub use routes::routes;
pub use routing_rules::routing_rules;
pub use sysctls::sysctls;

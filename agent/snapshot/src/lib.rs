//! One node's saved state: text and JSON of standard commands to and from the model.
//!
//! Pure: texts in, values out. It opens no files; [`node_state`] alone knows how the files of a node directory are called.
//! Rule sets are left to the `rules` crate.

#![forbid(unsafe_code)]

mod addresses;
mod directory;
mod error;
mod json;
mod links;
mod listeners;
mod routes;
mod routing_rules;
mod sysctls;

pub use addresses::addresses;
pub use directory::{file_names, node_state};
pub use error::{SnapshotError, Source};
pub use links::links;
pub use listeners::listeners;
pub use routes::routes;
pub use routing_rules::routing_rules;
pub use sysctls::sysctls;

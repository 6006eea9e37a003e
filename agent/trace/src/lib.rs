//! Loads the BPF programs and reads what they saw: the first packets of connections that this kernel threw away.
//!
//! It reports raw facts with the kernel's own names put to them. Whose namespace a drop was in, which rule did it
//! and what it means is decided by its callers.

mod btf;
mod clock;
mod drain;
mod layout;
mod ledger;
mod load;
mod pod;
mod preflight;
mod reasons;
mod symbols;

pub use btf::{Btf, BtfError};
pub use drain::{DrainError, Drained, Drop, Total};
pub use layout::LayoutError;
pub use load::{Config, LoadError, Scope, ScopeError, Tracer};
pub use preflight::Preflight;

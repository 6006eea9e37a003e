//! The list of causes, in the order in which their ids read. One file each below this one.
//!
//! `cargo xtask new-cause NAME` adds the two lines of a new cause; `tests/catalogue.rs` says when they are missing.

mod no_ready_endpoint;
mod no_such_service;
mod nothing_listens;
mod port_not_listed;
mod selector_matches_nothing;
mod wrong_target_port;

use crate::facts::Facts;
use crate::ruling::{Meta, Ruling};

/// A cause as the engine sees it.
pub(crate) struct Cause {
    /// What never changes about it.
    pub(crate) meta: Meta,
    /// What it says about a case.
    pub(crate) rule: fn(&Facts<'_>) -> Ruling,
    /// Its file, whose head is its documentation.
    pub(crate) source: &'static str,
}

/// One entry of the list.
macro_rules! cause {
    ($name:ident) => {
        Cause {
            meta: $name::META,
            rule: $name::rule,
            source: include_str!(concat!("causes/", stringify!($name), ".rs")),
        }
    };
}

/// All causes.
pub(crate) static ALL: &[Cause] = &[
    cause!(no_ready_endpoint),
    cause!(nothing_listens),
    cause!(no_such_service),
    cause!(port_not_listed),
    cause!(selector_matches_nothing),
    cause!(wrong_target_port),
];

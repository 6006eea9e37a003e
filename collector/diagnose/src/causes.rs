//! The list of causes, in the order in which their ids read. One file each below this one.
//!
//! `cargo xtask new-cause NAME` adds the two lines of a new cause; `tests/catalogue.rs` says when they are missing.

mod address_block_except;
mod cluster_policy_denies;
mod default_deny_egress;
mod default_deny_ingress;
mod forward_policy_drop;
mod loopback_only;
mod named_port_missing;
mod named_port_not_admitted;
mod namespace_not_admitted;
mod no_ready_endpoint;
mod no_such_service;
mod nothing_listens;
mod one_family_only;
mod peer_selector_mismatch;
mod policy_not_enforced;
mod policy_not_the_cause;
mod port_not_listed;
mod protocol_not_admitted;
mod right_name_wrong_namespace;
mod selector_matches_nothing;
mod service_not_in_rules;
mod service_port_in_policy;
mod stale_slice;
mod unexplained_drop;
mod unexplained_stop;
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
    cause!(address_block_except),
    cause!(cluster_policy_denies),
    cause!(default_deny_egress),
    cause!(default_deny_ingress),
    cause!(forward_policy_drop),
    cause!(loopback_only),
    cause!(named_port_missing),
    cause!(named_port_not_admitted),
    cause!(namespace_not_admitted),
    cause!(no_ready_endpoint),
    cause!(no_such_service),
    cause!(nothing_listens),
    cause!(one_family_only),
    cause!(peer_selector_mismatch),
    cause!(policy_not_enforced),
    cause!(policy_not_the_cause),
    cause!(port_not_listed),
    cause!(protocol_not_admitted),
    cause!(right_name_wrong_namespace),
    cause!(selector_matches_nothing),
    cause!(service_not_in_rules),
    cause!(service_port_in_policy),
    cause!(stale_slice),
    cause!(unexplained_drop),
    cause!(unexplained_stop),
    cause!(wrong_target_port),
];

//! The records that the BPF programs write and user space reads: map keys, map values, and the constants set before loading.
//!
//! It holds layouts and their numbers only; what a record means to an answer is decided elsewhere. Every byte of
//! every record belongs to a named field, padding included, because the kernel refuses map keys with
//! uninitialised bytes and compares keys byte by byte.

#![no_std]
#![forbid(unsafe_code)]

mod drop;
mod layout;

pub use drop::{Counter, DropKey, DropValue, FAMILY_IPV4, FAMILY_IPV6, FLAG_ACK, FLAG_SYN, TotalKey};
pub use layout::{ABSENT, Layout, MAX_EXCLUDED};

/// Distinct drops held between two drains, in each of the two maps; about 170 bytes each in kernel memory.
pub const MAX_DROPS: u32 = 8192;

/// Distinct (network namespace, reason) pairs counted since loading: 250 namespaces with sixteen reasons each.
pub const MAX_TOTALS: u32 = 4096;

/// Network namespaces that can be in scope at once: far above the pods a node may run (kubelet's default limit is 110).
pub const MAX_SCOPE: u32 = 4096;

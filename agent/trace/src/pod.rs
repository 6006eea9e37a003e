//! Lets the records of `abi` cross the BPF system call.
//!
//! `aya::Pod` is unsafe to implement and `abi` forbids unsafe code and depends on nothing, so thin wrappers carry it.

use abi::{DropKey, DropValue, Layout, TotalKey};

/// A record that consists of integers without gaps.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Record<T>(pub T);

// SAFETY: `repr(C)` integers and arrays of them, every padding byte a named field (abi pins the sizes); any bit
// pattern is valid.
unsafe impl aya::Pod for Record<DropKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Record<DropValue> {}
// SAFETY: as above.
unsafe impl aya::Pod for Record<TotalKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Record<Layout> {}

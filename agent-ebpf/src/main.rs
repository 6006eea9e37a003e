//! The BPF programs that see the kernel throw packets away, and their entry points.
//!
//! They aggregate and count; they name nothing and decide nothing about causes. User space finds the field offsets,
//! fills [`LAYOUT`] and loads the object (crate `trace`).

#![no_std]
#![no_main]
// The target has the instruction to add atomically, but `AtomicU64::fetch_add` is offered only where
// compare-and-swap exists as well. The build of this crate needs unstable features anyway (build-std).
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "atomic_xadd, see above")]

mod drop;
mod emit;
mod object;
mod packet;

use abi::Layout;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// Filled in by user space before loading and frozen: constants to the verifier.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::EMPTY;

/// Reads one field of [`LAYOUT`]: field by field, because the verifier loses track of constants that pass through
/// the stack.
macro_rules! layout {
    ($field:ident $([$index:literal])?) => { $crate::constant(&$crate::LAYOUT.$field $([$index])?) };
}
pub(crate) use layout;

/// Reads a constant as user space set it, not as this file has it.
#[inline(always)]
fn constant(field: &u32) -> u32 {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}

/// `skb:kfree_skb`: a packet was dropped.
#[expect(clippy::needless_pass_by_value, reason = "the macro calls it so")]
#[btf_tracepoint(function = "kfree_skb")]
fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    drop::on_kfree_skb(&ctx);
    0
}

/// Never reached: nothing here can panic, and the verifier would refuse the loop if it were left in.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

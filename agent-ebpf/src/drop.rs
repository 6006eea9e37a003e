//! What is done with one dropped packet: is it a loss that matters, whose is it, and then into the maps.
//!
//! Reading the packet itself is `packet`, writing the maps is `emit`.

use abi::{DropKey, DropValue, FLAG_ACK, FLAG_SYN};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::BtfTracePointContext;

use crate::object::{Object, load};
use crate::{emit, layout, packet};

/// Handles one call of `trace_kfree_skb(skb, location[, reason[, rx_sk]])`; cheap questions first, because all
/// protocols and all namespaces pass here.
#[inline(always)]
pub fn on_kfree_skb(ctx: &BtfTracePointContext) {
    let skb: Object = ctx.arg(0);
    let reason: u32 = if layout!(has_reason) == 1 { ctx.arg(2) } else { 0 };
    if is_excluded(reason) || !packet::is_ip(skb) {
        return;
    }
    let rx_sk: Object = if layout!(has_rx_sk) == 1 { ctx.arg(3) } else { core::ptr::null() };
    // SAFETY: `skb` is the tracepoint's sk_buff, the offset is that of its `dev`; the rest follows likewise.
    let dev: Object = unsafe { load(skb, layout!(skb_dev)) };
    let netns = cookie(skb, dev, rx_sk);
    if layout!(scoped) == 1 && !emit::in_scope(netns) {
        return;
    }
    let Some(headers) = packet::handshake(skb) else { return };

    // SAFETY: typed loads at the offsets of these fields; a null device reads as 0.
    let (in_ifindex, mark, ifindex): (u32, u32, u32) = unsafe {
        let ifindex = if dev.is_null() { 0 } else { load(dev, layout!(dev_ifindex)) };
        (load(skb, layout!(skb_iif)), load(skb, layout!(skb_mark)), ifindex)
    };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let key = DropKey {
        netns,
        location: ctx.arg(1),
        src: headers.src,
        dst: headers.dst,
        reason,
        flags: if headers.acknowledges { FLAG_SYN | FLAG_ACK } else { FLAG_SYN },
        server_port: headers.server_port,
        protocol: packet::TCP,
        family: headers.family,
        padding: 0,
    };
    let value = DropValue {
        count: 1,
        first_ns: now,
        last_ns: now,
        mark,
        in_ifindex,
        ifindex,
        client_port: headers.client_port,
        padding: 0,
    };
    emit::count(&key, &value);
}

/// The namespace the packet was in: its device's, else its socket's (dropped in OUTPUT it has no device yet), else
/// the receiving socket's. 0 if there is none.
#[inline(always)]
fn cookie(skb: Object, dev: Object, rx_sk: Object) -> u64 {
    // SAFETY: typed loads at the offsets of these fields, after a null check each.
    unsafe {
        if !dev.is_null() {
            return net_cookie(load(dev, layout!(dev_net)));
        }
        let sk: Object = load(skb, layout!(skb_sk));
        if !sk.is_null() {
            return net_cookie(load(sk, layout!(sock_net)));
        }
        if !rx_sk.is_null() {
            return net_cookie(load(rx_sk, layout!(sock_net)));
        }
    }
    0
}

/// # Safety
/// `net` is a `struct net` pointer or null.
#[inline(always)]
unsafe fn net_cookie(net: Object) -> u64 {
    // SAFETY: as above.
    if net.is_null() { 0 } else { unsafe { load(net, layout!(net_cookie)) } }
}

/// Whether user space said that this reason is no loss. Written out, since a loop needs Linux 5.3's bounded loops
/// and an index the verifier can follow.
#[inline(always)]
fn is_excluded(reason: u32) -> bool {
    macro_rules! any {
        ($($index:literal)*) => { $( reason == layout!(excluded[$index]) )||* };
    }
    layout!(has_reason) == 1 && any!(0 1 2 3 4 5 6 7)
}

const _: () = assert!(abi::MAX_EXCLUDED == 8);

//! Where the running kernel keeps the fields that the programs read, and what else they are told before loading.
//!
//! User space fills a [`Layout`] from the kernel's BTF and it is frozen with the read-only data; the numbers
//! themselves are never written down here, because they differ from kernel to kernel.

/// How many drop reasons can be left out.
pub const MAX_EXCLUDED: usize = 8;

/// Marks an unused place in [`Layout::excluded`]: no drop reason has this number (subsystems are 16 bits wide).
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets in kernel structures, switches, and the reasons to leave out.
///
/// The programs read each field as a constant: the verifier knows the contents of frozen read-only data, so
/// `pointer + offset` stays a typed kernel pointer and a switched-off branch is never checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// `sk_buff.head`
    pub skb_head: u32,
    /// `sk_buff.network_header`
    pub skb_network_header: u32,
    /// `sk_buff.protocol`
    pub skb_protocol: u32,
    /// `sk_buff.dev`
    pub skb_dev: u32,
    /// `sk_buff.sk`
    pub skb_sk: u32,
    /// `sk_buff.skb_iif`
    pub skb_iif: u32,
    /// `sk_buff.mark`
    pub skb_mark: u32,
    /// `net_device.ifindex`
    pub dev_ifindex: u32,
    /// `net_device.nd_net.net`
    pub dev_net: u32,
    /// `sock.__sk_common.skc_net.net`
    pub sock_net: u32,
    /// `net.net_cookie`
    pub net_cookie: u32,
    /// 1 if the tracepoint passes a drop reason as its third argument (Linux 5.17, and backports).
    pub has_reason: u32,
    /// 1 if the tracepoint passes the receiving socket as its fourth argument (Linux 6.11).
    pub has_rx_sk: u32,
    /// 1 if only the namespaces in the scope map count.
    pub scoped: u32,
    /// Reasons that are not losses, filled up with [`ABSENT`].
    pub excluded: [u32; MAX_EXCLUDED],
}

impl Layout {
    /// All offsets 0, all switches off, nothing left out: what the object holds until it is filled in.
    pub const EMPTY: Self = Self {
        skb_head: 0,
        skb_network_header: 0,
        skb_protocol: 0,
        skb_dev: 0,
        skb_sk: 0,
        skb_iif: 0,
        skb_mark: 0,
        dev_ifindex: 0,
        dev_net: 0,
        sock_net: 0,
        net_cookie: 0,
        has_reason: 0,
        has_rx_sk: 0,
        scoped: 0,
        excluded: [ABSENT; MAX_EXCLUDED],
    };
}

const _: () = assert!(size_of::<Layout>() == 4 * (14 + MAX_EXCLUDED));

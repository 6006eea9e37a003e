//! Finds what the programs must be told about the running kernel: field offsets, arguments, reasons to leave out.
//!
//! A field that is missing is an error here and never a guess.

use abi::{ABSENT, Layout, MAX_EXCLUDED};

use crate::btf::{Btf, BtfError, Parameter};
use crate::reasons::{NO_LOSS, Reasons};

/// Why this kernel cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It has no such tracepoint, or its BTF does not describe it.
    #[error("the kernel describes no tracepoint kfree_skb")]
    NoTracepoint,
    /// A structure is not as expected.
    #[error("find a field the programs read")]
    Field(#[from] BtfError),
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// For the programs.
    pub layout: Layout,
    /// For the reader.
    pub reasons: Reasons,
}

/// Looks everything up. `scoped`: whether only namespaces named later count.
pub fn find(btf: &Btf, scoped: bool) -> Result<Found, LayoutError> {
    let arguments = btf.tracepoint("kfree_skb").ok_or(LayoutError::NoTracepoint)?;
    let has_reason = has_reason(&arguments);
    let has_rx_sk = matches!(arguments.get(3), Some(Parameter::PointerTo(name)) if name == "sock");
    let reasons = Reasons::read(btf, has_reason);
    let layout = Layout {
        skb_head: btf.offset("sk_buff", &["head"])?,
        skb_network_header: btf.offset("sk_buff", &["network_header"])?,
        skb_protocol: btf.offset("sk_buff", &["protocol"])?,
        skb_dev: btf.offset("sk_buff", &["dev"])?,
        skb_sk: btf.offset("sk_buff", &["sk"])?,
        skb_iif: btf.offset("sk_buff", &["skb_iif"])?,
        skb_mark: btf.offset("sk_buff", &["mark"])?,
        dev_ifindex: btf.offset("net_device", &["ifindex"])?,
        dev_net: btf.offset("net_device", &["nd_net", "net"])?,
        sock_net: btf.offset("sock", &["__sk_common", "skc_net", "net"])?,
        net_cookie: btf.offset("net", &["net_cookie"])?,
        has_reason: u32::from(has_reason),
        has_rx_sk: u32::from(has_rx_sk),
        scoped: u32::from(scoped),
        excluded: excluded(&reasons),
    };
    Ok(Found { layout, reasons })
}

/// Whether the tracepoint's arguments include a drop reason.
pub fn has_reason(arguments: &[Parameter]) -> bool {
    matches!(arguments.get(2), Some(Parameter::Enum(_)))
}

fn excluded(reasons: &Reasons) -> [u32; MAX_EXCLUDED] {
    let mut numbers = [ABSENT; MAX_EXCLUDED];
    for (place, number) in numbers.iter_mut().zip(NO_LOSS.iter().filter_map(|name| reasons.number(name))) {
        *place = number;
    }
    numbers
}

const _: () = assert!(NO_LOSS.len() <= MAX_EXCLUDED);

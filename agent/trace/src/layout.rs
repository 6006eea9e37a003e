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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::btf::tests::Builder;

    /// A kernel with the structures the programs read.
    pub(crate) fn kernel(has_reason: bool, has_rx_sk: bool) -> Builder {
        let mut builder = Builder::new();
        let int = builder.int("u64");
        let net = builder.structure("net", &[("passive", int, 0), ("net_cookie", int, 40)]);
        let net = builder.pointer(net);
        let possible_net = builder.structure("", &[("net", net, 0)]);
        let device = builder.structure("net_device", &[("ifindex", int, 208), ("nd_net", possible_net, 264)]);
        let device = builder.pointer(device);
        let common = builder.structure("sock_common", &[("skc_net", possible_net, 48)]);
        let sock = builder.structure("sock", &[("__sk_common", common, 0)]);
        let sock = builder.pointer(sock);
        let skb = builder.structure(
            "sk_buff",
            &[
                ("dev", device, 16),
                ("sk", sock, 24),
                ("skb_iif", int, 100),
                ("mark", int, 104),
                ("protocol", int, 108),
                ("network_header", int, 112),
                ("head", int, 200),
            ],
        );
        let skb = builder.pointer(skb);
        let location = builder.pointer(0);
        let mut arguments = vec![skb, location];
        if has_reason {
            arguments.push(builder.enumeration(
                "skb_drop_reason",
                &[
                    ("SKB_NOT_DROPPED_YET", 0),
                    ("SKB_DROP_REASON_NOT_SPECIFIED", 2),
                    ("SKB_DROP_REASON_OTHERHOST", 13),
                    ("SKB_DROP_REASON_NETFILTER_DROP", 77),
                    ("SKB_DROP_REASON_MAX", 78),
                ],
            ));
        }
        if has_rx_sk {
            arguments.push(sock);
        }
        builder.tracepoint("kfree_skb", &arguments);
        builder
    }

    #[test]
    fn everything_is_found_where_the_kernel_has_it() {
        let found = find(&kernel(true, true).build(), true).expect("complete");
        let layout = found.layout;
        assert_eq!((layout.skb_head, layout.skb_dev, layout.skb_sk), (200, 16, 24));
        assert_eq!((layout.dev_net, layout.sock_net, layout.net_cookie), (264, 48, 40));
        assert_eq!((layout.has_reason, layout.has_rx_sk, layout.scoped), (1, 1, 1));
        assert_eq!(layout.excluded, [13, 0, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT]);
    }

    #[test]
    fn a_kernel_without_a_reason_excludes_nothing() {
        let found = find(&kernel(false, false).build(), false).expect("complete");
        assert_eq!((found.layout.has_reason, found.layout.has_rx_sk, found.layout.scoped), (0, 0, 0));
        assert_eq!(found.layout.excluded, [ABSENT; MAX_EXCLUDED]);
        assert_eq!(found.reasons.name(0), "NOT_SPECIFIED");
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut builder = Builder::new();
        assert!(matches!(find(&builder.build(), false), Err(LayoutError::NoTracepoint)));
        builder.tracepoint("kfree_skb", &[]);
        let error = find(&builder.build(), false).expect_err("no sk_buff");
        assert!(
            matches!(&error, LayoutError::Field(BtfError::NoStruct { name }) if name == "sk_buff"),
            "{error:?}"
        );
    }
}

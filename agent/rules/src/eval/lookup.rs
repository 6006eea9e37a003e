//! What a packet has of the fields that sets and maps are asked for.
//!
//! A packet may lack a field, which is not the same as a field that cannot be told.

use super::test::states;
use crate::ir::lookup::{self, Field, Found, Lookup, MAX_FIELDS};
use crate::ir::{CtStates, RuleSet};
use crate::network::{Network, Query, Tri, Way};
use crate::packet::{Device, Passing};

/// `IPS_SRC_NAT` (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
pub(crate) const SRC_NAT: u32 = 1 << 4;
/// `IPS_DST_NAT`.
pub(crate) const DST_NAT: u32 = 1 << 5;

/// `RTN_UNICAST`, `RTN_LOCAL`, `RTN_BROADCAST`, `RTN_MULTICAST` (`include/uapi/linux/rtnetlink.h`).
const UNICAST: u128 = 1;
const LOCAL: u128 = 2;
const BROADCAST: u128 = 3;
const MULTICAST: u128 = 5;

/// What is found of a field.
enum Value {
    Known(u128),
    Unknown,
    /// The packet has none: the expression breaks off, and the rule does not match (`NFT_BREAK`).
    Absent,
}

/// Looks a packet's fields up. `Nothing` also if it lacks one of them, with `false`: then not even "not in" holds.
pub(super) fn find(rules: &RuleSet, lookup: &Lookup, packet: &Passing, network: &Network) -> (Found, bool) {
    let mut key = [None; MAX_FIELDS];
    for (field, to) in lookup.key.iter().zip(&mut key) {
        *to = match value(*field, packet, network) {
            Value::Known(value) => Some(value),
            Value::Unknown => None,
            Value::Absent => return (Found::Nothing, false),
        };
    }
    // What packets add to is not what it was when it was read.
    let Some(set) = rules.set(lookup.set).filter(|set| !set.changing) else { return (Found::Unknown, true) };
    (set.find(key.get(..lookup.key.len()).unwrap_or_default()), true)
}

/// Whether the set holds them.
pub(super) fn holds(
    rules: &RuleSet,
    lookup: &Lookup,
    negate: bool,
    packet: &Passing,
    network: &Network,
) -> Tri {
    match find(rules, lookup, packet, network) {
        (_, false) => Tri::No,
        (Found::Element(_), _) => Tri::of(!negate),
        (Found::Nothing, _) => Tri::of(negate),
        (Found::Unknown, _) => Tri::Unknown,
    }
}

fn value(field: Field, packet: &Passing, network: &Network) -> Value {
    let connection = packet.has_connection();
    match field {
        Field::CtStatus(_)
        | Field::CtDirection
        | Field::OriginalDestination
        | Field::OriginalPort
        | Field::ConnMark(_)
            if !connection =>
        {
            // `nft_ct_get_eval`: no connection, no value.
            Value::Absent
        }
        Field::SourceAddress if packet.masqueraded => Value::Unknown,
        Field::SourceAddress => Value::Known(lookup::address(packet.src)),
        Field::DestinationAddress => Value::Known(lookup::address(packet.dst.ip())),
        Field::SourcePort => packet.src_port.map_or(Value::Unknown, |port| Value::Known(port.into())),
        Field::DestinationPort => Value::Known(packet.dst.port().into()),
        Field::Protocol => Value::Known(packet.protocol.number().into()),
        Field::Mark(mask) => Value::Known((packet.mark & mask).into()),
        Field::ConnMark(mask) => Value::Known((packet.ct_mark & mask).into()),
        Field::CtState => Value::Known(state(packet)),
        Field::CtStatus(mask) => {
            let (dst, src) = (packet.translated, packet.masqueraded);
            let status = if dst { DST_NAT } else { 0 } | if src { SRC_NAT } else { 0 };
            Value::Known((status & mask).into())
        }
        Field::CtDirection => Value::Known(0),
        Field::OriginalDestination => Value::Known(lookup::address(packet.original.ip())),
        Field::OriginalPort => Value::Known(packet.original.port().into()),
        Field::InInterface => name(&packet.input),
        Field::OutInterface => name(&packet.output),
        Field::SourceType(limited) => kind(packet.src, limited, network),
        Field::DestinationType(limited) => kind(packet.dst.ip(), limited, network),
        Field::ReturnPath(marked) => return_path(packet, marked, network),
        Field::Unknown => Value::Unknown,
    }
}

/// The state as nf_tables numbers it (`NF_CT_STATE_BIT`, `NF_CT_STATE_INVALID_BIT`, `NF_CT_STATE_UNTRACKED_BIT`).
fn state(packet: &Passing) -> u128 {
    let states = states(packet);
    if states & CtStates::UNTRACKED != 0 {
        1 << 6
    } else if states & CtStates::INVALID != 0 {
        1
    } else {
        1 << 3
    }
}

/// An absent interface has the empty name (`nft_meta_store_ifname`).
fn name(device: &Device) -> Value {
    match device {
        Device::Absent => Value::Known(0),
        Device::Named(name) => Value::Known(lookup::interface_name(name)),
        Device::Unknown => Value::Unknown,
    }
}

/// Told only where the way back is by the interface it came by (`nft_fib4_eval`); what else leads there is left open.
fn return_path(packet: &Passing, marked: bool, network: &Network) -> Value {
    let mark = if marked { packet.mark } else { 0 };
    let back = Query { src: packet.dst.ip(), dst: packet.src, mark, input: &Device::Absent };
    match (network.way(&back), &packet.input) {
        (Way::On { device: Device::Named(by), .. }, Device::Named(came)) if by == *came => Value::Known(1),
        _ => Value::Unknown,
    }
}

/// The kind of an address (`nft_fib4_eval_type`, `nft_fib6_eval_type`).
fn kind(address: std::net::IpAddr, limited: bool, network: &Network) -> Value {
    if address.is_multicast() {
        return Value::Known(MULTICAST);
    }
    if address.is_ipv4() && network.is_broadcast(address) {
        return Value::Known(BROADCAST);
    }
    match network.is_local(address) {
        // Whether it is an address of that very interface is not looked up.
        Tri::Yes if limited => Value::Unknown,
        Tri::Yes => Value::Known(LOCAL),
        Tri::No => Value::Known(UNICAST),
        Tri::Unknown => Value::Unknown,
    }
}

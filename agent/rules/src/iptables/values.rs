//! Reads the values of options: addresses, ports, marks, and the words the extensions print for their bits.
//!
//! Each is given as text and comes back as a value, or as nothing where it is not one; what then becomes of the option
//! is not its business.

use std::net::IpAddr;

use ipnet::IpNet;
use model::flow::{Family, PortRange};

use crate::ir::{AddressTypes, CtStates, Masked, Side, Test};

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/NETMASK` with a contiguous mask.
pub(in crate::iptables) fn network(text: &str, family: Family) -> Option<IpNet> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = match family {
        Family::Ipv4 => IpAddr::V4(address.parse().ok()?),
        Family::Ipv6 => IpAddr::V6(address.parse().ok()?),
    };
    let full = if address.is_ipv4() { 32 } else { 128 };
    let Some(mask) = mask else { return IpNet::new(address, full).ok() };
    match mask.parse::<u8>() {
        Ok(length) => IpNet::new(address, length).ok(),
        Err(_) => IpNet::with_netmask(address, mask.parse().ok()?).ok(),
    }
}

pub(in crate::iptables) fn protocol(name: &str) -> Option<u8> {
    Some(match name {
        "all" => 0,
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        "icmp" => 1,
        "ipv6-icmp" | "icmpv6" => 58,
        "udplite" => 136,
        "dccp" => 33,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipencap" | "ipip" => 4,
        "igmp" => 2,
        "vrrp" => 112,
        "ospf" => 89,
        _ => return name.parse().ok(),
    })
}

pub(in crate::iptables) fn ports(text: &str) -> Option<PortRange> {
    let Some((first, last)) = text.split_once(':') else { return text.parse().ok().map(PortRange::single) };
    let first = if first.is_empty() { 0 } else { first.parse().ok()? };
    let last = if last.is_empty() { u16::MAX } else { last.parse().ok()? };
    (first <= last).then_some(PortRange { first, last })
}

pub(in crate::iptables) fn port_list(text: &str, side: Side) -> Option<Test> {
    let list: Option<Box<[PortRange]>> = text.split(',').map(ports).collect();
    Some(Test::Ports(side, list?))
}

/// `VALUE[/MASK]`, hexadecimal with 0x, else decimal.
pub(in crate::iptables) fn masked(text: &str) -> Option<Masked> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value)?, number(mask)?),
        None => (number(text)?, u32::MAX),
    };
    Some(Masked { value, mask })
}

pub(in crate::iptables) fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

pub(in crate::iptables) fn states(text: &str) -> Option<CtStates> {
    let mut states = 0;
    for word in text.split(',') {
        states |= match word {
            "NEW" => CtStates::NEW,
            "ESTABLISHED" => CtStates::ESTABLISHED,
            "RELATED" => CtStates::RELATED,
            "INVALID" => CtStates::INVALID,
            "UNTRACKED" => CtStates::UNTRACKED,
            "DNAT" => CtStates::DNAT,
            "SNAT" => CtStates::SNAT,
            _ => return None,
        };
    }
    Some(CtStates(states))
}

/// Of the status bits only those are modelled that a first packet certainly lacks.
pub(in crate::iptables) fn status(text: &str) -> Option<Test> {
    text.split(',').all(|word| matches!(word, "ASSURED" | "SEEN_REPLY")).then_some(Test::CtAnswered)
}

pub(in crate::iptables) fn address_types(text: &str) -> Option<u8> {
    let mut kinds = 0;
    for word in text.split(',') {
        kinds |= match word {
            "LOCAL" => AddressTypes::LOCAL,
            "UNICAST" => AddressTypes::UNICAST,
            "BROADCAST" => AddressTypes::BROADCAST,
            "MULTICAST" => AddressTypes::MULTICAST,
            "UNSPEC" | "ANYCAST" | "BLACKHOLE" | "UNREACHABLE" | "PROHIBIT" | "THROW" | "NAT"
            | "XRESOLVE" => AddressTypes::OTHER,
            _ => return None,
        };
    }
    Some(kinds)
}

pub(in crate::iptables) fn range(text: &str) -> Option<Box<(IpAddr, IpAddr)>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(Box::new((first.parse().ok()?, last.parse().ok()?)))
}

pub(in crate::iptables) fn tcp_flags(text: &str) -> Option<u8> {
    let mut flags = 0;
    for word in text.split(',') {
        flags |= match word {
            "FIN" => 0x01,
            "SYN" => 0x02,
            "RST" => 0x04,
            "PSH" => 0x08,
            "ACK" => 0x10,
            "URG" => 0x20,
            "ALL" => 0x3f,
            "NONE" => 0,
            _ => return None,
        };
    }
    Some(flags)
}

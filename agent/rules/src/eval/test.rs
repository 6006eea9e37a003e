//! Whether one condition holds for the packet: yes, no, or not to be told.
//!
//! It changes nothing; what a rule does when all its conditions hold is decided by the walker.

use ipnet::IpNet;
use model::flow::Protocol;

use super::{World, lookup, member};
use crate::ir::{
    AddressTypes, Chance, CtStates, Interface, Match, PacketType, Rule, RuleSet, Served, Side, Target, Test,
};
use crate::network::{Network, Tri};
use crate::packet::{Device, Passing};

/// Whether a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It would if sets said otherwise.
    NotInSets,
    /// Sometimes, by design of the rule: both ways really happen.
    Sometimes,
    /// It cannot be told.
    Unknown,
}

/// Whether all conditions of a rule hold.
pub(super) fn holds(rules: &RuleSet, rule: &Rule, packet: &Passing, world: World<'_>) -> Holds {
    let mut result = Holds::Yes;
    let mut missed = false;
    for item in rules.matches_of(rule) {
        let by_chance = match item.test {
            Test::Chance(Chance::Sometimes) => true,
            // Whom a sender was sent to before decides among ways that are all taken; a verdict by it is open.
            Test::SeenBefore => matches!(rule.target, Target::Jump(_) | Target::Goto(_)),
            Test::Lookup(ref asked) if rules.set(asked.set).is_some_and(|set| set.changing) => {
                matches!(rule.target, Target::Jump(_) | Target::Goto(_))
            }
            _ => false,
        };
        if by_chance {
            if result == Holds::Yes {
                result = Holds::Sometimes;
            }
            continue;
        }
        match matches(rules, item, packet, world) {
            Tri::Yes => {}
            Tri::No if matches!(item.test, Test::InSet(_)) => missed = true,
            Tri::No => return Holds::No,
            Tri::Unknown => result = Holds::Unknown,
        }
    }
    if missed { Holds::NotInSets } else { result }
}

/// Whether one condition holds.
pub(super) fn matches(rules: &RuleSet, item: &Match, packet: &Passing, world: World<'_>) -> Tri {
    let network = world.network;
    let tcp = packet.protocol == Protocol::Tcp;
    let truth = match &item.test {
        // Without a connection they fail whether negated or not (`conntrack_mt`, `connmark_mt`).
        Test::ConnMark(_)
        | Test::CtAnswered
        | Test::CtProtocol(_)
        | Test::CtOriginal(_)
        | Test::CtOriginalDestination(_)
        | Test::CtOriginalPort(_)
            if !packet.has_connection() =>
        {
            return Tri::No;
        }
        Test::Served(wanted) => match served(*wanted, packet) {
            // What IPVS did not take fits no question about a virtual server, negated or not (xt_ipvs, `ipvs_mt`).
            None => return Tri::No,
            Some(truth) => Tri::of(truth),
        },
        Test::InSet(asked) => member::holds(rules, *asked, packet, world.ipsets),
        Test::Lookup(asked) => return lookup::holds(rules, asked, item.negate, packet, network),
        Test::Destination(net) => contains(net, packet.dst.ip()),
        Test::Source(net) => contains(net, packet.src),
        Test::Protocol(number) | Test::CtProtocol(number) => Tri::of(*number == packet.protocol.number()),
        Test::DestinationPort(range) => Tri::of(range.contains(packet.dst.port())),
        Test::Always | Test::Chance(Chance::Always) => Tri::Yes,
        Test::SourceRange(range) => Tri::of(range.0 <= packet.src && packet.src <= range.1),
        Test::DestinationRange(range) => Tri::of(range.0 <= packet.dst.ip() && packet.dst.ip() <= range.1),
        Test::InInterface(wanted) => interface(rules, *wanted, &packet.input),
        Test::OutInterface(wanted) => interface(rules, *wanted, &packet.output),
        Test::SourcePort(range) => source_port(packet, std::slice::from_ref(range)),
        Test::Ports(side, list) => {
            let destination = Tri::of(list.iter().any(|range| range.contains(packet.dst.port())));
            match side {
                Side::Destination => destination,
                Side::Either if destination == Tri::Yes => Tri::Yes,
                Side::Source | Side::Either => source_port(packet, list),
            }
        }
        Test::Mark(wanted) => Tri::of(packet.mark & wanted.mask == wanted.value),
        Test::ConnMark(wanted) => Tri::of(packet.ct_mark & wanted.mask == wanted.value),
        Test::CtState(wanted) => Tri::of(wanted.0 & states(packet) != 0),
        Test::CtOriginal(original) => Tri::of(*original),
        Test::CtOriginalDestination(net) => contains(net, packet.original.ip()),
        Test::CtOriginalPort(range) => Tri::of(range.contains(packet.original.port())),
        Test::SourceType(types) => address_type(*types, packet.src, network),
        Test::DestinationType(types) => address_type(*types, packet.dst.ip(), network),
        Test::Chance(Chance::Never) | Test::CtAnswered => Tri::No,
        // It wants the protocol as well, and negated no less (`icmp_match`).
        Test::Icmp => return Tri::No,
        Test::TcpFlags { mask, set } => Tri::of(tcp && SYN & mask == *set),
        Test::BridgePort(_) => match network.is_bridge(&packet.input) {
            _ if packet.local_sender => Tri::No,
            Tri::No => Tri::No,
            _ => Tri::Unknown,
        },
        // A forwarded packet belongs to no socket of this host: only all options negated fit it (xt_owner, `owner_mt`).
        Test::SocketOwner(_) if !packet.local_sender => Tri::No,
        Test::PacketType(kind) if !packet.local_sender => Tri::of(*kind == PacketType::Unicast),
        Test::Chance(Chance::Sometimes)
        | Test::SeenBefore
        | Test::SocketOwner(_)
        | Test::PacketType(_)
        | Test::Unknown(_) => Tri::Unknown,
    };
    truth.not_if(item.negate)
}

/// The flags of a connection's first packet.
const SYN: u8 = 0x02;

/// What is asked about the virtual server that took a packet; `None` if none did and that is not the question.
fn served(wanted: Served, packet: &Passing) -> Option<bool> {
    match wanted {
        Served::Any => Some(packet.served.is_some()),
        Served::Address(net) => packet.served.map(|server| net.contains(&server.ip())),
        Served::Port(port) => packet.served.map(|server| server.port() == port),
        Served::Protocol(number) => packet.served.map(|_| packet.protocol.number() == number),
    }
}

fn contains(net: &IpNet, address: std::net::IpAddr) -> Tri {
    Tri::of(net.contains(&address))
}

fn interface(rules: &RuleSet, wanted: Interface, device: &Device) -> Tri {
    let name = rules.text(wanted.name);
    match device {
        // An absent interface has the empty name (ip_packet_match, `nulldevname`).
        Device::Absent => Tri::of(name.is_empty()),
        Device::Named(device) if wanted.prefix => Tri::of(device.starts_with(name)),
        Device::Named(device) => Tri::of(**device == *name),
        Device::Unknown if wanted.prefix && name.is_empty() => Tri::Yes,
        Device::Unknown => Tri::Unknown,
    }
}

/// An unknown source port is an ephemeral one: whether a list covers it is known only if it covers all or none.
fn source_port(packet: &Passing, list: &[model::flow::PortRange]) -> Tri {
    /// Where ephemeral ports begin at the lowest; below it only privileged programs choose.
    const LOWEST: u16 = 1024;
    match packet.src_port {
        Some(port) => Tri::of(list.iter().any(|range| range.contains(port))),
        None if list.iter().any(|range| range.first <= LOWEST && range.last == u16::MAX) => Tri::Yes,
        None if list.iter().all(|range| range.last < LOWEST) => Tri::No,
        None => Tri::Unknown,
    }
}

/// The connection's state and translations.
pub(super) fn states(packet: &Passing) -> u8 {
    if packet.untracked {
        return CtStates::UNTRACKED;
    }
    if !packet.tracked {
        // Before connection tracking a packet is no part of anything (`conntrack_mt`).
        return CtStates::INVALID;
    }
    let mut states = CtStates::NEW;
    if packet.translated {
        states |= CtStates::DNAT;
    }
    if packet.masqueraded {
        states |= CtStates::SNAT;
    }
    states
}

/// `-m addrtype` looks an address up in the local table; whatever is not there is unicast (`inet_dev_addr_type`).
fn address_type(types: AddressTypes, address: std::net::IpAddr, network: &Network) -> Tri {
    if address.is_ipv6() {
        return address_type_v6(types, address, network);
    }
    let kind = if address.is_multicast() {
        AddressTypes::MULTICAST
    } else if network.is_broadcast(address) {
        AddressTypes::BROADCAST
    } else {
        match network.is_local(address) {
            Tri::Yes => AddressTypes::LOCAL,
            Tri::No => AddressTypes::UNICAST,
            Tri::Unknown if types.kinds & (AddressTypes::LOCAL | AddressTypes::UNICAST) == 0 => {
                return Tri::No;
            }
            Tri::Unknown => return Tri::Unknown,
        }
    };
    if types.limited && kind == AddressTypes::LOCAL {
        // Whether it is an address of that very interface is not looked up.
        return Tri::Unknown;
    }
    Tri::of(types.kinds & kind != 0)
}

/// For IPv6 all kinds asked for must hold, and an address of this host is unicast as well (`match_type6`).
fn address_type_v6(types: AddressTypes, address: std::net::IpAddr, network: &Network) -> Tri {
    let asked = |kind: u8| types.kinds & kind != 0;
    let multicast = address.is_multicast();
    let unicast = !multicast && !address.is_unspecified();
    if (asked(AddressTypes::MULTICAST) && !multicast)
        || (asked(AddressTypes::UNICAST) && !unicast)
        || asked(AddressTypes::BROADCAST)
    {
        return Tri::No;
    }
    let local = if asked(AddressTypes::LOCAL) { network.is_local(address) } else { Tri::No };
    match local {
        Tri::Yes if !types.limited => Tri::Yes,
        // Whether it is an address of that very interface is not looked up, nor what the main table refuses.
        Tri::Yes | Tri::Unknown => Tri::Unknown,
        Tri::No if asked(AddressTypes::OTHER) => Tri::Unknown,
        Tri::No => Tri::of(!asked(AddressTypes::LOCAL)),
    }
}

#[cfg(test)]
mod tests;

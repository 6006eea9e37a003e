//! Addresses, protocols, packets and object names.

use std::net::{IpAddr, SocketAddr};

use model::{Family, Gap, Key, Origin, Packet, Protocol};

use super::read::{self, Read, Within};
use crate::v1;

pub(super) const fn protocol(protocol: Protocol) -> v1::protocol::Value {
    match protocol {
        Protocol::Tcp => v1::protocol::Value::Tcp,
        Protocol::Udp => v1::protocol::Value::Udp,
        Protocol::Sctp => v1::protocol::Value::Sctp,
    }
}

pub(super) fn protocol_to_model(sent: i32, field: &str) -> Read<Protocol> {
    read::value(sent, field, |value| match value {
        v1::protocol::Value::Unspecified => None,
        v1::protocol::Value::Tcp => Some(Protocol::Tcp),
        v1::protocol::Value::Udp => Some(Protocol::Udp),
        v1::protocol::Value::Sctp => Some(Protocol::Sctp),
    })
}

pub(super) const fn family(family: Family) -> v1::family::Value {
    match family {
        Family::Ipv4 => v1::family::Value::Ipv4,
        Family::Ipv6 => v1::family::Value::Ipv6,
    }
}

pub(super) fn family_to_model(sent: i32, field: &str) -> Read<Family> {
    read::value(sent, field, |value| match value {
        v1::family::Value::Unspecified => None,
        v1::family::Value::Ipv4 => Some(Family::Ipv4),
        v1::family::Value::Ipv6 => Some(Family::Ipv6),
    })
}

pub(super) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn addresses_to_model(sent: Vec<Vec<u8>>, field: &str) -> Read<Vec<IpAddr>> {
    read::list(sent, read::ADDRESSES_MAX, field, |bytes| read::address(&bytes, ""))
}

pub(super) fn socket_address(address_and_port: SocketAddr) -> v1::SocketAddress {
    v1::SocketAddress { address: address(address_and_port.ip()), port: address_and_port.port().into() }
}

pub(super) fn socket_address_to_model(sent: Option<v1::SocketAddress>, field: &str) -> Read<SocketAddr> {
    let sent = read::present(sent, field)?;
    let address = read::address(&sent.address, "address").within(field)?;
    Ok(SocketAddr::new(address, read::port(sent.port, "port").within(field)?))
}

pub(super) fn key(key: &Key) -> v1::ObjectKey {
    v1::ObjectKey { namespace: key.namespace.clone(), name: key.name.clone() }
}

pub(super) fn key_to_model(sent: v1::ObjectKey) -> Read<Key> {
    Ok(Key { namespace: read::name(sent.namespace, "namespace")?, name: read::name(sent.name, "name")? })
}

pub(super) fn gap(gap: &Gap) -> v1::Gap {
    v1::Gap { what: gap.what.clone(), why: gap.why.clone(), remedy: gap.remedy.clone() }
}

pub(super) fn packet(packet: &Packet) -> v1::Packet {
    v1::Packet {
        origin: match packet.origin {
            Origin::Pod => v1::origin::Value::Pod,
            Origin::Node => v1::origin::Value::Node,
            Origin::External => v1::origin::Value::External,
        }
        .into(),
        in_interface: packet.in_interface.clone(),
        protocol: protocol(packet.protocol).into(),
        src: address(packet.src),
        src_port: packet.src_port.map(Into::into),
        dst: Some(socket_address(packet.dst)),
    }
}

pub(super) fn packet_to_model(sent: v1::Packet) -> Read<Packet> {
    Ok(Packet {
        origin: read::value(sent.origin, "origin", |value| match value {
            v1::origin::Value::Unspecified => None,
            v1::origin::Value::Pod => Some(Origin::Pod),
            v1::origin::Value::Node => Some(Origin::Node),
            v1::origin::Value::External => Some(Origin::External),
        })?,
        in_interface: sent.in_interface.map(|name| read::name(name, "in_interface")).transpose()?,
        protocol: protocol_to_model(sent.protocol, "protocol")?,
        src: read::address(&sent.src, "src")?,
        src_port: sent.src_port.map(|port| read::port(port, "src_port")).transpose()?,
        dst: socket_address_to_model(sent.dst, "dst")?,
    })
}

//! Reads the headers of a packet that may open or answer a TCP connection.
//!
//! It reads what is at `skb->head + network_header` and nothing else: no VLAN, no tunnel, no payload.

use abi::{FAMILY_IPV4, FAMILY_IPV6};
use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::drop::{Object, load};
use crate::layout;

/// IANA number of TCP.
pub const TCP: u8 = 6;

/// `ETH_P_IP` and `ETH_P_IPV6` (include/uapi/linux/if_ether.h).
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Bytes of an IPv4 header without options, of an IPv6 header, and of a TCP header up to its flags.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 14;

/// Flags in byte 13 of the TCP header.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// How many IPv6 extension headers are stepped over. Real packets carry at most hop-by-hop, destination options,
/// routing and fragment, and a SYN hardly any.
const MAX_EXTENSIONS: usize = 4;

/// The headers of a SYN or SYN+ACK.
pub struct Handshake {
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub client_port: u16,
    pub server_port: u16,
    pub family: u8,
    pub acknowledges: bool,
}

/// Whether the packet is IPv4 or IPv6 by `skb->protocol`.
#[inline(always)]
pub fn is_ip(skb: Object) -> bool {
    let protocol = ether_type(skb);
    protocol == ETH_P_IP || protocol == ETH_P_IPV6
}

/// The headers, if this is a SYN or SYN+ACK.
#[inline(always)]
pub fn handshake(skb: Object) -> Option<Handshake> {
    // SAFETY: typed loads at the offsets of these fields.
    let (head, network_header): (u64, u16) =
        unsafe { (load(skb, layout!(skb_head)), load(skb, layout!(skb_network_header))) };
    let network = head + u64::from(network_header);
    if ether_type(skb) == ETH_P_IP { ipv4(network) } else { ipv6(network) }
}

#[inline(always)]
fn ether_type(skb: Object) -> u16 {
    // SAFETY: a typed load at the offset of `protocol`.
    u16::from_be(unsafe { load(skb, layout!(skb_protocol)) })
}

#[inline(always)]
fn ipv4(network: u64) -> Option<Handshake> {
    // One read takes both headers of a packet without options, which is nearly every one.
    let packet: [u8; IPV4_LEN + TCP_LEN] = read(network)?;
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
    if packet[0] >> 4 != FAMILY_IPV4 || header_len < IPV4_LEN || packet[9] != TCP || fragment_offset != 0 {
        return None;
    }
    let segment: [u8; TCP_LEN] = if header_len == IPV4_LEN {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l, m, n] = packet;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    } else {
        read(network + header_len as u64)?
    };
    let Ports { client, server, acknowledges } = opening(&segment)?;
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src[..4].copy_from_slice(&packet[12..16]);
    dst[..4].copy_from_slice(&packet[16..20]);
    Some(Handshake { src, dst, client_port: client, server_port: server, family: FAMILY_IPV4, acknowledges })
}

#[inline(always)]
fn ipv6(network: u64) -> Option<Handshake> {
    let header: [u8; IPV6_LEN] = read(network)?;
    if header[0] >> 4 != FAMILY_IPV6 {
        return None;
    }
    let segment: [u8; TCP_LEN] = read(transport(network, header[6])?)?;
    let Ports { client, server, acknowledges } = opening(&segment)?;
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    Some(Handshake { src, dst, client_port: client, server_port: server, family: FAMILY_IPV6, acknowledges })
}

/// Where the TCP header of an IPv6 packet starts, past at most [`MAX_EXTENSIONS`] extension headers.
#[inline(always)]
fn transport(network: u64, first: u8) -> Option<u64> {
    /// Hop-by-hop options, routing, fragment, authentication, destination options (RFC 8200 section 4, RFC 4302).
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    let mut next = first;
    let mut at = network + IPV6_LEN as u64;
    for _ in 0..MAX_EXTENSIONS {
        if next == TCP {
            return Some(at);
        }
        let extension: [u8; 4] = read(at)?;
        let len = u64::from(extension[1]);
        at += match next {
            HOP_BY_HOP | ROUTING | DESTINATION => (len + 1) * 8,
            AUTHENTICATION => (len + 2) * 4,
            // Only the first fragment has the TCP header.
            FRAGMENT if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 == 0 => 8,
            _ => return None,
        };
        next = extension[0];
    }
    if next == TCP { Some(at) } else { None }
}

/// The ports of a segment, by role.
struct Ports {
    client: u16,
    server: u16,
    acknowledges: bool,
}

/// The ports if this is a SYN or a SYN+ACK; later segments say nothing of reachability.
#[inline(always)]
fn opening(segment: &[u8; TCP_LEN]) -> Option<Ports> {
    let flags = segment[13];
    if flags & (SYN | RST | FIN) != SYN {
        return None;
    }
    let src = u16::from_be_bytes([segment[0], segment[1]]);
    let dst = u16::from_be_bytes([segment[2], segment[3]]);
    Some(if flags & ACK == 0 {
        Ports { client: src, server: dst, acknowledges: false }
    } else {
        Ports { client: dst, server: src, acknowledges: true }
    })
}

#[inline(always)]
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T).ok() }
}

//! Reads the headers of a packet that may open or answer a TCP connection.
//!
//! It reads what is at `skb->head + network_header` and nothing else: no VLAN, no tunnel, no payload.

use abi::{FAMILY_IPV4, FAMILY_IPV6};
use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::layout;
use crate::object::{Object, load};

/// IANA number of TCP.
pub const TCP: u8 = 6;

/// `ETH_P_IP` and `ETH_P_IPV6` (include/uapi/linux/if_ether.h).
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// An IPv4 header without options (RFC 791). Fields wider than a byte are in network order, here and below.
#[repr(C)]
struct Ipv4 {
    version_and_len: u8,
    _service: u8,
    _total_len: u16,
    _id: u16,
    fragment: u16,
    _ttl: u8,
    protocol: u8,
    _checksum: u16,
    src: u32,
    dst: u32,
}

/// An IPv6 header (RFC 8200).
#[repr(C)]
struct Ipv6 {
    version: u8,
    _class_and_label: [u8; 3],
    _payload_len: u16,
    next: u8,
    _hop_limit: u8,
    src: [u32; 4],
    dst: [u32; 4],
}

/// The start of an IPv6 extension header.
#[repr(C)]
struct Extension {
    next: u8,
    len: u8,
    /// In a fragment header: the offset in units of eight bytes, and three flags.
    fragment: u16,
}

/// The start of a TCP header (RFC 9293).
#[repr(C)]
struct Tcp {
    src: u16,
    dst: u16,
    _sequence: u32,
    _acknowledgement: u32,
    _data_offset: u8,
    flags: u8,
    _window: u16,
}

/// Both headers of an IPv4 packet without options, which is nearly every one.
#[repr(C)]
struct Ipv4Tcp {
    ip: Ipv4,
    tcp: Tcp,
}

const _: () = assert!(size_of::<Ipv4>() == 20 && size_of::<Ipv6>() == 40 && size_of::<Tcp>() == 16);
const _: () = assert!(size_of::<Extension>() == 4 && size_of::<Ipv4Tcp>() == 36);

/// TCP flags.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// How many IPv6 extension headers are stepped over. Real packets carry at most hop-by-hop, destination options,
/// routing and fragment, and a SYN hardly any.
const MAX_EXTENSIONS: usize = 4;

/// The headers of a SYN or SYN+ACK.
pub struct Handshake {
    pub src: [u32; 4],
    pub dst: [u32; 4],
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
    let Ipv4Tcp { ip, mut tcp } = read(network)?;
    let header_len = u64::from(ip.version_and_len & 0x0f) * 4;
    if ip.version_and_len >> 4 != FAMILY_IPV4
        || header_len < size_of::<Ipv4>() as u64
        || ip.protocol != TCP
        || u16::from_be(ip.fragment) & 0x1fff != 0
    {
        return None;
    }
    if header_len != size_of::<Ipv4>() as u64 {
        tcp = read(network + header_len)?;
    }
    opening(&tcp, FAMILY_IPV4, [ip.src, 0, 0, 0], [ip.dst, 0, 0, 0])
}

#[inline(always)]
fn ipv6(network: u64) -> Option<Handshake> {
    let ip: Ipv6 = read(network)?;
    if ip.version >> 4 != FAMILY_IPV6 {
        return None;
    }
    let tcp: Tcp = read(transport(network, ip.next)?)?;
    opening(&tcp, FAMILY_IPV6, ip.src, ip.dst)
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
    let mut at = network + size_of::<Ipv6>() as u64;
    for _ in 0..MAX_EXTENSIONS {
        if next == TCP {
            return Some(at);
        }
        let extension: Extension = read(at)?;
        let len = u64::from(extension.len);
        at += match next {
            HOP_BY_HOP | ROUTING | DESTINATION => (len + 1) * 8,
            AUTHENTICATION => (len + 2) * 4,
            // Only the first fragment has the TCP header.
            FRAGMENT if u16::from_be(extension.fragment) & 0xfff8 == 0 => 8,
            _ => return None,
        };
        next = extension.next;
    }
    if next == TCP { Some(at) } else { None }
}

/// The headers with the ports by role, if this is a SYN or a SYN+ACK; later segments say nothing of reachability.
#[inline(always)]
fn opening(tcp: &Tcp, family: u8, src: [u32; 4], dst: [u32; 4]) -> Option<Handshake> {
    if tcp.flags & (SYN | RST | FIN) != SYN {
        return None;
    }
    let acknowledges = tcp.flags & ACK != 0;
    let (from, to) = (u16::from_be(tcp.src), u16::from_be(tcp.dst));
    let (client_port, server_port) = if acknowledges { (to, from) } else { (from, to) };
    Some(Handshake { src, dst, client_port, server_port, family, acknowledges })
}

#[inline(always)]
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T).ok() }
}

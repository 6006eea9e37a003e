//! Answers of nf_tables as bytes: read, and repaired so that a random change does not make them end at once.

use model::node_state::NodeState;
use rules::Host;
use rules::nft::netlink::{Interfaces, Printing, Reading};

use super::walks;

/// Header of a message, and what nfnetlink puts behind it (`struct nlmsghdr`, `struct nfgenmsg`).
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// Header of an attribute (`struct nlattr`).
const ATTRIBUTE: usize = 4;
/// nf_tables sets no flag on attributes that hold attributes (`nla_nest_start_noflag`), so they are guessed: the first
/// attribute inside fits and has one of the numbers in use.
const NUMBERS: u16 = 32;
/// Expressions in elements in sets lie this deep; what only looks like attributes may lie deeper.
const DEPTH: u32 = 12;

/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const WALKED: [u8; 3] = [1, 2, 10];

/// Reads one datagram and walks through its rules; read by way of a listing they must be the same.
pub fn read(datagram: &[u8]) {
    let interfaces = Interfaces::from([(1, "lo".to_owned()), (2, "eth0".to_owned())]);
    let mut reading = Reading::new(interfaces.clone(), |_, _| false);
    reading.take(datagram);
    let direct = Host::reading(&mut walks::network(), reading.finish());
    walks::all(&direct);
    let mut printing = Printing::new(interfaces);
    printing.take(datagram);
    let (nftables, problems) = printing.finish();
    // Of other families a listing holds everything and a reading nothing. The kernel sends one table after the other; where
    // others come between, what belongs to a table depends on whether they are looked at.
    if problems.is_empty() && families(datagram).all(|family| WALKED.contains(&family)) {
        let printed = Host::new(&NodeState { nftables, ..walks::network() });
        walks::same(&direct, &printed);
    }
}

/// The family of each message.
fn families(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).unwrap_or(usize::MAX);
        let family = rest.get(HEADER).copied();
        rest = rest.get(length.max(HEADER).checked_next_multiple_of(4)?..).unwrap_or_default();
        family
    })
}

/// Makes the length of every message and attribute one that fits where it is.
pub fn fit(mut rest: &mut [u8]) {
    while rest.len() >= HEADER + FAMILY {
        let length = usize::try_from(u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]));
        let length = length.unwrap_or(usize::MAX).clamp(HEADER + FAMILY, rest.len());
        let told = u32::try_from(length).unwrap_or(u32::MAX);
        rest[..4].copy_from_slice(&told.to_ne_bytes());
        attributes(&mut rest[HEADER + FAMILY..length], DEPTH);
        let next = length.next_multiple_of(4).min(rest.len());
        rest = &mut rest[next..];
    }
}

fn attributes(mut rest: &mut [u8], depth: u32) {
    while rest.len() >= ATTRIBUTE {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]])).clamp(ATTRIBUTE, rest.len());
        let told = u16::try_from(length).unwrap_or(u16::MAX);
        rest[..2].copy_from_slice(&told.to_ne_bytes());
        let inside = &mut rest[ATTRIBUTE..length.min(usize::from(told))];
        if depth > 0 && has_attributes(inside) {
            attributes(inside, depth - 1);
        }
        let next = usize::from(told).next_multiple_of(4).min(rest.len());
        rest = &mut rest[next..];
    }
}

fn has_attributes(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.first_chunk() else { return false };
    let (length, number) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
    (ATTRIBUTE..=bytes.len()).contains(&length) && (1..=NUMBERS).contains(&number)
}

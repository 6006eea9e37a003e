//! One aggregated drop: its key, its value, and the counters that tell what the aggregation lost.
//!
//! These are raw kernel facts (numbers, addresses, code addresses); putting names to them is the reader's business.

/// The packet carried SYN.
pub const FLAG_SYN: u32 = 1;

/// The packet carried ACK as well: the answering half of the handshake.
pub const FLAG_ACK: u32 = 2;

/// [`DropKey::family`] of an IPv4 packet.
pub const FAMILY_IPV4: u8 = 4;

/// [`DropKey::family`] of an IPv6 packet.
pub const FAMILY_IPV6: u8 = 6;

/// What makes two dropped packets the same drop. The client's port is left out: a retry changes it, and a flood of
/// random ports would make every packet a drop of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct DropKey {
    /// Net cookie of the namespace; 0 if neither a device nor a socket told it.
    pub netns: u64,
    /// Address of the code that freed the packet.
    pub location: u64,
    /// Source address, its bytes in memory as in the packet; IPv4 in the first word, the rest zero.
    pub src: [u32; 4],
    /// Destination address, likewise.
    pub dst: [u32; 4],
    /// The kernel's drop reason; 0 on kernels that pass none.
    pub reason: u32,
    /// [`FLAG_SYN`], [`FLAG_ACK`].
    pub flags: u32,
    /// The server's port in host order: destination port of a SYN, source port of a SYN+ACK.
    pub server_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// [`FAMILY_IPV4`] or [`FAMILY_IPV6`].
    pub family: u8,
    /// Always zero.
    pub padding: u32,
}

/// What is known of all packets of one drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropValue {
    /// Packets.
    pub count: u64,
    /// `bpf_ktime_get_ns` (`CLOCK_MONOTONIC`) of the first.
    pub first_ns: u64,
    /// The same of the latest.
    pub last_ns: u64,
    /// `skb->mark` of the latest.
    pub mark: u32,
    /// Interface the latest arrived on; 0 if it was sent from here.
    pub in_ifindex: u32,
    /// Interface the latest belonged to when it was dropped (the outgoing one after routing); 0 if none.
    pub ifindex: u32,
    /// The client's port in the latest, host order: source port of a SYN, destination port of a SYN+ACK.
    pub client_port: u16,
    /// Always zero.
    pub padding: u16,
}

/// What the totals are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct TotalKey {
    /// Net cookie of the namespace.
    pub netns: u64,
    /// The kernel's drop reason.
    pub reason: u32,
    /// Always zero.
    pub padding: u32,
}

/// Places in the per-CPU counter array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Packets meant for the first drop map, whether they found room there or not.
    SeenFirst = 0,
    /// Packets meant for the second drop map, likewise.
    SeenSecond = 1,
    /// Packets that found the drop map full.
    NoRoom = 2,
    /// Packets that found the totals full.
    NoRoomInTotals = 3,
    /// Packets whose namespace neither a device nor a socket told, while only some namespaces count.
    NoNetns = 4,
}

impl Counter {
    /// How many there are.
    pub const LEN: u32 = 5;

    /// Its place.
    pub const fn index(self) -> u32 {
        self as u32
    }
}

const _: () = assert!(size_of::<DropKey>() == 64 && align_of::<DropKey>() == 8);
const _: () = assert!(size_of::<DropValue>() == 40 && align_of::<DropValue>() == 8);
const _: () = assert!(size_of::<TotalKey>() == 16 && align_of::<TotalKey>() == 8);

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    /// Each field begins where the one before it ends, so no byte is left to the compiler.
    #[test]
    fn every_byte_belongs_to_a_field() {
        let key = [
            (offset_of!(DropKey, netns), 8),
            (offset_of!(DropKey, location), 8),
            (offset_of!(DropKey, src), 16),
            (offset_of!(DropKey, dst), 16),
            (offset_of!(DropKey, reason), 4),
            (offset_of!(DropKey, flags), 4),
            (offset_of!(DropKey, server_port), 2),
            (offset_of!(DropKey, protocol), 1),
            (offset_of!(DropKey, family), 1),
            (offset_of!(DropKey, padding), 4),
        ];
        let value = [
            (offset_of!(DropValue, count), 8),
            (offset_of!(DropValue, first_ns), 8),
            (offset_of!(DropValue, last_ns), 8),
            (offset_of!(DropValue, mark), 4),
            (offset_of!(DropValue, in_ifindex), 4),
            (offset_of!(DropValue, ifindex), 4),
            (offset_of!(DropValue, client_port), 2),
            (offset_of!(DropValue, padding), 2),
        ];
        let total = [
            (offset_of!(TotalKey, netns), 8),
            (offset_of!(TotalKey, reason), 4),
            (offset_of!(TotalKey, padding), 4),
        ];
        for (name, fields, size) in [
            ("DropKey", key.as_slice(), size_of::<DropKey>()),
            ("DropValue", value.as_slice(), size_of::<DropValue>()),
            ("TotalKey", total.as_slice(), size_of::<TotalKey>()),
        ] {
            let end = fields.iter().fold(0, |end, &(offset, len)| {
                assert_eq!(offset, end, "{name} has a gap");
                end + len
            });
            assert_eq!(end, size, "{name} has a tail");
        }
    }

    #[test]
    fn counters_have_places_of_their_own_within_the_array() {
        let all = [
            Counter::SeenFirst,
            Counter::SeenSecond,
            Counter::NoRoom,
            Counter::NoRoomInTotals,
            Counter::NoNetns,
        ];
        assert!(all.iter().enumerate().all(|(place, counter)| counter.index() as usize == place));
        assert_eq!(all.len(), Counter::LEN as usize);
    }
}

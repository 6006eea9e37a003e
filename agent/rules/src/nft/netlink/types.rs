//! The data types of nft: what a constant in a register or an element stands for, and how nft writes it.
//!
//! Numbers of types are those that nft stores with a set (`enum datatypes`, nftables include/datatype.h); the kernel
//! keeps them without understanding them.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::tree::Value;
use super::symbols;

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Nobody said.
    Invalid,
    Verdict,
    NfProto,
    Bitmask,
    Integer,
    /// An integer that the kernel keeps in the machine's order.
    HostInteger,
    Text,
    LinkAddress,
    Ipv4,
    Ipv6,
    Ether,
    EtherKind,
    ArpOp,
    Protocol,
    Port,
    IcmpKind,
    TcpFlags,
    DccpKind,
    MhKind,
    Time,
    Mark,
    Interface,
    ArpHardware,
    Realm,
    ClassId,
    Uid,
    Gid,
    CtState,
    Direction,
    CtStatus,
    Icmpv6Kind,
    CtLabel,
    PacketKind,
    IcmpCode,
    Icmpv6Code,
    IcmpxCode,
    Group,
    Dscp,
    Ecn,
    AddressKind,
    Boolean,
    CtEvent,
    InterfaceName,
    IgmpKind,
    Date,
    Hour,
    Day,
    Cgroup,
}

/// By number: type, nft's name for it, bytes of a value (0: it depends), whether it is in the machine's order.
const TYPES: [(Type, &str, usize, bool); 47] = [
    (Type::Invalid, "invalid", 0, false),
    (Type::Verdict, "verdict", 0, true),
    (Type::NfProto, "nf_proto", 1, true),
    (Type::Bitmask, "bitmask", 0, true),
    (Type::Integer, "integer", 0, false),
    (Type::Text, "string", 0, true),
    (Type::LinkAddress, "ll_addr", 0, false),
    (Type::Ipv4, "ipv4_addr", 4, false),
    (Type::Ipv6, "ipv6_addr", 16, false),
    (Type::Ether, "ether_addr", 6, false),
    (Type::EtherKind, "ether_type", 2, false),
    (Type::ArpOp, "arp_op", 2, false),
    (Type::Protocol, "inet_proto", 1, false),
    (Type::Port, "inet_service", 2, false),
    (Type::IcmpKind, "icmp_type", 1, false),
    (Type::TcpFlags, "tcp_flag", 1, false),
    (Type::DccpKind, "dccp_pkttype", 1, false),
    (Type::MhKind, "mh_type", 1, false),
    (Type::Time, "time", 0, true),
    (Type::Mark, "mark", 4, true),
    (Type::Interface, "iface_index", 4, true),
    (Type::ArpHardware, "iface_type", 2, true),
    (Type::Realm, "realm", 4, true),
    (Type::ClassId, "classid", 4, true),
    (Type::Uid, "uid", 4, true),
    (Type::Gid, "gid", 4, true),
    (Type::CtState, "ct_state", 4, true),
    (Type::Direction, "ct_dir", 1, false),
    (Type::CtStatus, "ct_status", 4, true),
    (Type::Icmpv6Kind, "icmpv6_type", 1, false),
    (Type::CtLabel, "ct_label", 16, true),
    (Type::PacketKind, "pkt_type", 1, true),
    (Type::IcmpCode, "icmp_code", 1, false),
    (Type::Icmpv6Code, "icmpv6_code", 1, false),
    (Type::IcmpxCode, "icmpx_code", 1, false),
    (Type::Group, "devgroup", 4, true),
    (Type::Dscp, "dscp", 1, false),
    (Type::Ecn, "ecn", 1, false),
    (Type::AddressKind, "fib_addrtype", 4, true),
    (Type::Boolean, "boolean", 1, false),
    (Type::CtEvent, "ct_event", 4, true),
    (Type::InterfaceName, "ifname", 16, true),
    (Type::IgmpKind, "igmp_type", 1, false),
    (Type::Date, "time", 8, true),
    (Type::Hour, "hour", 4, true),
    (Type::Day, "day", 1, false),
    (Type::Cgroup, "cgroupsv2", 8, true),
];

/// Bits of one type's number where several are joined.
const TYPE_BITS: u32 = 6;
/// Values joined in a key; there is room for no more in the number of the joined type.
const JOINED: usize = 5;
const SECONDS_OF_DAY: u64 = 24 * 60 * 60;

/// Turns an interface's index into its name.
pub(super) type Names<'n> = &'n dyn Fn(u32) -> Option<String>;

impl Type {
    /// The types joined in a number, first to last.
    pub(super) fn of_number(number: u32) -> Vec<Self> {
        let mut types = Vec::with_capacity(1);
        let mut rest = number;
        while rest != 0 && types.len() < JOINED {
            let one = rest & ((1 << TYPE_BITS) - 1);
            types.push(TYPES.get(one as usize).map_or(Self::Invalid, |entry| entry.0));
            rest >>= TYPE_BITS;
        }
        types.reverse();
        if types.is_empty() { vec![Self::Invalid] } else { types }
    }

    fn entry(self) -> &'static (Self, &'static str, usize, bool) {
        let plain = if self == Self::HostInteger { Self::Integer } else { self };
        TYPES.iter().find(|entry| entry.0 == plain).unwrap_or(&TYPES[0])
    }

    /// As `nft describe` names it.
    pub(super) fn name(self) -> &'static str {
        self.entry().1
    }

    /// Bytes of a value; 0 if that depends on where it comes from.
    pub(super) fn size(self) -> usize {
        self.entry().2
    }

    /// Whether values lie in the machine's order where nothing has turned them.
    pub(super) fn is_host_order(self) -> bool {
        self == Self::HostInteger || self.entry().3
    }

    /// Whether ranges are written as prefixes where they are some.
    pub(super) const fn has_prefixes(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }

    /// Whether a value is a set of flags.
    pub(super) const fn is_flags(self) -> bool {
        matches!(
            self,
            Self::CtState | Self::CtStatus | Self::TcpFlags | Self::CtLabel | Self::CtEvent | Self::Bitmask
        )
    }

    /// Whether a value is a text and not a number.
    pub(super) const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::InterfaceName)
    }
}

/// A number from bytes in network order, or in the machine's. `None`: more than 16 bytes.
pub(super) fn number(bytes: &[u8], host_order: bool) -> Option<u128> {
    let add = |number: u128, byte: &u8| (number << 8) | u128::from(*byte);
    match bytes.len() {
        0..=16 if host_order && cfg!(target_endian = "little") => Some(bytes.iter().rev().fold(0, add)),
        0..=16 => Some(bytes.iter().fold(0, add)),
        _ => None,
    }
}

/// A value as nft writes it in JSON.
pub(super) fn value<'v>(kind: Type, number: u128, names: Names<'_>) -> Value<'v> {
    let small = || u32::try_from(number).ok();
    let word = |word: &'static str| Value::text(word);
    match kind {
        Type::Ipv4 => match small() {
            Some(bits) => Value::text(Ipv4Addr::from_bits(bits).to_string()),
            None => plain(number),
        },
        Type::Ipv6 => Value::text(Ipv6Addr::from_bits(number).to_string()),
        Type::Ether | Type::LinkAddress => Value::text(ether(number)),
        Type::Interface => {
            let name = small().and_then(names);
            Value::text(name.unwrap_or_else(|| number.to_string()))
        }
        Type::Realm => Value::text(number.to_string()),
        Type::ClassId => Value::text(class(number)),
        Type::Boolean => match number {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => plain(number),
        },
        Type::Time => plain(number / 1000),
        Type::Hour => Value::text(clock(u64::try_from(number).unwrap_or_default(), false)),
        Type::Date => Value::text(date(number)),
        _ => small().and_then(|number| symbols::name(kind, number)).map_or_else(|| plain(number), word),
    }
}

/// Flags as a list of their names; a number if one of them has none.
pub(super) fn flags<'v>(kind: Type, number: u128) -> Value<'v> {
    if kind == Type::CtLabel {
        // nft names a label by the number of its bit.
        return match (number.count_ones(), number.trailing_zeros()) {
            (1, bit) => plain(bit.into()),
            _ => plain(number),
        };
    }
    let Ok(number) = u32::try_from(number) else { return plain(number) };
    let mut words = Vec::new();
    for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| number & bit != 0) {
        match symbols::name(kind, bit) {
            Some(word) => words.push(Value::text(word)),
            None => return plain(number.into()),
        }
    }
    match words.len() {
        0 => plain(0),
        1 => words.remove(0),
        _ => Value::Array(words),
    }
}

/// A name in a register: up to its NUL, or the beginning of one.
pub(super) fn name(bytes: &[u8], whole: usize) -> Option<Value<'_>> {
    let end = memchr::memchr(0, bytes);
    let text = std::str::from_utf8(bytes.get(..end.unwrap_or(bytes.len()))?).ok()?;
    let cut = end.is_none() && bytes.len() < whole;
    Some(match (cut, text.strip_suffix('*')) {
        (true, _) => Value::text(format!("{text}*")),
        // A star that is part of the name.
        (false, Some(start)) => Value::text(format!("{start}\\*")),
        (false, None) => Value::text(Cow::Borrowed(text)),
    })
}

/// A value, or a range of values: as a prefix where that is usual.
pub(super) fn range<'v>(
    kind: Type,
    low: &[u8],
    high: &[u8],
    host_order: bool,
    names: Names<'_>,
) -> Option<Value<'v>> {
    if kind.is_text() {
        return text_range(low, high);
    }
    let (first, last) = (number(low, host_order)?, number(high, host_order)?);
    let one = |number| value(kind, number, names);
    if first == last {
        return Some(one(first));
    }
    let differ = first ^ last;
    let is_prefix = differ & first == 0 && differ & differ.wrapping_add(1) == 0;
    if kind.has_prefixes() && is_prefix {
        let width = u32::try_from(low.len() * 8).ok()?;
        let length = width.checked_sub(u128::BITS - differ.leading_zeros())?;
        return Some(Value::under(
            "prefix",
            Value::object([("addr", one(first)), ("len", Value::number(length))]),
        ));
    }
    Some(Value::under("range", Value::Array(vec![one(first), one(last)])))
}

/// A name, or all names that begin so.
fn text_range<'v>(low: &[u8], high: &[u8]) -> Option<Value<'v>> {
    if low == high {
        return name(low, low.len()).as_ref().map(owned);
    }
    let same = low.iter().zip(high).take_while(|(low, high)| low == high).count();
    let (begin, rest) = low.split_at_checked(same)?;
    let open = rest.iter().all(|byte| *byte == 0) && high.get(same..)?.iter().all(|byte| *byte == u8::MAX);
    open.then(|| Value::text(format!("{}*", String::from_utf8_lossy(begin))))
}

fn owned<'v>(value: &Value<'_>) -> Value<'v> {
    Value::text(value.as_str().unwrap_or_default().to_owned())
}

/// A number, as far as JSON has room for it.
fn plain<'v>(number: u128) -> Value<'v> {
    match u64::try_from(number) {
        Ok(number) => Value::number(number),
        Err(_) => Value::text(format!("0x{number:x}")),
    }
}

fn ether(number: u128) -> String {
    let bytes = number.to_be_bytes().map(|byte| format!("{byte:02x}"));
    bytes.get(10..).unwrap_or_default().join(":")
}

/// A traffic class.
fn class(number: u128) -> String {
    match (number, number >> 16, number & 0xffff) {
        (0, ..) => "none".to_owned(),
        (0xffff_ffff, ..) => "root".to_owned(),
        (_, major, 0) => format!("{major:x}:"),
        (_, major, minor) => format!("{major:x}:{minor:x}"),
    }
}

/// A time of day, in UTC: this is no place to ask for time zones.
fn clock(seconds: u64, full: bool) -> String {
    let seconds = seconds % SECONDS_OF_DAY;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if seconds == 0 && !full {
        format!("{hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// Nanoseconds since 1970 as a date in UTC.
fn date(nanoseconds: u128) -> String {
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default();
    // Howard Hinnant's `civil_from_days`, for days from 1970 on.
    let days = seconds / SECONDS_OF_DAY + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {}", clock(seconds, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_types_are_those_of_nft() {
        assert_eq!(Type::of_number(7), [Type::Ipv4]);
        // `nft describe` of `ipv4_addr . inet_proto . inet_service`.
        assert_eq!(Type::of_number((0x7 << 12) | (0xc << 6) | 0xd), [Type::Ipv4, Type::Protocol, Type::Port]);
        assert_eq!(Type::of_number(0), [Type::Invalid]);
        assert_eq!(Type::of_number(u32::MAX).len(), JOINED);
        for (index, (kind, ..)) in TYPES.iter().enumerate().skip(1) {
            assert_eq!(Type::of_number(u32::try_from(index).expect("small")), [*kind]);
        }
    }

    #[test]
    fn values_are_written_as_nft_writes_them() {
        let write =
            |kind, number| value(kind, number, &|index| (index == 1).then(|| "lo".to_owned())).to_string();
        assert_eq!(write(Type::Ipv4, 0x0102_0304), "\"1.2.3.4\"");
        assert_eq!(write(Type::Interface, 1), "\"lo\"");
        assert_eq!(write(Type::Interface, 9), "\"9\"");
        assert_eq!(write(Type::Date, 1_767_261_787_000_000_000), "\"2026-01-01 10:03:07\"");
        assert_eq!(write(Type::Hour, 36_000), "\"10:00\"");
        assert_eq!(write(Type::Protocol, 6), "\"tcp\"");
        assert_eq!(write(Type::Protocol, 200), "200");
        assert_eq!(flags(Type::CtState, 6).to_string(), "[\"established\",\"related\"]");
        assert_eq!(name(b"eth", 16).expect("text").to_string(), "\"eth*\"");
        assert_eq!(name(b"eth*\0\0\0\0\0\0\0\0\0\0\0\0", 16).expect("text"), Value::text("eth\\*"));
    }
}

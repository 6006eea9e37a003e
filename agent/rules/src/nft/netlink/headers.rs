//! Fields of packet headers, extension headers and options, by the names that nft gives them.
//!
//! Offsets and lengths are in bits and follow the protocols' specifications.

use super::expression::Base;
use super::types::Type;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) offset: u32,
    pub(super) bits: u32,
    pub(super) kind: Type,
}

/// A protocol's header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) base: Base,
    pub(super) fields: &'static [Field],
}

const fn field(name: &'static str, offset: u32, bits: u32, kind: Type) -> Field {
    Field { name, offset, bits, kind }
}

const fn plain(name: &'static str, offset: u32, bits: u32) -> Field {
    field(name, offset, bits, Type::Integer)
}

const SPORT: Field = field("sport", 0, 16, Type::Port);
const DPORT: Field = field("dport", 16, 16, Type::Port);

/// RFC 791, RFC 2474, RFC 3168.
pub(super) static IP: Header = Header {
    name: "ip",
    base: Base::Network,
    fields: &[
        plain("version", 0, 4),
        plain("hdrlength", 4, 4),
        field("dscp", 8, 6, Type::Dscp),
        field("ecn", 14, 2, Type::Ecn),
        plain("length", 16, 16),
        plain("id", 32, 16),
        plain("frag-off", 48, 16),
        plain("ttl", 64, 8),
        field("protocol", 72, 8, Type::Protocol),
        plain("checksum", 80, 16),
        field("saddr", 96, 32, Type::Ipv4),
        field("daddr", 128, 32, Type::Ipv4),
    ],
};
/// RFC 8200.
pub(super) static IP6: Header = Header {
    name: "ip6",
    base: Base::Network,
    fields: &[
        plain("version", 0, 4),
        field("dscp", 4, 6, Type::Dscp),
        field("ecn", 10, 2, Type::Ecn),
        plain("flowlabel", 12, 20),
        plain("length", 32, 16),
        field("nexthdr", 48, 8, Type::Protocol),
        plain("hoplimit", 56, 8),
        field("saddr", 64, 128, Type::Ipv6),
        field("daddr", 192, 128, Type::Ipv6),
    ],
};
/// RFC 826, with IPv4 over Ethernet.
pub(super) static ARP: Header = Header {
    name: "arp",
    base: Base::Network,
    fields: &[
        field("htype", 0, 16, Type::ArpHardware),
        field("ptype", 16, 16, Type::EtherKind),
        plain("hlen", 32, 8),
        plain("plen", 40, 8),
        field("operation", 48, 16, Type::ArpOp),
        field("saddr ether", 64, 48, Type::Ether),
        field("saddr ip", 112, 32, Type::Ipv4),
        field("daddr ether", 144, 48, Type::Ether),
        field("daddr ip", 192, 32, Type::Ipv4),
    ],
};
pub(super) static ETHER: Header = Header {
    name: "ether",
    base: Base::Link,
    fields: &[
        field("daddr", 0, 48, Type::Ether),
        field("saddr", 48, 48, Type::Ether),
        field("type", 96, 16, Type::EtherKind),
    ],
};
/// IEEE 802.1Q, behind the addresses and the type of Ethernet.
pub(super) static VLAN: Header = Header {
    name: "vlan",
    base: Base::Link,
    fields: &[
        plain("pcp", 112, 3),
        plain("dei", 115, 1),
        plain("id", 116, 12),
        field("type", 128, 16, Type::EtherKind),
    ],
};
/// RFC 9293.
static TCP: Header = Header {
    name: "tcp",
    base: Base::Transport,
    fields: &[
        SPORT,
        DPORT,
        plain("sequence", 32, 32),
        plain("ackseq", 64, 32),
        plain("doff", 96, 4),
        plain("reserved", 100, 4),
        field("flags", 104, 8, Type::TcpFlags),
        plain("window", 112, 16),
        plain("checksum", 128, 16),
        plain("urgptr", 144, 16),
    ],
};
static UDP: Header = Header {
    name: "udp",
    base: Base::Transport,
    fields: &[SPORT, DPORT, plain("length", 32, 16), plain("checksum", 48, 16)],
};
static UDPLITE: Header = Header {
    name: "udplite",
    base: Base::Transport,
    fields: &[SPORT, DPORT, plain("csumcov", 32, 16), plain("checksum", 48, 16)],
};
static SCTP: Header = Header {
    name: "sctp",
    base: Base::Transport,
    fields: &[SPORT, DPORT, plain("vtag", 32, 32), plain("checksum", 64, 32)],
};
static DCCP: Header = Header {
    name: "dccp",
    base: Base::Transport,
    fields: &[SPORT, DPORT, field("type", 67, 4, Type::DccpKind)],
};
static ICMP: Header = Header {
    name: "icmp",
    base: Base::Transport,
    fields: &[
        field("type", 0, 8, Type::IcmpKind),
        field("code", 8, 8, Type::IcmpCode),
        plain("checksum", 16, 16),
        plain("id", 32, 16),
        plain("sequence", 48, 16),
        plain("gateway", 32, 32),
    ],
};
/// Fields that are there in messages of one type only: the header's name, the type, the field.
static OF_MESSAGES: [(&str, u8, Field); 3] = [
    ("icmp", 3, plain("mtu", 48, 16)),
    ("icmpv6", 2, plain("mtu", 32, 32)),
    ("icmpv6", 4, plain("parameter-problem", 32, 32)),
];
static ICMPV6: Header = Header {
    name: "icmpv6",
    base: Base::Transport,
    fields: &[
        field("type", 0, 8, Type::Icmpv6Kind),
        field("code", 8, 8, Type::Icmpv6Code),
        plain("checksum", 16, 16),
        plain("id", 32, 16),
        plain("sequence", 48, 16),
        plain("mtu", 32, 32),
    ],
};
static IGMP: Header = Header {
    name: "igmp",
    base: Base::Transport,
    fields: &[
        field("type", 0, 8, Type::IgmpKind),
        plain("mrt", 8, 8),
        plain("checksum", 16, 16),
        field("group", 32, 32, Type::Ipv4),
    ],
};
static AH: Header = Header {
    name: "ah",
    base: Base::Transport,
    fields: &[
        field("nexthdr", 0, 8, Type::Protocol),
        plain("hdrlength", 8, 8),
        plain("reserved", 16, 16),
        plain("spi", 32, 32),
        plain("sequence", 64, 32),
    ],
};
static ESP: Header =
    Header { name: "esp", base: Base::Transport, fields: &[plain("spi", 0, 32), plain("sequence", 32, 32)] };
static COMP: Header = Header {
    name: "comp",
    base: Base::Transport,
    fields: &[field("nexthdr", 0, 8, Type::Protocol), plain("flags", 8, 8), plain("cpi", 16, 16)],
};
/// Whatever protocol it is: nft's name for the ports where none is asked for.
pub(super) static TH: Header = Header { name: "th", base: Base::Transport, fields: &[SPORT, DPORT] };

/// The header of a transport protocol.
pub(super) fn transport(protocol: u8) -> Option<&'static Header> {
    Some(match protocol {
        1 => &ICMP,
        2 => &IGMP,
        6 => &TCP,
        17 => &UDP,
        33 => &DCCP,
        50 => &ESP,
        51 => &AH,
        58 => &ICMPV6,
        108 => &COMP,
        132 => &SCTP,
        136 => &UDPLITE,
        _ => return None,
    })
}

/// The header of a network protocol by its type in Ethernet.
pub(super) fn network(ether_type: u16) -> Option<&'static Header> {
    Some(match ether_type {
        0x0800 => &IP,
        0x0806 => &ARP,
        0x86dd => &IP6,
        0x8100 | 0x88a8 => &VLAN,
        _ => return None,
    })
}

/// A field of a type of message.
pub(super) fn of_message(header: &Header, kind: u8, offset: u32, bits: u32) -> Option<&'static Field> {
    let wanted = (header.name, kind, offset, bits);
    let found =
        OF_MESSAGES.iter().find(|(name, kind, field)| (*name, *kind, field.offset, field.bits) == wanted);
    found.map(|(.., field)| field)
}

impl Header {
    pub(super) fn find(&self, offset: u32, bits: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| (field.offset, field.bits) == (offset, bits))
    }

    /// Fields that fill these bits one after the other.
    pub(super) fn fill(&self, offset: u32, bits: u32) -> Option<Vec<&'static Field>> {
        let (mut at, end) = (offset, offset.checked_add(bits)?);
        let mut found = Vec::new();
        for field in self.fields {
            if field.offset == at && field.offset + field.bits <= end {
                found.push(field);
                at += field.bits;
            }
        }
        (at == end && found.len() > 1).then_some(found)
    }
}

/// A header or option that is looked for in the packet (`enum nft_exthdr_op`): the key of its JSON, its name, its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) word: &'static str,
    pub(super) name: &'static str,
    pub(super) field: Option<Field>,
}

/// Names an extension header or option; `None` where nft has no words for it.
pub(super) fn extension(of: u32, kind: u8, offset: u32, bits: u32, present: bool) -> Option<Found> {
    let (word, table) = match of {
        0 => ("exthdr", EXTENSIONS),
        1 => ("tcp option", TCP_OPTIONS),
        2 => ("ip option", IP_OPTIONS),
        3 => ("sctp chunk", SCTP_CHUNKS),
        _ => return None,
    };
    let mut named = table.iter().filter(|(known, ..)| *known == kind).peekable();
    let (_, name, _) = **named.peek()?;
    if present {
        return Some(Found { word, name, field: None });
    }
    let (name, field) = named.find_map(|(_, name, fields)| {
        let found = fields.iter().find(|field| (field.offset, field.bits) == (offset, bits));
        found.map(|field| (*name, Some(field)))
    })?;
    Some(Found { word, name, field: Some(*field?) })
}

type Table = &'static [(u8, &'static str, &'static [Field])];

const NEXT: Field = field("nexthdr", 0, 8, Type::Protocol);
const LENGTH: Field = plain("hdrlength", 8, 8);

/// RFC 8200, RFC 8754, RFC 6275. Which type of routing header it is only the rule's other conditions know; nft takes what
/// lies behind the common part for segment routing, and so does this.
const EXTENSIONS: Table = &[
    (0, "hbh", &[NEXT, LENGTH]),
    (43, "rt", &[NEXT, LENGTH, plain("type", 16, 8), plain("seg-left", 24, 8)]),
    (
        43,
        "srh",
        &[
            plain("last-entry", 32, 8),
            plain("flags", 40, 8),
            plain("tag", 48, 16),
            field("sid[1]", 64, 128, Type::Ipv6),
            field("sid[2]", 192, 128, Type::Ipv6),
        ],
    ),
    (
        44,
        "frag",
        &[
            NEXT,
            plain("reserved", 8, 8),
            plain("frag-off", 16, 13),
            plain("reserved2", 29, 2),
            plain("more-fragments", 31, 1),
            plain("id", 32, 32),
        ],
    ),
    (60, "dst", &[NEXT, LENGTH]),
    (
        135,
        "mh",
        &[
            NEXT,
            LENGTH,
            field("type", 16, 8, Type::MhKind),
            plain("reserved", 24, 8),
            plain("checksum", 32, 16),
        ],
    ),
];
const KIND: Field = plain("kind", 0, 8);
const SIZE: Field = plain("length", 8, 8);
/// RFC 9293, RFC 7323, RFC 2018.
const TCP_OPTIONS: Table = &[
    (0, "eol", &[KIND]),
    (1, "nop", &[KIND]),
    (2, "maxseg", &[KIND, SIZE, plain("size", 16, 16)]),
    (3, "window", &[KIND, SIZE, plain("count", 16, 8)]),
    (4, "sack-perm", &[KIND, SIZE]),
    (5, "sack", &[KIND, SIZE, plain("left", 16, 32), plain("right", 48, 32)]),
    (8, "timestamp", &[KIND, SIZE, plain("tsval", 16, 32), plain("tsecr", 48, 32)]),
    (19, "md5sig", &[KIND, SIZE]),
    (30, "mptcp", &[KIND, SIZE, plain("subtype", 16, 4)]),
    (34, "fastopen", &[KIND, SIZE]),
];
const ROUTE: &[Field] =
    &[plain("type", 0, 8), plain("length", 8, 8), plain("ptr", 16, 8), field("addr", 24, 32, Type::Integer)];
/// RFC 791, RFC 2113.
const IP_OPTIONS: Table = &[
    (7, "rr", ROUTE),
    (131, "lsrr", ROUTE),
    (137, "ssrr", ROUTE),
    (148, "ra", &[plain("type", 0, 8), plain("length", 8, 8), plain("value", 16, 16)]),
];
const CHUNK: [Field; 3] = [plain("type", 0, 8), plain("flags", 8, 8), plain("length", 16, 16)];
const INIT: &[Field] = &[
    CHUNK[0],
    CHUNK[1],
    CHUNK[2],
    plain("init-tag", 32, 32),
    plain("a-rwnd", 64, 32),
    plain("num-outbound-streams", 96, 16),
    plain("num-inbound-streams", 112, 16),
    plain("initial-tsn", 128, 32),
];
/// RFC 9260 and the additions that nft knows.
const SCTP_CHUNKS: Table = &[
    (
        0,
        "data",
        &[
            CHUNK[0],
            CHUNK[1],
            CHUNK[2],
            plain("tsn", 32, 32),
            plain("stream", 64, 16),
            plain("ssn", 80, 16),
            plain("ppid", 96, 32),
        ],
    ),
    (1, "init", INIT),
    (2, "init-ack", INIT),
    (
        3,
        "sack",
        &[
            CHUNK[0],
            CHUNK[1],
            CHUNK[2],
            plain("cum-tsn-ack", 32, 32),
            plain("a-rwnd", 64, 32),
            plain("num-gap-ack-blocks", 96, 16),
            plain("num-dup-tsns", 112, 16),
        ],
    ),
    (4, "heartbeat", &CHUNK),
    (5, "heartbeat-ack", &CHUNK),
    (6, "abort", &CHUNK),
    (7, "shutdown", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("cum-tsn-ack", 32, 32)]),
    (8, "shutdown-ack", &CHUNK),
    (9, "error", &CHUNK),
    (10, "cookie-echo", &CHUNK),
    (11, "cookie-ack", &CHUNK),
    (12, "ecne", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("lowest-tsn", 32, 32)]),
    (13, "cwr", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("lowest-tsn", 32, 32)]),
    (14, "shutdown-complete", &CHUNK),
    (0x80, "asconf-ack", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("seqno", 32, 32)]),
    (0xc0, "forward-tsn", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("new-cum-tsn", 32, 32)]),
    (0xc1, "asconf", &[CHUNK[0], CHUNK[1], CHUNK[2], plain("seqno", 32, 32)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_alone_and_in_a_row() {
        assert_eq!(IP.find(128, 32).map(|field| field.name), Some("daddr"));
        let names = |offset, bits| {
            IP.fill(offset, bits).map(|fields| fields.iter().map(|field| field.name).collect::<Vec<_>>())
        };
        assert_eq!(names(96, 64), Some(vec!["saddr", "daddr"]));
        assert_eq!(names(96, 40), None);
        assert_eq!(names(96, 32), None, "one field alone is found by its own");
        assert_eq!(names(u32::MAX, u32::MAX), None);
    }

    #[test]
    fn options_are_named() {
        let size = extension(1, 2, 16, 16, false).expect("known");
        assert_eq!(
            (size.word, size.name, size.field.map(|field| field.name)),
            ("tcp option", "maxseg", Some("size"))
        );
        assert_eq!(extension(0, 44, 0, 8, true).map(|found| found.field), Some(None));
        assert_eq!(extension(1, 2, 16, 8, false), None);
    }
}

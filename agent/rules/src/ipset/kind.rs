//! Types of sets: what their members are made of, and the options that change what is looked up.
//!
//! Facts: net/netfilter/ipset/ip_set_*.c, Linux 5.4 to 6.18; `man ipset`.

use model::flow::Family;

/// A part of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An address, under the set's mask.
    Address,
    /// A network: the longest prefix that holds the address counts.
    Network,
    /// Protocol and port.
    Port,
    /// A port of TCP or UDP, whichever it is.
    PlainPort,
    /// An interface.
    Device,
    /// A packet mark, under the set's mask.
    Mark,
    /// Another set.
    Set,
    /// Something no walk knows: a link-layer address.
    Other,
}

/// A type with its options.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    name: Box<str>,
    parts: &'static [Part],
    family: Option<Family>,
    /// Length of the prefix under which addresses are looked up, or the mask itself.
    pub(super) mask: Mask,
    /// The bits of a mark that count.
    pub(super) mark_mask: u32,
}

/// Under what a set's addresses are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mask {
    /// As they are.
    #[default]
    None,
    /// Under a prefix of this length.
    Prefix(u8),
    /// Under this mask.
    Bits(std::net::IpAddr),
}

use Part::{Address, Device, Mark, Network, Other, PlainPort, Port, Set};

const TYPES: [(&str, &[Part]); 16] = [
    ("hash:ip", &[Address]),
    ("hash:net", &[Network]),
    ("hash:ip,port", &[Address, Port]),
    ("hash:ip,port,ip", &[Address, Port, Address]),
    ("hash:ip,port,net", &[Address, Port, Network]),
    ("hash:net,port", &[Network, Port]),
    ("hash:net,port,net", &[Network, Port, Network]),
    ("hash:net,net", &[Network, Network]),
    ("hash:net,iface", &[Network, Device]),
    ("hash:ip,mark", &[Address, Mark]),
    ("bitmap:port", &[PlainPort]),
    ("bitmap:ip", &[Address]),
    ("list:set", &[Set]),
    ("bitmap:ip,mac", &[Address, Other]),
    ("hash:ip,mac", &[Address, Other]),
    ("hash:mac", &[Other]),
];

impl Kind {
    /// A type by name, as it is without options; of no parts if nobody knows it.
    pub(super) fn new(name: &str) -> Self {
        let parts = TYPES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, parts)| parts);
        // Bitmaps of addresses are for IPv4 alone; hashes without the option are too.
        let family = match name {
            "bitmap:port" | "list:set" | "hash:mac" => None,
            _ => Some(Family::Ipv4),
        };
        Self { name: name.into(), parts, family, mask: Mask::None, mark_mask: u32::MAX }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn parts(&self) -> &'static [Part] {
        self.parts
    }

    /// The family of the packets it can hold; `None` for both.
    pub(super) const fn family(&self) -> Option<Family> {
        self.family
    }

    pub(super) const fn set_family(&mut self, family: Family) {
        if self.family.is_some() {
            self.family = Some(family);
        }
    }

    /// Whether members may be exceptions (`IPSET_TYPE_NOMATCH`): all types with networks.
    pub(super) fn has_exceptions(&self) -> bool {
        self.parts.contains(&Network)
    }

    /// Whether the address 0.0.0.0 or :: is refused after masking: by `hash:ip` always, by others that have a mask
    /// (`hash_ip4_kadt`, `hash_ipport4_kadt`).
    pub(super) fn refuses_zero(&self) -> bool {
        &*self.name == "hash:ip" || (self.mask != Mask::None && self.name.starts_with("hash:"))
    }

    /// Whether an address is looked up under a mask that is modelled for this type.
    pub(super) fn takes_mask(&self) -> bool {
        matches!(&*self.name, "hash:ip" | "hash:ip,port" | "bitmap:ip")
    }
}

/// The word for a protocol in members.
pub(super) fn protocol_word(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        136 => "udplite".to_owned(),
        other => other.to_string(),
    }
}

/// The protocol of a word in members; `None` for those that no packet here has.
pub(super) fn protocol_number(word: &str) -> Option<u8> {
    match word {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        "udplite" => Some(136),
        number => number.parse().ok(),
    }
}

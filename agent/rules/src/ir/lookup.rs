//! Sets and maps, and the parts of a packet that are looked up in them.
//!
//! Every value is a number of up to 128 bits, as in the kernel's registers: addresses, ports, marks, interface names as
//! their bytes. It says what is held, not what a packet has; that is the business of `eval`.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{ChainId, Span};

/// Index of a set in its rule set.
pub type SetId = u32;

/// Values joined in one key; nf_tables has room for 16 words of 32 bits.
pub const MAX_FIELDS: usize = 16;

/// Interface names are looked up as this many bytes (`IFNAMSIZ`).
pub const NAME: usize = 16;

/// A part of a packet, or of what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Source address.
    SourceAddress,
    /// Destination address.
    DestinationAddress,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// Protocol number.
    Protocol,
    /// Packet mark under a mask.
    Mark(u32),
    /// Connection mark under a mask.
    ConnMark(u32),
    /// Connection state, as `NF_CT_STATE_…` bits of which one is set.
    CtState,
    /// `IPS_SRC_NAT` and `IPS_DST_NAT` of the connection's status, under a mask within these two.
    CtStatus(u32),
    /// Direction: 0 for the original one.
    CtDirection,
    /// Destination address before translation.
    OriginalDestination,
    /// Destination port before translation.
    OriginalPort,
    /// Name of the interface it arrived on.
    InInterface,
    /// Name of the interface it leaves by.
    OutInterface,
    /// `RTN_…` kind of the source address; true if looked up on one interface only.
    SourceType(bool),
    /// `RTN_…` kind of the destination address; true if looked up on one interface only.
    DestinationType(bool),
    /// 1 if the way back to the source leaves by the interface it arrived on, 0 if none does; true if the packet mark takes
    /// part.
    ReturnPath(bool),
    /// Not modelled.
    Unknown,
}

/// A look-up of one or more fields in a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What is looked up.
    pub key: Box<[Field]>,
    /// Where.
    pub set: SetId,
}

/// What an element of a map says to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This base chain is done with the packet.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// On to the next rule.
    Continue,
    /// Call a chain.
    Jump(ChainId),
    /// Go on in a chain without coming back.
    Goto(ChainId),
}

/// What an element is mapped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Nothing: an element of a set.
    Nothing,
    /// A verdict.
    Verdict(Verdict),
    /// Values.
    Values(Box<[u128]>),
    /// Something that is not modelled.
    Unknown,
}

/// An element: an inclusive range of each field, most often of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The lowest values.
    pub low: Box<[u128]>,
    /// The highest; empty if the same.
    pub high: Box<[u128]>,
    /// What it is mapped to.
    pub mapped: Mapped,
    /// Its comment.
    pub comment: Span,
}

/// A set or map.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Its name; empty if it is part of a rule.
    pub name: Span,
    /// Whether packets add to it or time takes away, so that its contents of now say little about those of later.
    pub changing: bool,
    /// Whether some of its elements could not be read.
    pub incomplete: bool,
    elements: Vec<Element>,
    /// Elements of single values.
    exact: HashMap<Box<[u128]>, u32>,
    /// The others.
    ranges: Vec<u32>,
    /// The element for whatever no other covers.
    rest: Option<u32>,
}

/// What a look-up gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This element.
    Element(u32),
    /// None.
    Nothing,
    /// It cannot be told.
    Unknown,
}

impl Set {
    /// A set of this name of which nothing is known.
    pub fn unread(name: Span) -> Self {
        Self { name, incomplete: true, ..Self::default() }
    }

    /// Adds an element; of two with the same values the first counts.
    pub fn insert(&mut self, element: Element) {
        let Ok(index) = u32::try_from(self.elements.len()) else {
            self.incomplete = true;
            return;
        };
        if element.low.is_empty() {
            self.rest.get_or_insert(index);
        } else if element.high.is_empty() {
            match self.exact.entry(element.low.clone()) {
                Entry::Occupied(_) => return,
                Entry::Vacant(entry) => entry.insert(index),
            };
        } else {
            self.ranges.push(index);
        }
        self.elements.push(element);
    }

    /// All elements in the order they were read.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// An element by index.
    pub fn element(&self, index: u32) -> Option<&Element> {
        self.elements.get(index as usize)
    }

    /// Finds the element of a key; `None` stands for a value that is not known.
    pub fn find(&self, key: &[Option<u128>]) -> Found {
        let missed = if self.incomplete { Found::Unknown } else { Found::Nothing };
        let missed = self.rest.map_or(missed, Found::Element);
        let mut known = [0; MAX_FIELDS];
        let whole = known.get_mut(..key.len()).and_then(|known| {
            for (to, from) in known.iter_mut().zip(key) {
                *to = (*from)?;
            }
            Some(&*known)
        });
        if let Some(key) = whole {
            let exact = self.exact.get(key).copied();
            let ranged = || {
                self.ranges.iter().copied().find(|index| {
                    self.element(*index).is_some_and(|element| element.may_be(|at| key.get(at).copied()))
                })
            };
            return exact.or_else(ranged).map_or(missed, Found::Element);
        }
        let may = self.elements.iter().any(|element| element.may_be(|at| key.get(at).copied().flatten()));
        if may { Found::Unknown } else { missed }
    }
}

impl Element {
    /// Whether every value that is known lies within it; values it has none of are taken to fit.
    fn may_be(&self, value: impl Fn(usize) -> Option<u128>) -> bool {
        self.low.iter().enumerate().all(|(at, low)| {
            let high = self.high.get(at).unwrap_or(low);
            value(at).is_none_or(|value| (*low..=*high).contains(&value))
        })
    }
}

/// An interface name as the kernel's registers hold it.
pub fn interface_name(name: &str) -> u128 {
    let mut bytes = [0; NAME];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    u128::from_be_bytes(bytes)
}

/// An address as the kernel's registers hold it.
pub const fn address(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(address) => address.to_bits() as u128,
        std::net::IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(low: &[u128], high: &[u128]) -> Element {
        Element { low: low.into(), high: high.into(), mapped: Mapped::Nothing, comment: Span::default() }
    }

    #[test]
    fn single_values_ranges_and_the_rest_are_found() {
        let mut set = Set::default();
        set.insert(element(&[1, 80], &[]));
        set.insert(element(&[2, 80], &[2, 90]));
        assert_eq!(set.find(&[Some(1), Some(80)]), Found::Element(0));
        assert_eq!(set.find(&[Some(2), Some(85)]), Found::Element(1));
        assert_eq!(set.find(&[Some(2), Some(91)]), Found::Nothing);
        set.insert(element(&[], &[]));
        assert_eq!(set.find(&[Some(2), Some(91)]), Found::Element(2));
    }

    #[test]
    fn a_value_that_is_not_known_is_unknown_only_where_it_matters() {
        let mut set = Set::default();
        set.insert(element(&[1, 80], &[]));
        assert_eq!(set.find(&[Some(1), None]), Found::Unknown);
        assert_eq!(set.find(&[Some(2), None]), Found::Nothing);
        set.incomplete = true;
        assert_eq!(set.find(&[Some(2), None]), Found::Unknown);
        assert_eq!(set.find(&[Some(1), Some(80)]), Found::Element(0));
    }

    #[test]
    fn names_begin_where_their_prefix_begins() {
        assert!(interface_name("eth0") > interface_name("eth"));
        assert_eq!(interface_name(""), 0);
    }
}

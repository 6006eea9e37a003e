//! Sets of ports of the three protocols, as ranges.

use std::fmt;

use model::{PortRange, Protocol};

/// The protocols, in the order in which sets keep them.
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
/// Every port there is; 0 is none.
const EVERY: PortRange = PortRange { first: 1, last: u16::MAX };

/// A set of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSet {
    /// For each protocol ranges in order, apart by one port at least.
    ranges: [Vec<PortRange>; 3],
}

impl PortSet {
    /// No port.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every port of every protocol.
    pub fn all() -> Self {
        Self { ranges: [vec![EVERY], vec![EVERY], vec![EVERY]] }
    }

    /// Every port of one protocol.
    pub fn all_of(protocol: Protocol) -> Self {
        Self::of(protocol, EVERY)
    }

    /// A range of ports.
    pub fn of(protocol: Protocol, range: PortRange) -> Self {
        let mut set = Self::none();
        let range = PortRange { first: range.first.max(EVERY.first), last: range.last };
        if range.first <= range.last
            && let Some(ranges) = set.ranges.get_mut(place(protocol))
        {
            ranges.push(range);
        }
        set
    }

    /// Whether it holds no port.
    pub fn is_empty(&self) -> bool {
        self.ranges.iter().all(Vec::is_empty)
    }

    /// Whether it holds every port of every protocol.
    pub fn is_all(&self) -> bool {
        self.ranges.iter().all(|ranges| ranges.as_slice() == [EVERY])
    }

    /// Whether it holds a port.
    pub fn contains(&self, port: u16, protocol: Protocol) -> bool {
        self.of_protocol(protocol).iter().any(|range| range.contains(port))
    }

    /// The ranges of one protocol.
    pub fn of_protocol(&self, protocol: Protocol) -> &[PortRange] {
        self.ranges.get(place(protocol)).map_or(&[], Vec::as_slice)
    }

    /// What one of the two holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.merged(other, |one, other| one || other)
    }

    /// What both hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.merged(other, |one, other| one && other)
    }

    /// What this holds and the other does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.merged(other, |one, other| one && !other)
    }

    /// Everything that this does not hold.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self::all().difference(self)
    }

    fn merged(&self, other: &Self, held: impl Fn(bool, bool) -> bool) -> Self {
        let mut set = Self::none();
        for ((ranges, one), other) in set.ranges.iter_mut().zip(&self.ranges).zip(&other.ranges) {
            *ranges = merge(one, other, &held);
        }
        set
    }

    /// The ranges in words: `80/tcp`, `8000-8080/udp`, `any port/sctp`.
    pub fn words(&self) -> Vec<String> {
        let word = |protocol: Protocol, range: &PortRange| match (range.first, range.last) {
            _ if *range == EVERY => format!("any port/{protocol}"),
            (first, last) if first == last => format!("{first}/{protocol}"),
            (first, last) => format!("{first}-{last}/{protocol}"),
        };
        PROTOCOLS
            .into_iter()
            .flat_map(|protocol| self.of_protocol(protocol).iter().map(move |range| word(protocol, range)))
            .collect()
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        if self.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.words().join(", "))
    }
}

const fn place(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

/// Ranges of what is held, walking along the places where one of the two begins or ends.
fn merge(one: &[PortRange], other: &[PortRange], held: impl Fn(bool, bool) -> bool) -> Vec<PortRange> {
    let mut edges: Vec<u32> = one
        .iter()
        .chain(other)
        .flat_map(|range| [u32::from(range.first), u32::from(range.last) + 1])
        .chain([u32::from(EVERY.first), u32::from(EVERY.last) + 1])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let inside = |ranges: &[PortRange], port: u32| {
        ranges.iter().any(|range| (u32::from(range.first)..=u32::from(range.last)).contains(&port))
    };
    let mut merged: Vec<PortRange> = Vec::new();
    for pair in edges.windows(2) {
        let &[from, to] = pair else { continue };
        let (Ok(first), Ok(last)) = (u16::try_from(from), u16::try_from(to - 1)) else { continue };
        if !held(inside(one, from), inside(other, from)) {
            continue;
        }
        match merged.last_mut() {
            Some(before) if u32::from(before.last) + 1 == from => before.last = last,
            _ => merged.push(PortRange { first, last }),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u16, last: u16) -> PortSet {
        PortSet::of(Protocol::Tcp, PortRange { first, last })
    }

    #[test]
    fn sets_in_words() {
        assert_eq!(PortSet::all().to_string(), "all");
        assert_eq!(PortSet::none().to_string(), "none");
        let some = range(80, 80).union(&range(8000, 8080)).union(&PortSet::all_of(Protocol::Udp));
        assert_eq!(some.to_string(), "80/tcp, 8000-8080/tcp, any port/udp");
        assert_eq!(range(80, 80).union(&range(81, 90)).to_string(), "80-90/tcp", "neighbours are one");
        assert!(PortSet::none().complement().is_all() && PortSet::all().complement().is_empty());
        assert!(!PortSet::all().contains(0, Protocol::Tcp));
        assert_eq!(range(0, 5).to_string(), "1-5/tcp");
    }

    fn sets() -> impl Strategy<Value = PortSet> {
        prop::collection::vec((0..40_u16, 0..12_u16), 0..4).prop_map(|ranges| {
            let mut set = PortSet::none();
            for (first, length) in ranges {
                set = set.union(&range(first, first + length));
            }
            set
        })
    }

    proptest! {
        #[test]
        fn sets_are_what_their_ports_say(one in sets(), other in sets()) {
            for port in 1..60 {
                let has = |set: &PortSet| set.contains(port, Protocol::Tcp);
                prop_assert_eq!(has(&one.union(&other)), has(&one) || has(&other));
                prop_assert_eq!(has(&one.intersection(&other)), has(&one) && has(&other));
                prop_assert_eq!(has(&one.difference(&other)), has(&one) && !has(&other));
            }
            prop_assert_eq!(one.union(&other).difference(&other).union(&other.intersection(&one)), one);
        }
    }
}

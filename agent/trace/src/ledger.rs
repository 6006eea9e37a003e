//! The account of packets: what was meant for each of the two maps, and what was taken out. It touches no map.

use abi::Counter;

/// What was meant for each map and what was taken out of it, since loading.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The map in use.
    pub(crate) active: Side,
    /// Packets meant for each map when it was last at rest.
    pub(crate) seen: [u64; 2],
    /// Packets taken out of each.
    pub(crate) drained: [u64; 2],
}

/// One of the two maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    First,
    Second,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    pub(crate) const fn index(self) -> u32 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    pub(crate) const fn counter(self) -> Counter {
        match self {
            Self::First => Counter::SeenFirst,
            Self::Second => Counter::SeenSecond,
        }
    }

    pub(crate) const fn of_mut<T>(self, pair: &mut [T; 2]) -> &mut T {
        let [first, second] = pair;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

impl Ledger {
    /// Packets meant for the maps.
    pub(crate) fn total(&self) -> u64 {
        self.seen.iter().sum()
    }

    /// Packets whose detail is in no record.
    pub(crate) fn lost(&self) -> u64 {
        self.total().saturating_sub(self.drained.iter().sum())
    }
}

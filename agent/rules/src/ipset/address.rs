//! Addresses of one family as the numbers that stores of sets hold. It knows no text and no packets.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of an address.
pub(super) trait Address: Copy + Debug + Eq + Hash + Ord + 'static {
    /// How many bits it has.
    const BITS: u8;
    /// All zeros.
    const ZERO: Self;
    /// All ones.
    const ONES: Self;

    /// The number of an address of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// The address of a number.
    fn address(self) -> IpAddr;
    /// Only the bits that are set in both.
    fn and(self, mask: Self) -> Self;
    /// The mask of a prefix.
    fn mask(length: u8) -> Self;
}

impl Address for u32 {
    const BITS: u8 = 32;
    const ZERO: Self = 0;
    const ONES: Self = Self::MAX;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(self))
    }

    fn and(self, mask: Self) -> Self {
        self & mask
    }

    fn mask(length: u8) -> Self {
        let host = 32 - u32::from(length.min(32));
        Self::MAX.checked_shl(host).unwrap_or(0)
    }
}

impl Address for u128 {
    const BITS: u8 = 128;
    const ZERO: Self = 0;
    const ONES: Self = Self::MAX;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(address.to_bits()),
            IpAddr::V4(_) => None,
        }
    }

    fn address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self))
    }

    fn and(self, mask: Self) -> Self {
        self & mask
    }

    fn mask(length: u8) -> Self {
        let host = 128 - u32::from(length.min(128));
        Self::MAX.checked_shl(host).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_ones_as_the_prefix_is_long() {
        for length in 0..=32 {
            assert_eq!(<u32 as Address>::mask(length).leading_ones(), u32::from(length));
            assert_eq!(<u32 as Address>::mask(length).count_ones(), u32::from(length));
        }
        for length in 0..=128 {
            assert_eq!(<u128 as Address>::mask(length).leading_ones(), u32::from(length));
            assert_eq!(<u128 as Address>::mask(length).count_ones(), u32::from(length));
        }
    }
}

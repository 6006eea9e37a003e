//! What registers hold while a rule's expressions are followed, and the registers themselves.
//!
//! nf_tables computes in 16 registers of 32 bits; each is remembered here as the expression it was loaded with. What an
//! expression is called in nft's language is decided where it is written down.

use std::borrow::Cow;

use super::types::Type;

/// Registers of 32 bits (`NFT_REG32_COUNT`).
const COUNT: usize = 16;
/// `NFT_REG32_00`.
const FIRST: u32 = 8;
/// Bytes of a register.
const WIDTH: usize = 4;
/// `NFTA_FIB_F_PRESENT`: only whether there is a route.
const FIB_PRESENT: u32 = 32;
/// Names of interfaces, helpers and fingerprints.
const NAME: usize = 16;
/// Expressions inside one another; nft writes no more than a handful, and reading recurses.
const DEEPEST: u8 = 16;

/// Where a payload begins (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Link,
    Network,
    Transport,
    Inner,
}

impl Base {
    pub(super) const fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Link,
            1 => Self::Network,
            2 => Self::Transport,
            3 => Self::Inner,
            _ => return None,
        })
    }

    /// As nft writes it in a raw payload.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Link => "ll",
            Self::Network => "nh",
            Self::Transport => "th",
            Self::Inner => "ih",
        }
    }
}

/// What a register was loaded with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr<'m> {
    /// Bits of a packet.
    Payload {
        base: Base,
        offset: u32,
        bits: u32,
    },
    /// `NFT_META_…`.
    Meta(u32),
    /// `NFT_CT_…`.
    Ct {
        key: u32,
        direction: Option<u8>,
    },
    /// `NFTA_FIB_F_…`, `NFT_FIB_RESULT_…`.
    Fib {
        flags: u32,
        result: u32,
    },
    Numgen {
        random: bool,
        modulus: u32,
        offset: u32,
    },
    /// With what is hashed, or of the flow (`symhash`).
    Hash {
        of: Option<Box<Self>>,
        modulus: u32,
        seed: Option<u32>,
        offset: u32,
    },
    /// `NFT_SOCKET_…`.
    Socket {
        key: u32,
        level: Option<u32>,
    },
    /// `NFT_RT_…`.
    Rt(u32),
    Osf {
        ttl: u8,
        version: bool,
    },
    /// An extension header or option: `NFT_EXTHDR_OP_…`, its type, and whether it is asked only if it is there.
    Header {
        of: u32,
        kind: u8,
        offset: u32,
        bits: u32,
        present: bool,
    },
    /// `NFT_XFRM_KEY_…`.
    Xfrm {
        key: u32,
        out: bool,
        number: u32,
    },
    /// Something under a mask, then flipped.
    Bits {
        of: Box<Self>,
        mask: Cow<'m, [u8]>,
        flip: Cow<'m, [u8]>,
    },
    /// Two things joined bit by bit (kernels from 6.13 on).
    Joined {
        op: &'static str,
        left: Box<Self>,
        right: Box<Self>,
    },
    Shift {
        of: Box<Self>,
        left: bool,
        by: u32,
    },
    /// Turned from the machine's order to that of the network, or back.
    Turned(Box<Self>),
    /// Several in a row.
    Concat(Vec<Self>),
    /// What a map holds for a key.
    Map {
        key: Box<Self>,
        set: &'m str,
        size: usize,
    },
    /// Bytes.
    Constant(&'m [u8]),
}

impl Expr<'_> {
    /// Bytes of the value.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Payload { bits, .. } | Self::Header { bits, .. } => bytes_of(*bits),
            // `nft_rt_get_eval` writes two bytes.
            Self::Rt(3) => 2,
            Self::Meta(_) | Self::Ct { .. } | Self::Rt(_) | Self::Xfrm { .. } | Self::Fib { .. } => {
                match self.kind() {
                    Type::Integer | Type::HostInteger if matches!(self, Self::Ct { key: 14..=16, .. }) => 8,
                    // `nft_ct_get_eval` writes two bytes.
                    Type::HostInteger if matches!(self, Self::Ct { key: 17, .. }) => 2,
                    Type::Text => NAME,
                    kind if kind.size() == 0 => WIDTH,
                    kind => kind.size(),
                }
            }
            Self::Numgen { .. } | Self::Hash { .. } => 4,
            Self::Socket { key, .. } => match key {
                0 | 2 => 1,
                3 => 8,
                _ => 4,
            },
            Self::Osf { .. } => NAME,
            Self::Bits { of, .. } | Self::Shift { of, .. } | Self::Turned(of) => of.size(),
            Self::Joined { left, .. } => left.size(),
            Self::Concat(parts) => parts.iter().map(|part| part.size().next_multiple_of(WIDTH)).sum(),
            Self::Map { size, .. } => *size,
            Self::Constant(bytes) => bytes.len(),
        }
    }

    /// The type of the value, where that does not depend on what protocol a packet is of.
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Meta(key) => meta_type(*key),
            Self::Ct { key, .. } => ct_type(*key),
            Self::Fib { flags, .. } if flags & FIB_PRESENT != 0 => Type::Boolean,
            Self::Fib { result, .. } => match result {
                1 => Type::Interface,
                2 => Type::InterfaceName,
                _ => Type::AddressKind,
            },
            Self::Numgen { .. } | Self::Hash { .. } => Type::HostInteger,
            Self::Socket { key, .. } => match key {
                1 => Type::Mark,
                3 => Type::Cgroup,
                _ => Type::Integer,
            },
            Self::Rt(key) => match key {
                0 => Type::Realm,
                1 => Type::Ipv4,
                2 => Type::Ipv6,
                4 => Type::Boolean,
                _ => Type::HostInteger,
            },
            Self::Osf { .. } => Type::Text,
            Self::Header { present: true, .. } => Type::Boolean,
            Self::Xfrm { key, .. } => match key {
                1 | 3 => Type::Ipv4,
                2 | 4 => Type::Ipv6,
                5 => Type::HostInteger,
                _ => Type::Integer,
            },
            Self::Bits { of, .. } | Self::Shift { of, .. } | Self::Turned(of) => of.kind(),
            Self::Joined { left, .. } => left.kind(),
            Self::Payload { .. }
            | Self::Header { .. }
            | Self::Concat(_)
            | Self::Map { .. }
            | Self::Constant(_) => Type::Integer,
        }
    }

    /// Whether its bytes lie in the machine's order.
    pub(super) fn is_host_order(&self) -> bool {
        match self {
            Self::Fib { .. } => true,
            Self::Turned(of) => !of.is_host_order(),
            Self::Bits { of, .. } | Self::Shift { of, .. } => of.is_host_order(),
            Self::Joined { left, .. } => left.is_host_order(),
            other => other.kind().is_host_order(),
        }
    }

    /// The same without a turn, which nft does not write.
    pub(super) fn unturned(&self) -> &Self {
        match self {
            Self::Turned(of) => of.unturned(),
            other => other,
        }
    }

    /// How deep it is.
    fn depth(&self) -> u8 {
        let inner = match self {
            Self::Bits { of, .. } | Self::Shift { of, .. } | Self::Turned(of) | Self::Map { key: of, .. } => {
                of.depth()
            }
            Self::Joined { left, right, .. } => left.depth().max(right.depth()),
            Self::Hash { of: Some(of), .. } => of.depth(),
            Self::Concat(parts) => parts.iter().map(Self::depth).max().unwrap_or_default(),
            _ => return 1,
        };
        inner.saturating_add(1)
    }
}

/// What the registers hold.
#[derive(Debug, Default)]
pub(super) struct Registers<'m> {
    held: [Option<Expr<'m>>; COUNT],
}

impl<'m> Registers<'m> {
    /// Loads a register; `None` if there is none of this number, or the expression is nested beyond all reason.
    pub(super) fn load(&mut self, register: u32, expression: Expr<'m>) -> Option<()> {
        let first = slot(register)?;
        if expression.depth() > DEEPEST {
            return None;
        }
        let end = first + expression.size().div_ceil(WIDTH).max(1);
        // What began before and reached into it is no longer whole.
        for (at, held) in self.held.iter_mut().enumerate().take(first) {
            if held.as_ref().is_some_and(|held| at + held.size().div_ceil(WIDTH) > first) {
                *held = None;
            }
        }
        for held in self.held.get_mut(first..end)? {
            *held = None;
        }
        *self.held.get_mut(first)? = Some(expression);
        Some(())
    }

    /// What a register holds as a value of this many bytes; several joined if one alone is shorter.
    pub(super) fn get(&self, register: u32, size: usize) -> Option<Expr<'m>> {
        let mut at = slot(register)?;
        let first = self.held.get(at)?.as_ref()?;
        let mut rest = size.div_ceil(WIDTH).checked_sub(first.size().div_ceil(WIDTH).max(1))?;
        if rest == 0 {
            return Some(first.clone());
        }
        let mut parts = vec![first.clone()];
        while rest > 0 {
            at += parts.last()?.size().div_ceil(WIDTH).max(1);
            let next = self.held.get(at)?.as_ref()?;
            rest = rest.checked_sub(next.size().div_ceil(WIDTH).max(1))?;
            parts.push(next.clone());
        }
        Some(Expr::Concat(parts))
    }

    /// What a register was loaded with, whatever its size.
    pub(super) fn held(&self, register: u32) -> Option<&Expr<'m>> {
        self.held.get(slot(register)?)?.as_ref()
    }
}

/// Registers have an old name, four of 16 bytes, and a new one, 16 of four.
fn slot(register: u32) -> Option<usize> {
    let slot = match register {
        1..=4 => (register - 1) * 4,
        FIRST.. => register - FIRST,
        _ => return None,
    };
    usize::try_from(slot).ok().filter(|slot| *slot < COUNT)
}

fn bytes_of(bits: u32) -> usize {
    usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX / 2)
}

/// `enum nft_meta_keys`.
fn meta_type(key: u32) -> Type {
    match key {
        1 => Type::EtherKind,
        2 => Type::ClassId,
        3 => Type::Mark,
        4 | 5 | 33 => Type::Interface,
        // Names of interfaces, and of their kinds.
        6 | 7 | 17 | 18 | 26 | 27 | 34 => Type::InterfaceName,
        8 | 9 => Type::ArpHardware,
        10 => Type::Uid,
        11 => Type::Gid,
        13 => Type::Realm,
        15 => Type::NfProto,
        16 => Type::Protocol,
        19 => Type::PacketKind,
        21 | 22 => Type::Group,
        24 | 29 => Type::Integer,
        25 => Type::Boolean,
        30 => Type::Date,
        31 => Type::Day,
        32 => Type::Hour,
        _ => Type::HostInteger,
    }
}

/// `enum nft_ct_keys`.
fn ct_type(key: u32) -> Type {
    match key {
        0 => Type::CtState,
        1 => Type::Direction,
        2 => Type::CtStatus,
        3 => Type::Mark,
        5 => Type::Time,
        6 => Type::Text,
        7 => Type::NfProto,
        8 | 9 => Type::Invalid,
        10 => Type::Protocol,
        11 | 12 => Type::Port,
        13 => Type::CtLabel,
        18 => Type::CtEvent,
        19 | 20 => Type::Ipv4,
        21 | 22 => Type::Ipv6,
        23 => Type::Integer,
        _ => Type::HostInteger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Expr<'static> = Expr::Meta(3);

    #[test]
    fn registers_go_by_two_names() {
        let mut registers = Registers::default();
        registers.load(2, MARK).expect("a register");
        assert_eq!(registers.get(12, 4), Some(MARK));
        assert!(registers.load(0, MARK).is_none() && registers.load(24, MARK).is_none());
        assert!(registers.load(23, Expr::Meta(6)).is_none(), "no room for a name");
    }

    #[test]
    fn what_is_overwritten_in_part_is_gone() {
        let mut registers = Registers::default();
        registers.load(1, Expr::Meta(6)).expect("a register");
        registers.load(9, MARK).expect("a register");
        assert_eq!(registers.get(1, 16), None);
        assert_eq!(registers.get(9, 4), Some(MARK));
    }

    #[test]
    fn registers_in_a_row_are_one_key() {
        let mut registers = Registers::default();
        let port = Expr::Payload { base: Base::Transport, offset: 16, bits: 16 };
        registers.load(8, MARK).expect("a register");
        registers.load(9, port.clone()).expect("a register");
        assert_eq!(registers.get(1, 8), Some(Expr::Concat(vec![MARK, port])));
        assert_eq!(registers.get(1, 12), None);
    }

    #[test]
    fn depth_is_bounded() {
        let mut registers = Registers::default();
        registers.load(1, MARK).expect("a register");
        let mut turns = 0;
        while let Some(held) = registers.get(1, 4) {
            if registers.load(1, Expr::Turned(Box::new(held))).is_none() {
                break;
            }
            turns += 1;
        }
        assert!(turns < 64, "{turns}");
    }
}

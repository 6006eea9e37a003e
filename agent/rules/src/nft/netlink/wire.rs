//! Netlink messages and attributes as they lie in memory, read without trusting a single length.
//!
//! Numbers of nf_tables are in network order, those of netlink itself in the machine's. It knows no meanings.

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const FAMILY: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const NFTABLES: u16 = 10;
/// The upper bits of an attribute's type: `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;
/// One more than the highest attribute type read here (`NFTA_SET_EXPRESSIONS`, include/uapi/linux/netfilter/nf_tables.h).
const TYPES: usize = 20;

/// One message of nf_tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'m> {
    /// `NFT_MSG_…`.
    pub(super) kind: u8,
    /// `NFPROTO_…`.
    pub(super) family: u8,
    /// The attributes.
    pub(super) body: &'m [u8],
}

/// The messages of a datagram; those of other subsystems are passed over. `Err` means that the rest makes no sense.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, &'static str>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((kind, payload, next)) = first(rest) else {
                rest = &[];
                return Some(Err("a message is cut"));
            };
            rest = next;
            if kind >> 8 == NFTABLES {
                let Some((head, body)) = payload.split_at_checked(FAMILY) else {
                    return Some(Err("a message without its family"));
                };
                let family = head.first().copied().unwrap_or_default();
                let [_, kind] = kind.to_be_bytes();
                return Some(Ok(Message { kind, family, body }));
            }
        }
        None
    })
}

fn first(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(align(length)?..).unwrap_or_default()))
}

/// Attributes one after the other, as type and value.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'m>(pub(super) &'m [u8]);

impl<'m> Iterator for Attributes<'m> {
    type Item = Result<(u16, &'m [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = || {
            let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
            let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?);
            let value = self.0.get(4..length)?;
            Some((kind & TYPE_MASK, value, self.0.get(align(length)?..).unwrap_or_default()))
        };
        if let Some((kind, value, rest)) = read() {
            self.0 = rest;
            Some(Ok((kind, value)))
        } else {
            self.0 = &[];
            Some(Err("an attribute is cut"))
        }
    }
}

/// The attributes of one thing by type; of two of one type the last counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'m> {
    values: [Option<&'m [u8]>; TYPES],
    /// The highest type seen.
    highest: u16,
}

impl<'m> Fields<'m> {
    pub(super) fn read(bytes: &'m [u8]) -> Result<Self, &'static str> {
        let mut fields = Self { values: [None; TYPES], highest: 0 };
        for item in Attributes(bytes) {
            let (kind, value) = item?;
            fields.highest = fields.highest.max(kind);
            if let Some(place) = fields.values.get_mut(usize::from(kind)) {
                *place = Some(value);
            }
        }
        Ok(fields)
    }

    /// Whether nothing is in it that a reader who knows the types up to this one would miss.
    pub(super) const fn known_to(&self, highest: u16) -> bool {
        self.highest <= highest
    }

    pub(super) fn get(&self, kind: u16) -> Option<&'m [u8]> {
        self.values.get(usize::from(kind)).copied().flatten()
    }

    /// A text up to its NUL.
    pub(super) fn text(&self, kind: u16) -> Option<&'m str> {
        text(self.get(kind)?)
    }

    pub(super) fn byte(&self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    pub(super) fn short(&self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(kind)?.get(..2)?.try_into().ok()?))
    }

    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }

    pub(super) fn long(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.get(..8)?.try_into().ok()?))
    }

    /// The attributes inside one.
    pub(super) fn nested(&self, kind: u16) -> Option<Result<Fields<'m>, &'static str>> {
        self.get(kind).map(Fields::read)
    }
}

/// A text up to its NUL; names of nf_tables are plain bytes, those that are no UTF-8 are not read.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}

/// What user space left with an object: type, length and value, a byte each for the first two (libnftnl, udata.c).
pub(super) fn remark(bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let [kind, length, tail @ ..] = rest else { return None };
        let (value, next) = tail.split_at_checked(usize::from(*length))?;
        if *kind == wanted {
            return Some(value);
        }
        rest = next;
    }
}

fn align(length: usize) -> Option<usize> {
    Some(length.checked_add(3)? & !3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_end_the_reading() {
        for bytes in [&[3, 0, 1, 0][..], &[0, 0, 1, 0], &[200, 0, 1, 0, 7], &[8, 0, 1]] {
            assert!(Fields::read(bytes).is_err(), "{bytes:?}");
        }
        let fields = Fields::read(&[5, 0, 1, 0x80, 7, 0, 0, 0, 4, 0, 30, 0]).expect("two attributes");
        assert_eq!((fields.byte(1), fields.number(1), fields.known_to(29)), (Some(7), None, false));
        assert!(messages(&[255; 40]).next().expect("one").is_err());
        assert!(messages(&[]).next().is_none());
    }

    #[test]
    fn remarks_are_found_behind_others() {
        assert_eq!(remark(&[1, 2, 9, 9, 0, 1, 65], 0), Some(&b"A"[..]));
        assert_eq!(remark(&[1, 200, 9], 0), None);
    }
}

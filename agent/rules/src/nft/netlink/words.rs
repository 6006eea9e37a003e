//! Expressions in the words of libnftables-json(5).

use super::super::tree::Value;
use super::expression::Expr;
use super::headers;
use super::sentence::{Sentence, family};
use super::types::{self, Type};

/// `enum nft_meta_keys` in nft's words.
const META: [&str; 36] = [
    "length",
    "protocol",
    "priority",
    "mark",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "iiftype",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "secmark",
    "nfproto",
    "l4proto",
    "ibrname",
    "obrname",
    "pkttype",
    "cpu",
    "iifgroup",
    "oifgroup",
    "cgroup",
    "random",
    "ipsec",
    "iifkind",
    "oifkind",
    "ibrpvid",
    "ibrvproto",
    "time",
    "day",
    "hour",
    "sdif",
    "sdifname",
    "broute",
];
/// `enum nft_ct_keys`.
const CT: [&str; 24] = [
    "state",
    "direction",
    "status",
    "mark",
    "secmark",
    "expiration",
    "helper",
    "l3proto",
    "saddr",
    "daddr",
    "protocol",
    "proto-src",
    "proto-dst",
    "label",
    "packets",
    "bytes",
    "avgpkt",
    "zone",
    "event",
    "ip saddr",
    "ip daddr",
    "ip6 saddr",
    "ip6 daddr",
    "id",
];
/// `NFTA_FIB_F_…` by bit; the sixth asks for existence alone.
const FIB_FLAGS: [&str; 5] = ["saddr", "daddr", "mark", "iif", "oif"];

impl<'a> Sentence<'a> {
    /// An expression in words; the conditions that its fields imply are left out. `None`: nft has no words for it.
    pub(super) fn words(&mut self, expression: &Expr<'a>) -> Option<Value<'a>> {
        Some(match expression {
            Expr::Payload { base, offset, bits } => match self.named(*base, *offset, *bits) {
                Some((header, field)) => {
                    self.imply(header, field);
                    payload(header.name, field.name)
                }
                None => Value::under(
                    "payload",
                    Value::object([
                        ("base", Value::text(base.word())),
                        ("offset", Value::number(*offset)),
                        ("len", Value::number(*bits)),
                    ]),
                ),
            },
            Expr::Meta(key) => keyed("meta", META.get(*key as usize)?),
            Expr::Ct { key, direction } => {
                let body = Value::object([("key", Value::text(*CT.get(*key as usize)?))]);
                let word = match direction {
                    // These are the same both ways, and nft does not say which.
                    _ if matches!(key, 7 | 10) => None,
                    None => None,
                    Some(0) => Some("original"),
                    Some(1) => Some("reply"),
                    Some(_) => return None,
                };
                Value::under("ct", body.with_some("dir", word.map(Value::text)))
            }
            Expr::Fib { flags, result } => fib(*flags, *result)?,
            Expr::Numgen { random, modulus, offset } => Value::under(
                "numgen",
                Value::object([
                    ("mode", Value::text(if *random { "random" } else { "inc" })),
                    ("mod", Value::number(*modulus)),
                    ("offset", Value::number(*offset)),
                ]),
            ),
            Expr::Hash { of, modulus, seed, offset } => {
                let body = Value::object([("mod", Value::number(*modulus))])
                    .with_some("seed", seed.map(Value::number))
                    .with_some("offset", (*offset != 0).then(|| Value::number(*offset)));
                match of {
                    Some(of) => Value::under("jhash", body.with("expr", self.words(of)?)),
                    None => Value::under("symhash", body),
                }
            }
            Expr::Socket { key, level } => {
                let word = *["transparent", "mark", "wildcard", "cgroupv2"].get(*key as usize)?;
                let level = level.filter(|_| word == "cgroupv2").map(Value::number);
                Value::under("socket", Value::object([("key", Value::text(word))]).with_some("level", level))
            }
            Expr::Rt(key) => {
                let (word, family) =
                    *[("classid", ""), ("nexthop", "ip"), ("nexthop", "ip6"), ("mtu", ""), ("ipsec", "")]
                        .get(*key as usize)?;
                let family = (!family.is_empty()).then(|| Value::text(family));
                Value::under("rt", Value::object([("key", Value::text(word))]).with_some("family", family))
            }
            Expr::Osf { ttl, version } => {
                let ttl = match ttl {
                    0 => None,
                    1 => Some("loose"),
                    _ => Some("skip"),
                };
                let key = if *version { "version" } else { "name" };
                Value::under(
                    "osf",
                    Value::object([("key", Value::text(key))]).with_some("ttl", ttl.map(Value::text)),
                )
            }
            Expr::Header { of, kind, offset, bits, present } => {
                self.extension(*of, *kind, *offset, *bits, *present)?
            }
            Expr::Xfrm { key, out, number } => {
                let (word, family) = *[
                    ("", ""),
                    ("daddr", "ip"),
                    ("daddr", "ip6"),
                    ("saddr", "ip"),
                    ("saddr", "ip6"),
                    ("reqid", ""),
                    ("spi", ""),
                ]
                .get(*key as usize)
                .filter(|(word, _)| !word.is_empty())?;
                let family = (!family.is_empty()).then(|| Value::text(family));
                Value::under(
                    "ipsec",
                    Value::object([("key", Value::text(word))])
                        .with_some("family", family)
                        .with("dir", Value::text(if *out { "out" } else { "in" }))
                        .with("spnum", Value::number(*number)),
                )
            }
            Expr::Bits { of, mask, flip } => self.bits(of, mask, flip)?,
            Expr::Joined { op, left, right } => {
                Value::under(op, Value::Array(vec![self.words(left)?, self.words(right)?]))
            }
            Expr::Shift { of, left, by } => {
                // The bits of a field that ends inside a byte are moved to its end before they are looked up.
                if !left
                    && let Some((field, cut)) = self.masked_field(of)
                    && cut == *by
                {
                    return Some(field);
                }
                let op = if *left { "<<" } else { ">>" };
                Value::under(op, Value::Array(vec![self.words(of)?, Value::number(*by)]))
            }
            Expr::Turned(of) => self.words(of)?,
            Expr::Concat(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| self.words(part)).collect();
                Value::under("concat", Value::Array(parts?))
            }
            Expr::Map { key, set, .. } => {
                let data = self.contents(set, key);
                let key = self.words(key)?;
                Value::under("map", Value::object([("key", key), ("data", data)]))
            }
            Expr::Constant(bytes) => self.constant(Type::Integer, bytes, false)?,
        })
    }

    /// A set by name, or what an anonymous one holds for such a key.
    pub(super) fn contents(&self, set: &'a str, key: &Expr<'a>) -> Value<'a> {
        let Some(found) = self.around.sets.get(set).filter(|set| set.is_anonymous()) else {
            return Value::text(format!("@{set}"));
        };
        let sizes = match key {
            Expr::Concat(parts) => parts.iter().map(Expr::size).collect(),
            one => vec![one.size()],
        };
        // A field that ends inside a byte is looked up as it lies there.
        let below = match key {
            Expr::Bits { of, mask, .. } if self.masked_kind(key).is_some() => types::number(mask, false)
                .and_then(|mask| run(mask, of.size()))
                .map_or(0, |(.., below)| below),
            _ => 0,
        };
        Value::under("set", found.elements(self.around.names, &sizes, below))
    }

    /// A constant of a type.
    pub(super) fn constant(&self, kind: Type, bytes: &'a [u8], host_order: bool) -> Option<Value<'a>> {
        if kind.is_text() {
            return types::name(bytes, Type::InterfaceName.size());
        }
        Some(types::value(kind, types::number(bytes, host_order)?, self.around.names))
    }

    /// A field that is a part of the bytes loaded, and the bits below it.
    pub(super) fn masked_field(&mut self, expression: &Expr<'a>) -> Option<(Value<'a>, u32)> {
        let Expr::Bits { of, mask, flip } = expression else { return None };
        if types::number(flip, false)? != 0 {
            return None;
        }
        let (above, bits, below) = run(types::number(mask, false)?, of.size())?;
        match &**of {
            Expr::Payload { base, offset, .. } => {
                let (header, field) = self.named(*base, offset.checked_add(above)?, bits)?;
                self.imply(header, field);
                Some((payload(header.name, field.name), below))
            }
            Expr::Header { of, kind, offset, present: false, .. } => {
                let value = self.extension(*of, *kind, offset.checked_add(above)?, bits, false)?;
                Some((value, below))
            }
            _ => None,
        }
    }

    /// The type of such a field.
    pub(super) fn masked_kind(&self, expression: &Expr<'a>) -> Option<Type> {
        let Expr::Bits { of, mask, .. } = expression else { return None };
        let (above, bits, _) = run(types::number(mask, false)?, of.size())?;
        match &**of {
            Expr::Payload { base, offset, .. } => {
                Some(self.named(*base, offset.checked_add(above)?, bits)?.1.kind)
            }
            Expr::Header { of, kind, offset, present: false, .. } => {
                let found = headers::extension(*of, *kind, offset.checked_add(above)?, bits, false)?;
                found.field.map(|field| field.kind)
            }
            _ => None,
        }
    }

    /// `(x & mask) ^ flip`, with the bits that come out set whatever x has as `|`.
    fn bits(&mut self, of: &Expr<'a>, mask: &[u8], flip: &[u8]) -> Option<Value<'a>> {
        let whole =
            Expr::Bits { of: Box::new(of.clone()), mask: mask.to_vec().into(), flip: flip.to_vec().into() };
        if let Some((field, _)) = self.masked_field(&whole) {
            return Some(field);
        }
        let host_order = of.is_host_order();
        let (mask, flip) = (types::number(mask, host_order)?, types::number(flip, host_order)?);
        let all = u128::MAX >> (u128::BITS - u32::try_from(of.size() * 8).ok()?.clamp(1, u128::BITS));
        let set = flip & !mask;
        let kind = self.kind(of);
        let mut value = self.words(of)?;
        let mut join = |op, number: u128| {
            let constant = self.bits_constant(kind, number);
            let left = std::mem::replace(&mut value, Value::Null);
            value = Value::under(op, Value::Array(vec![left, constant]));
        };
        if mask | set != all {
            join("&", mask | set);
        }
        if flip & mask != 0 {
            join("^", flip & mask);
        }
        if set != 0 {
            join("|", set);
        }
        Some(value)
    }

    /// A constant that is joined bit by bit.
    pub(super) fn bits_constant(&self, kind: Type, number: u128) -> Value<'a> {
        if kind.is_flags() {
            types::flags(kind, number)
        } else {
            types::value(kind, number, self.around.names)
        }
    }

    fn extension(&mut self, of: u32, kind: u8, offset: u32, bits: u32, present: bool) -> Option<Value<'a>> {
        let Some(found) = headers::extension(of, kind, offset, bits, present) else {
            // An option that has no name.
            let body = Value::object([
                ("base", Value::number(kind)),
                ("offset", Value::number(offset)),
                ("len", Value::number(bits)),
            ]);
            return (of == 1).then(|| Value::under("tcp option", body));
        };
        if matches!(found.word, "exthdr" | "ip option") {
            self.imply_family();
        }
        let field = found.field.map(|field| Value::text(field.name));
        let body = Value::object([("name", Value::text(found.name))]).with_some("field", field);
        Some(Value::under(found.word, body))
    }
}

/// A field of a header.
pub(super) fn payload<'v>(protocol: &'static str, field: &'static str) -> Value<'v> {
    let body = Value::object([("protocol", Value::text(protocol)), ("field", Value::text(field))]);
    Value::under("payload", body)
}

/// A run of set bits in so many bytes: bits above it, in it, below it.
pub(super) fn run(mask: u128, bytes: usize) -> Option<(u32, u32, u32)> {
    let width = u32::try_from(bytes.checked_mul(8)?).ok().filter(|width| *width <= u128::BITS)?;
    let below = mask.trailing_zeros();
    let bits = mask.checked_shr(below)?.trailing_ones();
    let above = width.checked_sub(bits.checked_add(below)?)?;
    (mask.count_ones() == bits).then_some((above, bits, below))
}

fn keyed<'v>(word: &'static str, key: &'static str) -> Value<'v> {
    Value::under(word, Value::object([("key", Value::text(key))]))
}

fn fib<'v>(flags: u32, result: u32) -> Option<Value<'v>> {
    let result = *["", "oif", "oifname", "type"].get(result as usize).filter(|word| !word.is_empty())?;
    let words =
        (0..).zip(FIB_FLAGS).filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, word)| Value::text(word));
    let body = Value::object([("result", Value::text(result)), ("flags", Value::Array(words.collect()))]);
    Some(Value::under("fib", body))
}

/// The word of a family in which an address is given.
pub(super) const fn address_family(nfproto: u8) -> Option<&'static str> {
    match nfproto {
        family::IPV4 | family::IPV6 => Some(family::word(nfproto)),
        _ => None,
    }
}

//! What a rule compares and sets: conditions, look-ups, and values that are written somewhere.

use super::super::tree::Value;
use super::expression::{Expr, Registers};
use super::headers::{Field, Header};
use super::sentence::Sentence;
use super::types::{self, Type};
use super::wire::Fields;
use super::words::{payload, run};

/// `NFTA_DATA_VALUE`.
const VALUE: u16 = 1;
/// `enum nft_cmp_ops`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const OPS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

impl<'a> Sentence<'a> {
    /// `NFTA_CMP_…`: a register and a constant.
    pub(super) fn compare(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<()> {
        let op = data.number(2).filter(|_| data.known_to(3))?;
        let bytes = data.nested(3)?.ok()?.get(VALUE)?;
        let left = registers.held(data.number(1)?)?.clone();
        let word = *OPS.get(usize::try_from(op).ok()?)?;
        if matches!(op, EQUAL | NOT_EQUAL) {
            return self.equal(&left, word, bytes);
        }
        let number = types::number(bytes, left.is_host_order())?;
        if op == AT_MOST
            && let Some(from) = self.end_range(&left)
        {
            let kind = self.kind(&left);
            let bounds = Value::Array(vec![self.one(kind, from), self.one(kind, number)]);
            return self.relation(&left, "==", Value::under("range", bounds));
        }
        let kind = self.kind(&left);
        let right = self.one(kind, number);
        self.relation(&left, word, right)?;
        if op == AT_LEAST {
            self.begins_range(left, number);
        }
        Some(())
    }

    /// `NFTA_RANGE_…`: a register and two bounds.
    pub(super) fn within(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<()> {
        let bound = |number| data.nested(number)?.ok()?.get(VALUE);
        let left = registers.held(data.number(1).filter(|_| data.known_to(4))?)?.clone();
        let word =
            *OPS.get(usize::try_from(data.number(2)?).ok()?).filter(|word| matches!(**word, "==" | "!="))?;
        let host_order = left.is_host_order();
        let kind = self.kind(&left);
        let bounds = [types::number(bound(3)?, host_order)?, types::number(bound(4)?, host_order)?];
        let bounds = bounds.map(|number| self.one(kind, number)).to_vec();
        self.relation(&left, word, Value::under("range", Value::Array(bounds)))
    }

    /// Whether a set holds a key.
    pub(super) fn is_in(&mut self, key: &Expr<'a>, set: &'a str, inverted: bool) -> Option<()> {
        let contents = self.contents(set, key);
        self.relation(key, if inverted { "!=" } else { "==" }, contents)
    }

    /// What a verdict map says for a key.
    pub(super) fn verdict_by(&mut self, key: &Expr<'a>, set: &'a str) -> Option<()> {
        let data = self.contents(set, key);
        let key = self.words(key)?;
        self.action(Value::under("vmap", Value::object([("key", key), ("data", data)])));
        Some(())
    }

    /// A value that is written into a packet or kept with it.
    pub(super) fn set(&mut self, place: &Expr<'a>, value: &Expr<'a>) -> Option<()> {
        let (key, value) = if let Some(pair) = self.changed_field(place, value) {
            pair
        } else {
            {
                let kind = self.kind(place);
                let key = self.words(place)?;
                let value = match value {
                    Expr::Constant(bytes) if kind.is_flags() => {
                        types::flags(kind, types::number(bytes, place.is_host_order())?)
                    }
                    Expr::Constant(bytes) => self.constant(kind, bytes, place.is_host_order())?,
                    other => self.words(other)?,
                };
                (key, value)
            }
        };
        self.action(Value::under("mangle", Value::object([("key", key), ("value", value)])));
        Some(())
    }

    /// An option that is taken out of a packet.
    pub(super) fn take_out(&mut self, of: u32, kind: u8) -> Option<()> {
        let option = Expr::Header { of, kind, offset: 0, bits: 8, present: true };
        let words = self.words(&option).filter(|_| of == 1)?;
        self.action(Value::under("reset", words));
        Some(())
    }

    /// A field that ends inside a byte: the bytes around it are read, the field is replaced, and they are written back.
    fn changed_field(&mut self, place: &Expr<'a>, value: &Expr<'a>) -> Option<(Value<'a>, Value<'a>)> {
        let Expr::Payload { base, offset, .. } = place else { return None };
        let Expr::Bits { of, mask, flip } = value else { return None };
        if **of != *place {
            return None;
        }
        let all = u128::MAX.checked_shr(u128::BITS - u32::try_from(mask.len() * 8).ok()?)?;
        let (above, bits, below) = run(!types::number(mask, false)? & all, mask.len())?;
        let (header, field) = self.named(*base, offset.checked_add(above)?, bits)?;
        self.imply(header, field);
        let number = types::number(flip, false)? >> below;
        Some((payload(header.name, field.name), self.one(field.kind, number)))
    }

    fn equal(&mut self, left: &Expr<'a>, word: &'static str, bytes: &'a [u8]) -> Option<()> {
        if self.kind(left).is_text() {
            let right = types::name(bytes, Type::InterfaceName.size())?;
            return self.relation(left, word, right);
        }
        if self.packet_bits(left, word, bytes).is_some() {
            return Some(());
        }
        if bytes.len() < left.size() {
            return self.begins_with(left, word, bytes);
        }
        let number = types::number(bytes, left.is_host_order())?;
        if let Expr::Bits { of, mask, flip } = left.unturned() {
            return self.equal_bits(of, mask, flip, word, number);
        }
        let kind = self.kind(left);
        let right = if kind.is_flags() { several_flags(kind, number) } else { self.one(kind, number) };
        self.relation(left, word, right)?;
        if word == "==" {
            self.learn(left, number);
        }
        Some(())
    }

    /// Bits of a packet: a part of what was loaded, several fields at once, the beginning of an address. `None`: it is none
    /// of these, and nothing was written.
    fn packet_bits(&mut self, left: &Expr<'a>, word: &'static str, bytes: &'a [u8]) -> Option<()> {
        if let Expr::Payload { base, offset, bits } = *left
            && word == "=="
            && let Some(header) = self.header(base, offset)
            && header.find(offset, bits).is_none()
            && let Some(fields) = header.fill(offset, bits)
        {
            return self.each_equal(header, &fields, bytes);
        }
        let number = types::number(bytes, false)?;
        let (of, mask) = match left {
            Expr::Bits { of, mask, flip } if types::number(flip, false)? == 0 => {
                (&**of, Some(types::number(mask, false)?))
            }
            other => (other, None),
        };
        if mask.is_some()
            && let Some(kind) = self.masked_kind(left)
        {
            let (field, below) = self.masked_field(left)?;
            let right = self.one(kind, number >> below);
            self.relate(field, word, right);
            return Some(());
        }
        let Expr::Payload { base, offset, bits } = *of else { return None };
        let header = self.header(base, offset)?;
        let field = header.fields.iter().find(|field| field.offset == offset && field.bits >= bits)?;
        let whole = field.bits == bits;
        if !field.kind.has_prefixes() || (whole && mask.is_none()) {
            return None;
        }
        // An address of which only the beginning is compared.
        let length = match mask {
            Some(mask) => {
                let (0, length, _) = run(mask, bytes.len())? else { return None };
                length
            }
            None => bits,
        };
        let address = number.checked_shl(field.bits - bits)?;
        self.imply(header, field);
        let right = Value::under(
            "prefix",
            Value::object([("addr", self.one(field.kind, address)), ("len", Value::number(length))]),
        );
        self.relate(payload(header.name, field.name), word, right);
        Some(())
    }

    /// The beginning of an address is compared; of anything else nft compares all there is.
    fn begins_with(&mut self, left: &Expr<'a>, word: &'static str, bytes: &[u8]) -> Option<()> {
        let kind = self.kind(left);
        let rest = u32::try_from(left.size().checked_sub(bytes.len())? * 8).ok()?;
        let length = u32::try_from(bytes.len() * 8).ok()?;
        let address = types::number(bytes, false)?.checked_shl(rest)?;
        let prefix = [("addr", self.one(kind, address)), ("len", Value::number(length))];
        kind.has_prefixes()
            .then(|| self.relation(left, word, Value::under("prefix", Value::object(prefix))))?
    }

    /// Fields that are compared at once.
    fn each_equal(&mut self, header: &'static Header, fields: &[&'static Field], bytes: &[u8]) -> Option<()> {
        let start = fields.first()?.offset;
        let values: Option<Vec<u128>> =
            fields.iter().map(|field| bits_of(bytes, field.offset.checked_sub(start)?, field.bits)).collect();
        for (field, value) in fields.iter().zip(values?) {
            let part = Expr::Payload { base: header.base, offset: field.offset, bits: field.bits };
            let right = self.one(field.kind, value);
            self.relation(&part, "==", right)?;
            self.learn(&part, value);
        }
        Some(())
    }

    /// `(x & mask) ^ flip == number`.
    fn equal_bits(
        &mut self,
        of: &Expr<'a>,
        mask: &[u8],
        flip: &[u8],
        word: &'static str,
        number: u128,
    ) -> Option<()> {
        let host_order = of.is_host_order();
        let (mask_number, flipped) = (types::number(mask, host_order)?, types::number(flip, host_order)?);
        let kind = self.kind(of);
        if kind.has_prefixes()
            && flipped == 0
            && let Some((0, length, _)) = run(mask_number, mask.len())
        {
            let prefix = [("addr", self.one(kind, number)), ("len", Value::number(length))];
            return self.relation(of, word, Value::under("prefix", Value::object(prefix)));
        }
        if kind.is_flags() && flipped == 0 && number == 0 {
            // Whether any of the flags is set.
            let right = types::flags(kind, mask_number);
            return self.relation(of, if word == "==" { "!" } else { "in" }, right);
        }
        // What comes out flipped is compared with what is flipped as well, where the mask lets it through.
        let (flip, number) = if flipped & !mask_number == 0 {
            (vec![0; flip.len()], number ^ flipped)
        } else {
            (flip.to_vec(), number)
        };
        let left = Expr::Bits { of: Box::new(of.clone()), mask: mask.to_vec().into(), flip: flip.into() };
        let right = self.bits_constant(kind, number);
        self.relation(&left, word, right)
    }

    fn relation(&mut self, left: &Expr<'a>, word: &'static str, right: Value<'a>) -> Option<()> {
        let left = self.words(left)?;
        self.relate(left, word, right);
        Some(())
    }

    fn relate(&mut self, left: Value<'a>, word: &'static str, right: Value<'a>) {
        let body = [("op", Value::text(word)), ("left", left), ("right", right)];
        self.condition(Value::under("match", Value::object(body)));
    }

    fn one(&self, kind: Type, number: u128) -> Value<'a> {
        types::value(kind, number, self.around.names)
    }
}

/// Flags that are compared as a whole, not one by one.
fn several_flags<'v>(kind: Type, number: u128) -> Value<'v> {
    if kind == Type::TcpFlags && number.count_ones() > 1 {
        return u64::try_from(number).map_or(Value::Null, Value::number);
    }
    match types::flags(kind, number) {
        Value::Array(words) => Value::under("|", Value::Array(words)),
        one => one,
    }
}

/// Some of the bits of a value in network order.
fn bits_of(bytes: &[u8], from: u32, bits: u32) -> Option<u128> {
    let end = from.checked_add(bits)?;
    let (first, last) = (usize::try_from(from / 8).ok()?, usize::try_from(end.div_ceil(8)).ok()?);
    let number = types::number(bytes.get(first..last)?, false)?;
    let number = number.checked_shr(end.next_multiple_of(8) - end)?;
    Some(number & u128::MAX.checked_shr(u128::BITS.checked_sub(bits)?)?)
}

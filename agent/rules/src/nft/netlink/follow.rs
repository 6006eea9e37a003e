//! Follows the expressions of a rule through the registers and writes down what they say.
//!
//! An expression that is not known, or that says something that is not, is written by its name; what it does to a packet
//! is then not known either.

use std::borrow::Cow;

use super::super::tree::Value;
use super::actions::{DATA, NAME};
use super::elements;
use super::expression::{Base, Expr, Registers};
use super::sentence::{Around, Sentence};
use super::types;
use super::wire::{Attributes, Fields};

/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
/// `NFT_REG_VERDICT`.
const TO_VERDICT: u32 = 0;
/// `NFT_EXTHDR_F_PRESENT`.
const PRESENT: u32 = 1;
/// Expressions of one rule (`NFT_RULE_MAXEXPRS`).
const MOST: usize = 128;

/// The statements of a rule in nft's words.
pub(super) fn rule<'a>(around: Around<'a>, expressions: &'a [u8]) -> Result<Value<'a>, &'static str> {
    let mut sentence = Sentence::new(around);
    let mut registers = Registers::default();
    for (count, item) in Attributes(expressions).enumerate() {
        if count >= MOST {
            return Err("more expressions than a rule can have");
        }
        let expression = Fields::read(item?.1)?;
        let name = expression.text(NAME).ok_or("an expression without a name")?;
        let data = match expression.get(DATA) {
            Some(bytes) => Fields::read(bytes)?,
            None => Fields::read(&[])?,
        };
        if follow(&mut sentence, &mut registers, name, &data).is_none() {
            // What it would have left behind is not known.
            registers = Registers::default();
            sentence.action(Value::under("unknown", Value::text(name)));
        }
    }
    Ok(sentence.finish())
}

fn follow<'a>(
    sentence: &mut Sentence<'a>,
    registers: &mut Registers<'a>,
    name: &str,
    data: &Fields<'a>,
) -> Option<()> {
    match name {
        "immediate" => immediate(sentence, registers, data),
        "payload" => payload(sentence, registers, data),
        "exthdr" => extension(sentence, registers, data),
        "meta" | "ct" => kept(sentence, registers, name, data),
        "bitwise" => registers.load(data.number(2)?, bitwise(registers, data)?),
        "byteorder" if data.known_to(5) => {
            let turned = Expr::Turned(Box::new(registers.held(data.number(1)?)?.clone()));
            registers.load(data.number(2)?, turned)
        }
        "cmp" => sentence.compare(data, registers),
        "range" => sentence.within(data, registers),
        "lookup" => look_up(sentence, registers, data),
        "numgen" if data.known_to(4) => {
            let random = data.number(3)? == 1;
            let (modulus, offset) = (data.number(2)?, data.number(4).unwrap_or_default());
            registers.load(data.number(1)?, Expr::Numgen { random, modulus, offset })
        }
        "hash" if data.known_to(7) => {
            let of = match data.number(7).unwrap_or_default() {
                0 => {
                    let size = usize::try_from(data.number(3)?).ok()?;
                    Some(Box::new(registers.get(data.number(1)?, size)?))
                }
                1 => None,
                _ => return None,
            };
            let (modulus, offset) = (data.number(4)?, data.number(6).unwrap_or_default());
            registers.load(data.number(2)?, Expr::Hash { of, modulus, seed: data.number(5), offset })
        }
        "fib" if data.known_to(3) => {
            registers.load(data.number(1)?, Expr::Fib { flags: data.number(3)?, result: data.number(2)? })
        }
        "rt" if data.known_to(2) => registers.load(data.number(1)?, Expr::Rt(data.number(2)?)),
        "socket" if data.known_to(3) => {
            registers.load(data.number(2)?, Expr::Socket { key: data.number(1)?, level: data.number(3) })
        }
        "osf" if data.known_to(3) => {
            let version = data.number(3).unwrap_or_default() & 1 != 0;
            registers.load(data.number(1)?, Expr::Osf { ttl: data.byte(2).unwrap_or_default(), version })
        }
        "xfrm" if data.known_to(4) => {
            let (out, number) = (data.byte(3)? != 0, data.number(4).unwrap_or_default());
            registers.load(data.number(1)?, Expr::Xfrm { key: data.number(2)?, out, number })
        }
        _ => sentence.act(name, data, registers),
    }
}

/// A constant, or a verdict.
fn immediate<'a>(
    sentence: &mut Sentence<'a>,
    registers: &mut Registers<'a>,
    data: &Fields<'a>,
) -> Option<()> {
    let given = data.nested(2)?.ok()?;
    if data.number(1)? == TO_VERDICT {
        let verdict = elements::verdict(&given.nested(VERDICT)?.ok()?)?;
        sentence.action(verdict);
        return Some(());
    }
    registers.load(data.number(1)?, Expr::Constant(given.get(VALUE)?))
}

/// `NFTA_PAYLOAD_…`: read from a packet, or written to it.
fn payload<'a>(sentence: &mut Sentence<'a>, registers: &mut Registers<'a>, data: &Fields<'a>) -> Option<()> {
    let base = Base::of(data.number(2)?).filter(|_| data.known_to(8))?;
    let (offset, bits) = (data.number(3)?.checked_mul(8)?, data.number(4)?.checked_mul(8)?);
    let part = Expr::Payload { base, offset, bits };
    match data.number(5) {
        Some(source) => sentence.set(&part, registers.held(source)?),
        None => registers.load(data.number(1)?, part),
    }
}

/// `NFTA_EXTHDR_…`: read, written, or taken out.
fn extension<'a>(
    sentence: &mut Sentence<'a>,
    registers: &mut Registers<'a>,
    data: &Fields<'a>,
) -> Option<()> {
    let of = data.number(6).unwrap_or_default();
    let kind = data.byte(2).filter(|_| data.known_to(7))?;
    let bits = |number| data.number(number).unwrap_or_default().checked_mul(8);
    let present = data.number(5).unwrap_or_default() & PRESENT != 0;
    let part = Expr::Header { of, kind, offset: bits(3)?, bits: bits(4)?, present };
    match (data.number(1), data.number(7)) {
        (Some(register), None) => registers.load(register, part),
        (None, Some(source)) => sentence.set(&part, registers.held(source)?),
        (None, None) => sentence.take_out(of, kind),
        (Some(_), Some(_)) => None,
    }
}

/// `NFTA_META_…`, `NFTA_CT_…`: read or set.
fn kept<'a>(
    sentence: &mut Sentence<'a>,
    registers: &mut Registers<'a>,
    name: &str,
    data: &Fields<'a>,
) -> Option<()> {
    let key = data.number(2)?;
    let (part, source) = if name == "meta" {
        (Expr::Meta(key), data.number(3).filter(|_| data.known_to(3)))
    } else {
        (Expr::Ct { key, direction: data.byte(3) }, data.number(4).filter(|_| data.known_to(4)))
    };
    match (data.number(1), source) {
        (Some(register), None) => registers.load(register, part),
        (None, Some(source)) => sentence.set(&part, registers.held(source)?),
        _ => None,
    }
}

/// `NFTA_BITWISE_…`.
fn bitwise<'a>(registers: &Registers<'a>, data: &Fields<'a>) -> Option<Expr<'a>> {
    let of = registers.held(data.number(1).filter(|_| data.known_to(8))?)?.clone();
    let size = usize::try_from(data.number(3)?).ok()?;
    let given = |number| data.nested(number)?.ok()?.get(VALUE);
    let left = match data.number(6).unwrap_or_default() {
        0 => return masked(of, size, given(4)?, given(5)?),
        1 => true,
        2 => false,
        op @ 3..=5 => {
            let op = *["&", "|", "^"].get(usize::try_from(op - 3).ok()?)?;
            let right = match data.number(8) {
                Some(register) => registers.held(register)?.clone(),
                None => Expr::Constant(given(7)?),
            };
            return Some(Expr::Joined { op, left: Box::new(of), right: Box::new(right) });
        }
        _ => return None,
    };
    let by = u32::from_ne_bytes(given(7)?.get(..4)?.try_into().ok()?);
    Some(Expr::Shift { of: Box::new(of), left, by })
}

/// Something under a mask, then flipped; two of them one after the other are one.
fn masked<'a>(of: Expr<'a>, size: usize, mask: &'a [u8], flip: &'a [u8]) -> Option<Expr<'a>> {
    if of.size() != size || mask.len() != size || flip.len() != size {
        return None;
    }
    let (of, mask, flip) = match of {
        Expr::Bits { of, mask: first, flip: flipped } => {
            let mixed = flipped.iter().zip(mask).zip(flip);
            let flip: Vec<u8> = mixed.map(|((flipped, mask), flip)| (flipped & mask) ^ flip).collect();
            let mask: Vec<u8> = first.iter().zip(mask).map(|(first, mask)| first & mask).collect();
            (of, Cow::Owned(mask), Cow::Owned(flip))
        }
        of => (Box::new(of), Cow::Borrowed(mask), Cow::Borrowed(flip)),
    };
    // Whatever else it is, a number.
    types::number(&mask, false)?;
    Some(Expr::Bits { of, mask, flip })
}

/// `NFTA_LOOKUP_…`: in a set, a map, or a verdict map.
fn look_up<'a>(sentence: &mut Sentence<'a>, registers: &mut Registers<'a>, data: &Fields<'a>) -> Option<()> {
    let set = data.text(1).filter(|_| data.known_to(5))?;
    let known = sentence.around.sets.get(set)?;
    let key = registers.get(data.number(2)?, known.key_size)?;
    let mapped_size = known.mapped_size;
    match data.number(3) {
        None => sentence.is_in(&key, set, data.number(5).unwrap_or_default() & 1 != 0),
        Some(TO_VERDICT) => sentence.verdict_by(&key, set),
        Some(register) => registers.load(register, Expr::Map { key: Box::new(key), set, size: mapped_size }),
    }
}

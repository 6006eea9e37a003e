//! Reads what a rule does: the word after `-j` or `-g` and its options.
//!
//! Whether the packet then reaches its end is for the walker to say.

use std::net::IpAddr;

use super::Names;
use super::values::{masked, number};
use super::words::Words;
use crate::ir::{Masked, Span, Target};

/// Reads the target; `goto` for `-g`.
pub(super) fn read(words: &mut Words<'_>, chains: &Names<'_>, goto: bool) -> Result<Target, &'static str> {
    let start = words.upcoming();
    let name = words.word().ok_or("a jump without a target")?;
    if let Some(chain) = chains.get(name) {
        return Ok(if goto { Target::Goto(*chain) } else { Target::Jump(*chain) });
    }
    let text = Span {
        start: u32::try_from(start).map_err(|_| "too much text")?,
        end: u32::try_from(words.end()).map_err(|_| "too much text")?,
    };
    if goto {
        return Ok(Target::Unknown(text));
    }
    Ok(modelled(name, words).unwrap_or(Target::Unknown(text)))
}

fn modelled(name: &str, rest: &mut Words<'_>) -> Option<Target> {
    Some(match name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "RETURN" => Target::Return,
        "REJECT" => {
            let mut with = Span::default();
            while let Some(word) = rest.next() {
                if rest.text(word) == "--reject-with" {
                    with = rest.next().unwrap_or_default();
                }
            }
            Target::Reject(with)
        }
        "MASQUERADE" => Target::Masquerade,
        "SNAT" => Target::Snat,
        "DNAT" => {
            let to = option(rest, "--to-destination")?;
            let (address, port) = destination(to)?;
            Target::Dnat { address, port }
        }
        "REDIRECT" => match option(rest, "--to-ports") {
            None => Target::Redirect(None),
            Some(port) => Target::Redirect(Some(port.parse().ok()?)),
        },
        "MARK" => Target::SetMark(set_mark(rest)?),
        "CONNMARK" => connection_mark(rest)?,
        "NOTRACK" => Target::NoTrack,
        "SET" => change_sets(rest)?,
        "CT" => {
            let words = rest.clone();
            let exempt = rest.any(|word| words.text(word) == "--notrack");
            if exempt { Target::NoTrack } else { Target::Continue }
        }
        "LOG" | "NFLOG" | "ULOG" | "TRACE" | "AUDIT" | "CHECKSUM" | "TCPMSS" | "TCPOPTSTRIP" | "TOS"
        | "DSCP" | "TTL" | "HL" | "ECN" | "CLASSIFY" | "SECMARK" | "CONNSECMARK" | "IDLETIMER" | "LED"
        | "RATEEST" | "TEE" => Target::Continue,
        _ => return None,
    })
}

/// `-j SET`: sets that change. With `--map-set` the packet's mark and more may be taken out of a set, which is not
/// modelled.
fn change_sets(words: &mut Words<'_>) -> Option<Target> {
    let mut sets = Vec::new();
    while let Some(word) = words.next() {
        match words.text(word) {
            "--add-set" | "--del-set" => sets.push(words.next()?),
            "--map-set" => return None,
            _ => {}
        }
    }
    Some(Target::ChangeSets(sets.into()))
}

fn option<'t>(words: &mut Words<'t>, name: &str) -> Option<&'t str> {
    while let Some(word) = words.next() {
        if words.text(word) == name {
            return words.word();
        }
    }
    None
}

/// `ADDRESS[:PORT]`, `[ADDRESS]:PORT` or `:PORT`; ranges are not modelled.
fn destination(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        let port = rest.strip_prefix(':').map(str::parse).transpose().ok()?;
        return Some((Some(address.parse().ok()?), port));
    }
    let (address, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => return Some((Some(text.parse().ok()?), None)),
        None => return Some((Some(text.parse().ok()?), None)),
        Some(parts) => parts,
    };
    let address = if address.is_empty() { None } else { Some(address.parse().ok()?) };
    Some((address, Some(port.parse().ok()?)))
}

/// All forms of `-j MARK` as `mark = (mark & !mask) ^ value`.
fn set_mark(words: &mut Words<'_>) -> Option<Masked> {
    let name = words.word()?;
    let value = words.word()?;
    let set = Some(match name {
        "--set-xmark" => masked(value)?,
        "--set-mark" => {
            let set = masked(value)?;
            Masked { value: set.value, mask: set.mask | set.value }
        }
        "--and-mark" => Masked { value: 0, mask: !number(value)? },
        "--or-mark" => Masked { value: number(value)?, mask: number(value)? },
        "--xor-mark" => Masked { value: number(value)?, mask: 0 },
        _ => return None,
    });
    // A connection mark may be shifted as well, which is not modelled.
    set.filter(|_| words.next().is_none())
}

/// `-j CONNMARK`; saving and restoring with one mask for both marks, as everybody writes it.
fn connection_mark(words: &mut Words<'_>) -> Option<Target> {
    let mut first = words.clone();
    let name = first.next().map(|word| first.text(word))?;
    match name {
        "--save-mark" | "--restore-mark" => {
            let nfmask = option(&mut first.clone(), "--nfmask").map_or(Some(u32::MAX), number)?;
            let ctmask = option(&mut first.clone(), "--ctmask").map_or(Some(u32::MAX), number)?;
            let mask = option(&mut first, "--mask").map_or(Some(u32::MAX), number)?;
            if nfmask != ctmask || words.clone().any(|word| words.text(word).ends_with("-shift-mark")) {
                return None;
            }
            let mask = mask & nfmask;
            Some(if name == "--save-mark" { Target::SaveMark(mask) } else { Target::RestoreMark(mask) })
        }
        _ => set_mark(words).map(Target::SetConnMark),
    }
}

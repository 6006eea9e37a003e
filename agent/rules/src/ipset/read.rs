//! Reads what `ipset save` prints: `create NAME TYPE OPTIONS` and `add NAME MEMBER OPTIONS`, a line each.
//!
//! What a set then holds is the business of `store`.

use std::net::IpAddr;

use model::flow::Family;

use super::address::Address;
use super::kind::{Kind, Mask, Part, protocol_number};
use super::store::{Flags, Member, Store, masked};
use super::{Content, Set, Sets};
use crate::iptables::words::Words;
use crate::iptables::{MAX_PROBLEMS, excerpt};
use crate::ir::Problem;

/// Members kept of all sets together: 35 MB of IPv4, 140 MB of IPv6 at the most. A node's sets hold some 10,000, block
/// lists of whole countries some 100,000.
const MAX_MEMBERS: usize = 1_000_000;
/// A member that is gone within this time (seconds) may be gone when the packet comes: rules are walked as they were up
/// to a minute ago, and an answer is read a little later.
const SOON: u32 = 120;

type Refusal = &'static str;

pub(super) fn parse(text: &str) -> Sets {
    let mut reader = Reader { sets: Sets::default(), latest: None, members: 0, suppressed: 0, cut: 0 };
    let mut start = 0;
    let mut number = 0_u32;
    while start < text.len() {
        let rest = text.as_bytes().get(start..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        number = number.saturating_add(1);
        let line = text.get(start..start + length).unwrap_or_default().trim_ascii();
        if let Err(what) = reader.line(line) {
            reader.problem(number, line, what);
        }
        start += length + 1;
    }
    reader.finish()
}

struct Reader {
    sets: Sets,
    /// The set of the latest line; most lines are about the same one.
    latest: Option<usize>,
    members: usize,
    suppressed: usize,
    cut: usize,
}

impl Reader {
    fn finish(mut self) -> Sets {
        let more = |what: String| Problem { line: 0, excerpt: String::new(), what };
        if self.cut > 0 {
            let what = format!("{} members beyond the first {MAX_MEMBERS} were left out", self.cut);
            self.sets.problems.push(more(what));
        }
        if self.suppressed > 0 {
            self.sets.problems.push(more(format!("{} more lines could not be read", self.suppressed)));
        }
        self.sets
    }

    fn line(&mut self, line: &str) -> Result<(), Refusal> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let mut words = Words::new(line, 0, line.len());
        match words.word() {
            Some("create") => self.create(&mut words),
            Some("add") => self.add(&mut words),
            _ => Err("not a line of ipset save"),
        }
    }

    fn create(&mut self, words: &mut Words<'_>) -> Result<(), Refusal> {
        let name = words.word().ok_or("a set without a name")?;
        let mut kind = Kind::new(words.word().ok_or("a set without a type")?);
        let unmodelled = options(&mut kind, words)?.or_else(|| {
            let strange = kind.parts().is_empty() || kind.parts().contains(&Part::Other);
            strange.then(|| format!("type {}", kind.name().escape_debug()))
        });
        let content = match (unmodelled, kind.parts(), kind.family()) {
            (Some(what), ..) => Content::Unmodelled(what),
            (None, [Part::Set], _) => Content::Sets(Vec::new()),
            (None, _, Some(Family::Ipv6)) => Content::V6(Store::default()),
            (None, ..) => Content::V4(Store::default()),
        };
        let index = self.sets.list.len();
        let id = u32::try_from(index).map_err(|_| "too many sets")?;
        if self.sets.names.contains_key(name) {
            return Err("a set that is there already");
        }
        self.sets.names.insert(name.into(), id);
        self.sets.list.push(Set { name: name.into(), kind, content, changing: false, missing: 0 });
        self.latest = Some(index);
        Ok(())
    }

    fn add(&mut self, words: &mut Words<'_>) -> Result<(), Refusal> {
        let name = words.word().ok_or("a member without a set")?;
        let latest =
            self.latest.filter(|index| self.sets.list.get(*index).is_some_and(|set| *set.name == *name));
        let index = match latest {
            Some(index) => index,
            None => *self.sets.names.get(name).ok_or("a member of a set that was not created")? as usize,
        };
        self.latest = Some(index);
        let full = self.members >= MAX_MEMBERS;
        let set = self.sets.list.get_mut(index).ok_or("a member of a set that was not created")?;
        if matches!(set.content, Content::Unmodelled(_)) {
            return Ok(());
        }
        if full {
            self.cut += 1;
            set.missing = set.missing.saturating_add(1);
            return Ok(());
        }
        self.members += 1;
        member(set, words).inspect_err(|_| set.missing = set.missing.saturating_add(1))
    }

    fn problem(&mut self, line: u32, text: &str, what: Refusal) {
        if self.sets.problems.len() < MAX_PROBLEMS {
            self.sets.problems.push(Problem { line, excerpt: excerpt(text), what: what.to_owned() });
        } else {
            self.suppressed += 1;
        }
    }
}

/// Reads the options of a type; tells of one that is not modelled.
fn options(kind: &mut Kind, words: &mut Words<'_>) -> Result<Option<String>, Refusal> {
    let mut unmodelled = None;
    while let Some(option) = words.word() {
        match option {
            "counters" | "comment" | "skbinfo" | "forceadd" => continue,
            "family" | "netmask" | "bitmask" | "markmask" | "range" | "timeout" | "hashsize" | "maxelem"
            | "bucketsize" | "initval" | "size" | "probes" | "resize" => {}
            other => {
                unmodelled.get_or_insert_with(|| format!("option {}", other.escape_debug()));
                continue;
            }
        }
        let value = words.word().ok_or("an option without its value")?;
        match option {
            "family" => kind.set_family(match value {
                "inet" => Family::Ipv4,
                "inet6" => Family::Ipv6,
                _ => return Err("a family that is neither inet nor inet6"),
            }),
            "netmask" => kind.mask = Mask::Prefix(value.parse().map_err(|_| "a netmask that is no length")?),
            "bitmask" => kind.mask = Mask::Bits(value.parse().map_err(|_| "a mask that is no address")?),
            "markmask" => {
                let mask = value.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
                kind.mark_mask = mask.ok_or("a mask that is no number")?;
            }
            _ => {}
        }
        if matches!(option, "netmask" | "bitmask") && !kind.takes_mask() {
            unmodelled.get_or_insert_with(|| format!("option {option} of {}", kind.name().escape_debug()));
        }
    }
    Ok(unmodelled)
}

fn member(set: &mut Set, words: &mut Words<'_>) -> Result<(), Refusal> {
    let text = words.word().ok_or("a member that is missing")?;
    let mut flags = Flags::default();
    let mut prefix = false;
    while let Some(option) = words.word() {
        match option {
            "nomatch" => flags.add(Flags::EXCEPTION),
            "wildcard" => prefix = true,
            "timeout" => {
                let left: u32 =
                    words.word().and_then(|word| word.parse().ok()).ok_or("a timeout that is no number")?;
                // 0 is for ever.
                if (1..SOON).contains(&left) {
                    flags.add(Flags::EXPIRING);
                }
            }
            "packets" | "bytes" | "comment" | "skbmark" | "skbprio" | "skbqueue" => {
                words.word().ok_or("an option without its value")?;
            }
            _ => return Err("an option that is not known"),
        }
    }
    match &mut set.content {
        Content::V4(store) => insert(store, &set.kind, text, prefix, flags),
        Content::V6(store) => insert(store, &set.kind, text, prefix, flags),
        Content::Sets(names) => {
            names.push(text.into());
            Ok(())
        }
        Content::Unmodelled(_) => Ok(()),
    }
}

fn insert<A: Address>(
    store: &mut Store<A>,
    kind: &Kind,
    text: &str,
    prefix: bool,
    flags: Flags,
) -> Result<(), Refusal> {
    let mut member = Member { addresses: [A::ZERO; 2], lengths: [A::BITS; 2], rest: 0, device: None, flags };
    let mut texts = text.split(',');
    let mut places = member.addresses.iter_mut().zip(member.lengths.iter_mut());
    for part in kind.parts() {
        let text = texts.next().ok_or("a member with too few parts")?;
        match part {
            Part::Address => {
                let (to, _) = places.next().ok_or("a member with too many addresses")?;
                *to = masked(address(text)?, kind.mask);
            }
            Part::Network => {
                let (to, length) = places.next().ok_or("a member with too many addresses")?;
                (*to, *length) = network(text)?;
            }
            Part::Port => match port(text)? {
                Some(value) => member.rest = value,
                // Messages of ICMP and protocols without ports: no packet that is walked is one.
                None => return Ok(()),
            },
            Part::PlainPort => {
                member.rest = text.parse::<u16>().map_err(|_| "a port that is no number")?.into();
            }
            Part::Mark => {
                let mark = match text.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => text.parse(),
                };
                member.rest = mark.map_err(|_| "a mark that is no number")? & kind.mark_mask;
            }
            Part::Device => {
                // A port of a bridge is asked for by no rule (`IPSET_FLAG_PHYSDEV` is no flag of xt_set).
                if text.starts_with("physdev:") {
                    return Ok(());
                }
                member.device = Some((text, prefix));
            }
            Part::Set | Part::Other => return Err("a member of a type that is not modelled"),
        }
    }
    if texts.next().is_some() {
        return Err("a member with too many parts");
    }
    store.insert(member);
    Ok(())
}

fn address<A: Address>(text: &str) -> Result<A, Refusal> {
    let address: IpAddr = text.parse().map_err(|_| "no address")?;
    A::of(address).ok_or("an address of the other family")
}

fn network<A: Address>(text: &str) -> Result<(A, u8), Refusal> {
    let (text, length) = match text.split_once('/') {
        Some((text, length)) => (text, length.parse().map_err(|_| "a prefix length that is no number")?),
        None => (text, A::BITS),
    };
    if length > A::BITS {
        return Err("a prefix longer than the address");
    }
    Ok((address(text)?, length))
}

/// `PROTOCOL:PORT`; `None` for a protocol without ports.
fn port(text: &str) -> Result<Option<u32>, Refusal> {
    let (protocol, port) = text.split_once(':').ok_or("a port without its protocol")?;
    let Some(protocol) = protocol_number(protocol) else { return Ok(None) };
    let port: u16 = port.parse().map_err(|_| "a port that is no number")?;
    Ok(Some(u32::from(protocol) << 16 | u32::from(port)))
}

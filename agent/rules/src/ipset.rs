//! Sets of the kernel's ipset, which iptables rules ask by name (`-m set --match-set`).
//!
//! Read from what `ipset save` prints and asked as the kernel asks them (net/netfilter/ipset). It knows nothing of
//! rules; nftables has sets of its own, which are `ir::lookup`'s.
//!
//! Types of sets that cannot be told from a walk (those with link-layer addresses) and options nobody here has met are
//! kept by name, and whether they hold something is unknown.

mod address;
mod kind;
mod read;
mod store;

use std::fmt;
use std::net::IpAddr;

use hashbrown::HashMap;
use model::flow::Family;
use model::gap::Gap;

use self::kind::{Kind, Part};
use self::store::{Found, Probe, Store};
use crate::ir::Problem;
use crate::packet::Device;

/// Dimensions a rule can ask for (`IPSET_DIM_MAX`, include/uapi/linux/netfilter/ipset/ip_set.h).
const MAX_DIMENSIONS: usize = 6;

/// All sets of a namespace.
#[derive(Debug, Default)]
pub struct Sets {
    list: Vec<Set>,
    names: HashMap<Box<str>, u32>,
    problems: Vec<Problem>,
    /// Why the sets were not read, if they were not.
    unread: Option<Gap>,
}

/// A set.
#[derive(Debug)]
struct Set {
    name: Box<str>,
    kind: Kind,
    content: Content,
    /// Whether rules add to it or take away, so that its contents of now say little about those of later.
    changing: bool,
    /// Members that could not be read.
    missing: u32,
}

#[derive(Debug)]
enum Content {
    V4(Store<u32>),
    V6(Store<u128>),
    /// Names of other sets, in order.
    Sets(Vec<Box<str>>),
    /// Of a type or with an option that is not modelled; the text says which.
    Unmodelled(String),
}

/// What a rule asks a set about a packet.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) family: Family,
    /// How many dimensions the rule names.
    pub(crate) dimensions: u8,
    /// For which of them, lowest bit first, the source counts.
    pub(crate) sources: u8,
    /// Whether what a set excepts counts as held, and what it holds does not (`--return-nomatch`).
    pub(crate) excepted: bool,
    /// `None` where it cannot be told.
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: IpAddr,
    /// `None` where it cannot be told.
    pub(crate) src_port: Option<u16>,
    pub(crate) dst_port: u16,
    pub(crate) protocol: u8,
    pub(crate) mark: u32,
    pub(crate) input: &'a Device,
    pub(crate) output: &'a Device,
}

/// Whether a set holds what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
    Unknown(Doubt),
}

/// Why it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Sets were not read.
    Unread,
    /// This one is not among those that were read.
    Absent,
    /// A type or an option that is not modelled.
    Unmodelled,
    /// Some of its members could not be read.
    Incomplete,
    /// Rules change it.
    Changing,
    /// The member that decides is about to expire, or one that would decide may.
    Expiring,
    /// A part of the packet that is asked for is not known.
    Packet,
}

impl Sets {
    /// Reads what `ipset save` prints. Never fails: what cannot be read is listed in [`Sets::problems`].
    pub fn parse(text: &str) -> Self {
        read::parse(text)
    }

    /// Sets of which nothing is known, and why.
    pub fn unread(why: Gap) -> Self {
        Self { unread: Some(why), ..Self::default() }
    }

    /// What could not be read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Names and types in the order they were read.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|set| (&*set.name, set.kind.name()))
    }

    /// How many members all sets hold together.
    pub fn members(&self) -> usize {
        self.list.iter().map(Set::len).sum()
    }

    /// Notes that rules change a set.
    pub(crate) fn mark_changing(&mut self, name: &str) {
        if let Some(set) = self.names.get(name).and_then(|index| self.list.get_mut(*index as usize)) {
            set.changing = true;
        }
    }

    /// Whether rules change a set.
    pub(crate) fn is_changing(&self, name: &str) -> bool {
        self.get(name).is_ok_and(|set| set.changing)
    }

    /// Whether a set holds what a rule asks about a packet (`ip_set_test` in ip_set_core.c).
    pub(crate) fn holds(&self, name: &str, asked: &Asked<'_>) -> Held {
        match self.get(name) {
            Ok(set) => self.ask(set, asked),
            Err(doubt) => Held::Unknown(doubt),
        }
    }

    /// Addresses and ports that a set holds, of sets that hold both, with the protocol's number.
    pub(crate) fn destinations(&self, name: &str) -> Vec<(IpAddr, u8, u16)> {
        let Ok(set) = self.get(name) else { return Vec::new() };
        match (&set.content, set.kind.parts()) {
            (Content::V4(store), [Part::Address, Part::Port, ..]) => store.destinations(),
            (Content::V6(store), [Part::Address, Part::Port, ..]) => store.destinations(),
            _ => Vec::new(),
        }
    }

    /// Ports that a set of ports alone holds.
    pub(crate) fn ports(&self, name: &str) -> Vec<u16> {
        match self.get(name) {
            Ok(Set { content: Content::V4(store), kind, .. }) if kind.parts() == [Part::PlainPort] => {
                store.ports()
            }
            _ => Vec::new(),
        }
    }

    /// What the set was asked about, as `ipset` writes a member: `10.0.0.1,tcp:80`.
    pub(crate) fn question(&self, name: &str, asked: &Asked<'_>) -> String {
        let parts = self.get(name).map_or(&[][..], |set| set.kind.parts());
        let parts: &[Part] = if parts.is_empty() { &[Part::Address] } else { parts };
        let mut words = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let source = asked.sources >> at & 1 == 1;
            words.push(match part {
                Part::Address | Part::Network | Part::Set | Part::Other => match asked.address(source) {
                    Some(address) => address.to_string(),
                    None => "an unknown address".to_owned(),
                },
                Part::Port | Part::PlainPort => {
                    let port = asked.port(source).map_or_else(|| "?".to_owned(), |port| port.to_string());
                    if *part == Part::PlainPort {
                        port
                    } else {
                        format!("{}:{port}", kind::protocol_word(asked.protocol))
                    }
                }
                Part::Device => match asked.device(source) {
                    Device::Named(name) => name.to_string(),
                    Device::Absent => "no interface".to_owned(),
                    Device::Unknown => "an unknown interface".to_owned(),
                },
                Part::Mark => format!("{:#x}", asked.mark),
            });
        }
        words.join(",")
    }

    /// Why it cannot be told, in words.
    pub(crate) fn why(&self, name: &str, doubt: Doubt) -> String {
        match (doubt, self.get(name), &self.unread) {
            (Doubt::Unread, _, Some(gap)) => format!("not read: {}", gap.why),
            (Doubt::Unmodelled, Ok(Set { content: Content::Unmodelled(what), .. }), _) => {
                format!("{what} is not modelled")
            }
            _ => doubt.to_string(),
        }
    }

    fn get(&self, name: &str) -> Result<&Set, Doubt> {
        if self.unread.is_some() {
            return Err(Doubt::Unread);
        }
        let index = self.names.get(name).ok_or(Doubt::Absent)?;
        self.list.get(*index as usize).ok_or(Doubt::Absent)
    }

    fn ask(&self, set: &Set, asked: &Asked<'_>) -> Held {
        // A rule with too few dimensions, or of the other family, is no error: nothing is held then.
        let other = set.kind.family().is_some_and(|family| family != asked.family);
        if other || usize::from(asked.dimensions) < set.kind.parts().len() {
            return Held::No;
        }
        if set.changing {
            return Held::Unknown(Doubt::Changing);
        }
        let found = match &set.content {
            Content::Unmodelled(_) => return Held::Unknown(Doubt::Unmodelled),
            Content::Sets(names) => return self.ask_all(set, names, asked),
            Content::V4(store) => Probe::new(&set.kind, asked).map(|probe| store.find(&probe)),
            Content::V6(store) => Probe::new(&set.kind, asked).map(|probe| store.find(&probe)),
        };
        // A packet without such a field matches nothing (`-EINVAL` of the type's `kadt`).
        let Some(found) = found else { return Held::No };
        let excepted = asked.excepted && set.kind.has_exceptions();
        match found {
            Found::Member => {
                if excepted {
                    Held::No
                } else {
                    Held::Yes
                }
            }
            Found::Exception => {
                if excepted {
                    Held::Yes
                } else {
                    Held::No
                }
            }
            Found::Nothing if set.missing > 0 => Held::Unknown(Doubt::Incomplete),
            Found::Nothing => Held::No,
            Found::Expiring => Held::Unknown(Doubt::Expiring),
            Found::Unknown => Held::Unknown(Doubt::Packet),
        }
    }

    /// A set of sets holds what one of them holds (`list_set_ktest` in ip_set_list_set.c). None of them is such a set.
    fn ask_all(&self, set: &Set, names: &[Box<str>], asked: &Asked<'_>) -> Held {
        let mut doubt = (set.missing > 0).then_some(Doubt::Incomplete);
        for name in names {
            let held = match self.get(name) {
                Ok(Set { content: Content::Sets(_), .. }) => Held::Unknown(Doubt::Unmodelled),
                Ok(member) => self.ask(member, asked),
                Err(doubt) => Held::Unknown(doubt),
            };
            match held {
                Held::Yes => return Held::Yes,
                Held::No => {}
                Held::Unknown(why) => doubt = doubt.or(Some(why)),
            }
        }
        doubt.map_or(Held::No, Held::Unknown)
    }
}

impl Set {
    fn len(&self) -> usize {
        match &self.content {
            Content::V4(store) => store.len(),
            Content::V6(store) => store.len(),
            Content::Sets(names) => names.len(),
            Content::Unmodelled(_) => 0,
        }
    }
}

impl<'a> Asked<'a> {
    fn address(&self, source: bool) -> Option<IpAddr> {
        if source { self.src } else { Some(self.dst) }
    }

    fn port(&self, source: bool) -> Option<u16> {
        if source { self.src_port } else { Some(self.dst_port) }
    }

    const fn device(&self, source: bool) -> &'a Device {
        if source { self.input } else { self.output }
    }
}

/// `src,dst,…` of a set's dimensions: how many there are, and for which the source counts, lowest bit first.
pub(crate) fn sides(text: &str) -> Option<(u8, u8)> {
    let (mut count, mut sources) = (0, 0);
    for word in text.split(',') {
        if usize::from(count) >= MAX_DIMENSIONS {
            return None;
        }
        match word {
            "src" => sources |= 1 << count,
            "dst" => {}
            _ => return None,
        }
        count += 1;
    }
    Some((count, sources))
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread => "not read",
            Self::Absent => "not among the sets that were read",
            Self::Unmodelled => "of a type that is not modelled",
            Self::Incomplete => "some of its members could not be read",
            Self::Changing => "rules add to it or take away",
            Self::Expiring => "the member that decides is about to expire",
            Self::Packet => "what it is asked about is not known of this packet",
        })
    }
}

#[cfg(test)]
mod tests;

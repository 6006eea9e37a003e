//! Reads tables, sets, elements, chains and rules over netlink, as one state or not at all.
//!
//! nf_tables has no dump of everything. It counts its changes: the number is asked for before and after, and every message
//! carries its lower half (`nft_base_seq_be16` in net/netfilter/nf_tables_api.c). If any of them differs, what was read
//! is no state that ever was. What the messages mean is the business of `rules`.

use std::collections::HashMap;

use model::Family;
use rules::nft::Listing;
use rules::nft::netlink::{Interfaces, Printing, Reading};

use super::{
    NFGENMSG, NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETTABLE, NFTA_GEN_ID, NFTA_TABLE_NAME, SUBSYSTEM,
};
use super::{NFTA_CHAIN_TABLE, Table, open};
use crate::error::Error;
use crate::nl::{Netlink, attribute, attributes, be32, parts, text};

const NFT_MSG_GETRULE: u16 = message(7);
const NFT_MSG_GETSET: u16 = message(10);
const NFT_MSG_GETSETELEM: u16 = message(13);
const NFT_MSG_GETOBJ: u16 = message(19);
const NFT_MSG_GETFLOWTABLE: u16 = message(23);

/// `NFT_MSG_…` with its subsystem.
const fn message(kind: u16) -> u16 {
    SUBSYSTEM | kind
}

/// The table's name in messages of rules, sets, elements, objects and flow tables alike; behind it a set's name.
const OF_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_HANDLE: u16 = 16;
const NFTA_TABLE_HANDLE: u16 = 4;
/// `NFT_SET_ANONYMOUS` and `NFT_SET_CONSTANT`.
const FIXED: u32 = 0x1 | 0x2;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_RULE_CHAIN: u16 = 2;
/// Rules of tables with more chains than this are asked for chain by chain. A dump of all of a table's rules begins anew
/// at the first for each datagram and walks to where it stopped (`__nf_tables_dump_rules`), while a chain is found by its
/// name at once: at 60,000 chains of two rules it is 3.7 s against 1.2 s; at this many they are even.
const MANY_CHAINS: usize = 12_000;
/// The rule sets of the largest clusters known are a tenth of this; more would not fit beside the agent's other state.
const MOST_BYTES: usize = 1 << 30;
const REQUEST: &str = "dump nft rules";

/// What a reading may keep for the next one of the same namespace: the elements of sets that are part of a rule. They
/// cannot change while the rule exists (`nf_tables_newsetelem` refuses it for anonymous and constant sets), numbers of
/// tables and sets are never given twice, and asking for each set anew is most of reading a rule set of kube-proxy: the
/// kernel looks for it in a list of all sets.
#[derive(Debug, Default)]
pub struct Kept {
    /// Messages by the numbers of table and set.
    elements: HashMap<(u64, u64), Vec<u8>>,
}

impl Kept {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// Reads all nftables rules of the calling thread's namespace into the common form, without the tables that are `given`.
/// `None` where the kernel has no nf_tables.
pub fn read_nftables(
    interfaces: Interfaces,
    kept: &mut Kept,
    given: impl Fn(Family, &str) -> bool,
) -> Result<Option<Listing>, Error> {
    let Some(mut netlink) = open()? else { return Ok(None) };
    let wanted = |table: &Table| match table.family {
        super::IPV4 => !given(Family::Ipv4, &table.name),
        super::IPV6 => !given(Family::Ipv6, &table.name),
        // Other protocols and places are named, not walked.
        family => family == super::INET,
    };
    let mut reading = Reading::new(interfaces, &given);
    dump(&mut netlink, wanted, kept, &mut |datagram| reading.take(datagram))?;
    Ok(Some(reading.finish()))
}

/// Lists all nftables rules of the calling thread's namespace as `nft -j -a list ruleset` would; empty where the kernel
/// has no nf_tables.
pub fn list_nftables(interfaces: Interfaces) -> Result<String, Error> {
    let Some(mut netlink) = open()? else { return Ok(String::new()) };
    let mut printing = Printing::new(interfaces);
    dump(&mut netlink, |_| true, &mut Kept::default(), &mut |datagram| printing.take(datagram))?;
    let (text, problems) = printing.finish();
    if problems.is_empty() { Ok(text) } else { Err(Error::NetlinkMalformed { request: REQUEST }) }
}

/// Hands on everything that the kernel says of the wanted tables, and the names of the others.
fn dump(
    netlink: &mut Netlink,
    wanted: impl Fn(&Table) -> bool,
    kept: &mut Kept,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Error> {
    let generation = generation(netlink)?;
    let mut dump = Dump { netlink, generation, bytes: 0, kept: HashMap::new() };
    let mut done = dump.all(wanted, kept, take);
    if done.is_err() && dump.has_changed() {
        // A table or set that is gone is refused like one that never was.
        done = Err(torn());
    }
    if done.is_ok() {
        // Of sets that are gone nothing is kept.
        kept.elements.clear();
    }
    // What came whole is as good for the next attempt.
    kept.elements.extend(dump.kept);
    done
}

struct Dump<'n> {
    netlink: &'n mut Netlink,
    generation: u32,
    bytes: usize,
    /// What is kept of this reading.
    kept: HashMap<(u64, u64), Vec<u8>>,
}

impl Dump<'_> {
    /// Tables one after the other.
    fn all(
        &mut self,
        wanted: impl Fn(&Table) -> bool,
        kept: &mut Kept,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut tables = Vec::new();
        self.each(NFT_MSG_GETTABLE, &[0; NFGENMSG], &mut |message, payload| {
            let handle = long(payload, NFTA_TABLE_HANDLE);
            tables.push((table_of(payload, NFTA_TABLE_NAME), handle, message.to_vec()));
        })?;
        let mut chains: Vec<(Option<Table>, String, Vec<u8>)> = Vec::new();
        self.each(NFT_MSG_GETCHAIN, &[0; NFGENMSG], &mut |message, payload| {
            let name = attributes(payload, NFGENMSG).find(|(kind, _)| *kind == NFTA_CHAIN_NAME);
            let name = name.map(|(_, name)| text(name)).unwrap_or_default();
            chains.push((table_of(payload, NFTA_CHAIN_TABLE), name, message.to_vec()));
        })?;
        for (table, handle, message) in &tables {
            let table = table.as_ref().ok_or(Error::NetlinkMalformed { request: REQUEST })?;
            take(message);
            let wanted = wanted(table);
            if wanted {
                self.inside(table, *handle, kept, take)?;
            }
            let of_table = || chains.iter().filter(|(of, ..)| of.as_ref() == Some(table));
            for (.., message) in of_table() {
                take(message);
            }
            if wanted && of_table().count() > MANY_CHAINS {
                for (_, name, _) in of_table() {
                    let body = request(table, &[(NFTA_RULE_CHAIN, name)]);
                    self.each(NFT_MSG_GETRULE, &body, &mut |message, _| take(message))?;
                }
            } else if wanted {
                self.each(NFT_MSG_GETRULE, &request(table, &[]), &mut |message, _| take(message))?;
            }
        }
        // That it cannot be told is as bad.
        if generation(self.netlink)? == self.generation { Ok(()) } else { Err(torn()) }
    }

    fn has_changed(&mut self) -> bool {
        generation(self.netlink).is_ok_and(|now| now != self.generation)
    }

    /// Objects, flow tables, sets and their elements.
    fn inside(
        &mut self,
        table: &Table,
        handle: Option<u64>,
        kept: &mut Kept,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let all = request(table, &[]);
        self.optional(NFT_MSG_GETOBJ, &all, take)?;
        let mut sets = Vec::new();
        self.each(NFT_MSG_GETSET, &all, &mut |message, payload| {
            let name = attributes(payload, NFGENMSG).find(|(kind, _)| *kind == NFTA_SET_NAME);
            let flags = attributes(payload, NFGENMSG).find(|(kind, _)| *kind == NFTA_SET_FLAGS);
            let flags = flags.and_then(|(_, flags)| be32(flags)).unwrap_or_default();
            let number = long(payload, NFTA_SET_HANDLE).filter(|_| flags & FIXED == FIXED);
            sets.push((name.map(|(_, name)| text(name)), handle.zip(number)));
            take(message);
        })?;
        for (name, number) in sets {
            let name = name.ok_or(Error::NetlinkMalformed { request: REQUEST })?;
            let known = number.and_then(|number| kept.elements.remove(&number));
            let known = if let Some(known) = known {
                take(&known);
                Some(known)
            } else {
                let mut read = number.map(|_| Vec::new());
                let body = request(table, &[(NFTA_SET_NAME, &name)]);
                self.each(NFT_MSG_GETSETELEM, &body, &mut |message, _| {
                    if let Some(read) = &mut read {
                        read.extend_from_slice(message);
                    }
                    take(message);
                })?;
                read
            };
            if let (Some(number), Some(known)) = (number, known) {
                self.kept.insert(number, known);
            }
        }
        self.optional(NFT_MSG_GETFLOWTABLE, &all, take)
    }

    /// What kernels had no notion of in the beginning: objects (4.10), flow tables (4.16).
    fn optional(&mut self, kind: u16, body: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        match self.each(kind, body, &mut |message, _| take(message)) {
            Err(Error::NetlinkRefused { source, .. })
                if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Hands on each message of a dump, with its payload.
    fn each(&mut self, kind: u16, body: &[u8], take: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let (mut same, mut bytes) = (true, 0);
        let generation = self.generation;
        let whole = self.netlink.dump_each(REQUEST, kind, body, &mut |datagram| {
            bytes += datagram.len();
            for (message, payload) in parts(datagram) {
                same &= is_of(payload, generation);
                take(message, payload);
            }
        })?;
        self.bytes = self.bytes.saturating_add(bytes);
        if !(whole && same) {
            return Err(torn());
        }
        if self.bytes > MOST_BYTES {
            return Err(Error::TooMuch { request: REQUEST, limit: MOST_BYTES >> 20 });
        }
        Ok(())
    }
}

/// `struct nfgenmsg` of the table's family, its name, and what else is asked for.
fn request(table: &Table, more: &[(u16, &str)]) -> Vec<u8> {
    let mut body = vec![table.family, 0, 0, 0];
    for (kind, value) in [(OF_TABLE, table.name.as_str())].iter().chain(more) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        body.extend(attribute(*kind, &bytes));
    }
    body
}

fn table_of(payload: &[u8], name: u16) -> Option<Table> {
    let family = *payload.first()?;
    let name = attributes(payload, NFGENMSG).find(|(kind, _)| *kind == name)?.1;
    Some(Table { family, name: text(name) })
}

/// A number of 64 bits.
fn long(payload: &[u8], wanted: u16) -> Option<u64> {
    let (_, value) = attributes(payload, NFGENMSG).find(|(kind, _)| *kind == wanted)?;
    Some(u64::from_be_bytes(value.get(..8)?.try_into().ok()?))
}

/// Whether a message was written in a generation: its resource id is the lower half of its number.
fn is_of(payload: &[u8], generation: u32) -> bool {
    let id = payload.get(2..4).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
    let [.., a, b] = generation.to_be_bytes();
    id == Some(u16::from_be_bytes([a, b]))
}

fn generation(netlink: &mut Netlink) -> Result<u32, Error> {
    let message = netlink.get(REQUEST, NFT_MSG_GETGEN, &[0; NFGENMSG])?;
    attributes(&message.payload, NFGENMSG)
        .find(|(kind, _)| *kind == NFTA_GEN_ID)
        .and_then(|(_, value)| be32(value))
        .ok_or(Error::NetlinkMalformed { request: REQUEST })
}

const fn torn() -> Error {
    Error::Torn { request: REQUEST, attempts: 1 }
}

//! Reads tables, sets, elements, chains and rules over netlink, as one state or not at all.
//!
//! nf_tables has no dump of everything. It counts its changes: the number is asked for before and after, and every message
//! carries its lower half (`nft_base_seq_be16` in net/netfilter/nf_tables_api.c). If any of them differs, what was read
//! is no state that ever was. What the messages mean is the business of `rules`.

use model::Family;
use rules::nft::Listing;
use rules::nft::netlink::{self, Interfaces, Reading};

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
/// The rule sets of the largest clusters known are a tenth of this; more would not fit beside the agent's other state.
const MOST_BYTES: usize = 1 << 30;
const REQUEST: &str = "dump nft rules";

/// Reads all nftables rules of the calling thread's namespace into the common form, without the tables that are `given`.
/// `None` where the kernel has no nf_tables.
pub fn read_nftables(
    interfaces: Interfaces,
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
    dump(&mut netlink, wanted, &mut |datagram| reading.take(datagram))?;
    Ok(Some(reading.finish()))
}

/// Lists all nftables rules of the calling thread's namespace as `nft -j -a list ruleset` would; empty where the kernel
/// has no nf_tables.
pub fn list_nftables(interfaces: Interfaces) -> Result<String, Error> {
    let Some(mut netlink) = open()? else { return Ok(String::new()) };
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    dump(&mut netlink, |_| true, &mut |datagram| datagrams.push(datagram.to_vec()))?;
    let (text, problems) = netlink::listing(datagrams.iter().map(Vec::as_slice), interfaces);
    if problems.is_empty() { Ok(text) } else { Err(Error::NetlinkMalformed { request: REQUEST }) }
}

/// Hands on everything that the kernel says of the wanted tables, and the names of the others.
fn dump(
    netlink: &mut Netlink,
    wanted: impl Fn(&Table) -> bool,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Error> {
    let before = generation(netlink)?;
    let mut dump = Dump { netlink, generation: before, bytes: 0 };
    let mut tables = Vec::new();
    dump.each(NFT_MSG_GETTABLE, &[0; NFGENMSG], &mut |message, payload| {
        tables.push((table_of(payload, NFTA_TABLE_NAME), message.to_vec()));
    })?;
    let mut chains: Vec<(Option<Table>, Vec<u8>)> = Vec::new();
    dump.each(NFT_MSG_GETCHAIN, &[0; NFGENMSG], &mut |message, payload| {
        chains.push((table_of(payload, NFTA_CHAIN_TABLE), message.to_vec()));
    })?;
    for (table, message) in &tables {
        let table = table.as_ref().ok_or(Error::NetlinkMalformed { request: REQUEST })?;
        take(message);
        let wanted = wanted(table);
        if wanted {
            dump.inside(table, take)?;
        }
        for (_, message) in chains.iter().filter(|(of, _)| of.as_ref() == Some(table)) {
            take(message);
        }
        if wanted {
            dump.each(NFT_MSG_GETRULE, &request(table, &[]), &mut |message, _| take(message))?;
        }
    }
    let Dump { netlink, .. } = dump;
    if generation(netlink)? == before { Ok(()) } else { Err(torn()) }
}

struct Dump<'n> {
    netlink: &'n mut Netlink,
    generation: u32,
    bytes: usize,
}

impl Dump<'_> {
    /// Objects, flow tables, sets and their elements.
    fn inside(&mut self, table: &Table, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let all = request(table, &[]);
        self.optional(NFT_MSG_GETOBJ, &all, take)?;
        let mut names = Vec::new();
        let mut sets = Vec::new();
        self.each(NFT_MSG_GETSET, &all, &mut |message, payload| {
            names.extend(
                attributes(payload, NFGENMSG)
                    .find(|(kind, _)| *kind == NFTA_SET_NAME)
                    .map(|(_, name)| text(name)),
            );
            sets.extend_from_slice(message);
        })?;
        take(&sets);
        for name in names {
            self.each(NFT_MSG_GETSETELEM, &request(table, &[(NFTA_SET_NAME, &name)]), &mut |message, _| {
                take(message);
            })?;
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

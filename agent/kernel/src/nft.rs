//! nftables: which tables exist, whether they do anything, the generation, and the rules, over netlink or, where that
//! fails, as `nft` lists them.
//!
//! Understanding them is the business of `rules`.

mod dump;

use model::Gap;

use crate::error::Error;
use crate::iptables;
use crate::nl::{self, Netlink, attributes, be32, text};

pub use self::dump::{Kept, list_nftables, read_nftables};

const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_GETTABLE: u16 = SUBSYSTEM | 1;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | 4;
const NFT_MSG_GETGEN: u16 = SUBSYSTEM | 16;
/// `struct nfgenmsg`: family, version, resource id.
const NFGENMSG: usize = 4;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_DORMANT: u32 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_GEN_ID: u16 = 1;
const NF_DROP: u32 = 0;

/// A table by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// `NFPROTO_…`.
    pub family: u8,
    /// Name.
    pub name: String,
}

/// `NFPROTO_INET`.
pub const INET: u8 = 1;
/// `NFPROTO_IPV4`.
pub const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub const IPV6: u8 = 10;

impl Table {
    /// As `nft list tables` prints it, without the word table.
    pub fn in_words(&self) -> String {
        let family = match self.family {
            INET => "inet",
            IPV4 => "ip",
            3 => "arp",
            5 => "netdev",
            7 => "bridge",
            IPV6 => "ip6",
            _ => "unknown-family",
        };
        format!("{family} {}", self.name.escape_debug())
    }

    /// Whether its name is one of those that iptables-nft uses, so that `iptables-nft-save` prints it.
    pub fn named_as_iptables(&self) -> bool {
        matches!(self.family, IPV4 | IPV6)
            && ["filter", "nat", "mangle", "raw", "security"].contains(&self.name.as_str())
    }
}

/// Opens the netfilter socket; `None` where the kernel has no nf_tables.
pub fn open() -> Result<Option<Netlink>, Error> {
    match Netlink::open(nl::NETFILTER) {
        Ok(netlink) => Ok(Some(netlink)),
        Err(error) if error.errno() == Some(libc::EPROTONOSUPPORT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All tables of the calling thread's namespace; `None` where the kernel has no nf_tables.
pub fn tables(netlink: &mut Netlink) -> Result<Option<Vec<Table>>, Error> {
    let found = flagged_tables(netlink)?;
    Ok(found.map(|tables| tables.into_iter().map(|(table, _)| table).collect()))
}

/// The same with their flags.
fn flagged_tables(netlink: &mut Netlink) -> Result<Option<Vec<(Table, u32)>>, Error> {
    let request = "dump nft tables";
    let messages = match netlink.dump(request, NFT_MSG_GETTABLE, &[0; NFGENMSG]) {
        Ok(messages) => messages,
        // What nfnetlink says to a subsystem that nobody registered (nfnetlink_rcv_msg in net/netfilter/nfnetlink.c).
        Err(Error::NetlinkRefused { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    messages
        .iter()
        .map(|message| {
            let family = *message.payload.first()?;
            let get = |wanted: u16| attributes(&message.payload, NFGENMSG).find(|(kind, _)| *kind == wanted);
            let flags = get(NFTA_TABLE_FLAGS).and_then(|(_, flags)| be32(flags)).unwrap_or_default();
            Some((Table { family, name: text(get(NFTA_TABLE_NAME)?.1) }, flags))
        })
        .collect::<Option<Vec<_>>>()
        .map(Some)
        .ok_or(Error::NetlinkMalformed { request })
}

/// The tables that can decide over a packet: with a hooked chain that holds rules or whose policy is drop, and not
/// switched off.
pub fn deciding_tables(netlink: &mut Netlink) -> Result<Vec<Table>, Error> {
    let mut dormant = flagged_tables(netlink)?.unwrap_or_default();
    dormant.retain(|(_, flags)| flags & NFT_TABLE_F_DORMANT != 0);
    let request = "dump nft chains";
    let mut tables = Vec::new();
    for message in netlink.dump(request, NFT_MSG_GETCHAIN, &[0; NFGENMSG])? {
        let family = *message.payload.first().ok_or(Error::NetlinkMalformed { request })?;
        let mut name = None;
        let mut hooked = false;
        let mut decides = false;
        for (kind, value) in attributes(&message.payload, NFGENMSG) {
            match kind {
                NFTA_CHAIN_TABLE => name = Some(text(value)),
                NFTA_CHAIN_HOOK => hooked = true,
                NFTA_CHAIN_POLICY => decides |= be32(value) == Some(NF_DROP),
                // Nothing can jump to a hooked chain, so its use count is its number of rules.
                NFTA_CHAIN_USE => decides |= be32(value) != Some(0),
                _ => {}
            }
        }
        let table = Table { family, name: name.ok_or(Error::NetlinkMalformed { request })? };
        let off = dormant.iter().any(|(off, _)| *off == table);
        if hooked && decides && !off && !tables.contains(&table) {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// All rules of the calling thread's namespace, as `nft -j -a list ruleset` prints them.
pub fn list() -> Result<String, Gap> {
    let listed = iptables::run("nft", ["-j", "-a", "list", "ruleset"]);
    listed.map(|output| output.text).map_err(|failure| {
        let gap = Gap { what: "nftables rules".to_owned(), ..failure.gap("nft") };
        match failure {
            iptables::Failure::Missing => {
                gap.with_remedy("install the nftables package where the agent runs")
            }
            _ => gap,
        }
    })
}

/// The version of `nft`, for the preflight.
pub fn tool_version() -> Result<String, String> {
    let version = iptables::run("nft", ["--version"]).map(|output| output.text.trim().to_owned());
    version.map_err(|failure| failure.gap("nft").why)
}

/// How many tables there are; `None` where the kernel has no nf_tables.
pub fn count_tables() -> Result<Option<usize>, Error> {
    let Some(mut netlink) = open()? else { return Ok(None) };
    Ok(tables(&mut netlink)?.map(|tables| tables.len()))
}

/// The number of the latest change to any nft table of this namespace; `None` where the kernel has no nf_tables.
pub fn generation() -> Result<Option<u32>, Error> {
    let request = "read the nft generation";
    let Some(mut netlink) = open()? else { return Ok(None) };
    match netlink.get(request, NFT_MSG_GETGEN, &[0; NFGENMSG]) {
        Ok(message) => attributes(&message.payload, NFGENMSG)
            .find(|(kind, _)| *kind == NFTA_GEN_ID)
            .and_then(|(_, value)| be32(value))
            .map(Some)
            .ok_or(Error::NetlinkMalformed { request }),
        Err(Error::NetlinkRefused { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

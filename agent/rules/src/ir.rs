//! The one form every rule back-end is lowered to, so that one evaluator serves them all.
//!
//! It says what rules test and do, not what they mean to anybody: whose rules they are is the business of `owner`.
//! Texts stay in the source they were read from and are referred to by position, so a big rule set costs little more
//! than its own size.

use ipnet::IpNet;
use model::flow::{Family, PortRange};
use model::walk::Backend;

use crate::hooks::Base;
use crate::iptables::words::{comments, packets};
pub use crate::span::Span;

pub mod lookup;
mod outside;

pub use self::lookup::{Lookup, Set, SetId};
pub use self::outside::{InSet, Real, Served};

/// Something in the source that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: u32,
    /// The beginning of that line, escaped.
    pub excerpt: String,
    /// What is wrong with it.
    pub what: String,
}

/// All tables of one back-end and family.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// Who holds the rules.
    pub backend: Backend,
    /// The family they apply to.
    pub family: Family,
    /// The text they were read from; every [`Span`] points into it.
    pub source: Box<str>,
    /// Tables in the order they were read.
    pub tables: Vec<Table>,
    /// The matches of all rules; a rule holds a range of them.
    pub matches: Vec<Match>,
    /// Sets and maps of all tables and rules; a [`SetId`] is an index.
    pub sets: Vec<Set>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// What the saving tool itself warned of: tables it left out.
    pub warnings: Vec<String>,
}

/// A table: a name space of chains.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its chains; a [`ChainId`] is an index.
    pub chains: Vec<Chain>,
    /// The rules of all its chains, chain by chain; a chain holds a range of them.
    pub rules: Vec<Rule>,
    /// The kernel's numbers of the rules, where it has some; else empty.
    pub handles: Vec<u64>,
    /// The program that writes all of it, where something else than names tells; else empty.
    pub writer: &'static str,
}

/// Index of a chain in its table.
pub type ChainId = u32;

/// A chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: Span,
    /// Where the kernel calls it, if it does.
    pub base: Option<Base>,
    /// What becomes of a packet that falls off the end of a base chain.
    pub policy: Policy,
    /// The policy's packet counter, when printed.
    pub packets: Option<u64>,
    /// First of its rules in [`Table::rules`].
    pub first_rule: u32,
    /// One past the last of its rules.
    pub end_rule: u32,
}

/// What a base chain does with a packet no rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Let it go on.
    Accept,
    /// Drop it.
    Drop,
}

/// A rule: if all matches hold, the target is carried out.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule as printed, without counters.
    pub text: Span,
    /// Its counters as printed; empty if they are not.
    pub counters: Span,
    /// First of its matches in [`RuleSet::matches`].
    pub first_match: u32,
    /// One past the last of its matches.
    pub end_match: u32,
    /// What it does.
    pub target: Target,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Whether the outcome is turned round (`!`).
    pub negate: bool,
    /// What is tested.
    pub test: Test,
}

/// What a match tests.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Source address.
    Source(IpNet),
    /// Destination address.
    Destination(IpNet),
    /// Source address in an inclusive range.
    SourceRange(Box<(std::net::IpAddr, std::net::IpAddr)>),
    /// Destination address in an inclusive range.
    DestinationRange(Box<(std::net::IpAddr, std::net::IpAddr)>),
    /// Interface it arrived on.
    InInterface(Interface),
    /// Interface it leaves by.
    OutInterface(Interface),
    /// IP protocol number.
    Protocol(u8),
    /// Source port.
    SourcePort(PortRange),
    /// Destination port.
    DestinationPort(PortRange),
    /// One of several ports.
    Ports(Side, Box<[PortRange]>),
    /// Packet mark: `mark & mask == value`.
    Mark(Masked),
    /// Connection mark: `mark & mask == value`.
    ConnMark(Masked),
    /// Connection state or translation, any of.
    CtState(CtStates),
    /// Whether the connection was ever answered (`--ctstatus SEEN_REPLY`, `ASSURED`).
    CtAnswered,
    /// Protocol of the connection.
    CtProtocol(u8),
    /// Direction of the connection: true for the original one.
    CtOriginal(bool),
    /// Destination before translation.
    CtOriginalDestination(IpNet),
    /// Destination port before translation.
    CtOriginalPort(PortRange),
    /// Kind of the source address.
    SourceType(AddressTypes),
    /// Kind of the destination address.
    DestinationType(AddressTypes),
    /// By chance or every nth packet.
    Chance(Chance),
    /// TCP flags: of those in the mask exactly the second set.
    TcpFlags {
        /// Flags looked at.
        mask: u8,
        /// Flags that must be set among them.
        set: u8,
    },
    /// An ICMP or ICMPv6 message; no transport connection starts with one.
    Icmp,
    /// Port of a bridge, where the packet crosses one.
    BridgePort(Span),
    /// Asks a list of addresses seen before (`-m recent`).
    SeenBefore,
    /// The sending socket's owner; negated only if every option is.
    SocketOwner(Span),
    /// Link-layer destination kind as the receiving host sees it.
    PacketType(PacketType),
    /// Always true, with an effect that no verdict depends on (counters, remembered addresses).
    Always,
    /// Whether a set holds these fields. Fails, negated or not, where the packet has no such field.
    Lookup(Box<Lookup>),
    /// Whether a set of the kernel's ipset holds the packet (`-m set`).
    InSet(InSet),
    /// Whether IPVS took the packet for a virtual server, or which (`-m ipvs`).
    Served(Served),
    /// Not modelled: kept as printed.
    Unknown(Span),
}

/// An interface name, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name without a trailing `+`.
    pub name: Span,
    /// Whether any name that begins so is meant.
    pub prefix: bool,
}

/// Which ports of a packet a list of ports is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source port.
    Source,
    /// The destination port.
    Destination,
    /// Either.
    Either,
}

/// A value under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The value.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

/// A set of connection states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStates(pub u8);

impl CtStates {
    /// First packet of a connection.
    pub const NEW: u8 = 1;
    /// A packet of a known connection.
    pub const ESTABLISHED: u8 = 2;
    /// First packet of an expected connection, or an ICMP error about a known one.
    pub const RELATED: u8 = 4;
    /// No valid part of any connection.
    pub const INVALID: u8 = 8;
    /// Exempt from tracking.
    pub const UNTRACKED: u8 = 16;
    /// Its destination was translated.
    pub const DNAT: u8 = 32;
    /// Its source was translated.
    pub const SNAT: u8 = 64;
}

/// A set of address kinds (`rtm_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressTypes {
    /// The kinds, as bits of this type's constants.
    pub kinds: u8,
    /// Whether the look-up is limited to one interface (`--limit-iface-in`, `--limit-iface-out`).
    pub limited: bool,
}

impl AddressTypes {
    /// An address of this host.
    pub const LOCAL: u8 = 1;
    /// Any other single host.
    pub const UNICAST: u8 = 2;
    /// A broadcast address.
    pub const BROADCAST: u8 = 4;
    /// A multicast address.
    pub const MULTICAST: u8 = 8;
    /// Any kind that no address looked up here is known to have.
    pub const OTHER: u8 = 16;
}

/// A condition that holds now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// Never.
    Never,
    /// Sometimes.
    Sometimes,
    /// Always.
    Always,
}

/// Link-layer destination kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// To this host.
    Unicast,
    /// To all, or to a group.
    Other,
}

/// What a rule does when it matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Nothing; the rule counts or comments.
    None,
    /// This base chain is done with the packet.
    Accept,
    /// The packet is gone.
    Drop,
    /// The sender is told; the text says what, empty for the default.
    Reject(Span),
    /// Back to the calling chain.
    Return,
    /// Call a chain.
    Jump(ChainId),
    /// Go on in a chain without coming back.
    Goto(ChainId),
    /// New destination.
    Dnat {
        /// Address, if it changes.
        address: Option<std::net::IpAddr>,
        /// Port, if it changes.
        port: Option<u16>,
    },
    /// New source, given in the rule.
    Snat,
    /// New source: the address of the outgoing interface.
    Masquerade,
    /// To this host, perhaps at another port.
    Redirect(Option<u16>),
    /// `mark = (mark & !mask) ^ value`.
    SetMark(Masked),
    /// `ctmark = (ctmark & !mask) ^ value`.
    SetConnMark(Masked),
    /// The packet mark's bits under `mask` become the connection mark's.
    SaveMark(u32),
    /// The connection mark's bits under `mask` become the packet mark's.
    RestoreMark(u32),
    /// Exempt from connection tracking.
    NoTrack,
    /// To a real server of IPVS, picked for a virtual one.
    Serve(Box<Real>),
    /// What a map says about these fields; nothing if it does not hold them.
    Verdict(Box<Lookup>),
    /// New destination, looked up in a map: an address, and a port if it holds two values.
    DnatBy(Box<Lookup>),
    /// Several things in a row, with further conditions between them.
    Steps(Box<[Step]>),
    /// Carried out without any bearing on the verdict: logging, counting, header fields no rule here reads.
    Continue,
    /// Adds the packet to these sets of the kernel's ipset or takes it away.
    ChangeSets(Box<[Span]>),
    /// Not modelled: kept as printed.
    Unknown(Span),
}

/// One of several things that a rule does in a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Goes on only if this holds.
    If(Match),
    /// Does this.
    Do(Target),
}

impl RuleSet {
    /// The text of a span; empty if it does not lie in the source.
    pub fn text(&self, span: Span) -> &str {
        self.source.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The matches of a rule.
    pub fn matches_of(&self, rule: &Rule) -> &[Match] {
        self.matches.get(rule.first_match as usize..rule.end_match as usize).unwrap_or_default()
    }

    /// A table by name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A chain of a table by name. It looks through all of them: for a few questions after loading.
    pub fn chain_of<'t>(&self, table: &'t Table, name: &str) -> Option<(ChainId, &'t Chain)> {
        (0..).zip(&table.chains).find(|(_, chain)| self.text(chain.name) == name)
    }

    /// A set by index.
    pub fn set(&self, id: SetId) -> Option<&Set> {
        self.sets.get(id as usize)
    }

    /// A rule's comments as printed between their quotes. They are read anew: few are ever asked for.
    pub fn comments(&self, rule: &Rule) -> impl Iterator<Item = &str> {
        let text = self.text(rule.text);
        let (saved, listed) = if self.backend == Backend::Nftables { ("", text) } else { (text, "") };
        comments(saved).chain(crate::nft::text::comment(listed))
    }

    /// A rule's packet counter, when printed.
    pub fn packets(&self, rule: &Rule) -> Option<u64> {
        packets(self.text(rule.counters))
    }
}

impl Table {
    /// The rules of one of its chains in order.
    pub fn rules_of(&self, chain: &Chain) -> &[Rule] {
        self.rules.get(chain.first_rule as usize..chain.end_rule as usize).unwrap_or_default()
    }
}

impl Chain {
    /// How many rules it has.
    pub const fn len(&self) -> usize {
        (self.end_rule - self.first_rule) as usize
    }

    /// Whether it has no rules.
    pub const fn is_empty(&self) -> bool {
        self.first_rule == self.end_rule
    }
}

impl Policy {
    /// As the tools print it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

//! Reads what the kernel answers to dumps of nf_tables over netlink.
//!
//! It writes tables, chains, sets and rules down in the words of libnftables-json(5), as `nft -j` does of the same bytes,
//! and hands them to the reader of those: so there is one lowering, one printer, and each can be held against the other.
//! What it is not: a socket. Bytes come in, in the order in which tables are asked for: the table, its objects, its sets,
//! the elements of each, its chains, its rules.
//!
//! Numbers of attributes are those of include/uapi/linux/netfilter/nf_tables.h, Linux 3.13 to 6.18. An attribute or
//! expression that came later makes its rule unknown, by name, and nothing else.

mod actions;
mod compare;
mod elements;
mod expression;
mod follow;
mod headers;
mod objects;
mod sentence;
mod sets;
pub(super) mod symbols;
mod types;
mod wire;
mod words;

use model::flow::Family;

use self::sentence::{Around, family};
use self::sets::{Declared, Sets};
use self::wire::{Fields, Message, remark, text};
use super::tree::Value;
use super::{EXCERPT, Listing, Reader};
use crate::ir::Problem;

/// `NFT_MSG_NEW…`.
const TABLE: u8 = 0;
const CHAIN: u8 = 3;
const RULE: u8 = 6;
const SET: u8 = 9;
const ELEMENTS: u8 = 12;
const OBJECT: u8 = 18;
const FLOW_TABLE: u8 = 22;
/// `NFTA_RULE_…`.
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// `NFTNL_UDATA_RULE_COMMENT`.
const COMMENT: u8 = 0;

/// Names of interfaces by index, for rules that hold indices.
pub type Interfaces = std::collections::HashMap<u32, String>;

/// A reading of the kernel's answers.
pub struct Reading<G> {
    decoder: Decoder,
    reader: Reader<G>,
    size: usize,
}

impl<G: Fn(Family, &str) -> bool> Reading<G> {
    /// Begins one. `given` says which tables of which family are known from elsewhere and are left out here.
    pub fn new(interfaces: Interfaces, given: G) -> Self {
        Self { decoder: Decoder::new(interfaces), reader: Reader::new(given), size: 0 }
    }

    /// Takes one datagram: any number of messages.
    pub fn take(&mut self, datagram: &[u8]) {
        self.size = self.size.saturating_add(datagram.len());
        let Self { decoder, reader, .. } = self;
        for message in wire::messages(datagram) {
            let done = message.and_then(|message| {
                let wanted = |table: &str| reader.wants(message.family, table);
                if is_detail(&message, wanted)? {
                    return Ok(());
                }
                decoder.take(&message, &mut |object| reader.take(object))
            });
            if let Err(what) = done {
                reader.fault(what, datagram);
            }
        }
    }

    /// The rules.
    pub fn finish(mut self) -> Listing {
        let Self { decoder, reader, .. } = &mut self;
        decoder.flush(&mut |object| reader.take(object));
        self.reader.finish(self.size)
    }
}

impl<G: Fn(Family, &str) -> bool> Reader<G> {
    /// Whether the sets and rules of a table are of any use.
    fn wants(&self, of: u8, table: &str) -> bool {
        match of {
            family::IPV4 => !(self.given)(Family::Ipv4, table),
            family::IPV6 => !(self.given)(Family::Ipv6, table),
            family::INET => true,
            _ => false,
        }
    }

    fn fault(&mut self, what: &'static str, datagram: &[u8]) {
        self.number = self.number.saturating_add(1);
        let excerpt: Vec<String> =
            datagram.iter().take(EXCERPT / 4).map(|byte| format!("{byte:02x}")).collect();
        let what = format!("message {}: {what}", self.number);
        self.problem(Problem { line: self.number, excerpt: excerpt.join(" "), what });
    }
}

/// What `nft -j list ruleset` would print, on one line.
pub struct Printing {
    decoder: Decoder,
    text: String,
    problems: Vec<&'static str>,
}

impl Printing {
    /// Begins a listing.
    pub fn new(interfaces: Interfaces) -> Self {
        let text = String::from("{\"nftables\":[{\"metainfo\":{\"json_schema_version\":1}}");
        Self { decoder: Decoder::new(interfaces), text, problems: Vec::new() }
    }

    /// Takes one datagram: any number of messages.
    pub fn take(&mut self, datagram: &[u8]) {
        let Self { decoder, text, problems } = self;
        for message in wire::messages(datagram) {
            if let Err(what) = message.and_then(|message| decoder.take(&message, &mut |it| print(text, it))) {
                problems.push(what);
            }
        }
    }

    /// The listing, and why some of what was taken is not in it.
    pub fn finish(self) -> (String, Vec<&'static str>) {
        let Self { mut decoder, mut text, problems } = self;
        decoder.flush(&mut |object| print(&mut text, object));
        text.push_str("]}");
        (text, problems)
    }
}

fn print(text: &mut String, object: &Value<'_>) {
    text.push(',');
    // Writing a tree of texts and numbers to memory cannot fail.
    text.push_str(&serde_json::to_string(object).unwrap_or_default());
}

/// Turns messages into objects of a listing.
struct Decoder {
    interfaces: Interfaces,
    /// The sets of the table that is being read.
    sets: Sets,
    of: Option<(u8, String)>,
    /// Named sets whose elements are coming in.
    pending: Vec<Declared>,
}

type Emit<'e> = &'e mut dyn FnMut(&Value<'_>);

impl Decoder {
    fn new(interfaces: Interfaces) -> Self {
        Self { interfaces, sets: Sets::default(), of: None, pending: Vec::new() }
    }

    fn take(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Result<(), &'static str> {
        match message.kind {
            SET => {
                self.enter(message, emit)?;
                self.pending.extend(sets::declare(&mut self.sets, message)?);
                Ok(())
            }
            ELEMENTS => {
                self.enter(message, emit)?;
                sets::extend(&mut self.sets, message)
            }
            TABLE | CHAIN | OBJECT | FLOW_TABLE => {
                self.flush(emit);
                emit(&match message.kind {
                    TABLE => objects::table(message)?,
                    CHAIN => objects::chain(message)?,
                    OBJECT => objects::object(message)?,
                    _ => objects::flow_table(message)?,
                });
                Ok(())
            }
            RULE => {
                self.enter(message, emit)?;
                self.flush(emit);
                self.rule(message, emit)
            }
            // Generations, and what is not asked for.
            _ => Ok(()),
        }
    }

    /// Hands on the named sets that were waiting for their elements.
    fn flush(&mut self, emit: Emit<'_>) {
        let Self { interfaces, sets, pending, .. } = self;
        let names = |index: u32| interfaces.get(&index).cloned();
        for declared in pending.drain(..) {
            if let Some(set) = sets.get(&declared.name) {
                emit(&declared.words(set, &names));
            }
            // They are not asked for again.
            if let Some(set) = sets.get_mut(&declared.name) {
                set.raw = Vec::new();
            }
        }
    }

    /// Forgets the sets of another table.
    fn enter(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Result<(), &'static str> {
        let (family, table) = sets::place(message)?;
        if self.of.as_ref().is_none_or(|(of, name)| (*of, name.as_str()) != (family, table)) {
            self.flush(emit);
            self.sets = Sets::default();
            self.of = Some((family, table.to_owned()));
        }
        Ok(())
    }

    fn rule(&self, message: &Message<'_>, emit: Emit<'_>) -> Result<(), &'static str> {
        let fields = Fields::read(message.body)?;
        let names = |index: u32| self.interfaces.get(&index).cloned();
        let around = Around { family: message.family, sets: &self.sets, names: &names };
        let statements = follow::rule(around, fields.get(RULE_EXPRESSIONS).unwrap_or_default())?;
        let remarks = fields.get(RULE_USERDATA).unwrap_or_default();
        let body = Value::object([
            ("family", Value::text(family::word(message.family))),
            ("table", Value::text(fields.text(RULE_TABLE).ok_or("a rule without a table")?)),
            ("chain", Value::text(fields.text(RULE_CHAIN).ok_or("a rule without a chain")?)),
        ])
        .with_some("handle", fields.long(RULE_HANDLE).map(Value::number))
        .with_some("comment", remark(remarks, COMMENT).and_then(text).map(Value::text))
        .with("expr", statements);
        emit(&Value::under("rule", body));
        Ok(())
    }
}

/// Whether a message is about the inside of a table that is not wanted.
fn is_detail(message: &Message<'_>, wanted: impl Fn(&str) -> bool) -> Result<bool, &'static str> {
    if !matches!(message.kind, RULE | SET | ELEMENTS | OBJECT | FLOW_TABLE) {
        return Ok(false);
    }
    Ok(!wanted(sets::place(message)?.1))
}

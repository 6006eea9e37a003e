//! Sets and maps: their declarations, and their elements as they come in.
//!
//! Elements of anonymous sets are kept as they came until the rule is read that they are part of. What they mean is
//! decided in `elements`.

use hashbrown::HashMap;

use super::super::tree::Value;
use super::actions;
use super::elements;
use super::objects;
use super::types::{Names, Type};
use super::wire::{Attributes, Fields, Message, remark, text};

/// `NFTA_SET_…`.
const TABLE: u16 = 1;
const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_TYPE: u16 = 4;
const KEY_LEN: u16 = 5;
const DATA_TYPE: u16 = 6;
const DATA_LEN: u16 = 7;
const POLICY: u16 = 8;
const DESC: u16 = 9;
const TIMEOUT: u16 = 11;
const GC_INTERVAL: u16 = 12;
const USERDATA: u16 = 13;
const OBJECT: u16 = 15;
const HANDLE: u16 = 16;
const EXPRESSION: u16 = 17;
const EXPRESSIONS: u16 = 18;
/// `NFTA_SET_DESC_…`, `NFTA_SET_FIELD_LEN`.
const DESC_SIZE: u16 = 1;
const DESC_CONCAT: u16 = 2;
const FIELD_LEN: u16 = 1;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`; the table and the set's name are as above.
const LIST_ELEMENTS: u16 = 3;
/// `enum nft_set_flags`.
const ANONYMOUS: u32 = 0x1;
const INTERVAL: u32 = 0x4;
const MAP: u32 = 0x8;
const HAS_OBJECTS: u32 = 0x40;
const WORDS: [(u32, &str); 4] =
    [(0x2, "constant"), (INTERVAL, "interval"), (0x10, "timeout"), (0x20, "dynamic")];
/// `NFT_DATA_VERDICT`.
const VERDICT: u32 = 0xffff_ff00;
/// `enum nftnl_udata_set_types`: byte orders, whether data are ranges, the comment.
const KEY_ORDER: u8 = 0;
const DATA_ORDER: u8 = 1;
const DATA_RANGES: u8 = 6;
const COMMENT: u8 = 7;
/// `BYTEORDER_HOST_ENDIAN` in such a remark.
const HOST_ORDER: u32 = 1;
/// Elements of sets that came before or without their declaration are let go; nft_tables dumps them after it.
const MOST_SETS: usize = 1 << 20;

/// A set.
#[derive(Debug, Default)]
pub(super) struct Set {
    flags: u32,
    /// Types of the key's parts, and the bytes of each.
    pub(super) key: Vec<Type>,
    pub(super) key_sizes: Vec<usize>,
    /// Bytes of the key.
    pub(super) key_size: usize,
    /// Whether a key of one part is in the machine's order; `None`: as its type is.
    pub(super) key_order: Option<bool>,
    /// Types of what a map maps to.
    pub(super) mapped: Vec<Type>,
    pub(super) mapped_sizes: Vec<usize>,
    pub(super) mapped_size: usize,
    pub(super) mapped_order: Option<bool>,
    /// Whether it maps to ranges.
    pub(super) mapped_ranges: bool,
    /// What kind of objects it maps to.
    pub(super) object: Option<u32>,
    /// The elements as they came, attribute after attribute.
    pub(super) raw: Vec<u8>,
    /// Whether some of them made no sense.
    pub(super) torn: bool,
}

/// The sets of one table by name.
#[derive(Debug, Default)]
pub(super) struct Sets(HashMap<String, Set>);

impl Sets {
    pub(super) fn get(&self, name: &str) -> Option<&Set> {
        self.0.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Set> {
        self.0.get_mut(name)
    }
}

/// A named set that is to be handed on once its elements are there: everything but them.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) family: u8,
    pub(super) table: String,
    pub(super) name: String,
    handle: Option<u64>,
    size: Option<u32>,
    timeout: Option<u64>,
    gc_interval: Option<u64>,
    memory: bool,
    comment: Option<String>,
    /// What is kept for each element.
    stateful: Vec<&'static str>,
}

impl Set {
    pub(super) const fn is_anonymous(&self) -> bool {
        self.flags & ANONYMOUS != 0
    }

    pub(super) const fn is_map(&self) -> bool {
        self.flags & (MAP | HAS_OBJECTS) != 0
    }

    /// Whether elements of it are ranges: of one value by their ends, of several by both bounds.
    pub(super) const fn has_ranges(&self) -> bool {
        self.flags & INTERVAL != 0
    }

    /// The elements in nft's words: of a key of these parts where the declaration does not tell their sizes, and that has
    /// so many bits below it.
    pub(super) fn elements<'s>(&'s self, names: Names<'_>, sizes: &[usize], below: u32) -> Value<'s> {
        let told = &*self.key_sizes;
        let sizes = if told.is_empty() && sizes.len() == self.key.len() { sizes } else { told };
        elements::list(self, &elements::Form { names, sizes, below })
    }
}

/// Notes a set; a named one is handed back to be listed.
pub(super) fn declare(sets: &mut Sets, message: &Message<'_>) -> Result<Option<Declared>, &'static str> {
    let fields = Fields::read(message.body)?;
    let name = fields.text(NAME).ok_or("a set without a name")?;
    let flags = fields.number(FLAGS).unwrap_or_default();
    let remarks = fields.get(USERDATA).unwrap_or_default();
    let order = |kind: u8| match remark(remarks, kind) {
        Some(bytes) => Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) == HOST_ORDER),
        None => None,
    };
    let key = Type::of_number(fields.number(KEY_TYPE).unwrap_or_default());
    let key_size = size_of(&fields, KEY_LEN);
    let mapped_ranges = remark(remarks, DATA_RANGES).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    let data_type = fields.number(DATA_TYPE).unwrap_or_default();
    let mapped = if data_type == VERDICT { vec![Type::Verdict] } else { Type::of_number(data_type) };
    let mapped_size = size_of(&fields, DATA_LEN);
    let object = fields.number(OBJECT).filter(|_| flags & HAS_OBJECTS != 0);
    let told = told_sizes(&fields)?.filter(|sizes| sizes.len() == key.len());
    let set = Set {
        flags,
        key_sizes: told.unwrap_or_else(|| sizes(&key, key_size)),
        key,
        key_size,
        key_order: order(KEY_ORDER),
        mapped_sizes: sizes(&mapped, if mapped_ranges { mapped_size / 2 } else { mapped_size }),
        mapped,
        mapped_size,
        mapped_order: order(DATA_ORDER),
        mapped_ranges,
        object,
        raw: Vec::new(),
        torn: false,
    };
    let declared = Declared {
        family: message.family,
        table: fields.text(TABLE).ok_or("a set without a table")?.to_owned(),
        name: name.to_owned(),
        handle: fields.long(HANDLE),
        size: fields.nested(DESC).transpose()?.and_then(|desc| desc.number(DESC_SIZE)),
        timeout: fields.long(TIMEOUT),
        gc_interval: fields.number(GC_INTERVAL).map(u64::from),
        memory: fields.number(POLICY) == Some(1),
        comment: remark(remarks, COMMENT).and_then(text).map(str::to_owned),
        stateful: stateful(&fields)?,
    };
    let listed = (!set.is_anonymous()).then_some(declared);
    if sets.0.len() >= MOST_SETS {
        return Err("more sets than are read of one table");
    }
    sets.0.insert(name.to_owned(), set);
    Ok(listed)
}

/// Adds elements to their set.
pub(super) fn extend(sets: &mut Sets, message: &Message<'_>) -> Result<(), &'static str> {
    let fields = Fields::read(message.body)?;
    let name = fields.text(NAME).ok_or("elements without a set")?;
    let set = sets.get_mut(name).ok_or("elements of a set that was not declared")?;
    if let Some(bytes) = fields.get(LIST_ELEMENTS) {
        set.raw.extend_from_slice(bytes);
        // Attributes are padded, all but perhaps the last.
        set.raw.resize(set.raw.len().next_multiple_of(4), 0);
    }
    Ok(())
}

/// The table and set that a message is about, and its family.
pub(super) fn place<'m>(message: &Message<'m>) -> Result<(u8, &'m str), &'static str> {
    let table = Fields::read(message.body)?.text(TABLE).ok_or("a set without a table")?;
    Ok((message.family, table))
}

impl Declared {
    /// The set in nft's words.
    pub(super) fn words<'s>(&'s self, set: &'s Set, names: Names<'_>) -> Value<'s> {
        let mut body = Value::object([
            ("family", Value::text(super::sentence::family::word(self.family))),
            ("name", Value::text(&*self.name)),
            ("table", Value::text(&*self.table)),
            ("type", types(&set.key)),
        ]);
        body = body.with_some("handle", self.handle.map(Value::number));
        if set.is_map() {
            let mapped = match set.object {
                Some(kind) => Value::text(objects::word(kind).unwrap_or("object")),
                None => types(&set.mapped),
            };
            body = body.with("map", mapped);
        }
        body = body.with_some("comment", self.comment.as_deref().map(Value::text));
        if self.memory {
            body = body.with("policy", Value::text("memory"));
        }
        body = body.with_some("size", self.size.map(Value::number));
        let flags: Vec<_> = WORDS
            .iter()
            .filter(|(bit, _)| set.flags & bit != 0)
            .map(|(_, word)| Value::text(*word))
            .collect();
        if !flags.is_empty() {
            body = body.with("flags", Value::Array(flags));
        }
        body = body.with_some("timeout", self.timeout.map(|time| Value::number(time / 1000)));
        body = body.with_some("gc-interval", self.gc_interval.map(|time| Value::number(time / 1000)));
        let elements = set.elements(names, &[], 0);
        if elements.as_array().is_some_and(|elements| !elements.is_empty()) {
            body = body.with("elem", elements);
        }
        if !self.stateful.is_empty() {
            let words = self.stateful.iter().map(|word| Value::under(word, Value::Null));
            body = body.with("stmt", Value::Array(words.collect()));
        }
        Value::under(if set.is_map() { "map" } else { "set" }, body)
    }
}

fn types<'v>(types: &[Type]) -> Value<'v> {
    match types {
        [one] => Value::text(one.name()),
        several => Value::Array(several.iter().map(|kind| Value::text(kind.name())).collect()),
    }
}

fn size_of(fields: &Fields<'_>, kind: u16) -> usize {
    fields.number(kind).and_then(|size| usize::try_from(size).ok()).unwrap_or_default()
}

/// The bytes of each part of a value of so many bytes; at most one part may have any size. Empty if they do not fit.
fn sizes(types: &[Type], whole: usize) -> Vec<usize> {
    if let [kind] = types {
        let fits = kind.size() == 0 || kind.size() == whole;
        return if fits { vec![whole] } else { Vec::new() };
    }
    let padded = |size: usize| size.next_multiple_of(4);
    let known: usize = types.iter().map(|kind| padded(kind.size())).sum();
    let rest = whole.checked_sub(known);
    let open = types.iter().filter(|kind| kind.size() == 0).count();
    match (rest, open) {
        (Some(0), 0) => types.iter().map(|kind| kind.size()).collect(),
        (Some(rest), 1) if rest > 0 => {
            types.iter().map(|kind| if kind.size() == 0 { rest } else { kind.size() }).collect()
        }
        _ => Vec::new(),
    }
}

/// The bytes of each part where the kernel tells them, as it does for ranges of several values.
fn told_sizes(fields: &Fields<'_>) -> Result<Option<Vec<usize>>, &'static str> {
    let Some(desc) = fields.nested(DESC).transpose()? else { return Ok(None) };
    let Some(bytes) = desc.get(DESC_CONCAT) else { return Ok(None) };
    let mut sizes = Vec::new();
    for item in Attributes(bytes) {
        sizes.push(size_of(&Fields::read(item?.1)?, FIELD_LEN));
    }
    Ok(Some(sizes))
}

/// What is kept for each element.
fn stateful(fields: &Fields<'_>) -> Result<Vec<&'static str>, &'static str> {
    let mut found = Vec::new();
    if let Some(bytes) = fields.get(EXPRESSION) {
        found.extend(actions::stateful(bytes).map(|(word, _)| word));
    } else if let Some(bytes) = fields.get(EXPRESSIONS) {
        for item in Attributes(bytes) {
            found.extend(actions::stateful(item?.1).map(|(word, _)| word));
        }
    }
    Ok(found)
}

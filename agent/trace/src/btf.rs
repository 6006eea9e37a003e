//! Reads the kernel's BPF type format: where structures keep their fields, what enumerations call their values, and
//! what arguments a tracepoint passes.
//!
//! It answers these questions over bytes and does nothing else: no split BTF of modules, no relocation. The format
//! is Documentation/bpf/btf.rst in the kernel tree; kinds up to `BTF_KIND_ENUM64` (Linux 6.0) are known.

use std::collections::BTreeSet;
use std::ops::Range;

/// Where the kernel describes its own types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why bytes are not readable BTF, or do not hold what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The header is missing, foreign or points outside.
    #[error("no BTF header for this byte order")]
    Header,
    /// A type record is cut short or of a kind that is not known, so what follows it cannot be found.
    #[error("BTF type {id} at byte {at} is cut short or of the unknown kind {kind}")]
    Type {
        /// Number of the type.
        id: usize,
        /// Where it starts in the type section.
        at: usize,
        /// Its kind.
        kind: u8,
    },
    /// There is no such structure.
    #[error("the kernel has no struct {name}")]
    NoStruct {
        /// Its name.
        name: String,
    },
    /// The structure has no such field, or it is a bit field, which has no address.
    #[error("the kernel's struct {name} has no addressable field {field}")]
    NoField {
        /// The structure.
        name: String,
        /// The path to the field, dotted.
        field: String,
    },
}

/// A type's place in the list; 0 is `void`.
type TypeId = u32;

/// Parsed type information.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Start of each type record in `bytes`; the record of type 1 comes first.
    starts: Vec<usize>,
}

/// What a parameter of a function is, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// An enumeration.
    Enum(String),
    /// A pointer to a structure.
    PointerTo(String),
    /// Anything else.
    Other,
}

mod kind {
    pub const INT: u8 = 1;
    pub const PTR: u8 = 2;
    pub const ARRAY: u8 = 3;
    pub const STRUCT: u8 = 4;
    pub const UNION: u8 = 5;
    pub const ENUM: u8 = 6;
    pub const FWD: u8 = 7;
    pub const TYPEDEF: u8 = 8;
    pub const VOLATILE: u8 = 9;
    pub const CONST: u8 = 10;
    pub const RESTRICT: u8 = 11;
    pub const FUNC: u8 = 12;
    pub const FUNC_PROTO: u8 = 13;
    pub const VAR: u8 = 14;
    pub const DATASEC: u8 = 15;
    pub const FLOAT: u8 = 16;
    pub const DECL_TAG: u8 = 17;
    pub const TYPE_TAG: u8 = 18;
    pub const ENUM64: u8 = 19;
}

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const RECORD_LEN: usize = 12;

/// How long a chain of typedefs and qualifiers may be: real ones stay below ten, a cycle ends here.
const MAX_CHAIN: u32 = 32;

/// How many anonymous members are looked into for one field, and so how deep: `sk_buff` has about twenty.
const MAX_SEARCHED: usize = 512;

/// The fixed part of a type record.
#[derive(Clone, Copy)]
struct Record {
    name: u32,
    kind: u8,
    /// Bit 31 of `info`: for structures, that member offsets carry a bit-field size in their top byte.
    flag: bool,
    len: usize,
    /// Size or referred type.
    reference: u32,
    /// Where what follows the fixed part starts.
    body: usize,
}

impl Btf {
    /// Takes the bytes of `/sys/kernel/btf/vmlinux`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if read_u16(&bytes, 0) != Some(MAGIC) {
            return Err(BtfError::Header);
        }
        let field = |at| read_u32(&bytes, at).map(|value| value as usize).ok_or(BtfError::Header);
        let header_len = field(4)?;
        let section = |offset: usize, len: usize| -> Result<Range<usize>, BtfError> {
            let start = header_len.checked_add(offset).ok_or(BtfError::Header)?;
            let end = start.checked_add(len).ok_or(BtfError::Header)?;
            if header_len < HEADER_LEN || end > bytes.len() { Err(BtfError::Header) } else { Ok(start..end) }
        };
        let types = section(field(8)?, field(12)?)?;
        let strings = section(field(16)?, field(20)?)?;

        let mut starts = Vec::new();
        let mut at = types.start;
        while at < types.end {
            let broken = |kind| BtfError::Type { id: starts.len() + 1, at: at - types.start, kind };
            let record = read_record(&bytes, at).ok_or_else(|| broken(0))?;
            let next = record
                .body_len()
                .and_then(|len| record.body.checked_add(len))
                .filter(|&next| next <= types.end)
                .ok_or_else(|| broken(record.kind))?;
            starts.push(at);
            at = next;
        }
        Ok(Self { bytes, strings, starts })
    }

    /// Byte offset of a field: `offset("sock", &["__sk_common", "skc_net", "net"])`. Members of anonymous structures
    /// and unions count as the outer one's own, as in C.
    pub fn offset(&self, name: &str, path: &[&str]) -> Result<u32, BtfError> {
        let mut id =
            self.find(kind::STRUCT, name).ok_or_else(|| BtfError::NoStruct { name: name.to_owned() })?;
        let mut bits = 0_u32;
        for field in path {
            let member = self.member(id, field, &mut BTreeSet::new());
            let sum = member.and_then(|(offset, inner)| Some((bits.checked_add(offset)?, inner)));
            let Some((offset, inner)) = sum.filter(|(offset, _)| offset % 8 == 0) else {
                return Err(BtfError::NoField { name: name.to_owned(), field: path.join(".") });
            };
            (bits, id) = (offset, inner);
        }
        Ok(bits / 8)
    }

    /// Names and values of an enumeration; nothing if there is none of that name.
    pub fn enum_values(&self, name: &str) -> Vec<(&str, u64)> {
        [kind::ENUM, kind::ENUM64]
            .into_iter()
            .find_map(|kind| self.find(kind, name))
            .and_then(|id| self.record(id))
            .map(|record| self.values(&record))
            .unwrap_or_default()
    }

    /// Names and values of every enumeration whose name ends so.
    pub fn enums_ending(&self, suffix: &str) -> Vec<(&str, u64)> {
        self.records()
            .filter(|record| matches!(record.kind, kind::ENUM | kind::ENUM64))
            .filter(|record| self.string(record.name).is_some_and(|name| name.ends_with(suffix)))
            .flat_map(|record| self.values(&record))
            .collect()
    }

    /// The arguments a tracepoint passes to its programs, without the leading context pointer: those of the function
    /// behind the typedef `btf_trace_NAME`. `None` if there is no such tracepoint.
    pub fn tracepoint(&self, name: &str) -> Option<Vec<Parameter>> {
        let pointer = self.resolve(self.find(kind::TYPEDEF, &format!("btf_trace_{name}"))?)?;
        if pointer.kind != kind::PTR {
            return None;
        }
        let function = self.resolve(pointer.reference)?;
        if function.kind != kind::FUNC_PROTO {
            return None;
        }
        (1..function.len)
            .map(|index| {
                let id = read_u32(&self.bytes, function.body + index * 8 + 4)?;
                Some(self.parameter(id))
            })
            .collect()
    }

    fn parameter(&self, id: TypeId) -> Parameter {
        let name = |record: &Record| self.string(record.name).unwrap_or_default().to_owned();
        match self.resolve(id) {
            Some(record) if matches!(record.kind, kind::ENUM | kind::ENUM64) => {
                Parameter::Enum(name(&record))
            }
            Some(record) if record.kind == kind::PTR => match self.resolve(record.reference) {
                Some(target) if target.kind == kind::STRUCT => Parameter::PointerTo(name(&target)),
                _ => Parameter::Other,
            },
            _ => Parameter::Other,
        }
    }

    /// Bit offset and type of a member, looking into anonymous members too. A type in `searched` does not have it:
    /// without that, types that contain themselves would be searched for ever.
    fn member(&self, id: TypeId, field: &str, searched: &mut BTreeSet<TypeId>) -> Option<(u32, TypeId)> {
        if !searched.insert(id) || searched.len() > MAX_SEARCHED {
            return None;
        }
        let record = self.resolve(id)?;
        if !matches!(record.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        (0..record.len).find_map(|index| {
            let at = record.body + index * RECORD_LEN;
            let (name, inner) = (read_u32(&self.bytes, at)?, read_u32(&self.bytes, at + 4)?);
            let packed = read_u32(&self.bytes, at + 8)?;
            let (offset, is_bit_field) =
                if record.flag { (packed & 0x00ff_ffff, packed >> 24 != 0) } else { (packed, false) };
            let name = self.string(name)?;
            if name == field {
                return (!is_bit_field).then_some((offset, inner));
            }
            if !name.is_empty() {
                return None;
            }
            let (inside, found) = self.member(inner, field, searched)?;
            Some((offset.checked_add(inside)?, found))
        })
    }

    fn values(&self, record: &Record) -> Vec<(&str, u64)> {
        let size = if record.kind == kind::ENUM64 { 12 } else { 8 };
        (0..record.len)
            .filter_map(|index| {
                let at = record.body + index * size;
                let name = self.string(read_u32(&self.bytes, at)?)?;
                let low = u64::from(read_u32(&self.bytes, at + 4)?);
                let high = if size == 12 { u64::from(read_u32(&self.bytes, at + 8)?) } else { 0 };
                Some((name, high << 32 | low))
            })
            .collect()
    }

    fn find(&self, kind: u8, name: &str) -> Option<TypeId> {
        self.records()
            .position(|record| record.kind == kind && self.string(record.name) == Some(name))
            .and_then(|index| TypeId::try_from(index + 1).ok())
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        self.starts.iter().filter_map(|&at| read_record(&self.bytes, at))
    }

    fn record(&self, id: TypeId) -> Option<Record> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        read_record(&self.bytes, *self.starts.get(index)?)
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, id: TypeId) -> Option<Record> {
        let mut record = self.record(id)?;
        for _ in 0..MAX_CHAIN {
            match record.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    record = self.record(record.reference)?;
                }
                _ => return Some(record),
            }
        }
        None
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let strings = self.bytes.get(self.strings.clone())?;
        let tail = strings.get(usize::try_from(offset).ok()?..)?;
        let end = tail.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(tail.get(..end)?).ok()
    }
}

impl Record {
    /// Bytes after the fixed part; `None` for a kind that is not known.
    fn body_len(&self) -> Option<usize> {
        let (once, each) = match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => (4, 0),
            kind::ARRAY => (12, 0),
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => (0, 12),
            kind::ENUM | kind::FUNC_PROTO => (0, 8),
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => (0, 0),
            _ => return None,
        };
        Some(once + each * self.len)
    }
}

fn read_record(bytes: &[u8], at: usize) -> Option<Record> {
    let info = read_u32(bytes, at.checked_add(4)?)?;
    Some(Record {
        name: read_u32(bytes, at)?,
        kind: u8::try_from(info >> 24 & 0x1f).ok()?,
        flag: info >> 31 == 1,
        len: usize::try_from(info & 0xffff).ok()?,
        reference: read_u32(bytes, at.checked_add(8)?)?,
        body: at.checked_add(RECORD_LEN)?,
    })
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests;

//! The objects of a listing: tables, chains, sets, rules.
//!
//! Expressions stay in the words of libnftables-json(5); what they mean is decided where they are lowered.

use super::tree::{Map, Value};

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'v> {
    /// A table.
    Table {
        /// `ip`, `ip6`, `inet`, `bridge`, `netdev`, `arp`.
        family: &'v str,
        /// Its name.
        name: &'v str,
        /// Whether its chains are taken out of the kernel's hooks.
        dormant: bool,
    },
    /// A chain.
    Chain(Chain<'v>),
    /// A set or map.
    Set(Set<'v>),
    /// A rule.
    Rule(Rule<'v>),
    /// Anything else: the preamble, counters, flow tables. None of them decides by itself.
    Other,
}

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain<'v> {
    pub(super) family: &'v str,
    pub(super) table: &'v str,
    pub(super) name: &'v str,
    pub(super) kind: &'v str,
    pub(super) hook: Option<&'v str>,
    pub(super) priority: Option<i32>,
    pub(super) drops: bool,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq)]
pub struct Set<'v> {
    pub(super) family: &'v str,
    pub(super) table: &'v str,
    pub(super) name: &'v str,
    /// The type, or a list of them; `typeof` expressions since nft 1.1.
    pub(super) key: &'v Value<'v>,
    /// What a map maps to.
    pub(super) mapped: Option<&'v Value<'v>>,
    pub(super) changing: bool,
    pub(super) elements: &'v [Value<'v>],
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<'v> {
    pub(super) family: &'v str,
    pub(super) table: &'v str,
    pub(super) chain: &'v str,
    pub(super) handle: u64,
    pub(super) comment: Option<&'v str>,
    pub(super) statements: &'v [Value<'v>],
}

impl<'v> Object<'v> {
    pub(super) fn read(value: &'v Value<'v>) -> Result<Self, &'static str> {
        let (kind, body) = single(value).ok_or("not an object with one key")?;
        let Some(body) = body.as_object() else { return Ok(Self::Other) };
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        let needed = |key: &str| text(key).ok_or("a name is missing");
        Ok(match kind {
            "table" => Self::Table {
                family: needed("family")?,
                name: needed("name")?,
                dormant: has_flag(body, "dormant"),
            },
            "chain" => Self::Chain(Chain {
                family: needed("family")?,
                table: needed("table")?,
                name: needed("name")?,
                kind: text("type").unwrap_or_default(),
                hook: text("hook"),
                priority: body
                    .get("prio")
                    .and_then(Value::as_i64)
                    .and_then(|number| i32::try_from(number).ok()),
                drops: text("policy") == Some("drop"),
            }),
            "set" | "map" => Self::Set(Set {
                family: needed("family")?,
                table: needed("table")?,
                name: needed("name")?,
                key: body.get("type").ok_or("a set without a type")?,
                mapped: body.get("map"),
                changing: is_changing(body),
                elements: list(body, "elem")?,
            }),
            "rule" => Self::Rule(Rule {
                family: needed("family")?,
                table: needed("table")?,
                chain: needed("chain")?,
                handle: body.get("handle").and_then(Value::as_u64).unwrap_or_default(),
                comment: text("comment"),
                statements: list(body, "expr")?,
            }),
            _ => Self::Other,
        })
    }

    /// Family and table.
    pub(super) const fn place(&self) -> Option<(&'v str, &'v str)> {
        match self {
            Self::Table { family, name, .. } => Some((family, name)),
            Self::Chain(chain) => Some((chain.family, chain.table)),
            Self::Set(set) => Some((set.family, set.table)),
            Self::Rule(rule) => Some((rule.family, rule.table)),
            Self::Other => None,
        }
    }
}

/// The only key of an object, and its value.
pub(super) fn single<'v, 't>(value: &'v Value<'t>) -> Option<(&'v str, &'v Value<'t>)> {
    value.as_object()?.single()
}

/// Whether time changes a set. That packets do, the rules say that add to it; without such a rule `dynamic` says nothing
/// (and nft up to 1.0.6 does not print it).
fn is_changing(body: &Map<'_>) -> bool {
    body.contains_key("timeout") || has_flag(body, "timeout")
}

fn has_flag(body: &Map<'_>, flag: &str) -> bool {
    let is = |value: &Value<'_>| value.as_str() == Some(flag);
    body.get("flags")
        .is_some_and(|flags| is(flags) || flags.as_array().is_some_and(|flags| flags.iter().any(is)))
}

fn list<'v>(body: &'v Map<'v>, key: &str) -> Result<&'v [Value<'v>], &'static str> {
    match body.get(key) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err("a list is something else"),
    }
}

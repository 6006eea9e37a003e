//! The rules of one family while the objects of a listing come in.
//!
//! Chains and sets may be named before they are seen: they get their numbers at first mention. It knows names and
//! places, not what expressions mean.

use super::tree::Value;
use hashbrown::HashMap;
use model::flow::Family;
use model::walk::Backend;

use super::object::{Chain, Object, Rule, Set};
use super::{elements, rule, text};
use crate::hooks::{Base, Hook, Kind};
use crate::ir::lookup::Element;
use crate::ir::{self, ChainId, Match, Policy, RuleSet, SetId, Span, Table};

/// The rules of one family.
pub(super) struct Builder {
    pub(super) family: Family,
    rules: RuleSet,
    /// What spans point into: names and rules as nft prints them.
    source: String,
    tables: Vec<Open>,
}

/// A table being read.
struct Open {
    family: String,
    table: Table,
    chains: HashMap<String, ChainId>,
    sets: HashMap<String, SetId>,
    /// The chain of each rule.
    of: Vec<ChainId>,
}

/// Where a rule's lowering puts things: one table of one family.
pub(super) struct Place<'b> {
    builder: &'b mut Builder,
    table: usize,
}

impl Builder {
    pub(super) fn new(family: Family) -> Self {
        let rules = RuleSet {
            backend: Backend::Nftables,
            family,
            source: Box::default(),
            tables: Vec::new(),
            matches: Vec::new(),
            sets: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        Self { family, rules, source: String::new(), tables: Vec::new() }
    }

    pub(super) fn take(
        &mut self,
        family: &str,
        table: &str,
        object: &Object<'_>,
    ) -> Result<(), &'static str> {
        let table = self.table(family, table);
        let mut place = Place { builder: self, table };
        match object {
            Object::Chain(chain) => place.declare(chain),
            Object::Set(set) => place.define(set),
            Object::Rule(rule) => place.append(rule),
            Object::Table { .. } | Object::Other => Ok(()),
        }
    }

    pub(super) fn finish(self) -> RuleSet {
        let Self { mut rules, source, tables, .. } = self;
        rules.tables = tables.into_iter().map(Open::finish).collect();
        rules.matches.shrink_to_fit();
        rules.sets.shrink_to_fit();
        rules.source = source.into();
        rules
    }

    fn table(&mut self, family: &str, name: &str) -> usize {
        // Objects of a table follow one another.
        let known = self.tables.iter().rposition(|open| open.table.name == name && open.family == family);
        known.unwrap_or_else(|| {
            self.tables.push(Open {
                family: family.to_owned(),
                table: Table { name: name.to_owned(), ..Table::default() },
                chains: HashMap::new(),
                sets: HashMap::new(),
                of: Vec::new(),
            });
            self.tables.len() - 1
        })
    }

    fn write(&mut self, text: &str) -> Result<Span, &'static str> {
        let start = position(self.source.len())?;
        self.source.push_str(text);
        Ok(Span { start, end: position(self.source.len())? })
    }
}

impl Place<'_> {
    pub(super) const fn family(&self) -> Family {
        self.builder.family
    }

    /// The family of the table, which may be both.
    fn table_family(&self) -> &str {
        self.builder.tables.get(self.table).map_or("", |open| &open.family)
    }

    /// Keeps a text.
    pub(super) fn write(&mut self, text: &str) -> Result<Span, &'static str> {
        self.builder.write(text)
    }

    /// The number of a chain, known or not.
    pub(super) fn chain(&mut self, name: &str) -> Result<ChainId, &'static str> {
        let open = self.builder.tables.get_mut(self.table).ok_or("a rule outside any table")?;
        if let Some(id) = open.chains.get(name) {
            return Ok(*id);
        }
        let id = ChainId::try_from(open.table.chains.len()).map_err(|_| "too many chains")?;
        open.chains.insert(name.to_owned(), id);
        let name = self.builder.write(name)?;
        let open = self.builder.tables.get_mut(self.table).ok_or("a rule outside any table")?;
        open.table.chains.push(ir::Chain {
            name,
            base: None,
            policy: Policy::Accept,
            packets: None,
            first_rule: 0,
            end_rule: 0,
        });
        Ok(id)
    }

    /// The number of a named set; one that was not listed is taken to hold what is not known.
    pub(super) fn set(&mut self, name: &str) -> Result<SetId, &'static str> {
        let open = self.builder.tables.get(self.table).ok_or("a rule outside any table")?;
        if let Some(id) = open.sets.get(name) {
            return Ok(*id);
        }
        let span = self.builder.write(name)?;
        let id = self.add(ir::Set::unread(span))?;
        if let Some(open) = self.builder.tables.get_mut(self.table) {
            open.sets.insert(name.to_owned(), id);
        }
        Ok(id)
    }

    /// Adds a set that is part of a rule.
    pub(super) fn add(&mut self, set: ir::Set) -> Result<SetId, &'static str> {
        let id = SetId::try_from(self.builder.rules.sets.len()).map_err(|_| "too many sets")?;
        self.builder.rules.sets.push(set);
        Ok(id)
    }

    /// Notes that rules add to a set.
    pub(super) fn changes(&mut self, id: SetId) {
        if let Some(set) = self.builder.rules.sets.get_mut(id as usize) {
            set.changing = true;
        }
    }

    /// A set's elements.
    pub(super) fn elements(&self, id: SetId) -> &[Element] {
        self.builder.rules.set(id).map(ir::Set::elements).unwrap_or_default()
    }

    /// Whether a set's contents are not to be relied on.
    pub(super) fn is_changing(&self, id: SetId) -> bool {
        self.builder.rules.set(id).is_some_and(|set| set.changing)
    }

    /// Whether some of a set's elements are not known.
    pub(super) fn is_incomplete(&self, id: SetId) -> bool {
        self.builder.rules.set(id).is_none_or(|set| set.incomplete)
    }

    /// Appends one lowered rule to a chain.
    pub(super) fn push(
        &mut self,
        at: &At,
        matches: impl IntoIterator<Item = Match>,
        target: ir::Target,
    ) -> Result<(), &'static str> {
        let rules = &mut self.builder.rules;
        let first_match = position(rules.matches.len())?;
        rules.matches.extend(matches);
        let end_match = position(rules.matches.len())?;
        let open = self.builder.tables.get_mut(self.table).ok_or("a rule outside any table")?;
        open.table.rules.push(ir::Rule {
            text: at.text,
            counters: at.counters,
            first_match,
            end_match,
            target,
        });
        open.table.handles.push(at.handle);
        open.of.push(at.chain);
        Ok(())
    }

    fn declare(&mut self, chain: &Chain<'_>) -> Result<(), &'static str> {
        let base = match chain.hook {
            None => None,
            Some(hook) => {
                let hook = match hook {
                    "prerouting" => Hook::Prerouting,
                    "input" => Hook::Input,
                    "forward" => Hook::Forward,
                    "output" => Hook::Output,
                    "postrouting" => Hook::Postrouting,
                    _ => return Err("a hook that is not known"),
                };
                let kind = match chain.kind {
                    "nat" => Kind::Nat,
                    "route" => Kind::Route,
                    _ => Kind::Filter,
                };
                let priority = chain.priority.ok_or("a hooked chain without a priority")?;
                Some(Base { hook, priority, kind })
            }
        };
        let id = self.chain(chain.name)?;
        let open = self.builder.tables.get_mut(self.table).ok_or("a chain outside any table")?;
        if let Some(known) = open.table.chains.get_mut(id as usize) {
            known.base = base;
            known.policy = if chain.drops { Policy::Drop } else { Policy::Accept };
        }
        Ok(())
    }

    fn define(&mut self, set: &Set<'_>) -> Result<(), &'static str> {
        let id = self.set(set.name)?;
        let mut lowered = elements::named(self, set)?;
        if let Some(place) = self.builder.rules.sets.get_mut(id as usize) {
            lowered.name = place.name;
            lowered.changing |= place.changing;
            *place = lowered;
        }
        Ok(())
    }

    fn append(&mut self, rule: &Rule<'_>) -> Result<(), &'static str> {
        let chain = self.chain(rule.chain)?;
        let text = self.write(&text::rule(rule.family, rule.statements, rule.comment))?;
        let counted =
            rule.statements.iter().find_map(|statement| statement.get("counter")?.get("packets")?.as_u64());
        let counters = match counted {
            Some(packets) => self.write(&format!("[{packets}:0]"))?,
            None => Span::default(),
        };
        let at = At { chain, text, counters, handle: rule.handle };
        rule::lower(self, &at, rule.statements)
    }
}

/// Where a rule stands and how it reads.
pub(super) struct At {
    pub(super) chain: ChainId,
    pub(super) text: Span,
    counters: Span,
    handle: u64,
}

impl Open {
    /// The table with its rules chain by chain.
    fn finish(self) -> Table {
        let Self { mut table, of, .. } = self;
        let rules = std::mem::take(&mut table.rules);
        let handles = std::mem::take(&mut table.handles);
        let mut all: Vec<_> = of.into_iter().zip(rules).zip(handles).collect();
        // nft lists chain by chain, but in the order of the chains' rules, not of their first mention.
        all.sort_by_key(|((chain, _), _)| *chain);
        let mut end_rule = 0;
        for run in all.chunk_by(|one, next| one.0.0 == next.0.0) {
            let first_rule = end_rule;
            end_rule += u32::try_from(run.len()).unwrap_or(u32::MAX);
            if let Some(chain) = run.first().and_then(|((id, _), _)| table.chains.get_mut(*id as usize)) {
                (chain.first_rule, chain.end_rule) = (first_rule, end_rule);
            }
        }
        table.rules.reserve_exact(all.len());
        table.handles.reserve_exact(all.len());
        for ((_, rule), handle) in all {
            table.rules.push(rule);
            table.handles.push(handle);
        }
        table.chains.shrink_to_fit();
        table
    }
}

pub(super) fn position(length: usize) -> Result<u32, &'static str> {
    u32::try_from(length).map_err(|_| "too much text")
}

/// A text of an expression, for what is kept as printed.
pub(super) fn printed(place: &mut Place<'_>, statement: &Value<'_>) -> Result<Span, &'static str> {
    let text = text::statement(place.table_family(), statement);
    place.write(&text)
}

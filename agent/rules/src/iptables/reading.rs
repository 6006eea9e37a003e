//! A table while its lines are being read: chains by name, and which chain each rule was appended to.
//!
//! It knows chains, not what the rules in them say.

use hashbrown::HashMap;

use crate::hooks;
use crate::ir::{Chain, ChainId, Policy, Rule, Span, Table};

/// Chains by name, which borrow the text they are read from.
pub(super) type Names<'t> = HashMap<&'t str, ChainId>;

/// A table being read.
pub(super) struct Reading<'t> {
    table: Table,
    names: Names<'t>,
    /// The chain of each rule of the table.
    chains: Vec<ChainId>,
}

impl<'t> Reading<'t> {
    /// An empty table with room for so many rules.
    pub(super) fn new(name: &str, room: usize) -> Self {
        let rules = Vec::with_capacity(room);
        let table = Table { name: name.to_owned(), rules, ..Table::default() };
        Self { table, names: Names::default(), chains: Vec::with_capacity(room) }
    }

    pub(super) fn name(&self) -> &str {
        &self.table.name
    }

    pub(super) const fn names(&self) -> &Names<'t> {
        &self.names
    }

    /// Adds a chain, or takes over the policy of one that is declared again.
    pub(super) fn declare(
        &mut self,
        name: &'t str,
        span: Span,
        policy: Option<Policy>,
        packets: Option<u64>,
    ) -> Result<(), &'static str> {
        let base = policy.and_then(|_| hooks::iptables_base(&self.table.name, name));
        if policy.is_some() && base.is_none() {
            return Err("a built-in chain the kernel does not have");
        }
        let policy = policy.unwrap_or(Policy::Accept);
        let next = ChainId::try_from(self.table.chains.len()).map_err(|_| "too many chains")?;
        let id = *self.names.entry(name).or_insert(next);
        match self.table.chains.get_mut(id as usize) {
            Some(chain) => (chain.base, chain.policy, chain.packets) = (base, policy, packets),
            None => {
                self.table.chains.push(Chain {
                    name: span,
                    base,
                    policy,
                    packets,
                    first_rule: 0,
                    end_rule: 0,
                });
            }
        }
        Ok(())
    }

    pub(super) fn append(&mut self, chain: ChainId, rule: Rule) {
        self.table.rules.push(rule);
        self.chains.push(chain);
    }

    /// The table with its rules put chain by chain, each chain's in the order they were read.
    pub(super) fn finish(self) -> Table {
        let Self { mut table, mut chains, .. } = self;
        // The saving tools print chain by chain already; a text meant for restoring need not.
        if !chains.is_sorted() {
            let mut rules: Vec<(ChainId, Rule)> = chains.into_iter().zip(table.rules).collect();
            rules.sort_by_key(|(chain, _)| *chain);
            (chains, table.rules) = rules.into_iter().unzip();
        }
        let mut end_rule = 0;
        for run in chains.chunk_by(|one, next| one == next) {
            let first_rule = end_rule;
            // No text below 4 GiB holds so many rules.
            end_rule += u32::try_from(run.len()).unwrap_or(u32::MAX);
            let chain = run.first().and_then(|id| table.chains.get_mut(*id as usize));
            if let Some(chain) = chain {
                (chain.first_rule, chain.end_rule) = (first_rule, end_rule);
            }
        }
        table.rules.shrink_to_fit();
        table.chains.shrink_to_fit();
        table
    }
}

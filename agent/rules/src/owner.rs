//! Whose rule a rule is, and which object it stands for.
//!
//! An annotation on top of the walk: nothing here changes what a rule does, and a rule nobody is known to write has no
//! owner.

pub mod kube_proxy;
mod network_policy;
mod others;

use crate::ir::{Rule, RuleSet, Table, Target};

/// The name of kube-proxy as an owner.
pub const KUBE_PROXY: &str = "kube-proxy";

/// Who wrote a rule, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The program; empty if nobody is known to write such a rule.
    pub name: &'static str,
    /// `kind ns/name` and what it is of it; empty if none.
    pub object: String,
}

impl Owner {
    const fn program(name: &'static str) -> Self {
        Self { name, object: String::new() }
    }
}

/// Who wrote a rule: told by its chain, else by the chain it jumps to, else by its remarks.
pub fn of(rules: &RuleSet, table: Option<&Table>, chain: &str, rule: &Rule) -> Owner {
    // Calico writes two remarks: its hash, then the words.
    let comment = rules.comments(rule).last().unwrap_or_default();
    let jump = match rule.target {
        Target::Jump(id) | Target::Goto(id) => {
            let target = table.and_then(|table| table.chains.get(id as usize));
            target.map_or("", |chain| rules.text(chain.name))
        }
        _ => "",
    };
    let recognise = |name: &str| {
        network_policy::of(name, comment)
            .or_else(|| kube_proxy::of(name, comment))
            .or_else(|| others::of(name, comment))
    };
    recognise(chain).or_else(|| recognise(jump).filter(|_| !jump.is_empty())).unwrap_or_default()
}

#[cfg(test)]
mod tests;

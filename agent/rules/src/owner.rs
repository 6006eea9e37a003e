//! Whose rule a rule is, and which object it stands for.
//!
//! An annotation on top of the walk: nothing here changes what a rule does, and a rule nobody is known to write has no
//! owner.

pub mod kube_proxy;
mod kube_proxy_nft;
mod network_policy;
mod others;

use model::walk::{Backend, RuleRef};

use crate::ir::lookup::{Element, Mapped, Verdict};
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
    if let Some(writer) = table.map(|table| table.writer).filter(|writer| !writer.is_empty()) {
        return Owner::program(writer);
    }
    // Calico writes two remarks: its hash, then the words.
    let comment = rules.comments(rule).last().unwrap_or_default();
    let jump = match rule.target {
        Target::Jump(id) | Target::Goto(id) => {
            let target = table.and_then(|table| table.chains.get(id as usize));
            target.map_or("", |chain| rules.text(chain.name))
        }
        _ => "",
    };
    if rules.backend == Backend::Nftables
        && let Some(owner) = table.and_then(|table| of_table(&table.name, chain, jump))
    {
        return owner;
    }
    let recognise = |name: &str| {
        network_policy::of(name, comment)
            .or_else(|| kube_proxy::of(name, comment))
            .or_else(|| others::of(name, comment))
    };
    recognise(chain).or_else(|| recognise(jump).filter(|_| !jump.is_empty())).unwrap_or_default()
}

/// Whose a whole table is: nftables' writers have tables of their own.
fn of_table(table: &str, chain: &str, jump: &str) -> Option<Owner> {
    Some(match table {
        "kube-proxy" => kube_proxy_nft::of(chain, jump),
        "firewalld" => Owner::program("firewalld"),
        "calico" => Owner::program("calico"),
        "kindnet" | "kindnet-network-policies" => Owner::program("kindnet"),
        "kube-network-policies" => Owner::program("kube-network-policies"),
        "netavark" => Owner::program("netavark"),
        _ => return None,
    })
}

/// What an element of a map stands for: told by the chain it leads to, else by its comment.
pub(crate) fn of_element(rules: &RuleSet, table: &Table, element: &Element) -> Option<String> {
    if table.name != kube_proxy_nft::TABLE {
        return None;
    }
    let chain = match element.mapped {
        Mapped::Verdict(Verdict::Jump(id) | Verdict::Goto(id)) => table.chains.get(id as usize),
        _ => None,
    };
    let by_chain = chain.and_then(|chain| kube_proxy_nft::object(rules.text(chain.name)));
    by_chain.or_else(|| kube_proxy_nft::remarked(rules.text(element.comment)))
}

/// Whether a rule of kube-proxy is in a chain that belongs to a single Service port, or that such a chain leads to.
pub(crate) fn works_for_one_service(rule: &RuleRef) -> bool {
    match rule.backend {
        Backend::Nftables => rule.chain == kube_proxy_nft::REJECT,
        _ => kube_proxy::works_for_one_service(&rule.chain),
    }
}

#[cfg(test)]
mod tests;

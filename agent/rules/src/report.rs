//! Turns positions of rules into what is printed: texts, owners, objects.
//!
//! It decides nothing.

use model::walk::{Branch, Outcome, RuleRef, Step};

use crate::eval::{End, Ending, RuleId};
use crate::ir::RuleSet;
use crate::owner;
use crate::packet::Device;

/// The end of one way with everything that led to it.
pub(crate) fn branch(sets: &[RuleSet], end: &End) -> Branch {
    let mut steps = Vec::new();
    // The Service a chain works for, as the last rule that names one says; large clusters leave later comments out.
    let mut service = String::new();
    let passes = matches!(end.ending, Ending::Outcome { outcome: Outcome::Forwarded | Outcome::Local, .. });
    for event in end.trail.events() {
        if passes && event.missed {
            continue;
        }
        let (rule, packets) = match event.rule {
            Some(id) => {
                let (mut rule, packets) = reference(sets, id);
                if rule.owner == owner::KUBE_PROXY {
                    if rule.object.is_empty() && owner::works_for_one_service(&rule) {
                        rule.object.clone_from(&service);
                    } else if !rule.object.is_empty() {
                        service.clone_from(&rule.object);
                    }
                }
                (Some(rule), packets)
            }
            None => (None, None),
        };
        steps.push((
            event.rule,
            Step { hook: event.hook.to_owned(), rule, action: event.action.clone(), packets },
        ));
    }
    let named = |id: RuleId| {
        let step = steps.iter().rev().find(|(step, _)| *step == Some(id));
        step.and_then(|(_, step)| step.rule.clone()).unwrap_or_else(|| reference(sets, id).0)
    };
    let (outcome, terminal, reject_with) = match &end.ending {
        Ending::Outcome { outcome, rule, told } => (*outcome, *rule, told.clone()),
        // Every meeting is resolved before a walk ends.
        Ending::Met(_) => (Outcome::Unknown, None, None),
    };
    let forwarded = outcome == Outcome::Forwarded;
    let out_interface = match &end.output {
        Device::Named(name) if forwarded => Some(name.to_string()),
        _ => None,
    };
    Branch {
        destination: end.destination,
        outcome,
        masquerade: end.masquerade,
        dnat_rule: end.dnat.map(named),
        terminal_rule: terminal.map(named),
        reject_with,
        out_interface,
        gateway: end.gateway.filter(|_| forwarded),
        steps: steps.into_iter().map(|(_, step)| step).collect(),
        gaps: end.gaps.clone(),
    }
}

/// A rule as its tool prints it, and its packet counter.
fn reference(sets: &[RuleSet], id: RuleId) -> (RuleRef, Option<u64>) {
    let set = sets.get(id.set);
    let table = set.and_then(|set| set.tables.get(id.table));
    let chain = table.and_then(|table| table.chains.get(id.chain as usize));
    let rule = id.rule.and_then(|index| table?.rules_of(chain?).get(index));
    let table_name = table.map_or("", |table| table.name.as_str());
    let chain_name = set.zip(chain).map_or("", |(set, chain)| set.text(chain.name));
    let (text, owner, packets) = match (set, rule, chain) {
        (Some(set), Some(rule), _) => {
            let mut owner = owner::of(set, table, chain_name, rule);
            let element = id.element.and_then(|(set_id, element)| set.set(set_id)?.element(element));
            if let (Some(element), Some(table)) = (element, table) {
                owner.object = owner::of_element(set, table, element).unwrap_or(owner.object);
            }
            (set.text(rule.text).to_owned(), owner, set.packets(rule))
        }
        (_, _, Some(chain)) => {
            (format!("policy {}", chain.policy.word()), owner::Owner::default(), chain.packets)
        }
        _ => (String::new(), owner::Owner::default(), None),
    };
    let handle =
        id.rule.zip(chain).and_then(|(index, chain)| table?.handles.get(chain.first_rule as usize + index));
    let handle = handle.copied().filter(|handle| *handle != 0);
    let reference = RuleRef {
        backend: set.map_or(model::walk::Backend::IptablesNft, |set| set.backend),
        family: set.map_or(model::flow::Family::Ipv4, |set| set.family),
        table: table_name.to_owned(),
        chain: chain_name.to_owned(),
        handle,
        text,
        owner: owner.name.to_owned(),
        object: owner.object,
    };
    (reference, packets)
}

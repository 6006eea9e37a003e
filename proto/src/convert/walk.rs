//! Rule walks.

use model::walk::{Action, Backend, Branch, Masquerade, ProxyFacts, RulesStamp, Step};
use model::{Outcome, RuleRef, ServiceProxy, Walk};

use super::ConvertError;
use super::flow;
use super::read::{self, Read, Within};
use crate::v1;

/// A walk for the wire.
pub fn walk(walk: &Walk) -> v1::Walk {
    v1::Walk {
        packet: Some(flow::packet(&walk.packet)),
        outcome: outcome(walk.outcome).into(),
        branches: walk.branches.iter().map(branch).collect(),
        proxy: Some(v1::ProxyFacts {
            mode: service_proxy(walk.proxy.mode).into(),
            services: walk.proxy.services,
            knows_destination: walk.proxy.knows_destination,
            knows_address: walk.proxy.knows_address,
            evidence: walk.proxy.evidence.clone(),
        }),
        rules: Some(v1::RulesStamp {
            read_at_ms: walk.rules.read_at.0,
            fingerprint: walk.rules.fingerprint,
            unchanged_since_ms: walk.rules.unchanged_since.0,
        }),
        gaps: walk.gaps.iter().map(flow::gap).collect(),
    }
}

/// A walk from the wire.
pub fn walk_to_model(sent: v1::Walk) -> Result<Walk, ConvertError> {
    let branches = read::list(sent.branches, read::BRANCHES_MAX, "branches", branch_to_model)?;
    if branches.is_empty() {
        return Err(ConvertError::Empty { path: "branches".to_owned() });
    }
    let proxy = read::present(sent.proxy, "proxy")?;
    let rules = read::present(sent.rules, "rules")?;
    Ok(Walk {
        packet: flow::packet_to_model(read::present(sent.packet, "packet")?).within("packet")?,
        outcome: outcome_to_model(sent.outcome)?,
        branches,
        proxy: ProxyFacts {
            mode: service_proxy_to_model(proxy.mode, "mode").within("proxy")?,
            services: proxy.services,
            knows_destination: proxy.knows_destination,
            knows_address: proxy.knows_address,
            evidence: read::list(proxy.evidence, read::LINES_MAX, "evidence", |line| read::text(line, ""))
                .within("proxy")?,
        },
        rules: RulesStamp {
            read_at: read::time(rules.read_at_ms),
            fingerprint: rules.fingerprint,
            unchanged_since: read::time(rules.unchanged_since_ms),
        },
        gaps: read::list(sent.gaps, read::LINES_MAX, "gaps", read::gap)?,
    })
}

pub(super) const fn service_proxy(proxy: ServiceProxy) -> v1::service_proxy::Value {
    match proxy {
        ServiceProxy::Iptables => v1::service_proxy::Value::Iptables,
        ServiceProxy::IptablesLegacy => v1::service_proxy::Value::IptablesLegacy,
        ServiceProxy::Nftables => v1::service_proxy::Value::Nftables,
        ServiceProxy::Ipvs => v1::service_proxy::Value::Ipvs,
        ServiceProxy::Other => v1::service_proxy::Value::Other,
        ServiceProxy::None => v1::service_proxy::Value::None,
    }
}

pub(super) fn service_proxy_to_model(sent: i32, field: &str) -> Read<ServiceProxy> {
    read::value(sent, field, |value| match value {
        v1::service_proxy::Value::Unspecified => None,
        v1::service_proxy::Value::Iptables => Some(ServiceProxy::Iptables),
        v1::service_proxy::Value::IptablesLegacy => Some(ServiceProxy::IptablesLegacy),
        v1::service_proxy::Value::Nftables => Some(ServiceProxy::Nftables),
        v1::service_proxy::Value::Ipvs => Some(ServiceProxy::Ipvs),
        v1::service_proxy::Value::Other => Some(ServiceProxy::Other),
        v1::service_proxy::Value::None => Some(ServiceProxy::None),
    })
}

const fn outcome(outcome: Outcome) -> v1::outcome::Value {
    match outcome {
        Outcome::Forwarded => v1::outcome::Value::Forwarded,
        Outcome::Local => v1::outcome::Value::Local,
        Outcome::Dropped => v1::outcome::Value::Dropped,
        Outcome::Rejected => v1::outcome::Value::Rejected,
        Outcome::Unknown => v1::outcome::Value::Unknown,
    }
}

fn outcome_to_model(sent: i32) -> Read<Outcome> {
    read::value(sent, "outcome", |value| match value {
        v1::outcome::Value::Unspecified => None,
        v1::outcome::Value::Forwarded => Some(Outcome::Forwarded),
        v1::outcome::Value::Local => Some(Outcome::Local),
        v1::outcome::Value::Dropped => Some(Outcome::Dropped),
        v1::outcome::Value::Rejected => Some(Outcome::Rejected),
        v1::outcome::Value::Unknown => Some(Outcome::Unknown),
    })
}

fn branch(branch: &Branch) -> v1::Branch {
    v1::Branch {
        destination: Some(flow::socket_address(branch.destination)),
        outcome: outcome(branch.outcome).into(),
        masquerade: match branch.masquerade {
            Masquerade::No => v1::masquerade::Value::No,
            Masquerade::Yes => v1::masquerade::Value::Yes,
            Masquerade::Maybe => v1::masquerade::Value::Maybe,
        }
        .into(),
        dnat_rule: branch.dnat_rule.as_ref().map(rule),
        terminal_rule: branch.terminal_rule.as_ref().map(rule),
        reject_with: branch.reject_with.clone(),
        out_interface: branch.out_interface.clone(),
        gateway: branch.gateway.map(flow::address),
        steps: branch.steps.iter().map(step).collect(),
        gaps: branch.gaps.iter().map(flow::gap).collect(),
    }
}

fn branch_to_model(sent: v1::Branch) -> Read<Branch> {
    Ok(Branch {
        destination: flow::socket_address_to_model(sent.destination, "destination")?,
        outcome: outcome_to_model(sent.outcome)?,
        masquerade: read::value(sent.masquerade, "masquerade", |value| match value {
            v1::masquerade::Value::Unspecified => None,
            v1::masquerade::Value::No => Some(Masquerade::No),
            v1::masquerade::Value::Yes => Some(Masquerade::Yes),
            v1::masquerade::Value::Maybe => Some(Masquerade::Maybe),
        })?,
        dnat_rule: sent.dnat_rule.map(rule_to_model).transpose().within("dnat_rule")?,
        terminal_rule: sent.terminal_rule.map(rule_to_model).transpose().within("terminal_rule")?,
        reject_with: sent.reject_with.map(|text| read::text(text, "reject_with")).transpose()?,
        out_interface: sent.out_interface.map(|name| read::name(name, "out_interface")).transpose()?,
        gateway: sent.gateway.map(|bytes| read::address(&bytes, "gateway")).transpose()?,
        steps: read::list(sent.steps, read::STEPS_MAX, "steps", step_to_model)?,
        gaps: read::list(sent.gaps, read::LINES_MAX, "gaps", read::gap)?,
    })
}

fn rule(rule: &RuleRef) -> v1::RuleRef {
    v1::RuleRef {
        backend: match rule.backend {
            Backend::IptablesNft => v1::backend::Value::IptablesNft,
            Backend::IptablesLegacy => v1::backend::Value::IptablesLegacy,
            Backend::Nftables => v1::backend::Value::Nftables,
            Backend::Ipvs => v1::backend::Value::Ipvs,
        }
        .into(),
        family: flow::family(rule.family).into(),
        table: rule.table.clone(),
        chain: rule.chain.clone(),
        handle: rule.handle,
        text: rule.text.clone(),
        owner: rule.owner.clone(),
        object: rule.object.clone(),
    }
}

fn rule_to_model(sent: v1::RuleRef) -> Read<RuleRef> {
    Ok(RuleRef {
        backend: read::value(sent.backend, "backend", |value| match value {
            v1::backend::Value::Unspecified => None,
            v1::backend::Value::IptablesNft => Some(Backend::IptablesNft),
            v1::backend::Value::IptablesLegacy => Some(Backend::IptablesLegacy),
            v1::backend::Value::Nftables => Some(Backend::Nftables),
            v1::backend::Value::Ipvs => Some(Backend::Ipvs),
        })?,
        family: flow::family_to_model(sent.family, "family")?,
        table: read::name(sent.table, "table")?,
        chain: read::name(sent.chain, "chain")?,
        handle: sent.handle,
        text: read::text(sent.text, "text")?,
        owner: read::name(sent.owner, "owner")?,
        object: read::text(sent.object, "object")?,
    })
}

fn step(step: &Step) -> v1::Step {
    v1::Step {
        hook: step.hook.clone(),
        rule: step.rule.as_ref().map(rule),
        action: Some(v1::Action { kind: Some(action(&step.action)) }),
        packets: step.packets,
    }
}

fn step_to_model(sent: v1::Step) -> Read<Step> {
    let kind = read::present(sent.action.and_then(|action| action.kind), "action")?;
    Ok(Step {
        hook: read::name(sent.hook, "hook")?,
        rule: sent.rule.map(rule_to_model).transpose().within("rule")?,
        action: action_to_model(kind).within("action")?,
        packets: sent.packets,
    })
}

fn action(action: &Action) -> v1::action::Kind {
    let nothing = v1::action::Nothing {};
    match action {
        Action::Jump(chain) => v1::action::Kind::Jump(chain.clone()),
        Action::Return => v1::action::Kind::Return(nothing),
        Action::Accept => v1::action::Kind::Accept(nothing),
        Action::Drop => v1::action::Kind::Drop(nothing),
        Action::Reject(with) => v1::action::Kind::Reject(with.clone()),
        Action::Dnat(to) => v1::action::Kind::Dnat(flow::socket_address(*to)),
        Action::Masquerade => v1::action::Kind::Masquerade(nothing),
        Action::Mark(mark) => v1::action::Kind::Mark(*mark),
        Action::Policy(policy) => v1::action::Kind::Policy(policy.clone()),
        Action::Membership(said) => v1::action::Kind::Membership(said.clone()),
        Action::Route(route) => v1::action::Kind::Route(route.clone()),
        Action::Unknown(what) => v1::action::Kind::Unknown(what.clone()),
    }
}

fn action_to_model(sent: v1::action::Kind) -> Read<Action> {
    Ok(match sent {
        v1::action::Kind::Jump(chain) => Action::Jump(read::name(chain, "jump")?),
        v1::action::Kind::Return(_) => Action::Return,
        v1::action::Kind::Accept(_) => Action::Accept,
        v1::action::Kind::Drop(_) => Action::Drop,
        v1::action::Kind::Reject(with) => Action::Reject(read::text(with, "reject")?),
        v1::action::Kind::Dnat(to) => Action::Dnat(flow::socket_address_to_model(Some(to), "dnat")?),
        v1::action::Kind::Masquerade(_) => Action::Masquerade,
        v1::action::Kind::Mark(mark) => Action::Mark(mark),
        v1::action::Kind::Policy(policy) => Action::Policy(read::text(policy, "policy")?),
        v1::action::Kind::Membership(said) => Action::Membership(read::text(said, "membership")?),
        v1::action::Kind::Route(route) => Action::Route(read::text(route, "route")?),
        v1::action::Kind::Unknown(what) => Action::Unknown(read::text(what, "unknown")?),
    })
}

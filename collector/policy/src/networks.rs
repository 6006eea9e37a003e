//! What the NetworkPolicies of a namespace do with a connection: isolation, and the union of their rules.
//!
//! A policy isolates the pods it selects for the directions of its `policyTypes`; what any rule of any of them admits is
//! allowed, nothing else (networking.k8s.io/v1, `NetworkPolicySpec`).

use model::objects::NetworkPolicy;

use crate::detail::{Doubt, Note, Outcome, PolicyKind};
use crate::exempt;
use crate::index::{Selected, selector_unread};
use crate::matching::{Direction, Question, Truth};
use crate::rule::{Rule, rules};

/// What the NetworkPolicies say.
#[derive(Default)]
pub(crate) struct Network {
    /// Whether one isolates the pod, or may.
    pub(crate) isolated: bool,
    /// Whether one does for sure.
    pub(crate) surely_isolated: bool,
    pub(crate) may_allow: bool,
    pub(crate) may_deny: bool,
    pub(crate) doubts: Vec<Doubt>,
    pub(crate) notes: Vec<Note>,
}

/// One policy's part.
pub(crate) struct Part<'a> {
    pub(crate) policy: &'a NetworkPolicy,
    pub(crate) outcome: Outcome,
    pub(crate) doubts: Vec<Doubt>,
}

/// Who is told each policy's part, if anybody.
pub(crate) type Tell<'t, 'a> = Option<&'t mut dyn FnMut(Part<'a>)>;

/// Asks them all. `tell` is given the part of each that isolates; without one, no more is worked out than the verdict
/// needs.
pub(crate) fn network<'a>(
    question: &Question<'a, '_>,
    selected: &Selected<'a>,
    tell: &mut Tell<'_, 'a>,
) -> Network {
    let mut found = Network::default();
    let mut admitted = false;
    let mut sure = false;
    for policy in selected.network.iter().copied() {
        let isolates = match question.direction {
            Direction::Ingress => policy.isolates_ingress,
            Direction::Egress => policy.isolates_egress,
        };
        if !isolates && policy.unread.is_empty() {
            continue;
        }
        found.isolated = true;
        found.surely_isolated |= isolates && !selector_unread(policy);
        let Some(tell) = tell else {
            match quick(question, policy) {
                Truth::Yes => {
                    admitted = true;
                    break;
                }
                Truth::No => {}
                Truth::Unknown(doubt) => found.doubts.push(doubt),
            }
            continue;
        };
        let part = part(question, policy);
        if let Outcome::Allows(number) = part.outcome {
            admitted = true;
            let mut rules = Rule::of(policy, question.direction);
            let rule = (number as usize).checked_sub(1).and_then(|at| rules.nth(at));
            match rule.and_then(|rule| question.note(&policy.meta.key, rule)) {
                Some(note) => found.notes.push(note),
                None => sure = true,
            }
        }
        found.doubts.extend(part.doubts.iter().cloned());
        tell(part);
    }
    if sure {
        // Another rule admits without taking anything for granted.
        found.notes.clear();
    }
    if !found.isolated {
        return found;
    }
    let own_node = exempt::own_node(question).is_some();
    found.may_allow = admitted || !found.doubts.is_empty() || own_node;
    found.may_deny = !admitted && !own_node;
    if admitted {
        // What admits also isolates, so that nothing behind is asked.
        found.surely_isolated = true;
    }
    // A pod on the host network is the node to the network: whether policies catch it is left to the plugin.
    if found.may_deny
        && let Some(pod) = question.subject.host_pod()
    {
        found.may_allow = true;
        found.doubts = vec![Doubt::HostNetwork(pod.meta.key.clone())];
    }
    if found.may_deny && question.by_service && exempt::itself(question).is_some() {
        let key = question.subject.pod().map(|pod| pod.meta.key.clone()).unwrap_or_default();
        found.may_allow = true;
        found.doubts = vec![Doubt::Hairpin(key)];
    }
    found
}

/// Whether a policy admits, and no more.
fn quick(question: &Question<'_, '_>, policy: &NetworkPolicy) -> Truth {
    if !policy.unread.is_empty() {
        return Truth::Unknown(unread(policy));
    }
    let mut doubt = None;
    for rule in Rule::of(policy, question.direction) {
        match question.rule(rule) {
            Truth::Yes => return Truth::Yes,
            Truth::Unknown(reason) => doubt = doubt.or(Some(reason)),
            Truth::No => {}
        }
    }
    doubt.map_or(Truth::No, Truth::Unknown)
}

fn unread(policy: &NetworkPolicy) -> Doubt {
    Doubt::Unread {
        kind: PolicyKind::NetworkPolicy,
        policy: policy.meta.key.clone(),
        fields: policy.unread.clone(),
    }
}

fn part<'a>(question: &Question<'_, '_>, policy: &'a NetworkPolicy) -> Part<'a> {
    let of = |outcome, doubts| Part { policy, outcome, doubts };
    if !policy.unread.is_empty() {
        return of(Outcome::Unknown, vec![unread(policy)]);
    }
    if rules(policy, question.direction).is_empty() {
        return of(Outcome::NoRules, Vec::new());
    }
    let mut doubts = Vec::new();
    let mut peer_admitted = false;
    for (number, rule) in (1..).zip(Rule::of(policy, question.direction)) {
        match question.rule(rule) {
            Truth::Yes => return of(Outcome::Allows(number), Vec::new()),
            Truth::Unknown(doubt) => doubts.push(doubt),
            Truth::No => peer_admitted = peer_admitted || question.peers(rule) == Truth::Yes,
        }
    }
    match (doubts.is_empty(), peer_admitted) {
        (false, _) => of(Outcome::Unknown, doubts),
        (true, true) => of(Outcome::PortMismatch, doubts),
        (true, false) => of(Outcome::PeerMismatch, doubts),
    }
}

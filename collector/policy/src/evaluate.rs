//! The verdict: isolation, the union of rules, both directions.
//!
//! It follows the API documentation of NetworkPolicy v1; what that leaves to implementations is unknown here.

use model::explanation::{PolicyAnswer, PolicyVerdict};
use model::objects::{NetworkPolicy, PolicyRule};

use crate::connection::{Connection, View};
use crate::detail::{Detailed, DetailedDirection, DetailedPolicy, Doubt, Note, Outcome, both};
use crate::index::PolicyIndex;
use crate::matching::{Direction, Question, Truth};
use crate::misses;

/// The verdict in its public form.
pub fn evaluate(index: &PolicyIndex<'_>, connection: &Connection) -> PolicyAnswer {
    evaluate_detailed(index, connection).into()
}

/// The verdict alone, without reasons.
pub fn verdict(index: &PolicyIndex<'_>, connection: &Connection) -> PolicyVerdict {
    let (Ok(src), Ok(dst)) = (index.view(&connection.src), index.view(&connection.dst)) else {
        return PolicyVerdict::Unknown;
    };
    let effect = |direction| {
        let question = question(index, direction, src, dst, connection);
        decide(&question, &mut |_, _, _| {})
    };
    let egress = effect(Direction::Egress);
    if egress.effect == PolicyVerdict::Deny {
        return PolicyVerdict::Deny;
    }
    both(egress.effect, effect(Direction::Ingress).effect)
}

/// The verdict with everything it rests on.
pub fn evaluate_detailed(index: &PolicyIndex<'_>, connection: &Connection) -> Detailed {
    let (src, dst) = (index.view(&connection.src), index.view(&connection.dst));
    let destination = dst.as_ref().ok().and_then(View::pod).map(|pod| pod.meta.key.clone());
    let (src, dst) = match (src, dst) {
        (Ok(src), Ok(dst)) => (src, dst),
        (src, dst) => {
            let doubts: Vec<Doubt> = [src.err(), dst.err()].into_iter().flatten().collect();
            let unknown = || DetailedDirection {
                effect: PolicyVerdict::Unknown,
                isolated: false,
                policies: Vec::new(),
                doubts: doubts.clone(),
                notes: Vec::new(),
            };
            return Detailed { egress: unknown(), ingress: unknown(), destination };
        }
    };
    Detailed {
        egress: detailed(&question(index, Direction::Egress, src, dst, connection)),
        ingress: detailed(&question(index, Direction::Ingress, src, dst, connection)),
        destination,
    }
}

const fn question<'a, 'i>(
    index: &'i PolicyIndex<'a>,
    direction: Direction,
    src: View<'a>,
    dst: View<'a>,
    connection: &Connection,
) -> Question<'a, 'i> {
    let (subject, peer) = match direction {
        Direction::Egress => (src, dst),
        Direction::Ingress => (dst, src),
    };
    Question { index, direction, subject, peer, port: connection.port, protocol: connection.protocol }
}

/// One direction as decided, reasons apart.
struct Decision {
    effect: PolicyVerdict,
    isolated: bool,
    doubts: Vec<Doubt>,
    notes: Vec<Note>,
}

fn detailed(question: &Question<'_, '_>) -> DetailedDirection {
    let mut policies = Vec::new();
    let decision = decide(question, &mut |policy, outcome, doubts| {
        let nearest = match outcome {
            Outcome::Allows(_) | Outcome::NoRules => None,
            _ => misses::nearest(question, &policy.meta.key, rules(question.direction, policy)),
        };
        policies.push(DetailedPolicy { policy: policy.meta.key.clone(), outcome, nearest, doubts });
    });
    let Decision { effect, isolated, doubts, notes } = decision;
    DetailedDirection { effect, isolated, policies, doubts, notes }
}

type Visit<'v> = dyn FnMut(&NetworkPolicy, Outcome, Vec<Doubt>) + 'v;

/// Decides one direction, telling the visitor what each policy that isolates the subject does.
fn decide(question: &Question<'_, '_>, visit: &mut Visit<'_>) -> Decision {
    let allowed =
        || Decision { effect: PolicyVerdict::Allow, isolated: false, doubts: Vec::new(), notes: Vec::new() };
    // Only pods are isolated.
    let Some(namespace) = question.subject.namespace() else { return allowed() };
    let unknown =
        |doubt: Doubt| Decision { effect: PolicyVerdict::Unknown, doubts: vec![doubt], ..allowed() };
    if let Some(doubt) = gone(question) {
        return unknown(doubt);
    }
    let exempt = exempt(question);
    if !question.index.set().coverage.policies {
        return match exempt {
            Some(note) => Decision { notes: vec![note], ..allowed() },
            None => unknown(Doubt::PoliciesNotRead),
        };
    }
    let mut admitted = false;
    let mut isolated = false;
    let mut doubts = Vec::new();
    let mut notes = Vec::new();
    let mut sure = false;
    for policy in question.index.selecting(namespace, question.subject.labels()) {
        let isolates = match question.direction {
            Direction::Ingress => policy.isolates_ingress,
            Direction::Egress => policy.isolates_egress,
        };
        if !isolates && policy.unread.is_empty() {
            continue;
        }
        isolated = true;
        let (outcome, policy_doubts) = policy_outcome(question, policy);
        if let Outcome::Allows(rule) = outcome {
            admitted = true;
            let rule =
                (rule as usize).checked_sub(1).and_then(|at| rules(question.direction, policy).get(at));
            match rule.and_then(|rule| question.note(&policy.meta.key, rule)) {
                Some(note) => notes.push(note),
                None => sure = true,
            }
        }
        doubts.extend(policy_doubts.iter().cloned());
        visit(policy, outcome, policy_doubts);
    }
    if sure {
        // Another rule admits without taking anything for granted.
        notes.clear();
    }
    let effect = match (isolated, admitted) {
        (false, _) | (_, true) => PolicyVerdict::Allow,
        (true, false) if doubts.is_empty() => PolicyVerdict::Deny,
        (true, false) => PolicyVerdict::Unknown,
    };
    if let Some(note) = exempt {
        return Decision { effect: PolicyVerdict::Allow, isolated, doubts: Vec::new(), notes: vec![note] };
    }
    // A pod on the host network is the node to the network: whether policies catch it is left to the plugin.
    if isolated && let Some(pod) = question.subject.pod().filter(|pod| pod.host_network) {
        let doubts = vec![Doubt::HostNetwork(pod.meta.key.clone())];
        return match effect {
            PolicyVerdict::Allow => Decision { effect, isolated, doubts: Vec::new(), notes },
            _ => Decision { effect: PolicyVerdict::Unknown, isolated, doubts, notes },
        };
    }
    if effect != PolicyVerdict::Unknown {
        doubts.clear();
    }
    doubts.sort();
    doubts.dedup();
    Decision { effect, isolated, doubts, notes }
}

/// A pod that has ended, or has a state but no address yet, takes no part in any connection.
fn gone(question: &Question<'_, '_>) -> Option<Doubt> {
    [question.subject, question.peer].into_iter().filter_map(|end| end.pod()).find_map(|pod| {
        if pod.finished() {
            return Some(Doubt::Finished(pod.meta.key.clone()));
        }
        // A manifest without a state is judged by its labels.
        let waiting = !pod.phase.is_empty() && pod.addresses.is_empty();
        waiting.then(|| Doubt::NoAddress(pod.meta.key.to_string()))
    })
}

/// What no policy can deny: a pod to itself, and a pod and its own node in either direction.
fn exempt(question: &Question<'_, '_>) -> Option<Note> {
    if let (View::Pod(subject), View::Pod(peer)) = (question.subject, question.peer)
        && subject.meta.key == peer.meta.key
    {
        return Some(Note::Itself);
    }
    let node = question.peer.is_node()?;
    (question.subject.runs_on() == Some(node)).then(|| Note::OwnNode { node: node.to_owned() })
}

fn rules(direction: Direction, policy: &NetworkPolicy) -> &[PolicyRule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

fn policy_outcome(question: &Question<'_, '_>, policy: &NetworkPolicy) -> (Outcome, Vec<Doubt>) {
    if !policy.unread.is_empty() {
        let doubt = Doubt::Unread { policy: policy.meta.key.clone(), fields: policy.unread.clone() };
        return (Outcome::Unknown, vec![doubt]);
    }
    let rules = rules(question.direction, policy);
    if rules.is_empty() {
        return (Outcome::NoRules, Vec::new());
    }
    let mut doubts = Vec::new();
    let mut peer_admitted = false;
    for (number, rule) in (1..).zip(rules) {
        match question.rule(&policy.meta.key, rule) {
            Truth::Yes => return (Outcome::Allows(number), Vec::new()),
            Truth::Unknown(doubt) => doubts.push(doubt),
            Truth::No => {
                peer_admitted = peer_admitted || question.peers(&policy.meta.key, &rule.peers) == Truth::Yes;
            }
        }
    }
    let outcome = match (doubts.is_empty(), peer_admitted) {
        (false, _) => Outcome::Unknown,
        (true, true) => Outcome::PortMismatch,
        (true, false) => Outcome::PeerMismatch,
    };
    (outcome, doubts)
}

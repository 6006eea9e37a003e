//! The verdict: the tiers in their order, isolation and the union of rules among NetworkPolicies, both directions.
//!
//! It follows the API documentation of NetworkPolicy v1 and of network-policy-api; what those leave to implementations is
//! unknown here.

use model::Family;
use model::explanation::{PolicyAnswer, PolicyVerdict};
use model::objects::{Directions, OtherPolicy, Power, Tier};

use crate::connection::Connection;
use crate::detail::{
    DecidedBy, Detailed, DetailedDirection, DetailedPolicy, Doubt, Note, Outcome, PolicyKind, both,
};
use crate::index::{PolicyIndex, Seen, Selected};
use crate::matching::{Direction, Question};
use crate::networks::{self, network};
use crate::rule::Rule;
use crate::tiers::{self, Ends, Part, tier};
use crate::{exempt, misses, patch, words};

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
        let (question, subject) = question(index, direction, src, dst, connection);
        decide(&question, subject, None).effect
    };
    let egress = effect(Direction::Egress);
    if egress == PolicyVerdict::Deny {
        return PolicyVerdict::Deny;
    }
    both(egress, effect(Direction::Ingress))
}

/// The verdict with everything it rests on.
pub fn evaluate_detailed(index: &PolicyIndex<'_>, connection: &Connection) -> Detailed {
    let (src, dst) = (index.view(&connection.src), index.view(&connection.dst));
    let destination = dst.as_ref().ok().and_then(|seen| seen.view.pod()).map(|pod| pod.meta.key.clone());
    let (src, dst) = match (src, dst) {
        (Ok(src), Ok(dst)) => (src, dst),
        (src, dst) => {
            let doubts: Vec<Doubt> = [src.err(), dst.err()].into_iter().flatten().collect();
            let unknown = || Decision::unknown(doubts.clone()).told(Parts::default());
            return Detailed { egress: unknown(), ingress: unknown(), destination };
        }
    };
    let of = |direction| {
        let (question, subject) = question(index, direction, src, dst, connection);
        detailed(&question, subject)
    };
    Detailed { egress: of(Direction::Egress), ingress: of(Direction::Ingress), destination }
}

fn question<'a, 'i>(
    index: &'i PolicyIndex<'a>,
    direction: Direction,
    src: Seen<'i>,
    dst: Seen<'i>,
    connection: &Connection,
) -> (Question<'a, 'i>, Seen<'i>) {
    let (subject, peer) = match direction {
        Direction::Egress => (src, dst),
        Direction::Ingress => (dst, src),
    };
    let Connection { port, protocol, by_service, .. } = *connection;
    let question = Question {
        index,
        direction,
        subject: subject.view,
        peer: peer.view,
        port,
        protocol,
        by_service,
        family: None,
    };
    (question, subject)
}

/// One direction as decided, reasons apart.
struct Decision {
    effect: PolicyVerdict,
    evaluated: PolicyVerdict,
    decided_by: DecidedBy,
    isolated: bool,
    doubts: Vec<Doubt>,
    notes: Vec<Note>,
}

impl Decision {
    const fn allowed(decided_by: DecidedBy) -> Self {
        Self {
            effect: PolicyVerdict::Allow,
            evaluated: PolicyVerdict::Allow,
            decided_by,
            isolated: false,
            doubts: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn unknown(doubts: Vec<Doubt>) -> Self {
        Self {
            effect: PolicyVerdict::Unknown,
            evaluated: PolicyVerdict::Unknown,
            doubts,
            ..Self::allowed(DecidedBy::Unsure)
        }
    }

    fn told(self, parts: Parts) -> DetailedDirection {
        let Self { effect, evaluated, decided_by, isolated, mut doubts, notes } = self;
        doubts.sort();
        doubts.dedup();
        let Parts { network, cluster, before } = parts;
        DetailedDirection {
            effect,
            evaluated,
            decided_by,
            isolated,
            policies: network,
            cluster,
            before,
            doubts,
            notes,
            patch: None,
        }
    }
}

/// Every policy's part.
#[derive(Default)]
struct Parts {
    network: Vec<DetailedPolicy>,
    cluster: Vec<DetailedPolicy>,
    before: usize,
}

impl Parts {
    fn network(&mut self, question: &Question<'_, '_>, part: networks::Part<'_>, asked: bool) {
        let policy = part.policy;
        let nearest = match part.outcome {
            Outcome::Allows(_) | Outcome::NoRules => None,
            _ => misses::nearest(question, (1..).zip(Rule::of(policy, question.direction))),
        };
        self.network.push(DetailedPolicy {
            kind: PolicyKind::NetworkPolicy,
            policy: policy.meta.key.clone(),
            outcome: part.outcome,
            nearest,
            doubts: part.doubts,
            says: String::new(),
            asked,
        });
    }

    fn cluster(&mut self, question: &Question<'_, '_>, part: Part<'_>, asked: bool) {
        let rules = tiers::rules(part.policy, question.direction);
        let (says, nearest) = match part.outcome {
            Outcome::Allows(number) | Outcome::Denies(number) | Outcome::Passes(number) => {
                let rule = (number as usize).checked_sub(1).and_then(|at| rules.get(at));
                (rule.map(|rule| words::says(question, number, rule)).unwrap_or_default(), None)
            }
            _ => {
                let candidates = tiers::nearest_of(rules).filter(|(_, rule)| !rule.unread);
                let candidates = candidates.map(|(number, rule)| (number, Rule::Cluster(rule)));
                (String::new(), misses::nearest(question, candidates))
            }
        };
        self.cluster.push(DetailedPolicy {
            kind: PolicyKind::Cluster(part.policy.kind),
            policy: part.policy.meta.key.clone(),
            outcome: part.outcome,
            nearest,
            doubts: part.doubts,
            says,
            asked: asked && part.asked,
        });
    }
}

fn detailed(question: &Question<'_, '_>, subject: Seen<'_>) -> DetailedDirection {
    let mut parts = Parts::default();
    let mut direction = decide(question, subject, Some(&mut parts)).told(parts);
    if direction.evaluated == PolicyVerdict::Deny {
        direction.patch = patch::smallest(question, subject, &direction);
    }
    direction
}

/// Decides one direction. With `parts`, what each policy that says something does is put there.
fn decide(question: &Question<'_, '_>, subject: Seen<'_>, parts: Option<&mut Parts>) -> Decision {
    // Only pods are governed.
    let Some(namespace) = question.subject.namespace() else { return Decision::allowed(DecidedBy::Nothing) };
    if let Some(doubt) = exempt::gone(question) {
        return Decision::unknown(vec![doubt]);
    }
    question.index.selecting(subject, namespace, |selected| {
        let mut parts = parts;
        let found = decide_among(question, selected, parts.as_deref_mut());
        let either = |doubt: &Doubt| matches!(doubt, Doubt::EitherFamily(_));
        if found.evaluated != PolicyVerdict::Unknown || !found.doubts.iter().any(either) {
            return found;
        }
        // The connection uses one family; that it may be either is no matter where both come out the same.
        let of = |family, parts: Option<&mut Parts>| {
            let question = Question { family: Some(family), ..*question };
            decide_among(&question, selected, parts)
        };
        let mut alone = parts.is_some().then(Parts::default);
        let (older, newer) = (of(Family::Ipv4, alone.as_mut()), of(Family::Ipv6, None));
        if older.evaluated != newer.evaluated || older.evaluated == PolicyVerdict::Unknown {
            return found;
        }
        if let (Some(parts), Some(alone)) = (parts, alone) {
            *parts = alone;
        }
        older
    })
}

fn decide_among<'a>(
    question: &Question<'a, '_>,
    selected: &Selected<'a>,
    mut parts: Option<&mut Parts>,
) -> Decision {
    let itself = exempt::itself(question).filter(|_| !question.by_service);
    let own_node = exempt::own_node(question);
    if itself.is_none()
        && let Some(doubts) = not_read(question, own_node.is_some())
    {
        return Decision::unknown(doubts);
    }
    let mut notes = Vec::new();
    let tell = |parts: &mut Parts, part: Part<'a>, reached: bool, notes: &mut Vec<Note>| {
        if reached && part.asked {
            notes.extend(tiers::names_of_others(question, part.policy));
        }
        parts.cluster(question, part, reached);
    };
    let mut of = |which, reached: bool, parts: Option<&mut Parts>| match parts {
        Some(parts) => {
            tier(question, selected, which, &mut Some(&mut |part| tell(parts, part, reached, &mut notes)))
        }
        None if reached => tier(question, selected, which, &mut None),
        None => tiers::Verdict { ends: Ends::NONE, doubts: Vec::new() },
    };
    let reached = itself.is_none();
    let admin = of(Tier::Admin, reached, parts.as_deref_mut());
    if let Some(parts) = parts.as_deref_mut() {
        parts.before = parts.cluster.len();
    }
    let passed = admin.ends.may(Ends::PASS.with(Ends::NONE));
    let mut network = {
        let reached = reached && passed;
        match parts.as_deref_mut() {
            Some(parts) => {
                network(question, selected, &mut Some(&mut |part| parts.network(question, part, reached)))
            }
            None if reached => network(question, selected, &mut None),
            None => networks::Network::default(),
        }
    };
    if own_node.is_some() && !question.index.set().coverage.policies {
        // Whether any isolates is not known: if so, it admits; if not, Baseline is asked.
        network.may_allow = true;
        network.doubts.push(Doubt::PoliciesNotRead);
    }
    let unisolated = reached && passed && !network.surely_isolated;
    let baseline = of(Tier::Baseline, unisolated, parts);

    if let Some(note) = itself {
        let isolated = network.isolated;
        return Decision { isolated, notes: vec![note], ..Decision::allowed(DecidedBy::Exemption) };
    }
    let mut ends = Final::default();
    ends.add(admin.ends);
    let mut doubts = admin.doubts;
    let mut decided_by = DecidedBy::Tier(Tier::Admin);
    if passed {
        ends.allow |= network.may_allow;
        ends.deny |= network.may_deny;
        doubts.extend(network.doubts);
        decided_by = DecidedBy::NetworkPolicies;
        notes.extend(network.notes);
    }
    if unisolated {
        ends.add(baseline.ends);
        let behind = baseline.ends.may(Ends::PASS.with(Ends::NONE));
        ends.allow |= behind;
        doubts.extend(baseline.doubts);
        if !network.isolated {
            decided_by = if behind { DecidedBy::Nothing } else { DecidedBy::Tier(Tier::Baseline) };
        }
    }
    if let Some(note) = own_node.filter(|_| network.isolated && passed) {
        notes = vec![note];
        decided_by = DecidedBy::Exemption;
    }
    let evaluated = ends.verdict();
    if evaluated != PolicyVerdict::Deny {
        // That a name was taken for another's can only have denied.
        notes.retain(|note| !matches!(note, Note::NamesOfOthers { .. }));
    }
    if evaluated == PolicyVerdict::Unknown {
        decided_by = DecidedBy::Unsure;
    } else {
        doubts.clear();
    }
    let unevaluated = unevaluated(question.direction, evaluated, &selected.others);
    let effect = if unevaluated.is_empty() { evaluated } else { PolicyVerdict::Unknown };
    doubts.extend(unevaluated);
    Decision { effect, evaluated, decided_by, isolated: network.isolated, doubts, notes }
}

/// One direction's verdict.
pub(crate) fn effect(question: &Question<'_, '_>, subject: Seen<'_>) -> PolicyVerdict {
    decide(question, subject, None).effect
}

/// What the tiers behind Admin would say, were they asked.
pub(crate) fn behind_admin(question: &Question<'_, '_>, subject: Seen<'_>) -> PolicyVerdict {
    let namespace = question.subject.namespace().unwrap_or_default();
    question.index.selecting(subject, namespace, |selected| {
        let network = network(question, selected, &mut None);
        let mut ends = Final { allow: network.may_allow, deny: network.may_deny };
        if !network.surely_isolated {
            let baseline = tier(question, selected, Tier::Baseline, &mut None);
            ends.add(baseline.ends);
            ends.allow |= baseline.ends.may(Ends::PASS.with(Ends::NONE));
        }
        ends.verdict()
    })
}

/// Kinds of policies that matter and were not read.
fn not_read(question: &Question<'_, '_>, own_node: bool) -> Option<Vec<Doubt>> {
    let coverage = question.index.set().coverage;
    let network = (!coverage.policies && !own_node).then_some(Doubt::PoliciesNotRead);
    let cluster = coverage.cluster_policies.missing().map(Doubt::ClusterPoliciesNotRead);
    let doubts: Vec<Doubt> = network.into_iter().chain(cluster).collect();
    (!doubts.is_empty()).then_some(doubts)
}

/// What may come of all tiers.
#[derive(Clone, Copy, Default)]
struct Final {
    allow: bool,
    deny: bool,
}

impl Final {
    const fn add(&mut self, ends: Ends) {
        self.allow |= ends.may(Ends::ACCEPT);
        self.deny |= ends.may(Ends::DENY);
    }

    const fn verdict(self) -> PolicyVerdict {
        match (self.allow, self.deny) {
            (true, false) => PolicyVerdict::Allow,
            (false, true) => PolicyVerdict::Deny,
            _ => PolicyVerdict::Unknown,
        }
    }
}

/// Why a verdict of the evaluated policies may not be the last word: policies of other kinds that could change it.
pub(crate) fn unevaluated(
    direction: Direction,
    evaluated: PolicyVerdict,
    others: &[&OtherPolicy],
) -> Vec<Doubt> {
    let mut doubts: Vec<Doubt> = Vec::new();
    for other in others {
        let here = match other.directions {
            Directions::Both => true,
            Directions::Ingress => direction == Direction::Ingress,
            Directions::Egress => direction == Direction::Egress,
        };
        let changes = match (other.power, evaluated) {
            (Power::Elsewhere, _) | (Power::Restricts, PolicyVerdict::Deny) => false,
            (Power::Restricts | Power::Overrides, _) => true,
        };
        if !here || !changes {
            continue;
        }
        let key = other.meta.key.clone();
        let same =
            |doubt: &&mut Doubt| matches!(doubt, Doubt::NotEvaluated { kind, .. } if *kind == other.kind);
        match doubts.iter_mut().find(same) {
            Some(Doubt::NotEvaluated { policies, .. }) => policies.push(key),
            _ => doubts.push(Doubt::NotEvaluated { kind: other.kind.clone(), policies: vec![key] }),
        }
    }
    doubts
}

//! What the causes about denying NetworkPolicies share: where a denial is enforced, what proves it, and how it is told.
//!
//! Which denial is which cause, their files say.

pub(crate) mod kind;

use model::explanation::{PolicyVerdict, Reason};
use model::objects::Meta as ObjectMeta;
use model::{Gap, Key, ObjectRef, Place, Stage, Timestamp, Verdict};
use policy::{DecidedBy, DetailedDirection, DetailedPolicy, Outcome, PolicyKind, RuleMiss};

use crate::facts::{Direction, Enforced, Facts, Stop, open_to_others};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

/// How many policies one argument tells apart.
const TOLD: usize = 4;

/// The denied ways of one cause, and what the nodes do about them.
pub(crate) struct Denial<'a> {
    /// Denied ways to blame the policies for, by index; never empty.
    pub(crate) ways: Vec<usize>,
    /// Stops by the enforcing engine, if walks show any.
    pub(crate) stops: Vec<Stop<'a>>,
}

/// Looks for denials by NetworkPolicies of a kind. `Err` holds what to say where there is none to blame.
pub(crate) fn look<'a>(
    facts: &Facts<'a>,
    direction: Direction,
    is_kind: impl Fn(&DetailedDirection) -> bool,
) -> Result<Denial<'a>, Ruling> {
    look_for(facts, direction, |found| found.decided_by == DecidedBy::NetworkPolicies && is_kind(found))
}

/// The same by any policies.
pub(crate) fn look_for<'a>(
    facts: &Facts<'a>,
    direction: Direction,
    is_kind: impl Fn(&DetailedDirection) -> bool,
) -> Result<Denial<'a>, Ruling> {
    if facts.live_ways().next().is_none() {
        return Err(Ruling::NotApplicable);
    }
    let denied: Vec<usize> = facts
        .denied(direction)
        .into_iter()
        .filter(|way| facts.direction(*way, direction).is_some_and(&is_kind))
        .collect();
    if denied.is_empty() {
        return Err(none(facts, direction));
    }
    if !facts.case.live {
        return Ok(Denial { ways: denied, stops: Vec::new() });
    }
    let mut stops = Vec::new();
    let mut unknown = Vec::new();
    let mut passing = None;
    for way in denied {
        match facts.enforced(way, direction) {
            Enforced::Stopped(stop) => stops.push(stop),
            Enforced::Unknown(_) => unknown.push(way),
            Enforced::Passes { node, .. } => passing = passing.or(Some((way, node))),
        }
    }
    let ways: Vec<usize> = stops.iter().filter_map(|stop| stop.way).chain(unknown).collect();
    match passing {
        Some((way, node)) if ways.is_empty() => Err(Ruling::CannotTell(Gap::new(
            format!("whether {node} enforces {} policies", direction.word()),
            format!(
                "{} deny this to {}, and the rules of {node} let it pass",
                denying(facts, way, direction),
                facts.ways[way].name()
            ),
        ))),
        _ => Ok(Denial { ways, stops }),
    }
}

/// Nothing of the kind: no denial at all, another kind of it, or nothing known.
fn none(facts: &Facts<'_>, direction: Direction) -> Ruling {
    let mut isolated = false;
    for (index, way) in facts.live_ways() {
        let Some(found) = facts.direction(index, direction) else { continue };
        isolated |= found.isolated;
        if found.evaluated == PolicyVerdict::Unknown {
            let doubt =
                found.doubts.first().map_or_else(|| "it cannot be told".to_owned(), ToString::to_string);
            return Ruling::CannotTell(Gap::new(
                format!("{} policies for {}", direction.word(), end(facts, direction, way.name())),
                doubt,
            ));
        }
    }
    let who = match direction {
        Direction::Egress => facts.source.name.clone(),
        Direction::Ingress => "the destination".into(),
    };
    if !facts.denied(direction).is_empty() {
        return Ruling::RuledOut(format!("what denies {} misses it in another way", direction.word()));
    }
    Ruling::RuledOut(if isolated {
        format!("the policies that isolate {who} for {} admit this", direction.word())
    } else {
        format!("no policy isolates {who} for {}", direction.word())
    })
}

fn end(facts: &Facts<'_>, direction: Direction, destination: String) -> String {
    match direction {
        Direction::Egress => facts.source.name.clone(),
        Direction::Ingress => destination,
    }
}

/// `1 NetworkPolicy`, `ClusterNetworkPolicy lock-down`: what denies a way.
pub(crate) fn denying(facts: &Facts<'_>, way: usize, direction: Direction) -> String {
    let parts = facts.denying(way, direction);
    if parts.iter().all(|part| part.kind == PolicyKind::NetworkPolicy) {
        return count(parts.len());
    }
    let names: Vec<String> =
        parts.iter().map(|part| format!("{} {}", part.kind.word(), part.policy)).collect();
    words::list(&names, TOLD)
}

/// A policy, as answers name objects.
pub(crate) fn object(part: &DetailedPolicy, field: &str) -> ObjectRef {
    match part.kind {
        PolicyKind::NetworkPolicy => ObjectRef::network_policy(&part.policy, field),
        PolicyKind::Cluster(kind) => ObjectRef::cluster_policy(kind, &part.policy.name, field),
    }
}

/// `1 policy`, `3 policies`.
pub(crate) fn count(number: usize) -> String {
    words::count(number, "NetworkPolicy")
}

/// The finding: certainty, verdict and place from the stops, reasons from the policies.
pub(crate) fn finding(
    facts: &Facts<'_>,
    meta: &Meta,
    direction: Direction,
    denial: &Denial<'_>,
    title: String,
) -> Finding {
    let first = denial.ways.first().copied().unwrap_or_default();
    let way = &facts.ways[first];
    let (place, verdict) = place(facts, direction, denial);
    let sure = sure(facts, direction, denial);
    let governed = end(facts, direction, way.name());
    let isolating = facts.isolating(first, direction);
    let names: Vec<&str> = isolating.iter().map(|key| key.name.as_str()).collect();
    let verb = if isolating.len() == 1 { "isolates" } else { "isolate" };
    let text = format!(
        "{} {verb} {governed} for {}: {}",
        count(isolating.len()),
        direction.word(),
        words::list(&names, TOLD)
    );
    let first_reason = match isolating.first().and_then(|key| facts.case.objects.policies.get(key)) {
        Some(policy) if isolating.len() == 1 => facts.object(&policy.meta, text),
        _ => facts.objects(text),
    };
    let mut finding = Finding::new(meta, sure, verdict, place, title, first_reason)
        .because_all(per_policy(facts, first, direction))
        .on_ways(denial.ways.iter().copied());
    for key in &isolating {
        finding = finding.blame(ObjectRef::network_policy(key, &format!("spec.{}", direction.word())));
    }
    if let Some(reason) = enforced(facts, denial) {
        finding = finding.because(reason);
    }
    finding
}

/// Proven by drops, likely without; where policies that are not evaluated may decide, a step less.
pub(crate) fn sure(facts: &Facts<'_>, direction: Direction, denial: &Denial<'_>) -> Sure {
    let others = |way: &usize| facts.direction(*way, direction).is_some_and(open_to_others);
    match (proof(facts, direction, denial), denial.ways.iter().any(others)) {
        (proof, false) => Sure::by(proof),
        (Some(_), true) => Sure::Likely,
        (None, true) => Sure::Possible,
    }
}

/// Where a denial is enforced, and how it ends the connection.
pub(crate) fn place(facts: &Facts<'_>, direction: Direction, denial: &Denial<'_>) -> (Place, Verdict) {
    if let Some(stop) = denial.stops.first() {
        return (stop.place.clone(), stop.verdict());
    }
    let way = &facts.ways[denial.ways.first().copied().unwrap_or_default()];
    let (node, stage) = match direction {
        Direction::Egress => (facts.source.node, Stage::SourceNode),
        Direction::Ingress if way.same_node => (way.node, Stage::SourceNode),
        Direction::Ingress => (way.node, Stage::DestinationNode),
    };
    // Most engines drop; where the rules were not seen, silence is the likelier sight.
    let place = node.map_or(Place::intent(stage), |node| Place::node(node, stage));
    (place, Verdict::Dropped)
}

/// What the enforcing rule does, as a reason.
pub(crate) fn enforced(facts: &Facts<'_>, denial: &Denial<'_>) -> Option<Reason> {
    let stop = denial.stops.first()?;
    let rule = stop.rule()?;
    let text = format!("{} {} it by {} in {} {}", stop.node, stop.verb(), rule.owner, rule.table, rule.chain);
    Some(facts.rules(stop.node, stop.walk, text))
}

/// Why each policy does not admit.
fn per_policy(facts: &Facts<'_>, way: usize, direction: Direction) -> Vec<Reason> {
    let Some(found) = facts.direction(way, direction) else { return Vec::new() };
    let clause = |part: &DetailedPolicy| {
        let name = &part.policy.name;
        let text = match (part.outcome, part.nearest()) {
            (Outcome::NoRules, _) => format!("{name} admits nothing"),
            (_, Some(miss)) => format!("{name} {}", miss.text),
            (_, None) => format!("{name} does not admit it"),
        };
        match facts.case.objects.policies.get(&part.policy) {
            Some(policy) => facts.object(&policy.meta, text),
            None => facts.objects(text),
        }
    };
    found.policies.iter().take(TOLD).map(clause).collect()
}

/// Drops at the enforcing rules, newer than policies, pods and namespaces. Where one node enforces both directions and
/// both deny, the drop is not taken for proof of the second: it may be the first's.
fn proof(facts: &Facts<'_>, direction: Direction, denial: &Denial<'_>) -> Option<crate::facts::Proof> {
    let stops: Vec<Stop<'_>> = denial
        .stops
        .iter()
        .filter(|stop| {
            let Some(way) = stop.way else { return false };
            let other = match direction {
                Direction::Egress => return true,
                Direction::Ingress => Direction::Egress,
            };
            let both =
                facts.direction(way, other).is_some_and(|found| found.evaluated == PolicyVerdict::Deny);
            !(facts.ways[way].same_node && both)
        })
        .cloned()
        .collect();
    let same: Vec<Stop<'_>> =
        stops.iter().filter(|stop| stop.rule() == stops.first().and_then(Stop::rule)).cloned().collect();
    facts.prove_stops(&same, facts.stops_changed(&same).max(policies_changed(facts, &denial.ways, direction)))
}

fn policies_changed(facts: &Facts<'_>, ways: &[usize], direction: Direction) -> Timestamp {
    let objects = &facts.case.objects;
    let policies = ways
        .iter()
        .filter_map(|way| facts.direction(*way, direction))
        .flat_map(DetailedDirection::all)
        .filter_map(|part| match part.kind {
            PolicyKind::NetworkPolicy => objects.policies.get(&part.policy).map(|policy| &policy.meta),
            PolicyKind::Cluster(kind) => {
                let key = (kind, part.policy.name.clone());
                objects.cluster_policies.get(&key).map(|policy| &policy.meta)
            }
        });
    let namespaces = ways
        .iter()
        .filter_map(|way| facts.ways[*way].pod)
        .chain(facts.source.pod)
        .filter_map(|pod| objects.namespaces.get(&pod.key().namespace))
        .map(|namespace| &namespace.meta);
    let all: Vec<&ObjectMeta> = policies.chain(namespaces).collect();
    Facts::changed(all)
}

/// The rule that comes nearest to admitting, over all policies of a direction.
pub(crate) fn nearest(found: &DetailedDirection) -> Option<(&Key, &RuleMiss)> {
    found
        .policies
        .iter()
        .filter_map(|part| Some((&part.policy, part.nearest()?)))
        .min_by(|a, b| (a.1.distance, a.0).cmp(&(b.1.distance, b.0)))
}

/// A policy to apply that admits the connection, as a command.
pub(crate) fn admit(facts: &Facts<'_>, way: usize, direction: Direction) -> Option<String> {
    let way = &facts.ways[way];
    let (own, peer) = match direction {
        Direction::Egress => (facts.source.pod?, way.pod?),
        Direction::Ingress => (way.pod?, facts.source.pod?),
    };
    let (kind, side) = match direction {
        Direction::Egress => ("Egress", "to"),
        Direction::Ingress => ("Ingress", "from"),
    };
    let selector = |pod: &model::objects::Pod| {
        let labels: Vec<String> = pod
            .labels()
            .iter()
            .filter(|(key, _)| !GENERATED.contains(&key.as_str()))
            .map(|(key, value)| format!("{}: {}", words::json(key), words::json(value)))
            .collect();
        format!("{{matchLabels: {{{}}}}}", labels.join(", "))
    };
    let name = words::json(&format!("allow-{}-{}", peer.key().namespace, way.destination.port()));
    Some(format!(
        "kubectl apply -f - <<'EOF'\n\
         apiVersion: networking.k8s.io/v1\n\
         kind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: {}}}\n\
         spec:\n\
         \x20 podSelector: {}\n\
         \x20 policyTypes: [{kind}]\n\
         \x20 {}:\n\
         \x20 - {side}:\n\
         \x20   - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}\n\
         \x20     podSelector: {}\n\
         \x20   ports: [{{protocol: {}, port: {}}}]\n\
         EOF",
        words::json(&own.key().namespace),
        selector(own),
        direction.word(),
        words::json(&peer.key().namespace),
        selector(peer),
        way.protocol.upper(),
        way.destination.port()
    ))
}

/// Labels that controllers put on pods and that change with every roll-out.
const GENERATED: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

//! The ways through the cluster as hops, one path for all ways that look alike.
//!
//! It draws what the facts show; the verdict of a path is what the first stop on it says.

use std::collections::BTreeSet;

use model::explanation::{Hop, HopState, Path, PolicyVerdict};
use model::question::Source;
use model::walk::Branch;
use model::{Effect, Family, Gap, Outcome, Protocol, RuleRef, Stage, Verdict};

use crate::facts::{Attempt, Direction, Facts, Listening, State, Target, Way, shown};
use crate::ruling::{Finding, Touches};

/// How many backends one path names.
const NAMED: usize = 20;

/// All paths. Where hops alone show no end but a finding does, the finding's is the last hop.
pub(crate) fn paths(facts: &Facts<'_>, found: &[Finding]) -> Vec<Path> {
    let mut groups: Vec<Alike> = Vec::new();
    for (index, attempt) in facts.attempts.iter().enumerate() {
        if let Some(direct) = attempt.direct() {
            let hops = direct_hops(facts, attempt, direct);
            groups.push(Alike::new(path(attempt.family, hops)));
        }
        for (number, way) in facts.live_ways().filter(|(_, way)| way.attempt == index) {
            let hops = if facts.case.live {
                way_hops(facts, attempt, way)
            } else {
                predicted_hops(facts, attempt, number, way)
            };
            let made = path(attempt.family, ended(hops, index, number, found));
            if let Some(group) = groups.iter_mut().find(|group| alike(&group.path, &made)) {
                group.add(way.name(), &made);
            } else {
                let mut group = Alike::new(made);
                group.names.push(way.name());
                groups.push(group);
            }
        }
    }
    groups.into_iter().map(Alike::finish).collect()
}

/// Ways that differ in addresses only.
struct Alike {
    path: Path,
    names: Vec<String>,
    /// Which hops read differently on some of them, by index.
    differ: BTreeSet<usize>,
}

impl Alike {
    const fn new(path: Path) -> Self {
        Self { path, names: Vec::new(), differ: BTreeSet::new() }
    }

    fn add(&mut self, name: String, other: &Path) {
        self.names.push(name);
        let pairs = self.path.hops.iter().zip(&other.hops).enumerate();
        self.differ
            .extend(pairs.filter(|(_, (own, other))| own.detail != other.detail).map(|(index, _)| index));
    }

    fn finish(self) -> Path {
        let Self { mut path, names, differ } = self;
        path.backend_count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        for index in differ {
            let hop = &mut path.hops[index];
            hop.detail = format!("{} (and {} more alike)", hop.detail, names.len() - 1);
        }
        path.backends = names.into_iter().take(NAMED).collect();
        path
    }
}

/// Adds the end that a finding gives to a way whose hops do not show one.
fn ended(
    mut hops: Vec<(Hop, Option<Verdict>)>,
    attempt: usize,
    way: usize,
    found: &[Finding],
) -> Vec<(Hop, Option<Verdict>)> {
    if hops.iter().any(|(hop, _)| hop.state == HopState::Stop) {
        return hops;
    }
    let speaks = |finding: &&Finding| {
        matches!(finding.inner.effect, Effect::Stops | Effect::Some)
            && match &finding.touches {
                Touches::Everything => true,
                Touches::Attempts(attempts) => attempts.contains(&attempt),
                Touches::Ways(ways) => ways.contains(&way),
            }
    };
    if let Some(finding) = found.iter().find(speaks) {
        let inner = &finding.inner;
        hops.retain(|(hop, _)| hop.stage < inner.at.stage);
        let last = hop(inner.at.stage, inner.at.node.as_deref(), HopState::Stop, inner.title.clone());
        hops.push((last, Some(inner.verdict)));
    }
    hops
}

/// Whether two paths differ in addresses only.
fn alike(a: &Path, b: &Path) -> bool {
    let shape = |path: &Path| -> Vec<(Stage, Option<String>, HopState, Option<RuleRef>)> {
        path.hops.iter().map(|hop| (hop.stage, hop.node.clone(), hop.state, hop.rule.clone())).collect()
    };
    a.family == b.family && a.verdict == b.verdict && shape(a) == shape(b)
}

fn path(family: Family, hops: Vec<(Hop, Option<Verdict>)>) -> Path {
    let verdict = hops.iter().find_map(|(_, verdict)| *verdict).unwrap_or_else(|| {
        let known = hops.iter().all(|(hop, _)| hop.state == HopState::Pass);
        if known { Verdict::Delivered } else { Verdict::Inconclusive }
    });
    Path {
        backends: Vec::new(),
        backend_count: 0,
        family,
        verdict,
        hops: hops.into_iter().map(|(hop, _)| hop).collect(),
    }
}

fn hop(stage: Stage, node: Option<&str>, state: HopState, detail: impl Into<String>) -> Hop {
    Hop { stage, node: node.map(ToOwned::to_owned), state, detail: detail.into(), rule: None }
}

/// `shop/api is 10.96.12.7:80`.
fn named(facts: &Facts<'_>, attempt: &Attempt<'_>) -> String {
    let name = facts.target.name(facts.case);
    if attempt.dst.ip().is_unspecified() {
        return format!("{name} gets its address when it is applied");
    }
    format!("{name} is {}", attempt.dst)
}

/// What the name leads to, where there is a name.
fn name_hop(facts: &Facts<'_>, attempt: &Attempt<'_>) -> Option<(Hop, Option<Verdict>)> {
    let named_by_address = matches!(facts.target, Target::Address(_));
    (!named_by_address).then(|| (hop(Stage::Name, None, HopState::Pass, named(facts, attempt)), None))
}

/// The hops that every path of a live answer begins with: the name, and the source's own namespace.
fn first_hops(facts: &Facts<'_>, attempt: &Attempt<'_>) -> Vec<(Hop, Option<Verdict>)> {
    let mut hops: Vec<(Hop, Option<Verdict>)> = name_hop(facts, attempt).into_iter().collect();
    let Some(src) = attempt.src else { return hops };
    let what = if facts.case.question.protocol == Protocol::Tcp { "SYN" } else { "a packet" };
    // Who sends is the hop's label; a node's and an external client's name says where, or is the address.
    let sends = match (&facts.case.question.source, facts.source.node) {
        (Source::External { .. }, Some(node)) => format!("sends {what}, which enters by {node}"),
        (Source::External { .. }, None) => format!("sends {what}"),
        (Source::Pod(_), Some(node)) => format!("{src} on {node}, sends {what}"),
        _ => format!("{src}, sends {what}"),
    };
    hops.push(by_state(Stage::Source, facts.source.node, attempt.inside(), sends));
    hops
}

fn direct_hops(facts: &Facts<'_>, attempt: &Attempt<'_>, direct: &Branch) -> Vec<(Hop, Option<Verdict>)> {
    let mut hops = first_hops(facts, attempt);
    let node = facts.source.node;
    hops.push(match direct.outcome {
        Outcome::Dropped | Outcome::Rejected => stop(Stage::SourceNode, node, direct),
        _ => {
            let leaves = match &direct.out_interface {
                Some(device) => format!("{} is not translated and leaves by {device}", attempt.dst),
                None => format!("{} is not translated", attempt.dst),
            };
            (hop(Stage::SourceNode, node, HopState::Unknown, leaves), None)
        }
    });
    hops
}

fn way_hops(facts: &Facts<'_>, attempt: &Attempt<'_>, way: &Way<'_>) -> Vec<(Hop, Option<Verdict>)> {
    let mut hops = first_hops(facts, attempt);
    hops.push(by_state(Stage::SourceNode, facts.source.node, way.at_source(attempt), sent_on(attempt, way)));
    if !way.same_node && way.node.is_some() {
        let detail = format!("passes it on to {}", way.name());
        hops.push(by_state(Stage::DestinationNode, way.node, way.at_arrival(), detail));
    }
    hops.push(last_hop(way));
    let ended = hops.iter().position(|(hop, _)| hop.state == HopState::Stop);
    hops.truncate(ended.map_or(hops.len(), |ended| ended + 1));
    hops
}

/// The hops that objects alone foresee: name, endpoint, policies.
fn predicted_hops(
    facts: &Facts<'_>,
    attempt: &Attempt<'_>,
    index: usize,
    way: &Way<'_>,
) -> Vec<(Hop, Option<Verdict>)> {
    let mut hops: Vec<(Hop, Option<Verdict>)> = name_hop(facts, attempt).into_iter().collect();
    if facts.target.service().is_some() {
        hops.push((hop(Stage::Endpoints, None, HopState::Pass, sent_on(attempt, way)), None));
    }
    let policies = facts.policy(index).map(policy::Detailed::verdict);
    let (state, detail, verdict) = match policies {
        Some(PolicyVerdict::Allow) => (HopState::Pass, "the policies admit it", None),
        Some(PolicyVerdict::Deny) => (HopState::Stop, "the policies deny it", Some(Verdict::Dropped)),
        Some(PolicyVerdict::Unknown) | None => (HopState::Unknown, "not known: what the policies say", None),
    };
    let out = facts.direction(index, Direction::Egress);
    let (stage, node) = match out {
        Some(out) if out.effect == PolicyVerdict::Deny => (Stage::SourceNode, facts.source.node),
        _ if way.pod.is_none() => (Stage::SourceNode, facts.source.node),
        _ => (Stage::DestinationNode, way.node),
    };
    hops.push((hop(stage, node, state, detail), verdict));
    hops
}

/// `10.96.12.7:80 -> 10.244.2.14:8080 (shop/api-7c9)`.
fn sent_on(attempt: &Attempt<'_>, way: &Way<'_>) -> String {
    let owner = if way.pod.is_some() { format!(" ({})", way.name()) } else { String::new() };
    if !attempt.translated {
        return format!("forwards to {}{owner}", shown(way.destination));
    }
    format!("{} -> {}{owner}", shown(attempt.dst), shown(way.destination))
}

fn last_hop(way: &Way<'_>) -> (Hop, Option<Verdict>) {
    let end = |state, detail: String| hop(Stage::Destination, way.node, state, detail);
    match way.listening() {
        Listening::Accepts(listener) => {
            let who = match (&listener.process, listener.pid) {
                (Some(process), Some(pid)) => format!("{process}, pid {pid}, listens on {}", listener.local),
                (Some(process), None) => format!("{process} listens on {}", listener.local),
                _ => format!("listens on {}", listener.local),
            };
            (end(HopState::Pass, who), None)
        }
        Listening::LoopbackOnly(listener) => {
            (end(HopState::Stop, format!("listens on {} only", listener.local)), Some(Verdict::Rejected))
        }
        Listening::OtherAddress(listener) => (
            end(HopState::Stop, format!("listens on {}, not on {}", listener.local, way.destination)),
            Some(Verdict::Rejected),
        ),
        Listening::Nothing { .. } => {
            let port = way.destination.port();
            (end(HopState::Stop, format!("nothing listens on {port}")), Some(Verdict::Rejected))
        }
        Listening::Unknown(gap) => (end(HopState::Unknown, unknown(&gap)), None),
    }
}

fn by_state(stage: Stage, node: Option<&str>, state: State<'_>, passes: String) -> (Hop, Option<Verdict>) {
    match state {
        State::Pass => (hop(stage, node, HopState::Pass, passes), None),
        State::Stop(branch) => stop(stage, node, branch),
        State::Unknown(gap) => (hop(stage, node, HopState::Unknown, unknown(&gap)), None),
    }
}

fn stop(stage: Stage, node: Option<&str>, branch: &Branch) -> (Hop, Option<Verdict>) {
    let (verb, verdict) = match branch.outcome {
        Outcome::Rejected => ("rejected", Verdict::Rejected),
        _ => ("dropped", Verdict::Dropped),
    };
    let owner = branch.terminal_rule.as_ref().map(owner_words).unwrap_or_default();
    let mut made = hop(stage, node, HopState::Stop, format!("{} is {verb}{owner}", branch.destination));
    made.rule.clone_from(&branch.terminal_rule);
    (made, Some(verdict))
}

/// ` by kube-router (policy of shop/api-7c9)`, or nothing where the owner is unknown.
fn owner_words(rule: &RuleRef) -> String {
    match (rule.owner.as_str(), rule.object.as_str()) {
        ("", _) => String::new(),
        (owner, "") => format!(" by {owner}"),
        (owner, object) => format!(" by {owner} ({object})"),
    }
}

fn unknown(gap: &Gap) -> String {
    format!("not known: {}", gap.why)
}

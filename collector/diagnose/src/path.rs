//! The ways through the cluster as hops, one path for all ways that look alike.
//!
//! It draws what the facts show; the verdict of a path is what the first stop on it says.

use model::explanation::{Hop, HopState, Path};
use model::walk::Branch;
use model::{Family, Gap, Outcome, RuleRef, Stage, Verdict};

use crate::facts::{Attempt, Facts, Listening, State, Target, Way, shown};

/// How many backends one path names.
const NAMED: usize = 20;

/// All paths.
pub(crate) fn paths(facts: &Facts<'_>) -> Vec<Path> {
    let mut groups: Vec<(Path, Vec<String>)> = Vec::new();
    for (index, attempt) in facts.attempts.iter().enumerate() {
        if let Some(direct) = attempt.direct() {
            let hops = direct_hops(facts, attempt, direct);
            groups.push((path(attempt.family, hops), Vec::new()));
        }
        for (_, way) in facts.live_ways().filter(|(_, way)| way.attempt == index) {
            let made = path(attempt.family, way_hops(facts, attempt, way));
            match groups.iter_mut().find(|(other, _)| alike(other, &made)) {
                Some((_, names)) => names.push(way.name()),
                None => groups.push((made, vec![way.name()])),
            }
        }
    }
    groups
        .into_iter()
        .map(|(mut path, names)| {
            path.backend_count = u32::try_from(names.len()).unwrap_or(u32::MAX);
            if names.len() > 1 {
                for hop in path.hops.iter_mut().filter(|hop| hop.stage >= Stage::SourceNode) {
                    hop.detail = format!("{} (and {} more alike)", hop.detail, names.len() - 1);
                }
            }
            path.backends = names.into_iter().take(NAMED).collect();
            path
        })
        .collect()
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

/// The hops both kinds of path begin with: the name, and the source's own namespace.
fn first_hops(facts: &Facts<'_>, attempt: &Attempt<'_>) -> Vec<(Hop, Option<Verdict>)> {
    let mut hops = Vec::new();
    if !matches!(facts.target, Target::Address(_)) {
        let detail = format!("{} is {}", facts.target.name(facts.case), shown(attempt.dst));
        hops.push((hop(Stage::Name, None, HopState::Pass, detail), None));
    }
    let Some(src) = attempt.src else { return hops };
    let sends = match facts.source.node {
        Some(node) => format!("{} ({src}) on {node} sends to {}", facts.source.name, attempt.dst),
        None => format!("{} sends to {}", facts.source.name, attempt.dst),
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
    let to = if attempt.dst == way.destination {
        format!("forwards to {} ({})", shown(way.destination), way.name())
    } else {
        format!("{} -> {} ({})", shown(attempt.dst), shown(way.destination), way.name())
    };
    hops.push(by_state(Stage::SourceNode, facts.source.node, way.at_source(attempt), to));
    if !way.same_node && way.node.is_some() {
        let detail = format!("passes on to {}", way.name());
        hops.push(by_state(Stage::DestinationNode, way.node, way.at_arrival(), detail));
    }
    hops.push(last_hop(way));
    let ended = hops.iter().position(|(hop, _)| hop.state == HopState::Stop);
    hops.truncate(ended.map_or(hops.len(), |ended| ended + 1));
    hops
}

fn last_hop(way: &Way<'_>) -> (Hop, Option<Verdict>) {
    let port = way.destination.port();
    let end = |state, detail: String| hop(Stage::Destination, way.node, state, detail);
    let name = way.name();
    match way.listening() {
        Listening::Accepts(listener) => {
            let who = match (&listener.process, listener.pid) {
                (Some(process), Some(pid)) => format!("{process}, pid {pid}, listens on {}", listener.local),
                (Some(process), None) => format!("{process} listens on {}", listener.local),
                _ => format!("{name} listens on {}", listener.local),
            };
            (end(HopState::Pass, who), None)
        }
        Listening::LoopbackOnly(listener) => (
            end(HopState::Stop, format!("{name} listens on {} only", listener.local)),
            Some(Verdict::Rejected),
        ),
        Listening::OtherAddress(listener) => (
            end(HopState::Stop, format!("{name} listens on {}, not on {}", listener.local, way.destination)),
            Some(Verdict::Rejected),
        ),
        Listening::Nothing { .. } => {
            (end(HopState::Stop, format!("nothing listens on {port} in {name}")), Some(Verdict::Rejected))
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

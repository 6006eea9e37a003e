//! The kernel was just seen dropping the connection's first packets, and no known cause explains the reason.
//!
//! **What the user sees.** Whatever the drop brings about: mostly silence.
//!
//! **Proof.** A drop record of exactly this flow from the last minute, newer than the last change of Service and pods. That
//! the packet was lost there is certain; what brought it about is not said, so the finding is never more than likely.
//!
//! **Confused with.** Everything that has a cause of its own; this one gives way to all of them. Older records, and drops by
//! rules that have changed since, are history and prove nothing.
//!
//! **References.** `include/net/dropreason-core.h` for the reasons.

use model::explanation::EvidenceKind;
use model::place::Owner;
use model::{Gap, Place, Protocol, SourceHealth, Stage, Timestamp, Verdict};

use crate::facts::{Facts, Listening, RuleNow, SeenDrop};
use crate::ruling::{Finding, Meta, Ruling, Sure};

pub(super) const META: Meta = Meta {
    id: "H28",
    slug: "unexplained-drop",
    title: "the kernel drops it for a reason that no known cause explains",
    stage: Stage::Underlay,
    needs: &[EvidenceKind::Drop],
    supersedes: &[],
};

/// How old a drop may be. A client retries a lost SYN after 1, 3, 7, 15 and 31 s, so one that still fails was heard of
/// within this time.
const RECENT_MS: u64 = 60_000;

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.attempts.is_empty() || !facts.case.live {
        return Ruling::NotApplicable;
    }
    let recent: Vec<&SeenDrop<'_>> = facts
        .drops
        .iter()
        .filter(|drop| facts.case.connected(&drop.record.id.node))
        .filter(|drop| drop.record.last_at.age_ms(facts.case.now) <= RECENT_MS)
        .filter(|drop| drop.record.last_at >= changed(facts, drop) && !settled(facts, drop))
        .collect();
    let Some(latest) = recent.iter().copied().max_by_key(|drop| (drop.record.last_at, drop.record.count))
    else {
        return nothing(facts);
    };
    let same: Vec<&SeenDrop<'_>> = recent
        .into_iter()
        .filter(|drop| {
            drop.record.reason == latest.record.reason && drop.record.id.node == latest.record.id.node
        })
        .collect();
    let Some(proof) = facts.prove(same.iter().copied(), Timestamp(0), RuleNow::NoRule) else {
        return Ruling::NotApplicable;
    };
    let mut reasons = proof.into_reasons().into_iter();
    let Some(first) = reasons.next() else { return Ruling::NotApplicable };

    let record = latest.record;
    let node = record.id.node.as_str();
    let stage = stage(facts, latest);
    let (place, place_word) = match &latest.owner {
        Some(Owner::Pod(pod)) => (
            Place::pod(Some(node.to_owned()), pod.clone(), stage),
            format!("the kernel of {node}, in {pod},"),
        ),
        _ => (Place::node(node, stage), format!("the kernel of {node}")),
    };
    let verdict = if record.reason == "NO_SOCKET" { Verdict::Rejected } else { Verdict::Dropped };
    let mut finding = Finding::new(
        &META,
        Sure::Likely,
        verdict,
        place,
        format!("{place_word} drops what is sent to {}: {}", record.tuple.dst, record.reason),
        first,
    )
    .because_all(reasons);
    let symbol = &record.location.symbol;
    if !symbol.is_empty() {
        finding.inner.title = format!("{} at {symbol}", finding.inner.title);
    }
    let finding = if same.iter().all(|drop| drop.way.is_some()) {
        finding.on_ways(same.iter().filter_map(|drop| drop.way))
    } else {
        finding.on_attempts(same.iter().map(|drop| drop.attempt))
    };
    Ruling::Found(Box::new(finding))
}

/// Nothing recent: ruled out where drops are seen on every node of the way, else unknown.
fn nothing(facts: &Facts<'_>) -> Ruling {
    let protocol = facts.case.question.protocol;
    if protocol != Protocol::Tcp {
        let what = format!("drops of {} packets", protocol.upper());
        return Ruling::CannotTell(Gap::new(what, "only drops of TCP connections are recorded"));
    }
    let nodes = facts.source.node.into_iter().chain(facts.live_ways().filter_map(|(_, way)| way.node));
    for node in nodes {
        let Some(report) = facts.case.nodes.get(node).filter(|report| report.connected) else {
            return Ruling::CannotTell(facts.absent(node, &format!("drops on {node}")));
        };
        if let Some(source) = report.source("drops").filter(|source| source.health != SourceHealth::Ok) {
            return Ruling::CannotTell(Gap::new(format!("drops on {node}"), source.detail.clone()));
        }
    }
    Ruling::RuledOut("no recent drop of it is left unexplained".into())
}

/// When what a drop speaks about last changed.
fn changed(facts: &Facts<'_>, drop: &SeenDrop<'_>) -> Timestamp {
    drop.way.map_or_else(|| facts.ends_changed(), |way| facts.way_changed(&facts.ways[way]))
}

/// Whether a drop is accounted for by another cause, or by what has changed since.
fn settled(facts: &Facts<'_>, drop: &SeenDrop<'_>) -> bool {
    if drop.no_socket() {
        let listening = drop.way.map(|way| facts.ways[way].listening());
        return !matches!(listening, None | Some(Listening::Unknown(_)));
    }
    if !drop.by_rule() {
        return false;
    }
    let node = drop.record.id.node.as_str();
    if facts.stops().iter().any(|stop| stop.node == node && stop.attempt == drop.attempt) {
        return true;
    }
    // The rules let it pass now. If they have changed since, that is why; if not, walk and kernel contradict each other.
    let walks = facts.attempts.get(drop.attempt).and_then(|attempt| attempt.walk.as_ref().ok().copied());
    let walk = if facts.source.node == Some(node) {
        walks
    } else {
        drop.way.and_then(|way| facts.ways[way].arrival.as_ref().ok().copied())
    };
    walk.is_some_and(|walk| drop.record.last_at < walk.rules.unchanged_since)
}

fn stage(facts: &Facts<'_>, drop: &SeenDrop<'_>) -> Stage {
    let node = drop.record.id.node.as_str();
    match &drop.owner {
        Some(Owner::Pod(pod)) if facts.case.question.source_pod() == Some(pod) => Stage::Source,
        Some(Owner::Pod(_)) => Stage::Destination,
        _ if facts.source.node == Some(node) => Stage::SourceNode,
        _ if drop.way.is_some_and(|way| facts.ways[way].node == Some(node)) => Stage::DestinationNode,
        _ => Stage::Underlay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};

    fn healthy() -> Build {
        Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"])
    }

    #[test]
    fn found_for_a_recent_drop_of_another_kind() {
        let finding = found(&healthy().drop_on("node-2", "api-0", "IP_RPFILTER", 4, 2_000).case(), rule);
        assert_eq!(
            finding.title,
            "the kernel of node-2 drops what is sent to 10.244.2.10:8080: IP_RPFILTER at nft_do_chain"
        );
        assert_eq!(finding.at.stage, Stage::DestinationNode);
    }

    #[test]
    fn a_contradiction_of_walk_and_kernel_is_told() {
        let case = healthy().drop_on("node-2", "api-0", "NETFILTER_DROP", 4, 2_000).case();
        assert!(found(&case, rule).title.contains("NETFILTER_DROP"));
    }

    #[test]
    fn older_drops_are_history() {
        let case = healthy().drop_on("node-2", "api-0", "IP_RPFILTER", 4, 120_000).case();
        assert!(ruled_out(&case, rule).starts_with("no recent drop"));
        let listens_now = healthy().no_socket("api-0", 4, 2_000).case();
        assert!(ruled_out(&listens_now, rule).starts_with("no recent drop"));
    }

    #[test]
    fn cannot_tell_where_an_agent_is_silent() {
        let case =
            healthy().drop_on("node-2", "api-0", "IP_RPFILTER", 4, 2_000).silent("node-2", 60_000).case();
        assert_eq!(cannot_tell(&case, rule).what, "drops on node-2");
    }
}

//! Why evidence is absent, in words, and what to do about it.
//!
//! It looks at what is known of the node; it does not decide whether the absence matters.

use model::{Case, Gap};

use crate::words;

/// The reason given where no node can be asked at all; the engine says it once instead of once for each node.
pub(crate) const NOT_LIVE: &str = "answered from objects alone";

/// Silence shorter than this says nothing by its length; reports come every few seconds anyway.
const SILENCE_MS: u64 = 10_000;

/// Why there is no `what` ("rules", "listeners of shop/api-1") from `node`, which is unknown if `None`.
pub(super) fn why(case: &Case, node: Option<&str>, what: &str) -> Gap {
    if !case.live {
        return Gap::new(what_of(what, node), NOT_LIVE);
    }
    let Some(node) = node else {
        let what = if what == "rules" { "rules of the source's node" } else { what };
        return Gap::new(what, "that node is not known");
    };
    let what = what_of(what, Some(node));
    let snapshot = format!(
        "kubectl -n why-dropped get pods -o wide --field-selector spec.nodeName={}",
        words::shell(node)
    );
    match silence(case, node) {
        Some(silence) => Gap::new(what, format!("the agent on {node} {silence}")).with_remedy(snapshot),
        None => Gap::new(what, format!("{node} has not answered")),
    }
}

/// That a node's agent is not there, and since when: `has not reported for 3 min`. `None` if it is connected.
pub(crate) fn silence(case: &Case, node: &str) -> Option<String> {
    let Some(report) = case.nodes.get(node) else { return Some("has never reported".into()) };
    if report.connected {
        return None;
    }
    Some(match report.last_seen {
        None => "has never reported".into(),
        Some(at) if at.age_ms(case.now) < SILENCE_MS => "is not connected".into(),
        Some(at) => format!("has not reported for {}", words::age(at, case.now)),
    })
}

fn what_of(what: &str, node: Option<&str>) -> String {
    match node {
        Some(node) if what == "rules" => format!("rules of {node}"),
        _ => what.to_owned(),
    }
}

//! Why evidence is absent, in words, and what to do about it.
//!
//! It looks at what is known of the node; it does not decide whether the absence matters.

use model::{Case, Gap};

use crate::words;

/// The reason given where no node can be asked at all; the engine says it once instead of once for each node.
pub(crate) const NOT_LIVE: &str = "answered from objects alone";

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
    match case.nodes.get(node) {
        None => Gap::new(what, format!("no agent has reported from {node}")).with_remedy(snapshot),
        Some(report) if !report.connected => {
            let since = match report.last_seen {
                Some(at) => {
                    format!("the agent on {node} has not reported for {}", words::age(at, case.now))
                }
                None => format!("the agent on {node} has never reported"),
            };
            Gap::new(what, since).with_remedy(snapshot)
        }
        Some(_) => Gap::new(what, format!("{node} has not answered")),
    }
}

fn what_of(what: &str, node: Option<&str>) -> String {
    match node {
        Some(node) if what == "rules" => format!("rules of {node}"),
        _ => what.to_owned(),
    }
}

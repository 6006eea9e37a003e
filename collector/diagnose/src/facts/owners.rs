//! Which rule owners enforce NetworkPolicies.
//!
//! Whose rule it is, the `rules` crate says on the node; here the name is only put into a class.

use model::{Key, RuleRef};

/// Rule owners that enforce NetworkPolicies with netfilter rules, as the walker names them.
const POLICY_ENGINES: [&str; 8] =
    ["antrea", "calico", "canal", "cilium", "kube-network-policies", "kube-router", "weave", "romana"];

/// Whether a rule belongs to an engine that enforces NetworkPolicies.
pub fn is_policy_engine(rule: &RuleRef) -> bool {
    let owner = rule.owner.to_ascii_lowercase();
    POLICY_ENGINES.iter().any(|engine| owner.starts_with(engine))
}

/// Whether an engine's rule is known to stand for another pod than this one.
pub fn stands_for_another(rule: &RuleRef, pod: Option<&Key>) -> bool {
    match (rule.object.strip_prefix("pod "), pod) {
        (Some(named), Some(pod)) => named != pod.to_string(),
        _ => false,
    }
}

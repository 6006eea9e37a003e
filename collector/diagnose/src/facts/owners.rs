//! Which rule owners enforce NetworkPolicies.
//!
//! Whose rule it is, the `rules` crate says on the node; here the name is only put into a class.

use model::RuleRef;

/// Rule owners that enforce NetworkPolicies with netfilter rules, as the walker names them.
const POLICY_ENGINES: [&str; 8] =
    ["antrea", "calico", "canal", "cilium", "kube-network-policies", "kube-router", "weave", "romana"];

/// Whether a rule belongs to an engine that enforces NetworkPolicies.
pub fn is_policy_engine(rule: &RuleRef) -> bool {
    let owner = rule.owner.to_ascii_lowercase();
    POLICY_ENGINES.iter().any(|engine| owner.starts_with(engine))
}

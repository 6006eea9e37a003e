//! Chains of NetworkPolicy engines that work with iptables: kube-router (k3s too), Calico, Weave Net, Azure NPM.
//!
//! It names the pod or policy a rule says it is for; which policies are in force is not told by one rule.

use super::Owner;

pub(super) fn of(chain: &str, comment: &str) -> Option<Owner> {
    if chain.starts_with("KUBE-POD-FW-")
        || chain.starts_with("KUBE-NWPLCY-")
        || chain.starts_with("KUBE-ROUTER-")
    {
        return Some(Owner { name: "kube-router", object: kube_router(chain, comment) });
    }
    if chain.starts_with("cali-") {
        return Some(Owner { name: "calico", object: calico(comment) });
    }
    if chain.starts_with("WEAVE-") {
        return Some(Owner::program("weave-npc"));
    }
    if chain.starts_with("AZURE-NPM") {
        return Some(Owner::program("azure-npm"));
    }
    if chain.starts_with("ANTREA-") {
        return Some(Owner { name: "antrea", object: antrea(comment) });
    }
    if chain.starts_with("CILIUM_") {
        return Some(Owner::program("cilium"));
    }
    None
}

/// kube-router's comments, both the long form up to 2.8 and the short one since.
fn kube_router(chain: &str, comment: &str) -> String {
    if let Some((_, rest)) = comment.split_once("POD name:")
        && let Some((pod, rest)) = rest.split_once("namespace:")
    {
        return object("pod", word(rest), word(pod));
    }
    if let Some((_, rest)) = comment.split_once("selected by policy name") {
        let rest = rest.trim_start_matches(':');
        if let Some((policy, rest)) = rest.split_once("namespace") {
            return object("networkpolicy", word(rest.trim_start_matches(':')), word(policy));
        }
    }
    if let Some((name, what)) = comment.split_once(' ')
        && let Some((namespace, name)) = name.split_once('/')
    {
        return match what {
            "policy" => object("networkpolicy", namespace, name),
            "reject" | "in" | "out" if chain.starts_with("KUBE-POD-FW-") => object("pod", namespace, name),
            _ => String::new(),
        };
    }
    String::new()
}

/// Calico's first rule of a policy chain says which policy it is.
fn calico(comment: &str) -> String {
    if let Some(rest) = comment.strip_prefix("KubernetesNetworkPolicy ")
        && let Some((namespace, name)) = word(rest).split_once('/')
    {
        return object("networkpolicy", namespace, name);
    }
    if let Some(rest) = comment.strip_prefix("Policy ")
        && let Some((namespace, id)) = word(rest).split_once('/')
        && let Some(name) = id.strip_prefix("knp.default.")
    {
        return object("networkpolicy", namespace, name);
    }
    String::new()
}

/// `Antrea: for rule ID, policy Kind:[ns/]name`
fn antrea(comment: &str) -> String {
    let Some((_, rest)) = comment.split_once("policy ") else { return String::new() };
    let Some((kind, name)) = word(rest).split_once(':') else { return String::new() };
    match name.split_once('/') {
        Some((namespace, name)) => object(&kind.to_ascii_lowercase(), namespace, name),
        None => format!("{} {}", kind.to_ascii_lowercase().escape_debug(), name.escape_debug()),
    }
}

fn word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}

fn object(kind: &str, namespace: &str, name: &str) -> String {
    format!("{} {}/{}", kind.escape_debug(), namespace.escape_debug(), name.escape_debug())
}

//! ClusterNetworkPolicies, AdminNetworkPolicies and BaselineAdminNetworkPolicies (`policy.networking.k8s.io`).
//!
//! Checks what the schemas of network-policy-api refuse: `v1alpha2` of 0.2.0 and `v1alpha1` of 0.1.7, experimental
//! channel, and the peers `sameLabels` and `notSameLabels` of 0.1.1, which later versions dropped. What remains not
//! understood is listed in `unread`, so that no verdict rests on it.

mod ports;

use ipnet::IpNet;
use model::objects::{
    Action, ClusterPeer, ClusterPolicy, ClusterPolicyKind, ClusterRule, ClusterSubject, NamespacePeer,
    PolicyPortSpec, Selector, Tier,
};

use super::fields::Fields;
use super::meta::{self, Scope};
use super::{Input, address, selector, unread};
use crate::names::{self, shown};
use crate::problem::Problems;

/// The lowest and the highest priority; lower is asked first.
const PRIORITIES: std::ops::RangeInclusive<i64> = 0..=1000;
/// Characters of a rule's name.
const RULE_NAME: usize = 100;
/// Addresses or domain names of one peer.
const LISTED: usize = 25;
/// The one name a BaselineAdminNetworkPolicy may have.
const ONLY_BASELINE: &str = "default";

const SELECTOR: &[&str] = &["matchLabels", "matchExpressions"];
/// What `namespaces` of a peer held before 0.1.2 instead of a selector.
const OLD_NAMESPACES: &[&str] = &["namespaceSelector", "sameLabels", "notSameLabels"];

/// What tells the schemas of the kinds apart.
struct Schema {
    kind: ClusterPolicyKind,
    spec: &'static [&'static str],
    required: &'static [&'static str],
    actions: &'static [(&'static str, Action)],
    /// Peers and ports of one rule, and rules of one direction.
    at_most: usize,
    ports: &'static str,
    egress_peers: &'static [&'static str],
}

const INGRESS_PEERS: &[&str] = &["namespaces", "pods"];
const ALL_PEERS: &[&str] = &["namespaces", "pods", "nodes", "networks", "domainNames"];

impl Schema {
    const fn of(kind: ClusterPolicyKind) -> Self {
        let newer: &[(&str, Action)] =
            &[("Accept", Action::Accept), ("Deny", Action::Deny), ("Pass", Action::Pass)];
        let older: &[(&str, Action)] =
            &[("Allow", Action::Accept), ("Deny", Action::Deny), ("Pass", Action::Pass)];
        match kind {
            ClusterPolicyKind::ClusterNetworkPolicy => Self {
                kind,
                spec: &["tier", "priority", "subject", "ingress", "egress"],
                required: &["tier", "priority", "subject"],
                actions: newer,
                at_most: kind.rules_at_most(),
                ports: "protocols",
                egress_peers: ALL_PEERS,
            },
            ClusterPolicyKind::AdminNetworkPolicy => Self {
                kind,
                spec: &["priority", "subject", "ingress", "egress"],
                required: &["priority", "subject"],
                actions: older,
                at_most: kind.rules_at_most(),
                ports: "ports",
                egress_peers: ALL_PEERS,
            },
            ClusterPolicyKind::BaselineAdminNetworkPolicy => Self {
                kind,
                spec: &["subject", "ingress", "egress"],
                required: &["subject"],
                // Behind it there is nothing to pass to.
                actions: older.split_at(2).0,
                at_most: kind.rules_at_most(),
                ports: "ports",
                egress_peers: &["namespaces", "pods", "nodes", "networks"],
            },
        }
    }
}

/// Reads one of the three kinds.
pub(super) fn read(top: &Fields<'_>, input: Input<'_>, kind: ClusterPolicyKind) -> Option<ClusterPolicy> {
    let schema = Schema::of(kind);
    let meta = meta::read(top, input, Scope::Cluster, names::subdomain)?;
    if kind == ClusterPolicyKind::BaselineAdminNetworkPolicy && meta.key.name != ONLY_BASELINE {
        top.refuse("metadata.name", format!("there is only one, and its name is `{ONLY_BASELINE}`"));
    }
    let tier = match kind {
        ClusterPolicyKind::BaselineAdminNetworkPolicy => Tier::Baseline,
        _ => Tier::Admin,
    };
    let mut policy = ClusterPolicy { meta, kind, tier, ..ClusterPolicy::default() };
    // What goes wrong in the spec is collected apart: it decides what counts as unread.
    let problems = Problems::default();
    let noting = top.noting_in(&problems);
    if noting.value("spec").is_none() {
        policy.unread.push("spec".to_owned());
    } else if let Some(spec) = noting.child("spec", schema.spec, schema.required) {
        read_spec(&schema, &spec, &mut policy);
    }
    policy.unread.extend(unread(top, problems));
    let ClusterPolicy { ingress, egress, unread, .. } = &mut policy;
    for (rules, list) in [(ingress, "spec.ingress"), (egress, "spec.egress")] {
        for (number, rule) in rules.iter_mut().enumerate() {
            let own = format!("{list}[{number}]");
            rule.unread = unread.iter().any(|field| field.strip_prefix(&own).is_some_and(below));
        }
    }
    Some(policy)
}

/// Whether the rest of a path leads to the thing itself or into it, and not to another of a longer name.
fn below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

fn read_spec(schema: &Schema, spec: &Fields<'_>, policy: &mut ClusterPolicy) {
    if schema.spec.contains(&"tier")
        && let Some(tier) = spec.word("tier", &[("Admin", Tier::Admin), ("Baseline", Tier::Baseline)])
    {
        policy.tier = tier;
    }
    if schema.spec.contains(&"priority")
        && let Some(number) = spec.integer("priority")
    {
        match u16::try_from(number).ok().filter(|_| PRIORITIES.contains(&number)) {
            Some(priority) => policy.priority = priority,
            None => spec.refuse("priority", format!("{number} is not a priority (0 to 1000)")),
        }
    }
    if let Some(subject) = spec.child("subject", INGRESS_PEERS, &[]) {
        policy.subject = read_subject(schema, &subject).unwrap_or_default();
    }
    policy.ingress = rules(schema, spec, "ingress", "from", INGRESS_PEERS);
    policy.egress = rules(schema, spec, "egress", "to", schema.egress_peers);
    if policy.ingress.is_empty() && policy.egress.is_empty() {
        spec.odd_itself("has no rule, so the policy does nothing");
    }
}

fn read_subject(schema: &Schema, fields: &Fields<'_>) -> Option<ClusterSubject> {
    exactly_one(fields, INGRESS_PEERS)?;
    if let Some(pods) = namespaced_pods(schema, fields, &[]) {
        let namespaces = selector::read(&pods, "namespaceSelector").unwrap_or_default();
        return Some(ClusterSubject { namespaces, pods: Some(selector::read(&pods, "podSelector")?) });
    }
    Some(ClusterSubject { namespaces: selector::read(fields, "namespaces")?, pods: None })
}

/// `pods` of a subject or peer, with the keys that may stand in for the namespace selector.
fn namespaced_pods<'a>(schema: &Schema, fields: &Fields<'a>, instead: &[&str]) -> Option<Fields<'a>> {
    let known: Vec<&str> = ["namespaceSelector", "podSelector"].iter().chain(instead).copied().collect();
    // The newer kind takes every namespace without a selector.
    let newer = schema.kind == ClusterPolicyKind::ClusterNetworkPolicy;
    let given = |pods: &serde_json::Value| instead.iter().any(|key| pods.get(key).is_some());
    let required: &[&str] = if newer || fields.value("pods").is_some_and(given) {
        &["podSelector"]
    } else {
        &["namespaceSelector", "podSelector"]
    };
    fields.child("pods", &known, required)
}

/// The key that is there, if it is the only one.
fn exactly_one<'k>(fields: &Fields<'_>, keys: &[&'k str]) -> Option<&'k str> {
    let given: Vec<&str> = keys.iter().copied().filter(|key| fields.value(key).is_some()).collect();
    match given.as_slice() {
        [one] => Some(one),
        [] => {
            fields.problems().refuse(fields.path(), format!("needs one of {}", keys.join(", ")));
            None
        }
        many => {
            let reason = format!("has {}; only one of them can be given", many.join(" and "));
            fields.problems().refuse(fields.path(), reason);
            None
        }
    }
}

/// Notes a list that is empty though it is there, or too long.
fn bounded(fields: &Fields<'_>, key: &str, at_least: usize, at_most: usize) {
    let Some(length) = fields.value(key).and_then(|list| list.as_array()).map(Vec::len) else { return };
    if length < at_least {
        fields.refuse(key, "must not be empty");
    } else if length > at_most {
        fields.refuse(key, format!("has {length} entries; at most {at_most} are allowed"));
    }
}

fn rules(
    schema: &Schema,
    spec: &Fields<'_>,
    direction: &str,
    peers_key: &str,
    peers: &[&str],
) -> Vec<ClusterRule> {
    bounded(spec, direction, 0, schema.at_most);
    let known = ["name", "action", peers_key, schema.ports];
    let rules = spec.objects(direction, &known, &["action", peers_key]);
    rules.iter().map(|fields| rule(schema, fields, peers_key, peers)).collect()
}

fn rule(schema: &Schema, fields: &Fields<'_>, peers_key: &str, keys: &[&str]) -> ClusterRule {
    let name = fields.text_or_empty("name");
    if name.chars().count() > RULE_NAME {
        fields.refuse("name", format!("is longer than {RULE_NAME} characters"));
    }
    let action = fields.word("action", schema.actions);
    bounded(fields, peers_key, 1, schema.at_most);
    bounded(fields, schema.ports, 1, schema.at_most);
    let entries = fields.objects(peers_key, keys, &[]);
    let peers: Vec<ClusterPeer> =
        entries.iter().filter_map(|entry| peer(schema, entry, keys, action)).collect();
    let ports = ports::read(schema.kind, fields);
    let unnamed = peers.iter().any(|peer| !matches!(peer, ClusterPeer::Pods { .. }));
    let named = ports.iter().any(|port| matches!(port.ports, PolicyPortSpec::Name(_)));
    if unnamed && named {
        fields.problems().refuse(fields.path(), "ports have names on pods only, not on networks or nodes");
    }
    // Where the action was not understood the rule counts as unread, and this one is never looked at.
    ClusterRule { name, action: action.unwrap_or(Action::Deny), peers, ports, unread: false }
}

fn peer(schema: &Schema, fields: &Fields<'_>, keys: &[&str], action: Option<Action>) -> Option<ClusterPeer> {
    match exactly_one(fields, keys)? {
        "namespaces" => {
            Some(ClusterPeer::Pods { namespaces: namespaces(schema, fields, "namespaces")?, pods: None })
        }
        "pods" => {
            let old = schema.kind != ClusterPolicyKind::ClusterNetworkPolicy;
            let pods = namespaced_pods(schema, fields, if old { &["namespaces"] } else { &[] })?;
            let namespaces = if old && pods.value("namespaces").is_some() {
                namespaces(schema, &pods, "namespaces")?
            } else {
                NamespacePeer::Selected(match pods.value("namespaceSelector") {
                    // One that is given and could not be read must not widen the peer to every namespace.
                    Some(_) => selector::read(&pods, "namespaceSelector")?,
                    None => Selector::default(),
                })
            };
            let pods = selector::read(&pods, "podSelector")?;
            Some(ClusterPeer::Pods { namespaces, pods: Some(pods) })
        }
        "nodes" => Some(ClusterPeer::Nodes(selector::read(fields, "nodes")?)),
        "networks" => {
            let networks: Vec<IpNet> = listed(fields, "networks", address::parse_block);
            (!networks.is_empty()).then_some(ClusterPeer::Networks(networks))
        }
        _ => {
            if action.is_some_and(|action| action != Action::Accept) {
                fields.unread("domainNames", "are for rules that let through, not for others");
            }
            let names = listed(fields, "domainNames", |name| domain_name(name).map(|()| name.to_owned()));
            (!names.is_empty()).then_some(ClusterPeer::DomainNames(names))
        }
    }
}

/// A list of different texts, each with a meaning.
fn listed<T>(fields: &Fields<'_>, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    bounded(fields, key, 1, LISTED);
    let texts = fields.texts(key);
    let mut found = Vec::new();
    for (index, (text, path)) in texts.iter().enumerate() {
        if texts.iter().take(index).any(|(earlier, _)| earlier == text) {
            fields.problems().refuse(path.clone(), format!("`{}` is given twice", shown(text)));
            continue;
        }
        match read(text) {
            Ok(value) => found.push(value),
            Err(reason) => fields.problems().refuse(path.clone(), reason),
        }
    }
    found
}

/// The namespaces of a peer, also as the older kinds had them.
fn namespaces(schema: &Schema, parent: &Fields<'_>, key: &str) -> Option<NamespacePeer> {
    if schema.kind == ClusterPolicyKind::ClusterNetworkPolicy {
        return selector::read(parent, key).map(NamespacePeer::Selected);
    }
    let known: Vec<&str> = SELECTOR.iter().chain(OLD_NAMESPACES).copied().collect();
    let fields = parent.child(key, &known, &[])?;
    if OLD_NAMESPACES.iter().all(|key| fields.value(key).is_none()) {
        return selector::read(parent, key).map(NamespacePeer::Selected);
    }
    let which = exactly_one(&fields, &known)?;
    fields.odd(
        which,
        "is of network-policy-api before 0.1.2; later versions ignore it and take every namespace",
    );
    let labels = || {
        let texts = fields.texts(which);
        for (text, path) in &texts {
            if let Err(reason) = names::label_key(text) {
                fields.problems().refuse(path.clone(), reason);
            }
        }
        texts.into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    match which {
        "namespaceSelector" => selector::read(&fields, which).map(NamespacePeer::Selected),
        "sameLabels" => Some(NamespacePeer::SameLabels(labels())),
        _ => Some(NamespacePeer::NotSameLabels(labels())),
    }
}

/// Why a text is no domain name, `*.` in front allowed.
fn domain_name(text: &str) -> Result<(), String> {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let label = |label: &str| {
        label.starts_with(|first: char| first.is_ascii_alphanumeric())
            && label.ends_with(|last: char| last.is_ascii_alphanumeric())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if bare.contains('.') && bare.split('.').all(label) {
        return Ok(());
    }
    Err(format!("`{}` is not a domain name such as example.com or *.example.com", shown(text)))
}

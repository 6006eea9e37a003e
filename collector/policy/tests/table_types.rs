//! `policyTypes` and its defaults, and which pods a policy selects, as rows of whole specs.

#[allow(dead_code, reason = "each table uses its part of the world")]
mod world;

use model::Protocol::Tcp;
use world::{Families, Peer, World, judge, letter, subject};

/// A spec, then what comes in and what goes out.
const ROWS: &[(&str, &str, &str)] = &[
    // Absent: Ingress always, Egress only with an egress rule (`SetDefaults_NetworkPolicy`).
    ("nothing but a selector", "{podSelector: {}}", "DA"),
    ("an ingress rule", "{podSelector: {}, ingress: [{}]}", "AA"),
    ("an egress rule isolates both", "{podSelector: {}, egress: [{}]}", "DA"),
    (
        "an egress rule that admits nobody here",
        "{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}",
        "DD",
    ),
    ("empty lists", "{podSelector: {}, ingress: [], egress: []}", "DA"),
    ("an empty list of types is an absent one", "{podSelector: {}, policyTypes: [], egress: [{}]}", "DA"),
    // Given.
    ("Ingress alone", "{podSelector: {}, policyTypes: [Ingress]}", "DA"),
    ("Egress alone", "{podSelector: {}, policyTypes: [Egress]}", "AD"),
    ("both", "{podSelector: {}, policyTypes: [Ingress, Egress]}", "DD"),
    ("Egress without a rule is no traffic out", "{podSelector: {}, policyTypes: [Egress], egress: []}", "AD"),
    (
        "rules of a direction left out do nothing",
        "{podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: [{}]}",
        "AA",
    ),
    (
        "rules of a direction left out isolate nothing",
        "{podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: [{to: [{podSelector: {}}]}]}",
        "AA",
    ),
    (
        "both, both open",
        "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}",
        "AA",
    ),
    // Selecting.
    ("an absent selector selects all", "{policyTypes: [Ingress, Egress]}", "DD"),
    ("by label", "{podSelector: {matchLabels: {app: subject}}, policyTypes: [Ingress, Egress]}", "DD"),
    ("others by label", "{podSelector: {matchLabels: {app: other}}, policyTypes: [Ingress, Egress]}", "AA"),
    (
        "by several labels",
        "{podSelector: {matchLabels: {app: subject, tier: x}}, policyTypes: [Ingress]}",
        "DA",
    ),
    (
        "one of several does not fit",
        "{podSelector: {matchLabels: {app: subject, tier: z}}, policyTypes: [Ingress]}",
        "AA",
    ),
    (
        "by absence",
        "{podSelector: {matchExpressions: [{key: zone, operator: DoesNotExist}]}, policyTypes: [Ingress]}",
        "DA",
    ),
    (
        "by NotIn",
        "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [other]}]}, policyTypes: [Ingress]}",
        "DA",
    ),
];

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    )
}

fn both_ways(world: &World) -> String {
    let (set, peer) = (world.set(), world.peer());
    [(&peer, &subject()), (&subject(), &peer)]
        .into_iter()
        .map(|(src, dst)| letter(judge(&set, src, dst, 80, Tcp).verdict()))
        .collect()
}

#[test]
fn types_and_their_defaults() {
    for (what, spec, expected) in ROWS {
        let world = World::new(Families::V4, Peer::Pod).with(&policy("row", "own", spec));
        assert_eq!(both_ways(&world), *expected, "{what}: {spec}");
        // A policy of another namespace selects none of these pods.
        let world = World::new(Families::V4, Peer::Beside).with(&policy("row", "far", spec));
        assert_eq!(both_ways(&world), "AA", "elsewhere: {what}: {spec}");
    }
}

#[test]
fn policies_add_up_and_both_ends_must_allow() {
    let open = "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}";
    let closed = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
    let of = |policies: &[(&str, &str)]| {
        let world = policies
            .iter()
            .enumerate()
            .fold(World::new(Families::V4, Peer::Pod), |world, (number, (namespace, spec))| {
                world.with(&policy(&format!("p{number}"), namespace, spec))
            });
        both_ways(&world)
    };
    assert_eq!(of(&[("own", closed), ("own", open)]), "AA", "what one admits is admitted");
    assert_eq!(of(&[("own", open), ("far", closed)]), "DD", "the other end does not");
    assert_eq!(of(&[("own", open), ("far", open)]), "AA");
    // One end for one direction, the other for the other.
    let no_egress = "{podSelector: {}, policyTypes: [Egress]}";
    assert_eq!(of(&[("far", no_egress)]), "DA", "the peer may not connect; it may be connected to");
}

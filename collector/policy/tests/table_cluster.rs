//! Cluster-wide policies as manifests, in both directions and all three kinds: order, ties, peers, ports, and what they do
//! beside NetworkPolicies.
//!
//! A row is a list of policies of the namespace `own` in short: `T P: RULES` is a policy of tier T (`A` Admin, `B` Baseline)
//! with priority P, `N: RULES` a NetworkPolicy. PEERS stands for `from` and `to`, `ok` for the action that lets through, PORTS
//! for `protocols` and `ports`, `@tcp:80` for an entry of it.

#[allow(dead_code, reason = "each table uses its part of the world")]
mod world;

use std::fmt::Write as _;

use model::Protocol::{self, Sctp, Tcp, Udp};
use world::{Families, Peer, World, judge, letter, subject};

type Row = (&'static str, &'static [&'static str], Peer, u16, Protocol, &'static str);

const EVERYBODY: &str = "PEERS: [{namespaces: {}}]";

#[rustfmt::skip]
const ORDER: &[Row] = &[
    ("Admin before NetworkPolicies: accepted", &["A 1: [{action: ok, EVERYBODY}]", "N: []"], Peer::Pod, 80, Tcp, "AA"),
    ("Admin before NetworkPolicies: denied", &["A 1: [{action: Deny, EVERYBODY}]", "N: [{}]"], Peer::Pod, 80, Tcp, "DD"),
    ("NetworkPolicies before Baseline: denied", &["N: []", "B 1: [{action: ok, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("NetworkPolicies before Baseline: admitted", &["N: [{}]", "B 1: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "AA"),
    ("Baseline where no NetworkPolicy isolates", &["B 1: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("Pass hands over to NetworkPolicies", &["A 1: [{action: Pass, EVERYBODY}]", "A 2: [{action: ok, EVERYBODY}]", "N: []"], Peer::Pod, 80, Tcp, "DD"),
    ("Pass hands over to Baseline", &["A 1: [{action: Pass, EVERYBODY}]", "A 2: [{action: ok, EVERYBODY}]", "B 1: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("Pass with nothing behind", &["A 1: [{action: Pass, EVERYBODY}]", "A 2: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "AA"),
    ("the lower number first", &["A 7: [{action: ok, EVERYBODY}]", "A 8: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "AA"),
    ("the lower number first, the other way", &["A 8: [{action: ok, EVERYBODY}]", "A 7: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("the first rule that matches", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchLabels: {team: other}}}]}, {action: ok, EVERYBODY}, {action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "AA"),
    ("equal numbers that differ", &["A 5: [{action: ok, EVERYBODY}]", "A 5: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "??"),
    ("equal numbers that agree", &["A 5: [{action: Deny, EVERYBODY}]", "A 5: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("equal numbers of which one matches", &["A 5: [{action: ok, PEERS: [{namespaces: {matchLabels: {team: other}}}]}]", "A 5: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "DD"),
    ("equal numbers, and one before them", &["A 4: [{action: ok, EVERYBODY}]", "A 5: [{action: Pass, EVERYBODY}]", "A 5: [{action: Deny, EVERYBODY}]"], Peer::Pod, 80, Tcp, "AA"),
    ("no rule matches: allowed", &["A 1: [{action: ok, PEERS: [{namespaces: {matchLabels: {team: other}}}]}]"], Peer::Pod, 80, Tcp, "AA"),
    ("no rule at all: allowed", &["A 1: []", "B 1: []"], Peer::Pod, 80, Tcp, "AA"),
];

#[rustfmt::skip]
const PEERS: &[Row] = &[
    ("namespaces by labels", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchLabels: {team: far}}}]}]"], Peer::Pod, 80, Tcp, "DD"),
    ("other namespaces", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchLabels: {team: own}}}]}]"], Peer::Pod, 80, Tcp, "AA"),
    ("the own namespace", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchLabels: {team: own}}}]}]"], Peer::Beside, 80, Tcp, "DD"),
    ("pods in namespaces: both", &["A 1: [{action: Deny, PEERS: [{pods: {namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {app: peer}}}}]}]"], Peer::Pod, 80, Tcp, "DD"),
    ("pods in namespaces: one does not fit", &["A 1: [{action: Deny, PEERS: [{pods: {namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {app: other}}}}]}]"], Peer::Pod, 80, Tcp, "AA"),
    ("any of the peers", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchLabels: {team: other}}}, {namespaces: {matchLabels: {team: far}}}]}]"], Peer::Pod, 80, Tcp, "DD"),
    ("pods on the host network are never meant", &["A 1: [{action: Deny, EVERYBODY}]"], Peer::HostPod, 80, Tcp, "AA"),
    ("nor are nodes", &["A 1: [{action: Deny, EVERYBODY}]"], Peer::Node, 80, Tcp, "AA"),
    ("nor the outside", &["A 1: [{action: Deny, EVERYBODY}]"], Peer::Outside, 80, Tcp, "AA"),
    ("a pod to its own address", &["A 1: [{action: Deny, EVERYBODY}]"], Peer::Itself, 80, Tcp, "AA"),
    ("a pod that has ended", &["A 1: [{action: ok, EVERYBODY}]"], Peer::Finished, 80, Tcp, "??"),
    ("expressions", &["A 1: [{action: Deny, PEERS: [{namespaces: {matchExpressions: [{key: zone, operator: DoesNotExist}]}}]}]"], Peer::Pod, 80, Tcp, "DD"),
];

/// What goes out only.
#[rustfmt::skip]
const OUT: &[(&str, &[&str], Peer, char)] = &[
    ("nodes by labels", &["A 1: [{action: Deny, to: [{nodes: {matchLabels: {pool: node-2}}}]}]"], Peer::Node, 'D'),
    ("other nodes", &["A 1: [{action: Deny, to: [{nodes: {matchLabels: {pool: node-1}}}]}]"], Peer::Node, 'A'),
    ("all nodes", &["A 1: [{action: Deny, to: [{nodes: {}}]}]"], Peer::Node, 'D'),
    ("the own node", &["A 1: [{action: Deny, to: [{nodes: {}}]}]"], Peer::OwnNode, 'D'),
    ("a pod with its node's address", &["A 1: [{action: Deny, to: [{nodes: {}}]}]"], Peer::HostPod, 'D'),
    ("a pod is no node", &["A 1: [{action: Deny, to: [{nodes: {}}]}]"], Peer::Pod, 'A'),
    ("networks outside", &["A 1: [{action: Deny, to: [{networks: ['{AROUND-OUTSIDE}']}]}]"], Peer::Outside, 'D'),
    ("networks elsewhere", &["A 1: [{action: Deny, to: [{networks: ['{ELSEWHERE}']}]}]"], Peer::Outside, 'A'),
    ("networks mean pods as well", &["A 1: [{action: Deny, to: [{networks: ['{PODS}']}]}]"], Peer::Pod, 'D'),
    ("the other family", &["A 1: [{action: Deny, to: [{networks: ['{OTHER-FAMILY}']}]}]"], Peer::Pod, 'A'),
    ("pods passed before networks", &["A 1: [{action: Pass, to: [{namespaces: {}}]}, {action: Deny, to: [{networks: ['{ALL}']}]}]"], Peer::Pod, 'A'),
    ("and the outside is not", &["A 1: [{action: Pass, to: [{namespaces: {}}]}, {action: Deny, to: [{networks: ['{ALL}']}]}]"], Peer::Outside, 'D'),
    ("a Service's address", &["A 1: [{action: Deny, to: [{networks: ['{SERVICES}']}]}]"], Peer::Service, '?'),
];

#[rustfmt::skip]
const PORTS: &[Row] = &[
    ("the port", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@tcp:80]}]"], Peer::Pod, 80, Tcp, "DD"),
    ("another port", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@tcp:80]}]"], Peer::Pod, 81, Tcp, "AA"),
    ("another protocol", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@tcp:80]}]"], Peer::Pod, 80, Udp, "AA"),
    ("a range", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@sctp:8-9]}]"], Peer::Pod, 9, Sctp, "DD"),
    ("behind a range", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@sctp:8-9]}]"], Peer::Pod, 10, Sctp, "AA"),
    ("one of several", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@tcp:1, @udp:53]}]"], Peer::Pod, 53, Udp, "DD"),
    ("a name", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@http]}]"], Peer::Pod, 8080, Tcp, "DD"),
    ("a name with the protocol of the pod", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@dns]}]"], Peer::Pod, 53, Udp, "DD"),
    ("a name with another protocol", &["A 1: [{action: Deny, EVERYBODY, PORTS: [@dns]}]"], Peer::Pod, 53, Tcp, "AA"),
    ("no ports: everything", &["A 1: [{action: Deny, EVERYBODY}]"], Peer::Pod, 65535, Udp, "DD"),
];

/// Which generation of the API a row is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Newer,
    Older,
}

fn manifest(number: usize, text: &str, egress: bool, api: Api) -> String {
    let (list, side) = if egress { ("egress", "to") } else { ("ingress", "from") };
    let (head, rules) = text.split_once(": ").expect("a policy in short");
    let rules = rules.replace("EVERYBODY", EVERYBODY).replace("PEERS", side);
    let (tier, priority) = head.split_once(' ').unwrap_or((head, ""));
    let subject =
        "{pods: {namespaceSelector: {matchLabels: {team: own}}, podSelector: {matchLabels: {app: subject}}}}";
    match (tier, api) {
        ("N", _) => format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p{number}, namespace: own}}, spec: \
             {{podSelector: {{}}, policyTypes: [{}], {list}: {rules}}}}}",
            if egress { "Egress" } else { "Ingress" }
        ),
        (tier, Api::Newer) => format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: p{number}}}, spec: \
             {{tier: {}, priority: {priority}, subject: {subject}, {list}: {}}}}}",
            if tier == "A" { "Admin" } else { "Baseline" },
            in_words_of(api, &rules),
        ),
        ("A", Api::Older) => format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {{name: p{number}}}, spec: \
             {{priority: {priority}, subject: {subject}, {list}: {}}}}}",
            in_words_of(api, &rules)
        ),
        (_, Api::Older) => format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: BaselineAdminNetworkPolicy, metadata: {{name: default}}, spec: \
             {{subject: {subject}, {list}: {}}}}}",
            in_words_of(api, &rules)
        ),
    }
}

/// Rules in the words of one generation of the API.
fn in_words_of(api: Api, rules: &str) -> String {
    let newer = api == Api::Newer;
    let rules = rules
        .replace("action: ok", if newer { "action: Accept" } else { "action: Allow" })
        .replace("PORTS", if newer { "protocols" } else { "ports" });
    let mut pieces = rules.split('@');
    let mut written = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (port, rest) = piece.split_at(piece.find([',', ']']).expect("an end"));
        written.push_str(&entry(newer, port));
        written.push_str(rest);
    }
    written
}

/// `tcp:80`, `sctp:8-9`, `http` as an entry.
fn entry(newer: bool, port: &str) -> String {
    let Some((protocol, numbers)) = port.split_once(':') else {
        return format!("{{{}: {port}}}", if newer { "destinationNamedPort" } else { "namedPort" });
    };
    let upper = protocol.to_ascii_uppercase();
    match (newer, numbers.split_once('-')) {
        (true, None) => format!("{{{protocol}: {{destinationPort: {{number: {numbers}}}}}}}"),
        (true, Some((start, end))) => {
            format!("{{{protocol}: {{destinationPort: {{range: {{start: {start}, end: {end}}}}}}}}}")
        }
        (false, None) => format!("{{portNumber: {{protocol: {upper}, port: {numbers}}}}}"),
        (false, Some((start, end))) => {
            format!("{{portRange: {{protocol: {upper}, start: {start}, end: {end}}}}}")
        }
    }
}

fn found(
    policies: &[&str],
    peer: Peer,
    port: u16,
    protocol: Protocol,
    families: Families,
    api: Api,
) -> String {
    [false, true]
        .into_iter()
        .map(|egress| {
            let world =
                policies.iter().enumerate().fold(World::new(families, peer), |world, (number, text)| {
                    world.with(&manifest(number, text, egress, api))
                });
            let (set, other) = (world.set(), world.peer());
            let (src, dst) = if egress { (subject(), other) } else { (other, subject()) };
            letter(judge(&set, &src, &dst, port, protocol).verdict())
        })
        .collect()
}

#[test]
fn every_row_both_ways_in_both_families() {
    let mut wrong = String::new();
    for (what, policies, peer, port, protocol, expected) in [ORDER, PEERS, PORTS].concat() {
        for families in [Families::V4, Families::V6] {
            let found = found(policies, peer, port, protocol, families, Api::Newer);
            if found != expected {
                let _ =
                    writeln!(wrong, "{families:?} {what}: {expected} expected, {found} found; {policies:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_goes_out_to_nodes_and_networks() {
    for (what, policies, peer, expected) in OUT {
        for families in [Families::V4, Families::V6] {
            let world =
                policies.iter().enumerate().fold(World::new(families, *peer), |world, (number, text)| {
                    world.with(&manifest(number, text, true, Api::Newer))
                });
            let verdict = judge(&world.set(), &subject(), &world.peer(), 443, Tcp).egress.effect;
            assert_eq!(letter(verdict), *expected, "{families:?} {what}");
        }
    }
}

#[test]
fn the_older_kinds_say_the_same() {
    // What a single BaselineAdminNetworkPolicy and AdminNetworkPolicies can say of it.
    for (what, policies, peer, port, protocol, expected) in [ORDER, PEERS, PORTS].concat() {
        let found = found(policies, peer, port, protocol, Families::V4, Api::Older);
        assert_eq!(found, expected, "{what}: {policies:?}");
    }
}

#[test]
fn a_subject_is_selected_by_namespace_and_pod() {
    let of = |subject_text: &str| {
        let policy = format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: p}}, spec: \
             {{tier: Admin, priority: 1, subject: {subject_text}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}]}}]}}}}"
        );
        let world = World::new(Families::V4, Peer::Pod).with(&policy);
        letter(judge(&world.set(), &world.peer(), &subject(), 80, Tcp).verdict())
    };
    for (text, expected) in [
        ("{namespaces: {}}", 'D'),
        ("{namespaces: {matchLabels: {team: own}}}", 'D'),
        ("{namespaces: {matchLabels: {team: far}}}", 'A'),
        ("{namespaces: {matchLabels: {kubernetes.io/metadata.name: own}}}", 'D'),
        ("{pods: {podSelector: {}}}", 'D'),
        ("{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: subject}}}}", 'D'),
        ("{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: other}}}}", 'A'),
        (
            "{pods: {namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {app: subject}}}}",
            'A',
        ),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

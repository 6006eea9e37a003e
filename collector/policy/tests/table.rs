//! Every point of the semantics of NetworkPolicies that evaluators get wrong, as a row, in both directions and both
//! families. The rules are manifests, read as files are.
//!
//! A row's rules stand under `ingress` with `from` for what comes in, and under `egress` with `to` for what goes out. The
//! two letters are the verdicts of the two: A allowed, D denied, `?` not known.

#[allow(dead_code, reason = "each table uses its part of the world")]
mod world;

use std::fmt::Write as _;

use model::Protocol::{self, Sctp, Tcp, Udp};
use world::{Families, Peer, World, judge, letter, subject};

/// What is expected of rules: ingress, egress.
type Row = (&'static str, &'static str, Peer, u16, Protocol, &'static str);

#[rustfmt::skip]
const SELECTORS: &[Row] = &[
    // Isolation, and the union of rules (1, 2).
    ("no rule admits nobody", "[]", Peer::Pod, 80, Tcp, "DD"),
    ("an empty rule admits everybody", "[{}]", Peer::Pod, 80, Sctp, "AA"),
    ("an empty rule admits the outside", "[{}]", Peer::Outside, 80, Tcp, "AA"),
    ("an empty rule admits nodes", "[{}]", Peer::Node, 80, Tcp, "AA"),
    ("an empty list of peers is everybody", "[{PEERS: []}]", Peer::Outside, 80, Tcp, "AA"),
    ("an absent list of peers is everybody", "[{ports: [{port: 80}]}]", Peer::Outside, 80, Tcp, "AA"),
    ("an empty list of ports is every port", "[{ports: []}]", Peer::Pod, 9, Udp, "AA"),
    ("one of two rules", "[{PEERS: [{podSelector: {}}]}, {PEERS: [{namespaceSelector: {}}]}]", Peer::Pod, 80, Tcp, "AA"),
    // Namespace and pod selectors (3).
    ("an empty pod selector is the own namespace", "[{PEERS: [{podSelector: {}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("an empty pod selector is all of it", "[{PEERS: [{podSelector: {}}]}]", Peer::Beside, 80, Tcp, "AA"),
    ("a pod selector is the own namespace", "[{PEERS: [{podSelector: {matchLabels: {app: peer}}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("a pod selector that fits", "[{PEERS: [{podSelector: {matchLabels: {app: beside}}}]}]", Peer::Beside, 80, Tcp, "AA"),
    ("a pod selector that does not", "[{PEERS: [{podSelector: {matchLabels: {app: other}}}]}]", Peer::Beside, 80, Tcp, "DD"),
    ("an empty namespace selector is every namespace", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("the own namespace as well", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::Beside, 80, Tcp, "AA"),
    ("a namespace selector that fits", "[{PEERS: [{namespaceSelector: {matchLabels: {team: far}}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a namespace selector that does not", "[{PEERS: [{namespaceSelector: {matchLabels: {team: own}}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("both selectors in one entry: and", "[{PEERS: [{namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {app: other}}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("both fit", "[{PEERS: [{namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {app: peer}}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("the same in two entries: or", "[{PEERS: [{namespaceSelector: {matchLabels: {team: far}}}, {podSelector: {matchLabels: {app: other}}}]}]", Peer::Pod, 80, Tcp, "AA"),
    // Expressions (4).
    ("NotIn matches an absent key", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("NotIn with the value", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [x, z]}]}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("In with several values", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: In, values: [a, peer]}]}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("Exists", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("Exists of an absent key", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: zone, operator: Exists}]}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("DoesNotExist", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: zone, operator: DoesNotExist}]}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("DoesNotExist of a key that is there", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("labels and expressions: and", "[{PEERS: [{namespaceSelector: {}, podSelector: {matchLabels: {app: peer}, matchExpressions: [{key: zone, operator: Exists}]}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("NotIn of a namespace without the key", "[{PEERS: [{namespaceSelector: {matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("the name label is always there", "[{PEERS: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: far}}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("the name label of another", "[{PEERS: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: own}}}]}]", Peer::Pod, 80, Tcp, "DD"),
    // Never the outside, nor nodes (5).
    ("selectors never match the outside", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::Outside, 80, Tcp, "DD"),
    ("selectors never match nodes", "[{PEERS: [{namespaceSelector: {}, podSelector: {}}]}]", Peer::Node, 80, Tcp, "DD"),
    ("a Service's address stands for pods that the caller must name", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::Service, 80, Tcp, "??"),
];

#[rustfmt::skip]
const PORTS: &[Row] = &[
    // Numbers, ranges, protocols (6, 8, 9).
    ("the port", "[{ports: [{port: 8080}]}]", Peer::Pod, 8080, Tcp, "AA"),
    ("the port of the Service is not the pod's", "[{ports: [{port: 80}]}]", Peer::Pod, 8080, Tcp, "DD"),
    ("TCP unless told otherwise", "[{ports: [{port: 53}]}]", Peer::Pod, 53, Udp, "DD"),
    ("UDP as told", "[{ports: [{port: 53, protocol: UDP}]}]", Peer::Pod, 53, Udp, "AA"),
    ("SCTP as told", "[{ports: [{port: 9, protocol: SCTP}]}]", Peer::Pod, 9, Sctp, "AA"),
    ("SCTP is not TCP", "[{ports: [{port: 9, protocol: SCTP}]}]", Peer::Pod, 9, Tcp, "DD"),
    ("rules for UDP alone isolate TCP", "[{ports: [{protocol: UDP}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("every port of the protocol", "[{ports: [{protocol: UDP}]}]", Peer::Pod, 65535, Udp, "AA"),
    ("one of several", "[{ports: [{port: 1}, {port: 80}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a range's first", "[{ports: [{port: 80, endPort: 90}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a range's last", "[{ports: [{port: 80, endPort: 90}]}]", Peer::Pod, 90, Tcp, "AA"),
    ("before a range", "[{ports: [{port: 80, endPort: 90}]}]", Peer::Pod, 79, Tcp, "DD"),
    ("behind a range", "[{ports: [{port: 80, endPort: 90}]}]", Peer::Pod, 91, Tcp, "DD"),
    ("a range of one", "[{ports: [{port: 80, endPort: 80}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a range of another protocol", "[{ports: [{port: 80, endPort: 90, protocol: UDP}]}]", Peer::Pod, 85, Tcp, "DD"),
    ("a port to the outside", "[{ports: [{port: 443}]}]", Peer::Outside, 443, Tcp, "AA"),
    // Named ports, always the destination's (7).
    ("a name", "[{ports: [{port: http}]}]", Peer::Pod, 8080, Tcp, "AA"),
    ("a name is one number", "[{ports: [{port: http}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("a name that no container has", "[{ports: [{port: https}]}]", Peer::Pod, 8080, Tcp, "DD"),
    ("a name with the wrong protocol", "[{ports: [{port: dns}]}]", Peer::Pod, 53, Tcp, "DD"),
    ("a name with its protocol", "[{ports: [{port: dns, protocol: UDP}]}]", Peer::Pod, 53, Udp, "AA"),
    ("names are looked up on the destination: the subject for what comes in", "[{ports: [{port: http}]}]", Peer::Outside, 8080, Tcp, "AD"),
    ("a node has no named ports", "[{ports: [{port: http}]}]", Peer::Node, 8080, Tcp, "AD"),
    // Both together: and.
    ("the peer and another port", "[{PEERS: [{namespaceSelector: {}}], ports: [{port: 1}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("the port and another peer", "[{PEERS: [{podSelector: {}}], ports: [{port: 80}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("the two in different rules", "[{PEERS: [{podSelector: {}}], ports: [{port: 80}]}, {PEERS: [{namespaceSelector: {}}], ports: [{port: 1}]}]", Peer::Pod, 80, Tcp, "DD"),
];

#[rustfmt::skip]
const BLOCKS: &[Row] = &[
    // Blocks and pods (11, 12), clients from outside (13), Services (14), families (20).
    ("a block around a pod", "[{PEERS: [{ipBlock: {cidr: '{NEAR}'}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a block of one address", "[{PEERS: [{ipBlock: {cidr: '{PEER}'}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a block elsewhere", "[{PEERS: [{ipBlock: {cidr: '{ELSEWHERE}'}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("every address", "[{PEERS: [{ipBlock: {cidr: '{ALL}'}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("a hole around a pod", "[{PEERS: [{ipBlock: {cidr: '{PODS}', except: ['{NEAR}']}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("a hole elsewhere", "[{PEERS: [{ipBlock: {cidr: '{PODS}', except: ['{PEER}']}}]}]", Peer::Beside, 80, Tcp, "AA"),
    ("a hole narrows its own entry only", "[{PEERS: [{ipBlock: {cidr: '{PODS}', except: ['{NEAR}']}}, {ipBlock: {cidr: '{PEER}'}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("another rule fills the hole", "[{PEERS: [{ipBlock: {cidr: '{PODS}', except: ['{NEAR}']}}]}, {PEERS: [{namespaceSelector: {}}]}]", Peer::Pod, 80, Tcp, "AA"),
    ("the other family never matches", "[{PEERS: [{ipBlock: {cidr: '{OTHER-FAMILY}'}}]}]", Peer::Pod, 80, Tcp, "DD"),
    ("the outside by its address", "[{PEERS: [{ipBlock: {cidr: '{OUTSIDE}'}}]}]", Peer::Outside, 80, Tcp, "AA"),
    ("a client outside the block may be translated", "[{PEERS: [{ipBlock: {cidr: '{ELSEWHERE}'}}]}]", Peer::Outside, 80, Tcp, "?D"),
    ("a client in a hole as well", "[{PEERS: [{ipBlock: {cidr: '{AROUND-OUTSIDE}', except: ['{OUTSIDE}']}}]}]", Peer::Outside, 80, Tcp, "?D"),
    ("a node by its address", "[{PEERS: [{ipBlock: {cidr: '{NODES}'}}]}]", Peer::Node, 80, Tcp, "AA"),
    ("a node may use the address of its tunnel", "[{PEERS: [{ipBlock: {cidr: '{TUNNEL}'}}]}]", Peer::Node, 80, Tcp, "?D"),
    ("a node elsewhere", "[{PEERS: [{ipBlock: {cidr: '{ELSEWHERE}'}}]}]", Peer::Node, 80, Tcp, "DD"),
    ("a Service's address in a block says nothing of its pods", "[{PEERS: [{ipBlock: {cidr: '{SERVICES}'}}]}]", Peer::Service, 80, Tcp, "??"),
    // A block beside selectors: or.
    ("a block or a selector", "[{PEERS: [{ipBlock: {cidr: '{ELSEWHERE}'}}, {namespaceSelector: {}}]}]", Peer::Pod, 80, Tcp, "AA"),
];

#[rustfmt::skip]
const PLACES: &[Row] = &[
    // The host network (15).
    ("a host network peer whose labels fit", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::HostPod, 80, Tcp, "??"),
    ("a host network peer whose labels do not", "[{PEERS: [{podSelector: {}}]}]", Peer::HostPod, 80, Tcp, "DD"),
    ("a host network peer by its node's address", "[{PEERS: [{ipBlock: {cidr: '{NODES}'}}]}]", Peer::HostPod, 80, Tcp, "AA"),
    ("everybody, a host network peer too", "[{}]", Peer::HostPod, 80, Tcp, "AA"),
    // The pod's own node (16).
    ("the own node is always let in", "[]", Peer::OwnNode, 80, Tcp, "AA"),
    ("another node is not", "[]", Peer::Node, 80, Tcp, "DD"),
    ("a host network pod of the own node is that node", "[]", Peer::HostPodHere, 80, Tcp, "AA"),
    // Loopback (17).
    ("a pod always reaches itself by its own address", "[]", Peer::Itself, 80, Tcp, "AA"),
    // Ended and waiting pods (19, 22).
    ("a pod that has ended is nobody", "[{}]", Peer::Finished, 80, Tcp, "??"),
    ("a pod without an address connects nowhere yet", "[{}]", Peer::Waiting, 80, Tcp, "??"),
];

/// The manifest of a row in one direction.
fn manifest(rules: &str, egress: bool) -> String {
    let (list, side, kind) = if egress { ("egress", "to", "Egress") } else { ("ingress", "from", "Ingress") };
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: row, namespace: own}}, \
         spec: {{podSelector: {{matchLabels: {{app: subject}}}}, policyTypes: [{kind}], {list}: {}}}}}",
        rules.replace("PEERS", side)
    )
}

/// The two verdicts of a row.
fn found(row: &Row, families: Families) -> String {
    let (_, rules, peer, port, protocol, _) = *row;
    [false, true]
        .into_iter()
        .map(|egress| {
            let world = World::new(families, peer).with(&manifest(rules, egress));
            let (set, other) = (world.set(), world.peer());
            let (src, dst) = if egress { (subject(), other) } else { (other, subject()) };
            letter(judge(&set, &src, &dst, port, protocol).verdict())
        })
        .collect()
}

#[test]
fn every_row_both_ways_in_both_families() {
    let mut wrong = String::new();
    let mut rows = 0;
    for row in [SELECTORS, PORTS, BLOCKS, PLACES].concat() {
        for families in [Families::V4, Families::V6] {
            rows += 1;
            let found = found(&row, families);
            if found != row.5 {
                let _ =
                    writeln!(wrong, "{families:?} {}: {} expected, {found} found; {}", row.0, row.5, row.1);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{rows} rows, each in two directions");
    assert!(rows >= 150, "only {rows} rows were found");
}

#[test]
fn with_both_families_a_verdict_holds_for_the_one_that_is_used() {
    // Which family a connection uses is not known, so what differs between them is not known either.
    let rows: [Row; 5] = [
        ("one family is admitted", "[{PEERS: [{ipBlock: {cidr: '{NEAR}'}}]}]", Peer::Pod, 80, Tcp, "??"),
        (
            "both are",
            "[{PEERS: [{ipBlock: {cidr: '{NEAR}'}}, {ipBlock: {cidr: 'fd00:2::/64'}}]}]",
            Peer::Pod,
            80,
            Tcp,
            "AA",
        ),
        ("neither is", "[{PEERS: [{ipBlock: {cidr: '{ELSEWHERE}'}}]}]", Peer::Pod, 80, Tcp, "DD"),
        ("selectors do not mind", "[{PEERS: [{namespaceSelector: {}}]}]", Peer::Pod, 80, Tcp, "AA"),
        (
            "an address outside is of one family",
            "[{PEERS: [{ipBlock: {cidr: '{OTHER-FAMILY}'}}]}]",
            Peer::Outside,
            80,
            Tcp,
            "?D",
        ),
    ];
    for row in rows {
        assert_eq!(found(&row, Families::Both), row.5, "{}", row.0);
    }
}

#[test]
fn replies_belong_to_the_connection() {
    // The client is closed for what comes in, the server for what goes out: neither matters to the answers (18).
    let closed = |namespace: &str, app: &str, kind: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: closed, namespace: {namespace}}}, \
             spec: {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [{kind}]}}}}"
        )
    };
    let world = World::new(Families::V4, Peer::Pod)
        .with(&closed("own", "subject", "Ingress"))
        .with(&closed("far", "peer", "Egress"));
    let set = world.set();
    assert_eq!(letter(judge(&set, &subject(), &world.peer(), 80, Tcp).verdict()), 'A');
    assert_eq!(
        letter(judge(&set, &world.peer(), &subject(), 80, Tcp).verdict()),
        'D',
        "a connection of its own is"
    );
}

#[test]
fn an_address_of_an_ended_pod_is_the_running_ones() {
    // 19: the address of a finished Job was given to another pod.
    let reused = "{apiVersion: v1, kind: Pod, metadata: {name: old, namespace: far, labels: {app: friend}}, \
        spec: {containers: [{name: c, image: i}]}, status: {phase: Succeeded, podIP: 10.2.0.9, podIPs: [{ip: 10.2.0.9}]}}";
    let world = World::new(Families::V4, Peer::Pod).with(reused).with(&manifest(
        "[{PEERS: [{namespaceSelector: {}, podSelector: {matchLabels: {app: friend}}}]}]",
        false,
    ));
    let by_address = policy::End::Address("10.2.0.9".parse().expect("an address"));
    assert_eq!(letter(judge(&world.set(), &by_address, &subject(), 80, Tcp).verdict()), 'D');
}

#[test]
fn without_dns_a_pod_finds_nothing() {
    // 21: an egress policy for the data alone. What fails first is the look-up of its name.
    let world = World::new(Families::V4, Peer::Pod).with(&manifest(
        "[{PEERS: [{namespaceSelector: {matchLabels: {team: far}}}], ports: [{port: 8080}]}]",
        true,
    ));
    let set = world.set();
    assert_eq!(letter(judge(&set, &subject(), &world.peer(), 8080, Tcp).verdict()), 'A');
    for protocol in [Udp, Tcp] {
        assert_eq!(letter(judge(&set, &subject(), &world.peer(), 53, protocol).verdict()), 'D');
    }
}

#[test]
fn what_was_not_read_is_not_denied() {
    // 22: missing Namespaces, kinds that may not be read.
    let by_label = manifest("[{PEERS: [{namespaceSelector: {matchLabels: {team: other}}}]}]", false);
    let of = |change: fn(&mut model::ObjectSet)| {
        let world = World::new(Families::V4, Peer::Pod).with(&by_label).changed(change);
        letter(judge(&world.set(), &world.peer(), &subject(), 80, Tcp).verdict())
    };
    assert_eq!(of(|_| {}), 'D');
    assert_eq!(of(|set| drop(set.namespaces.remove("far"))), '?');
    assert_eq!(of(|set| set.coverage.policies = false), '?');
    assert_eq!(of(|set| set.coverage.cluster_policies.baseline = false), '?');
}

//! One of each: values with every field set, shared by the tests.

use std::net::{IpAddr, SocketAddr};

use model::evidence::Location;
use model::explanation::{
    Affects, AskedQuestion, DirectionVerdict, EvidenceKind, Fix, Hop, HopState, Path, PolicyAnswer,
    PolicyEffect, PolicyPart, PolicyVerdict, Reason, RuledOut,
};
use model::flow::{Family, Origin, Packet, Protocol, Tuple};
use model::netns::{Netns, NetnsOwner};
use model::objects::{Key, ObjectRef};
use model::place::{Place, Stage};
use model::walk::{
    Action, Backend, Branch, Masquerade, Outcome, ProxyFacts, RuleRef, RulesStamp, Step, Walk,
};
use model::{
    Basis, Certainty, DropRecord, Effect, Explanation, Finding, Gap, RecordId, ServiceProxy, Timestamp,
    Verdict,
};

pub fn reject_rule() -> RuleRef {
    RuleRef {
        backend: Backend::IptablesNft,
        family: Family::Ipv4,
        table: "filter".into(),
        chain: "KUBE-SERVICES".into(),
        handle: Some(31),
        text: "-d 10.96.12.7/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
            .into(),
        owner: "kube-proxy".into(),
        object: "service shop/api:http".into(),
    }
}

pub fn walk() -> Walk {
    Walk {
        packet: Packet {
            origin: Origin::Pod,
            in_interface: Some("veth1".into()),
            protocol: Protocol::Tcp,
            src: address("10.244.1.9"),
            src_port: Some(40000),
            dst: socket("10.96.12.7:80"),
        },
        outcome: Outcome::Rejected,
        branches: vec![Branch {
            destination: socket("10.96.12.7:80"),
            outcome: Outcome::Rejected,
            masquerade: Masquerade::No,
            dnat_rule: None,
            terminal_rule: Some(reject_rule()),
            reject_with: Some("icmp-port-unreachable".into()),
            out_interface: Some("eth0".into()),
            gateway: Some(address("192.168.0.1")),
            steps: vec![
                Step { hook: "PREROUTING".into(), rule: None, action: Action::Mark(0x4000), packets: None },
                Step {
                    hook: "FORWARD".into(),
                    rule: Some(reject_rule()),
                    action: Action::Reject("icmp-port-unreachable".into()),
                    packets: Some(3),
                },
            ],
            gaps: vec![Gap::new("rule 7 of CUSTOM", "match `bpf` is not modelled")],
        }],
        proxy: ProxyFacts {
            mode: ServiceProxy::Iptables,
            services: 12,
            knows_destination: true,
            knows_address: true,
            evidence: vec!["KUBE-SERVICES is hooked".into()],
        },
        rules: RulesStamp {
            read_at: Timestamp(1_700_000_000_123),
            fingerprint: u64::MAX,
            unchanged_since: Timestamp(1_699_999_000_000),
        },
        gaps: vec![Gap::new("sysctls", "not readable").with_remedy("run as root")],
    }
}

pub fn drop_record() -> DropRecord {
    DropRecord {
        id: RecordId { node: "node-1".into(), boot: "b7e6-1700000000000".into(), sequence: 42 },
        netns: Netns {
            cookie: 4097,
            inode: 4_026_532_281,
            owner: NetnsOwner::Pod { uid: Some("uid-1".into()), addresses: vec![address("10.244.1.9")] },
        },
        tuple: Tuple { protocol: Protocol::Tcp, src: address("10.244.1.9"), dst: socket("10.96.12.7:80") },
        last_src_port: 40001,
        reply: false,
        reason: "NETFILTER_DROP".into(),
        location: Location { symbol: "nf_hook_slow".into(), offset: 0xd1 },
        in_interface: Some("veth1".into()),
        count: 3,
        first_at: Timestamp(1_700_000_001_000),
        last_at: Timestamp(1_700_000_004_500),
        walk: Some(Box::new(walk())),
    }
}

pub fn explanation() -> Explanation {
    let service = Key::new("shop", "api");
    Explanation {
        summary: "Service shop/api selects no pod, so node-1 refuses every connection to it.".into(),
        verdict: Verdict::Rejected,
        certainty: Certainty::Proven,
        basis: Basis::Observed,
        question: AskedQuestion {
            source: "pod web/client".into(),
            source_addresses: vec!["10.244.1.9".into()],
            destination: "service shop/api".into(),
            destination_addresses: vec!["10.96.12.7".into()],
            port: 80,
            protocol: "TCP".into(),
            window_seconds: 600,
            notes: vec![],
        },
        findings: vec![
            Finding {
                id: "S3".into(),
                cause: "selector-matches-nothing".into(),
                title: "Service shop/api selects no pod".into(),
                certainty: Certainty::Proven,
                effect: Effect::Stops,
                verdict: Verdict::Rejected,
                at: Place::node("node-1", Stage::SourceNode),
                objects: vec![ObjectRef::service(&service, "spec.selector")],
                because: vec![Reason {
                    text: "node-1 dropped 3 SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT)".into(),
                    evidence: EvidenceKind::Drop,
                    source: "node-1".into(),
                    observed_at: Some(Timestamp(1_700_000_004_500)),
                }],
                fixes: vec![Fix {
                    text: "Make selector and label agree:".into(),
                    command: "kubectl …".into(),
                }],
                affects: Some(Affects { backends: 0, of: 0 }),
            },
            Finding {
                id: "N20".into(),
                cause: "policy-not-the-cause".into(),
                title: "A policy isolates shop/api-1, but admits this".into(),
                certainty: Certainty::Possible,
                effect: Effect::Note,
                verdict: Verdict::Delivered,
                at: Place::intent(Stage::Endpoints),
                objects: vec![],
                because: vec![Reason {
                    text: "allow-web rule 1 admits it".into(),
                    evidence: EvidenceKind::Object,
                    source: "API".into(),
                    observed_at: None,
                }],
                fixes: vec![],
                affects: None,
            },
        ],
        paths: vec![Path {
            backends: (0..25).map(|number| format!("shop/api-{number}")).collect(),
            backend_count: 25,
            family: Family::Ipv4,
            verdict: Verdict::Rejected,
            hops: vec![
                Hop {
                    stage: Stage::Name,
                    node: None,
                    state: HopState::Pass,
                    detail: "shop/api is 10.96.12.7:80".into(),
                    rule: None,
                },
                Hop {
                    stage: Stage::SourceNode,
                    node: Some("node-1".into()),
                    state: HopState::Stop,
                    detail: "10.96.12.7:80 is rejected".into(),
                    rule: Some(reject_rule()),
                },
                Hop {
                    stage: Stage::Reply,
                    node: None,
                    state: HopState::Unknown,
                    detail: String::new(),
                    rule: Some(RuleRef { handle: None, family: Family::Ipv6, ..reject_rule() }),
                },
            ],
        }],
        policy: Some(PolicyAnswer {
            egress: DirectionVerdict { effect: PolicyVerdict::Allow, isolated: false, policies: vec![] },
            ingress: DirectionVerdict {
                effect: PolicyVerdict::Deny,
                isolated: true,
                policies: vec![
                    PolicyPart {
                        kind: "NetworkPolicy".into(),
                        policy: "shop/allow-web".into(),
                        effect: PolicyEffect::PeerMismatch,
                        rule: Some(1),
                        near_miss: "role=allowed-client is missing".into(),
                    },
                    PolicyPart {
                        kind: "NetworkPolicy".into(),
                        policy: "shop/default-deny".into(),
                        effect: PolicyEffect::NoRules,
                        rule: None,
                        near_miss: String::new(),
                    },
                ],
            },
            destination: None,
        }),
        ruled_out: vec![RuledOut {
            id: "S1".into(),
            cause: "no-such-service".into(),
            why: "it exists".into(),
        }],
        not_checked: vec![Gap::new("IPv6", "shop/api has no IPv6 address")],
        now: Timestamp(1_700_000_006_500),
    }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

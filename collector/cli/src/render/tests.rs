//! Renderings of whole answers, at three widths and without colour.

use proto::v1;

use super::{Look, drops, explanation, nodes};

const PLAIN: Look = Look { width: 80, colour: false, unicode: true, verbose: false };

fn rule() -> v1::Rule {
    v1::Rule {
        backend: "iptables".into(),
        family: "ipv4".into(),
        table: "filter".into(),
        chain: "KUBE-SERVICES".into(),
        handle: None,
        rule: "-A KUBE-SERVICES -d 10.96.12.7/32 -p tcp -m comment --comment \"shop/api:http has no endpoints\" \
               -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
            .into(),
        owner: "kube-proxy".into(),
        object: "service shop/api:http".into(),
    }
}

fn reason(text: &str, source: &str, age_ms: u32) -> v1::Reason {
    v1::Reason {
        text: text.into(),
        evidence: v1::evidence::Value::Object.into(),
        source: source.into(),
        observed_at: "2026-01-01T00:00:00.000Z".into(),
        age_ms,
    }
}

fn hop(stage: v1::stage::Value, node: &str, state: v1::hop_state::Value, detail: &str) -> v1::Hop {
    v1::Hop { stage: stage.into(), node: node.into(), state: state.into(), detail: detail.into(), rule: None }
}

fn selector() -> v1::Explanation {
    use v1::hop_state::Value::{Pass, Stop};
    use v1::stage::Value::{Name, Source, SourceNode};
    let mut stop = hop(SourceNode, "node-1", Stop, "10.96.12.7:80 is rejected by kube-proxy");
    stop.rule = Some(rule());
    v1::Explanation {
        summary: "Service shop/api selects no pod, so node-1 refuses every connection to it.".into(),
        verdict: v1::verdict::Value::Rejected.into(),
        certainty: v1::certainty::Value::Proven.into(),
        basis: v1::basis::Value::Observed.into(),
        question: Some(v1::Question { source: "pod web/client".into(), ..Default::default() }),
        findings: vec![
            v1::Finding {
                id: "S3".into(),
                cause: "selector-matches-nothing".into(),
                title: "Service shop/api selects no pod".into(),
                certainty: v1::certainty::Value::Proven.into(),
                effect: v1::effect::Value::Stops.into(),
                objects: vec![v1::ObjectReference {
                    api_version: "v1".into(),
                    kind: "Service".into(),
                    namespace: "shop".into(),
                    name: "api".into(),
                    field: "spec.selector".into(),
                }],
                because: vec![
                    reason("shop/api selects app=my-app; no pod in shop has it", "API", 4_000),
                    v1::Reason {
                        observed_at: String::new(),
                        ..reason(
                            "nearest: my-application has app=my-application (1 pod, ready)",
                            "/srv/checkout/manifests/shop/my-application.yaml",
                            0,
                        )
                    },
                    reason(
                        "node-1 dropped 3 SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT), all of them after the Service last changed",
                        "node-1",
                        2_000,
                    ),
                ],
                fixes: vec![v1::Fix {
                    text: "Make selector and label agree, either way".into(),
                    command: r#"kubectl -n shop patch service api -p '{"spec":{"selector":{"app":"my-application"}}}'"#.into(),
                }],
                ..Default::default()
            },
            v1::Finding {
                id: "N20".into(),
                title: "NetworkPolicy shop/allow-web isolates shop/api, but admits this".into(),
                certainty: v1::certainty::Value::Likely.into(),
                effect: v1::effect::Value::Note.into(),
                because: vec![reason("rule 1 admits it", "API", 4_000)],
                ..Default::default()
            },
        ],
        paths: vec![v1::Path {
            verdict: v1::verdict::Value::Rejected.into(),
            hops: vec![
                hop(Name, "", Pass, "shop/api is 10.96.12.7:80"),
                hop(Source, "node-1", Pass, "10.244.1.9 on node-1, sends SYN"),
                stop,
            ],
            ..Default::default()
        }],
        ruled_out: vec![
            v1::RuledOut { id: "S1".into(), cause: "no-such-service".into(), why: "it exists".into() },
            v1::RuledOut { id: "S2".into(), cause: "port-not-listed".into(), why: "80/tcp is listed".into() },
        ],
        not_checked: vec![v1::NotChecked {
            what: "IPv6".into(),
            why: "shop/api has no IPv6 address".into(),
            remedy: String::new(),
        }],
        ..Default::default()
    }
}

#[test]
fn an_answer_at_three_widths() {
    for width in [60, 80, 120] {
        let text = explanation(&selector(), Look { width, ..PLAIN });
        insta::assert_snapshot!(format!("selector-{width}"), text);
        for line in text.lines().skip(1).filter(|line| !line.trim_start().starts_with("kubectl")) {
            assert!(super::layout::columns(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn everything_without_unicode() {
    insta::assert_snapshot!(
        "selector-verbose-ascii",
        explanation(&selector(), Look { unicode: false, verbose: true, ..PLAIN })
    );
}

#[test]
fn some_backends() {
    use v1::hop_state::Value::{Pass, Stop};
    use v1::stage::Value::Destination;
    let path = |names: &[&str], verdict: v1::verdict::Value, hop| v1::Path {
        backends: names.iter().map(|name| (*name).to_owned()).collect(),
        backend_count: u32::try_from(names.len()).expect("few"),
        family: v1::family::Value::Ipv4.into(),
        verdict: verdict.into(),
        hops: vec![hop],
    };
    let answer = v1::Explanation {
        summary: "2 of 5 backends of shop/api refuse on 8080; expect about 40 % of connections to fail."
            .into(),
        verdict: v1::verdict::Value::Partial.into(),
        paths: vec![
            path(
                &["shop/api-1", "shop/api-4"],
                v1::verdict::Value::Rejected,
                hop(Destination, "node-1", Stop, "nothing listens on 8080"),
            ),
            path(&["shop/api-0"], v1::verdict::Value::Delivered, hop(Destination, "node-1", Pass, "listens")),
        ],
        ..selector()
    };
    insta::assert_snapshot!("partial", explanation(&answer, PLAIN));
}

#[test]
fn what_paths_share_is_shown_once_and_trouble_first() {
    use v1::hop_state::Value::{Pass, Stop};
    use v1::stage::Value::{Destination, Name, SourceNode};
    let path = |name: &str, node: &str, verdict: v1::verdict::Value, last| v1::Path {
        backends: vec![name.to_owned()],
        backend_count: 1,
        family: v1::family::Value::Ipv6.into(),
        verdict: verdict.into(),
        hops: vec![
            hop(Name, "", Pass, "shop/api is [fd00::7]:80"),
            hop(SourceNode, node, Pass, "forwards"),
            last,
        ],
    };
    let answer = v1::Explanation {
        paths: vec![
            path(
                "shop/api-0",
                "node-1",
                v1::verdict::Value::Delivered,
                hop(Destination, "node-1", Pass, "listens on [::]:8080"),
            ),
            path(
                "shop/a-name-that-takes-more-room-than-there-is",
                "node-1",
                v1::verdict::Value::Rejected,
                hop(Destination, "node-2", Stop, "nothing listens on 8080"),
            ),
        ],
        findings: vec![],
        ..selector()
    };
    insta::assert_snapshot!("shared", explanation(&answer, PLAIN));
}

#[test]
fn not_enough_to_say() {
    use v1::hop_state::Value::{Pass, Unknown};
    use v1::stage::Value::{Destination, DestinationNode, Name, SourceNode};
    let silent = "the agent on node-2 has not reported for 3 min";
    let remedy = "kubectl -n why-dropped get pods -o wide --field-selector spec.nodeName=node-2";
    let gap = |what: &str, why: &str, remedy: &str| v1::NotChecked {
        what: what.into(),
        why: why.into(),
        remedy: remedy.into(),
    };
    let unknown = format!("not known: {silent}");
    let allow = v1::DirectionVerdict {
        effect: v1::policy_verdict::Value::Allow.into(),
        isolated: true,
        policies: vec![],
    };
    let answer = v1::Explanation {
        summary: "node-2, where shop/api-0 runs, has not reported for 3 min.".into(),
        verdict: v1::verdict::Value::Inconclusive.into(),
        certainty: v1::certainty::Value::Possible.into(),
        policy: Some(v1::PolicyAnswer {
            egress: Some(allow.clone()),
            ingress: Some(allow),
            ..Default::default()
        }),
        paths: vec![v1::Path {
            backends: vec!["shop/api-0".into()],
            backend_count: 1,
            verdict: v1::verdict::Value::Inconclusive.into(),
            hops: vec![
                hop(Name, "", Pass, "shop/api is 10.96.12.7:80"),
                hop(SourceNode, "node-1", Pass, "10.96.12.7:80 -> 10.244.2.14:8080 (shop/api-0)"),
                hop(DestinationNode, "node-2", Unknown, &unknown),
                hop(Destination, "node-2", Unknown, "not known: something else"),
            ],
            ..Default::default()
        }],
        findings: vec![selector().findings.remove(1)],
        not_checked: vec![
            gap("rules of node-2", silent, remedy),
            gap("listeners of shop/api-0", silent, remedy),
            gap("drops on node-2", "its agent does not report", ""),
            gap("Pods in web", "the collector may not read them", "grant it list and watch on pods"),
        ],
        ..selector()
    };
    insta::assert_snapshot!("inconclusive", explanation(&answer, PLAIN));
}

#[test]
fn a_hop_does_not_repeat_the_sentence() {
    let mut answer = selector();
    let title =
        answer.findings[0].title.replace("no pod", "no pod, though there are some it could have meant");
    answer.findings[0].title.clone_from(&title);
    let stop = answer.paths[0].hops.last_mut().expect("three hops");
    (stop.detail, stop.rule) = (title, None);
    let text = explanation(&answer, PLAIN);
    assert!(text.contains("✗ node-1      ends here (S3)\n"), "{text}");
}

#[test]
fn a_gap_that_is_the_sentence_is_not_said_again() {
    let answer = v1::Explanation {
        summary: "the way to 9.9.9.9: nobody owns it.".into(),
        verdict: v1::verdict::Value::Inconclusive.into(),
        not_checked: vec![v1::NotChecked {
            what: "the way to 9.9.9.9".into(),
            why: "nobody owns it".into(),
            remedy: "ask again".into(),
        }],
        ..Default::default()
    };
    let text = explanation(&answer, PLAIN);
    assert_eq!(text, "INCONCLUSIVE: the way to 9.9.9.9: nobody owns it.\n\nnext       ask again\n");
}

#[test]
fn a_note_does_not_explain_a_delivery() {
    let mut answer = selector();
    answer.verdict = v1::verdict::Value::Delivered.into();
    answer.findings.remove(0);
    let text = explanation(&answer, PLAIN);
    assert!(text.lines().next().is_some_and(|line| line.ends_with("   [proven]")), "{text}");
    assert!(text.contains("\nnote  ") && !text.contains("because"), "{text}");
}

#[test]
fn objects_alone_predict() {
    let answer = v1::Explanation {
        summary: "predicted: objects let web/client reach shop/api:80.".into(),
        verdict: v1::verdict::Value::Delivered.into(),
        certainty: v1::certainty::Value::Likely.into(),
        basis: v1::basis::Value::Objects.into(),
        ..Default::default()
    };
    let text = explanation(&answer, PLAIN);
    assert_eq!(text, "DELIVERED (predicted): objects let web/client reach shop/api:80.   [likely]\n");
}

#[test]
fn names_cannot_move_the_cursor() {
    let mut answer = selector();
    answer.summary = "a\u{1b}[2J\nb".into();
    answer.findings[0].because[0].text = "c\u{1b}]0;x\u{7}".into();
    answer.paths[0].hops[0].detail = "\u{202e}d".into();
    let text = explanation(&answer, PLAIN);
    assert!(text.starts_with("REJECTED: a\\u{1b}[2J\\nb   ["), "{text}");
    assert!(text.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{text:?}");
}

#[test]
fn colours_change_nothing_else() {
    let coloured = explanation(&selector(), Look { colour: true, ..PLAIN });
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        bare.push_str(before);
        rest = after.split_once('m').expect("a colour ends").1;
    }
    bare.push_str(rest);
    assert_eq!(bare, explanation(&selector(), PLAIN));
    assert_ne!(coloured, bare);
}

#[test]
fn lists() {
    let drop = v1::Drop {
        node: "node-1".into(),
        netns_owner: "pod web/client".into(),
        protocol: "TCP".into(),
        source_address: "10.244.1.9".into(),
        source: "pod web/client".into(),
        destination_address: "10.96.12.7".into(),
        destination_port: 80,
        service: "shop/api".into(),
        reason: "NETFILTER_DROP".into(),
        count: 3,
        age_ms: 2_000,
        rule: Some(rule()),
        cause_id: "S3".into(),
        cause: "selector-matches-nothing".into(),
        ..Default::default()
    };
    let again = v1::Drop { rule: None, count: 4, age_ms: 9_000, ..drop.clone() };
    let bare =
        v1::Drop { protocol: "TCP".into(), destination_address: "fd00::1".into(), ..Default::default() };
    let list = v1::ListDropsResponse { drops: vec![drop, again, bare], omitted: 7, not_checked: vec![] };
    insta::assert_snapshot!("drops", drops(&list, "no drops", PLAIN));
    assert_eq!(drops(&v1::ListDropsResponse::default(), "no drops", PLAIN), "no drops\n");

    let node = v1::Node {
        name: "node-1".into(),
        connected: true,
        agent_version: "0.1.0".into(),
        kernel: "6.12.0".into(),
        service_proxy: Some(v1::service_proxy::Value::IptablesLegacy.into()),
        sources: vec![v1::SourceState {
            name: "drops".into(),
            state: v1::source_health::Value::Degraded.into(),
            detail: "no reasons before 5.17".into(),
        }],
        lost: 4,
        ..Default::default()
    };
    let gone = v1::Node { name: "node-2".into(), last_seen_age_ms: Some(190_000), ..Default::default() };
    let unknown = v1::Node { name: "node-3".into(), ..Default::default() };
    insta::assert_snapshot!(
        "nodes",
        nodes(&v1::ListNodesResponse { nodes: vec![node, gone, unknown] }, PLAIN)
    );
}

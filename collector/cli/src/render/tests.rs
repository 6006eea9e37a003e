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
        rule: "-d 10.96.12.7/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
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
    let mut stop = hop(SourceNode, "node-1", Stop, "10.96.12.7:80 is rejected: no endpoints");
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
                    reason(
                        "node-1 dropped 3 SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT), all of them after the Service last changed",
                        "node-1",
                        2_000,
                    ),
                ],
                fixes: vec![v1::Fix {
                    text: "Make selector and label agree, either way:".into(),
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
fn objects_alone_predict() {
    let answer = v1::Explanation {
        summary: "objects let web/client reach shop/api:80.".into(),
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
    let bare =
        v1::Drop { protocol: "TCP".into(), destination_address: "fd00::1".into(), ..Default::default() };
    let list = v1::ListDropsResponse { drops: vec![drop, bare], omitted: 7, not_checked: vec![] };
    insta::assert_snapshot!("drops", drops(&list, PLAIN));
    assert_eq!(drops(&v1::ListDropsResponse::default(), PLAIN), "no drops\n");

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

//! The collector over real channels: agents' streams, questions, lists, and how both end.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests; a step that fails fails the test")]

#[path = "support/lab.rs"]
mod lab;

use std::time::{Duration, Instant};

use lab::{Agent, BOUND, Lab, address, boot, record, rejected, rules};
use model::{NetnsOwner, Probe, Timestamp};
use proto::v1;
use proto::v1::collector_message;
use tokio::time::timeout;
use tonic::{Code, Status};

fn ask(source: &str, destination: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        source: source.into(),
        destination: destination.into(),
        ..v1::ExplainRequest::default()
    }
}

/// Everything an answer admits not to have seen, in one text.
fn not_checked(explanation: &v1::Explanation) -> String {
    let lines =
        explanation.not_checked.iter().map(|gap| format!("{}: {} ({})", gap.what, gap.why, gap.remedy));
    lines.collect::<Vec<_>>().join("\n")
}

async fn list(lab: &Lab, request: v1::ListDropsRequest) -> Vec<v1::Drop> {
    lab.queries().await.list_drops(request).await.unwrap().into_inner().drops
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_from_objects_rules_and_drops_together() {
    let lab = Lab::start().await;
    // The drop is sent only when the probe comes: the answer must see it all the same.
    let agent = lab.agent("node-1").await;
    let serving = tokio::spawn(agent.serve(vec![record(1, "10.96.12.8:80")], rules));
    let explanation =
        lab.queries().await.explain(ask("web/client", "shop/empty:80")).await.unwrap().into_inner();
    assert_eq!(explanation.verdict(), v1::verdict::Value::Rejected, "{explanation:#?}");
    assert_eq!(explanation.findings[0].id, "S3", "{explanation:#?}");
    let because = &explanation.findings[0].because;
    let kinds: Vec<_> = because.iter().map(v1::Reason::evidence).collect();
    for kind in [v1::evidence::Value::Object, v1::evidence::Value::Rules, v1::evidence::Value::Drop] {
        assert!(kinds.contains(&kind), "{kind:?} is missing in {because:#?}");
    }
    assert_eq!(explanation.certainty(), v1::certainty::Value::Proven, "{explanation:#?}");
    let listed = list(&lab, v1::ListDropsRequest::default()).await;
    assert_eq!(listed.len(), 1);
    let metrics = lab.page("/metrics").await;
    assert!(metrics.contains(r#"explain_seconds_count{verdict="REJECTED"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"findings_total{cause="S3"} 1"#), "{metrics}");
    lab.collector.shutdown().await;
    let probes = serving.await.unwrap();
    assert!(probes.iter().all(|probe| probe.node() == "node-1"), "{probes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_the_backends_are_asked_after_the_source() {
    let lab = Lab::start().await;
    let agents = [lab.agent("node-1").await, lab.agent("node-2").await];
    let [first, second] = agents.map(|agent| tokio::spawn(agent.serve(Vec::new(), rules)));
    let explanation =
        lab.queries().await.explain(ask("web/client", "shop/api:80")).await.unwrap().into_inner();
    assert_eq!(explanation.verdict(), v1::verdict::Value::Delivered, "{explanation:#?}");
    assert!(explanation.findings.iter().all(|finding| finding.effect() == v1::effect::Value::Note));
    lab.collector.shutdown().await;
    assert!(first.await.unwrap().iter().any(|probe| matches!(probe, Probe::Walk { .. })));
    let second = second.await.unwrap();
    assert!(second.iter().any(|probe| matches!(probe, Probe::Listeners { .. })), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_costs_no_more_than_the_time_out() {
    let lab = Lab::start().await;
    let _agent = lab.agent("node-1").await;
    let began = Instant::now();
    let request = v1::ExplainRequest { timeout: "500ms".into(), ..ask("web/client", "shop/api:80") };
    let explanation = lab.queries().await.explain(request).await.unwrap().into_inner();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let gaps = not_checked(&explanation);
    assert!(gaps.contains("did not answer within"), "{gaps}");
    assert_ne!(explanation.certainty(), v1::certainty::Value::Proven);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_went_away_is_named_in_the_answer() {
    let lab = Lab::start().await;
    drop(lab.agent("node-1").await);
    let mut queries = lab.queries().await;
    let gone = async {
        loop {
            let nodes = queries.list_nodes(v1::ListNodesRequest {}).await.unwrap().into_inner().nodes;
            let node = nodes.into_iter().find(|node| node.name == "node-1").unwrap();
            if !node.connected {
                return node;
            }
            tokio::task::yield_now().await;
        }
    };
    let node = timeout(BOUND, gone).await.expect("the collector notices that the agent is gone");
    assert!(node.last_seen_age_ms.is_some());
    assert_eq!(node.kernel, "6.12.0");
    let explanation =
        lab.queries().await.explain(ask("web/client", "shop/api:80")).await.unwrap().into_inner();
    assert_ne!(explanation.certainty(), v1::certainty::Value::Proven, "{explanation:#?}");
    assert_eq!(explanation.basis(), v1::basis::Value::Objects);
    let gaps = not_checked(&explanation);
    assert!(gaps.contains("the agent on node-1 is not connected"), "{gaps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_sent_again_are_kept_once() {
    let lab = Lab::start().await;
    let records = [record(1, "10.96.12.7:80"), record(2, "10.96.12.8:80")];
    let mut agent = lab.agent("node-1").await;
    assert_eq!(agent.welcome.kept_sequence, 0);
    assert_eq!(agent.deliver(&records).await, 2);
    drop(agent);
    let mut agent = lab.agent("node-1").await;
    assert_eq!(agent.welcome.kept_sequence, 2);
    assert_eq!(agent.deliver(&records).await, 2);
    assert_eq!(list(&lab, v1::ListDropsRequest::default()).await.len(), 2);
    let metrics = lab.page("/metrics").await;
    for (outcome, count) in [("new", 2), ("duplicate", 2)] {
        let line = format!(r#"evidence_total{{kind="drop",outcome="{outcome}"}} {count}"#);
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_one_agent_and_the_later_one_stays() {
    let lab = Lab::start().await;
    let mut first = lab.agent("node-1").await;
    let mut second = lab.agent("node-1").await;
    let ended = first.next().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Aborted, "another agent of this node connected"));
    drop(first);
    assert_eq!(second.deliver(&[record(1, "10.96.12.7:80")]).await, 1);
    let nodes = lab.queries().await.list_nodes(v1::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    let connected: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.connected)).collect();
    assert_eq!(
        connected,
        [("node-1", true), ("node-2", false)],
        "known from the objects, and without an agent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_another_name_are_refused_and_not_sent_for_ever() {
    let lab = Lab::start().await;
    let mut agent = lab.agent("node-2").await;
    assert_eq!(agent.deliver(&[record(5, "10.96.12.7:80")]).await, 5);
    assert_eq!(list(&lab, v1::ListDropsRequest::default()).await, []);
    let metrics = lab.page("/metrics").await;
    assert!(metrics.contains(r#"evidence_total{kind="drop",outcome="refused"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_introduce_itself_is_told_so() {
    let lab = Lab::start().await;
    let channel = lab::channel(lab.collector.listen()).await;
    let mut client = v1::agent_link_client::AgentLinkClient::new(channel);
    let hello = v1::Hello {
        node: "node-1".into(),
        agent_version: "9".into(),
        kernel: "6".into(),
        boot: boot("node-1"),
        protocol_version: proto::PROTOCOL_VERSION,
    };
    let cases = [
        (None, Code::FailedPrecondition),
        (Some(v1::Hello { node: String::new(), ..hello.clone() }), Code::InvalidArgument),
        (Some(v1::Hello { node: "a\u{1b}[31m".into(), ..hello.clone() }), Code::InvalidArgument),
        (Some(v1::Hello { protocol_version: 99, ..hello }), Code::FailedPrecondition),
    ];
    for (hello, code) in cases {
        let kind = match hello {
            Some(hello) => v1::agent_message::Kind::Hello(hello),
            None => v1::agent_message::Kind::Ping(v1::Ping { nonce: 1 }),
        };
        let messages = tokio_stream::iter([v1::AgentMessage { kind: Some(kind) }]);
        let mut stream = client.connect(messages).await.unwrap().into_inner();
        let ended = timeout(BOUND, stream.message()).await.unwrap().unwrap_err();
        assert_eq!(ended.code(), code, "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_are_listed_with_names_and_filtered_by_them() {
    let lab = Lab::start().await;
    let mut in_pod = record(2, "10.244.2.14:8080");
    in_pod.netns.owner =
        NetnsOwner::Pod { uid: Some("uid-client".into()), addresses: vec![address("10.244.1.9")] };
    in_pod.reason = "NO_SOCKET".into();
    lab.agent("node-1")
        .await
        .deliver(&[record(1, "10.96.12.7:80"), in_pod, record(3, "203.0.113.1:443")])
        .await;
    let all = list(&lab, v1::ListDropsRequest::default()).await;
    assert_eq!(all.len(), 3);
    let to_service = all.iter().find(|drop| drop.destination_address == "10.96.12.7").unwrap();
    assert_eq!(
        (to_service.source.as_str(), to_service.destination.as_str(), to_service.service.as_str()),
        ("pod web/client", "service shop/api", "shop/api")
    );
    assert_eq!(to_service.netns_owner, "node");
    let in_pod = all.iter().find(|drop| drop.destination_address == "10.244.2.14").unwrap();
    assert_eq!(
        (in_pod.netns_owner.as_str(), in_pod.destination.as_str()),
        ("pod web/client", "pod shop/api-1")
    );

    let none = v1::ListDropsRequest::default;
    let filters = [
        (v1::ListDropsRequest { service: "shop/api".into(), ..none() }, 1),
        (v1::ListDropsRequest { pod: "shop/api-1".into(), ..none() }, 1),
        (v1::ListDropsRequest { pod: "web/client".into(), ..none() }, 3),
        (v1::ListDropsRequest { namespace: "shop".into(), ..none() }, 2),
        (v1::ListDropsRequest { reason: "no_socket".into(), ..none() }, 1),
        (v1::ListDropsRequest { node: "node-2".into(), ..none() }, 0),
        (v1::ListDropsRequest { since: "0s".into(), ..none() }, 0),
    ];
    for (filter, count) in filters {
        let drops = list(&lab, filter.clone()).await;
        assert_eq!(drops.len(), count, "{filter:?}: {drops:#?}");
    }
    let wrong = v1::ListDropsRequest { pod: "client".into(), ..none() };
    let error = lab.queries().await.list_drops(wrong).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "pod: `client` is not NAMESPACE/NAME")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_carry_their_likely_cause_and_are_filtered_by_it() {
    let lab = Lab::start().await;
    let mut agent = lab.agent("node-1").await;
    let mut old = rejected(1);
    (old.first_at, old.last_at) = (Timestamp(old.last_at.0 - 300_000), Timestamp(old.last_at.0 - 300_000));
    // The second of a flow is not walked again; the third has a reason that tells no cause.
    let mut again = rejected(3);
    (again.walk, again.count) = (None, 9);
    agent.deliver(&[old, rejected(2), again, record(4, "10.96.12.7:80")]).await;
    let all = list(&lab, v1::ListDropsRequest::default()).await;
    let causes: Vec<(u32, &str, &str)> =
        all.iter().map(|drop| (drop.count, drop.cause_id.as_str(), drop.cause.as_str())).collect();
    assert_eq!(causes.len(), 4, "{causes:?}");
    let s3 = |count| (count, "S3", "selector-matches-nothing");
    assert_eq!(causes.iter().filter(|cause| **cause == s3(3)).count(), 1, "{causes:?}");
    assert_eq!(causes.iter().filter(|cause| **cause == s3(9)).count(), 1, "{causes:?}");
    // One to another Service, and one from before the objects were as they are.
    assert_eq!(causes.iter().filter(|cause| **cause == (3, "", "")).count(), 2, "{causes:?}");

    let by = |cause: &str| v1::ListDropsRequest { cause: cause.into(), ..v1::ListDropsRequest::default() };
    for (cause, count) in [("S3", 2), ("s3", 2), ("Selector-Matches-Nothing", 2), ("N1", 0)] {
        assert_eq!(list(&lab, by(cause)).await.len(), count, "{cause}");
    }
    let wrong = [
        (
            "selector-matches-nothin",
            "cause: no cause `selector-matches-nothin`; did you mean `selector-matches-nothing`? \
             `why-dropped causes` lists them all",
        ),
        ("the weather", "cause: no cause `the weather`; `why-dropped causes` lists them"),
    ];
    let mut queries = lab.queries().await;
    for (cause, text) in wrong {
        let error = queries.list_drops(by(cause)).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::InvalidArgument, text));
        assert_eq!(queries.watch_drops(by(cause)).await.unwrap_err().message(), text);
    }

    let mut events = queries.watch_drops(by("S3")).await.unwrap().into_inner();
    let mut later = rejected(6);
    (later.walk, later.count) = (None, 11);
    agent.deliver(&[record(5, "10.96.12.7:80"), later]).await;
    let event = timeout(BOUND, events.message()).await.unwrap().unwrap().unwrap().event;
    let Some(v1::drop_event::Event::Drop(drop)) = event else { panic!("expected a drop, got {event:?}") };
    assert_eq!((drop.count, drop.cause_id.as_str()), (11, "S3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_new_drops_once_and_are_told_when_it_ends() {
    let lab = Lab::start().await;
    let mut agent = lab.agent("node-1").await;
    agent.deliver(&[record(1, "10.96.12.7:80")]).await;
    let request = v1::ListDropsRequest { service: "shop/api".into(), ..v1::ListDropsRequest::default() };
    let mut events = lab.queries().await.watch_drops(request).await.unwrap().into_inner();
    // One sent again, one that does not fit, one that does.
    agent.deliver(&[record(1, "10.96.12.7:80")]).await;
    agent.deliver(&[record(2, "203.0.113.1:443"), record(3, "10.96.12.7:80")]).await;
    let event = timeout(BOUND, events.message()).await.unwrap().unwrap().unwrap().event;
    let Some(v1::drop_event::Event::Drop(drop)) = event else { panic!("expected a drop, got {event:?}") };
    assert_eq!(drop.source, "pod web/client");
    lab.collector.shutdown().await;
    let ended = timeout(BOUND, events.message()).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the collector is shutting down"));
    let ended = agent.next().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the collector is shutting down"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do() {
    let lab = Lab::start().await;
    let mut queries = lab.queries().await;
    let since = v1::ExplainRequest { since: "10".into(), ..ask("web/client", "shop/api:80") };
    let timeout = v1::ExplainRequest { timeout: "2h".into(), ..ask("web/client", "shop/api:80") };
    let connect = v1::ExplainRequest { connect: "tcp".into(), ..ask("web/client", "shop/api:80") };
    let cases = [
        (ask("web/clinet", "shop/api:80"), Code::NotFound, "did you mean `web/client`"),
        (ask("", "shop/api:80"), Code::InvalidArgument, "source: missing"),
        (ask("web/client", "shop/api:http:80"), Code::InvalidArgument, "DST"),
        (ask("web/client", &"x".repeat(2_000)), Code::InvalidArgument, "destination: longer than"),
        (since, Code::InvalidArgument, "since: `10`: the unit is missing"),
        (timeout, Code::InvalidArgument, "timeout: must be above 0 and at most 60 s"),
        (connect, Code::Unimplemented, "connect: "),
    ];
    for (request, code, part) in cases {
        let error: Status = queries.explain(request.clone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{request:?}: {error}");
        assert!(error.message().contains(part), "{request:?}: {error}");
    }
    // Not an error: an answer.
    let explanation = queries.explain(ask("web/client", "shop/apu:80")).await.unwrap().into_inner();
    assert_eq!(explanation.verdict(), v1::verdict::Value::Unresolved, "{explanation:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered() {
    let lab = Lab::start().await;
    let mut agent = Agent::connect(lab.collector.listen(), "node-1").await;
    agent.ping(42).await;
    assert_eq!(agent.next().await.unwrap(), collector_message::Kind::Pong(v1::Pong { nonce: 42 }));
}

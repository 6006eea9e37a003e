//! The connection against a real gRPC server: acceptance, resending, probes, silence, the way back after a loss.

#[path = "support/collector.rs"]
mod collector;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent::config::{CollectorUrl, Config};
use agent::health::Health;
use agent::link::{Answer, Link, Pace};
use agent::metrics::Metrics;
use agent::outbox::{Origin, Outbox};
use collector::{Collector, PATIENCE, Stream};
use model::evidence::Location;
use model::probe::{ListenerReport, PodTarget, Scope};
use model::{
    DropRecord, Gap, Key, Netns, NetnsOwner, NodeReport, Packet, Probe, ProbeOutcome, Protocol, RecordId,
    SourceHealth, SourceState, Timestamp, Tuple,
};
use proto::v1;
use proto::v1::agent_message::Kind as Said;
use proto::v1::collector_message::Kind as Heard;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Answers listener probes at once and walk probes when the test lets it.
struct Puppet {
    gate: Semaphore,
    asked: AtomicUsize,
}

impl Answer for Puppet {
    async fn answer(&self, probe: Probe, _deadline: Instant) -> ProbeOutcome {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match probe {
            Probe::Listeners { .. } => {
                ProbeOutcome::Listeners(ListenerReport { listeners: Vec::new(), read_at: Timestamp(5) })
            }
            Probe::Walk { .. } => {
                self.gate.acquire().await.expect("the gate is never closed").forget();
                ProbeOutcome::Failed(Gap::new("walk", "let through"))
            }
        }
    }
}

struct Running {
    outbox: Outbox,
    status: watch::Sender<NodeReport>,
    puppet: Arc<Puppet>,
    health: Health,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("the link should stop").expect("without a panic");
    }
}

fn report() -> NodeReport {
    NodeReport {
        name: "node-1".to_owned(),
        connected: true,
        last_seen: None,
        agent_version: "0".to_owned(),
        kernel: "6.18".to_owned(),
        service_proxy: None,
        sources: Vec::new(),
        lost: 0,
    }
}

fn start(urls: &[String], pace: Pace, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config {
        collectors: urls.iter().map(|url| CollectorUrl::parse(url).expect("a URL")).collect(),
        node: "node-1".to_owned(),
        admin: LOOPBACK,
        token_file: None,
        ca_file: None,
        state_dir: None,
        log: String::new(),
    };
    change(&mut config);
    let outbox = Outbox::new(Origin { node: "node-1".to_owned(), boot: "boot-1".to_owned() }, 4096);
    let (status, receiver) = watch::channel(report());
    let puppet = Arc::new(Puppet { gate: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let (health, stop) = (Health::default(), CancellationToken::new());
    let link = Link {
        config,
        kernel: "6.18".to_owned(),
        outbox: outbox.clone(),
        status: receiver,
        answers: Arc::clone(&puppet),
        health: health.clone(),
        metrics: Arc::new(Metrics::new()),
        pace,
    };
    let task = tokio::spawn(link.run(stop.clone()));
    Running { outbox, status, puppet, health, stop, task }
}

fn url(collector: &Collector) -> String {
    format!("http://{}", collector.address)
}

fn record() -> DropRecord {
    DropRecord {
        id: RecordId { node: String::new(), boot: String::new(), sequence: 0 },
        netns: Netns { cookie: 1, inode: 2, owner: NetnsOwner::Node },
        tuple: Tuple {
            protocol: Protocol::Tcp,
            src: SocketAddr::from(([10, 0, 0, 1], 0)).ip(),
            dst: SocketAddr::from(([10, 0, 0, 2], 80)),
        },
        last_src_port: 40_000,
        reply: false,
        reason: "NETFILTER_DROP".to_owned(),
        location: Location { symbol: "nf_hook_slow".to_owned(), offset: 1 },
        in_interface: None,
        count: 1,
        first_at: Timestamp(1),
        last_at: Timestamp(1),
        walk: None,
    }
}

fn sequences(records: &[DropRecord]) -> Vec<u64> {
    records.iter().map(|record| record.id.sequence).collect()
}

fn pod() -> PodTarget {
    PodTarget {
        key: Key { namespace: "shop".to_owned(), name: "api-1".to_owned() },
        uid: String::new(),
        addresses: vec![SocketAddr::from(([10, 244, 1, 2], 0)).ip()],
    }
}

fn listeners(node: &str) -> Probe {
    Probe::Listeners { node: node.to_owned(), pod: pod(), protocol: Protocol::Tcp }
}

fn walk() -> Probe {
    let packet = Packet {
        origin: model::Origin::Pod,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: SocketAddr::from(([10, 0, 0, 1], 0)).ip(),
        src_port: None,
        dst: SocketAddr::from(([10, 0, 0, 2], 80)),
    };
    Probe::Walk { node: "node-1".to_owned(), scope: Scope::Node, packet }
}

async fn status_of(stream: &mut Stream, wanted: impl Fn(&v1::Status) -> bool) -> v1::Status {
    stream
        .wait("status", |said| match said {
            Said::Status(status) if wanted(status) => Some(status.clone()),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn says_who_it_is_and_what_it_sees() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    let mut stream = collector.accept().await;
    assert_eq!((stream.hello.node.as_str(), stream.hello.boot.as_str()), ("node-1", "boot-1"));
    assert_eq!(stream.hello.protocol_version, proto::PROTOCOL_VERSION);
    assert!(!agent.health.ready().text.contains("accepted"), "{}", agent.health.ready().text);
    stream.welcome(0).await;
    status_of(&mut stream, |status| status.lost == 0).await;
    assert!(agent.health.ready().text.contains("accepted by"), "{}", agent.health.ready().text);
    agent.status.send_modify(|report| {
        report.lost = 9;
        let (name, detail) = ("drops".to_owned(), "no BTF".to_owned());
        report.sources.push(SourceState { name, health: SourceHealth::Unavailable, detail });
    });
    let status = status_of(&mut stream, |status| status.lost == 9).await;
    assert_eq!(status.sources.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn unacknowledged_records_are_sent_again_on_the_next_stream() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    agent.outbox.push([record(), record(), record()]);
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    assert_eq!(sequences(&stream.drops().await), [1, 2, 3]);
    stream.acknowledge(1).await;
    // The acknowledgement has been read once a later probe is answered.
    stream.ask(&listeners("node-1"), 5_000).await;
    stream.refuse(tonic::Status::unavailable("restarting")).await;

    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    assert_eq!(sequences(&stream.drops().await), [2, 3]);
    agent.outbox.push([record()]);
    assert_eq!(sequences(&stream.drops().await), [4]);
    assert_eq!(agent.outbox.depth().waiting, 3);
    drop(stream);

    // This time the collector knows by itself what it kept.
    let mut stream = collector.accept().await;
    stream.welcome(3).await;
    assert_eq!(sequences(&stream.drops().await), [4]);
    stream.acknowledge(4).await;
    stream.ask(&listeners("node-1"), 5_000).await;
    assert_eq!(agent.outbox.depth().waiting, 0);
    agent.stop().await;
}

#[tokio::test]
async fn comes_back_to_a_collector_that_was_away() {
    let mut collector = Collector::start(LOOPBACK);
    let address = collector.address;
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    let stream = collector.accept().await;
    stream.welcome(0).await;
    drop(stream);
    collector.end().await;
    agent.outbox.push([record()]);
    let away = wait_until(|| agent.health.ready().text.contains("away:")).await;
    assert!(away, "{}", agent.health.ready().text);
    let mut collector = Collector::start(address);
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    assert_eq!(sequences(&stream.drops().await), [1]);
    agent.stop().await;
}

#[tokio::test]
async fn each_url_is_tried_in_turn() {
    let mut collector = Collector::start(LOOPBACK);
    let closed = std::net::TcpListener::bind(LOOPBACK).and_then(|l| l.local_addr()).expect("binds");
    let agent = start(&[format!("http://{closed}"), url(&collector)], Pace::default(), |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    status_of(&mut stream, |_| true).await;
    assert!(agent.health.ready().text.contains(&collector.address.to_string()));
    agent.stop().await;
}

#[tokio::test]
async fn a_remembered_address_leads_there_when_the_name_does_not() {
    let mut collector = Collector::start(LOOPBACK);
    let directory = tempfile::tempdir().expect("a directory");
    // `.invalid` never resolves (RFC 2606): only the memory of an earlier run helps.
    let name = format!("http://collector.invalid:{}", collector.address.port());
    std::fs::write(directory.path().join("collector-addresses"), format!("{name} {}\n", collector.address))
        .expect("writes");
    let agent =
        start(&[name], Pace::default(), |config| config.state_dir = Some(directory.path().to_owned()));
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    status_of(&mut stream, |_| true).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_token_is_shown() {
    let mut collector = Collector::start(LOOPBACK);
    let directory = tempfile::tempdir().expect("a directory");
    let file: PathBuf = directory.path().join("token");
    std::fs::write(&file, "secret\n").expect("writes");
    let agent = start(&[url(&collector)], Pace::default(), |config| config.token_file = Some(file));
    assert_eq!(collector.accept().await.authorization.as_deref(), Some("Bearer secret"));
    agent.stop().await;
}

#[tokio::test]
async fn probes_are_answered_side_by_side_and_each_in_its_time() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace { probes_at_once: 2, ..Pace::default() }, |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    let blocked = stream.begin(&walk(), 60_000).await;
    // Answered although the one before is not.
    assert!(matches!(stream.ask(&listeners("node-1"), 5_000).await, ProbeOutcome::Listeners(_)));
    // Not let through: its time runs out, and it says so.
    let ProbeOutcome::Failed(gap) = stream.ask(&walk(), 200).await else { panic!("it should have failed") };
    assert!(gap.why.contains("not read within 1"), "{gap:?}");
    // Two may be under way, a third is refused at once.
    let second = stream.begin(&walk(), 60_000).await;
    let ProbeOutcome::Failed(gap) = stream.ask(&listeners("node-1"), 5_000).await else {
        panic!("it should have been refused")
    };
    assert!(gap.why.contains("2 questions"), "{gap:?}");
    agent.puppet.gate.add_permits(3);
    for id in [blocked, second] {
        let ProbeOutcome::Failed(gap) = stream.answer(id).await else { panic!("the puppet only fails") };
        assert_eq!(gap.why, "let through");
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_probe_for_another_node_or_of_an_unknown_kind_is_a_gap() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    let ProbeOutcome::Failed(gap) = stream.ask(&listeners("node-2"), 5_000).await else {
        panic!("not refused")
    };
    assert!(gap.why.contains("node-1"), "{gap:?}");
    stream
        .send(Heard::Probe(v1::Probe {
            id: 77,
            timeout_ms: 1_000,
            node: "node-1".to_owned(),
            question: None,
        }))
        .await;
    let ProbeOutcome::Failed(gap) = stream.answer(77).await else { panic!("not refused") };
    assert!(gap.why.contains("question"), "{gap:?}");
    assert_eq!(agent.puppet.asked.load(Ordering::SeqCst), 0);
    agent.stop().await;
}

#[tokio::test]
async fn records_made_before_an_answer_go_before_it() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    for round in 1..=20 {
        agent.outbox.push([record()]);
        stream.ask(&listeners("node-1"), 5_000).await;
        let before: usize = stream
            .passed_over
            .iter()
            .map(|said| if let Said::Drops(drops) = said { drops.records.len() } else { 0 })
            .sum();
        assert_eq!(before, round);
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_collector_is_left_and_dialled_again() {
    let mut collector = Collector::start(LOOPBACK);
    let pace = Pace {
        ping_after: Duration::from_millis(50),
        silent_for: Duration::from_millis(250),
        ..Pace::default()
    };
    let agent = start(&[url(&collector)], pace, |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    let nonce =
        stream.wait("ping", |said| if let Said::Ping(ping) = said { Some(ping.nonce) } else { None }).await;
    stream.send(Heard::Pong(v1::Pong { nonce })).await;
    stream.send(Heard::Ping(v1::Ping { nonce: 42 })).await;
    stream
        .wait("pong", |said| match said {
            Said::Pong(pong) if pong.nonce == 42 => Some(()),
            _ => None,
        })
        .await;
    // No pong any more: the next stream comes without this one having been closed here.
    let again = collector.accept().await;
    assert_eq!(again.hello.node, "node-1");
    drop(stream);
    agent.stop().await;
}

#[tokio::test]
async fn a_collector_that_never_welcomes_is_given_up() {
    let mut collector = Collector::start(LOOPBACK);
    let pace = Pace { welcome_within: Duration::from_millis(100), ..Pace::default() };
    let agent = start(&[url(&collector)], pace, |_| {});
    let silent = collector.accept().await;
    let mut stream = collector.accept().await;
    drop(silent);
    stream.welcome(0).await;
    // The welcome may come after the bound of its own attempt; a later stream is welcomed in time.
    while !agent.health.ready().text.contains("accepted by") {
        let next = tokio::select! {
            next = collector.accept() => next,
            () = async { wait_until(|| agent.health.ready().text.contains("accepted by")).await; } => break,
        };
        next.welcome(0).await;
        stream = next;
    }
    status_of(&mut stream, |_| true).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_last_records_are_sent_before_it_stops() {
    let mut collector = Collector::start(LOOPBACK);
    let agent = start(&[url(&collector)], Pace::default(), |_| {});
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    status_of(&mut stream, |_| true).await;
    let outbox = agent.outbox.clone();
    outbox.push([record()]);
    let stopping = tokio::spawn(agent.stop());
    assert_eq!(sequences(&stream.drops().await), [1]);
    stream.acknowledge(1).await;
    stopping.await.expect("stops");
    assert_eq!(outbox.depth().waiting, 0);
}

/// Waits for a condition, bounded; whether it came true.
async fn wait_until(condition: impl Fn() -> bool) -> bool {
    timeout(PATIENCE, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn over_tls_only_a_collector_it_can_verify_is_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let identity = tonic::transport::Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (ca, other) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
    std::fs::write(&ca, made.cert.pem()).expect("writes");
    std::fs::write(&other, stranger.cert.pem()).expect("writes");
    let token = directory.path().join("token");
    std::fs::write(&token, "secret").expect("writes");

    let mut collector = Collector::serve_tls(std::net::TcpListener::bind(LOOPBACK).expect("binds"), identity);
    let url = format!("https://localhost:{}", collector.address.port());
    let distrustful =
        start(std::slice::from_ref(&url), Pace::default(), |config| config.ca_file = Some(other));
    let away = wait_until(|| distrustful.health.ready().text.contains("away:")).await;
    assert!(
        away && distrustful.health.ready().text.contains("certificate"),
        "{}",
        distrustful.health.ready().text
    );
    distrustful.stop().await;

    let agent = start(&[url], Pace::default(), |config| {
        config.ca_file = Some(ca);
        config.token_file = Some(token);
    });
    let mut stream = collector.accept().await;
    assert_eq!(stream.authorization.as_deref(), Some("Bearer secret"));
    stream.welcome(0).await;
    status_of(&mut stream, |_| true).await;
    agent.stop().await;
}

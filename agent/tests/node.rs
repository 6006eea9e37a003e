//! The agent as a process in a node's network namespace, with real drops, rules and listeners, and a collector that the
//! test plays.

#[path = "support/collector.rs"]
mod collector;
#[path = "support/lab.rs"]
mod lab;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector::{Collector, PATIENCE, Stream};
use lab::Lab;
use model::probe::{PodTarget, Scope};
use model::{DropRecord, Key, NetnsOwner, Origin, Outcome, Packet, Probe, ProbeOutcome, Protocol, Walk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1;
use proto::v1::agent_message::Kind as Said;
use proto::v1::source_health::Value as Health;

const AGENT: &str = env!("CARGO_BIN_EXE_why-dropped-agent");
/// As somebody without any rights.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// The agent's process; killed when dropped, its log shown when the test failed.
struct Agent {
    child: Child,
}

impl Agent {
    fn start(lab: &Lab, collector: SocketAddr, before: &[&str]) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.name("node")])
            .args(before)
            .arg(AGENT)
            .args(["--collector", &format!("http://{collector}"), "--node", "node-1"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent should start");
        Self { child }
    }

    /// Asks it to stop; its exit code and how long it took.
    fn stop(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it should be running");
        let status = self.child.wait().expect("it should end");
        (status.code(), begun.elapsed())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut log);
        }
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{log}");
        }
    }
}

fn pod_address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, n, 2))
}

fn target(n: u8) -> PodTarget {
    PodTarget {
        key: Key { namespace: "shop".to_owned(), name: format!("pod-{n}") },
        uid: String::new(),
        addresses: vec![pod_address(n)],
    }
}

fn walk(scope: Scope, origin: Origin, port: u16) -> Probe {
    let packet = Packet {
        origin,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: pod_address(1),
        src_port: None,
        dst: SocketAddr::new(pod_address(2), port),
    };
    Probe::Walk { node: "node-1".to_owned(), scope, packet }
}

async fn walked(stream: &mut Stream, probe: &Probe) -> Walk {
    match stream.ask(probe, 10_000).await {
        ProbeOutcome::Walk(walk) => *walk,
        other => panic!("no walk but {other:?}"),
    }
}

async fn source(stream: &mut Stream, name: &str, wanted: Health) -> v1::SourceState {
    stream
        .wait(&format!("status with {name} {wanted:?}"), |said| {
            let Said::Status(status) = said else { return None };
            status.sources.iter().find(|source| source.name == name && source.state() == wanted).cloned()
        })
        .await
}

/// A collector inside the node's namespace, where the agent reaches it over loopback.
fn collector_in(lab: &Lab) -> Collector {
    let listener = lab.listen("node", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    Collector::serve(listener)
}

fn terminal_text(walk: &Walk) -> String {
    walk.terminal_rule().map(|rule| rule.text.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_syn_arrives_with_the_rule_that_dropped_it() {
    if !lab::possible() {
        return;
    }
    let mut lab = Lab::new();
    lab.pod("a", 1);
    lab.pod("b", 2);
    let mut collector = collector_in(&lab);
    let mut agent = Agent::start(&lab, collector.address, &[]);
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    source(&mut stream, "drops", Health::Ok).await;

    lab.run("node", &["iptables", "-A", "FORWARD", "-p", "tcp", "--dport", "9999", "-j", "DROP"]);
    let to = SocketAddr::new(pod_address(2), 9999);
    lab.connect("a", to, Duration::from_millis(300)).expect_err("the rule drops it");
    let is_it = |record: &DropRecord| record.tuple.dst == to && record.reason == "NETFILTER_DROP";
    let record = stream.drop_where("the SYN to port 9999", is_it).await;
    assert_eq!((record.id.node.as_str(), record.id.boot.as_str()), ("node-1", stream.hello.boot.as_str()));
    assert_eq!(record.netns.owner, NetnsOwner::Node);
    assert_eq!(record.tuple.src, pod_address(1));
    assert_eq!(record.in_interface.as_deref(), Some("br1"));
    let walk_then = record.walk.as_deref().expect("the flow is new, so it is walked");
    assert_eq!((walk_then.packet.origin, walk_then.outcome), (Origin::Pod, Outcome::Dropped));
    assert!(terminal_text(walk_then).contains("--dport 9999"), "{walk_then:?}");

    // What a question finds agrees with it, and other ports pass.
    let asked = walked(&mut stream, &walk(Scope::Node, Origin::Pod, 9999)).await;
    assert!(asked.decides_like(walk_then), "{asked:?}");
    assert_eq!(asked.rules.unchanged_since, walk_then.rules.unchanged_since);
    let other = walked(&mut stream, &walk(Scope::Node, Origin::Pod, 8080)).await;
    assert_eq!(other.outcome, Outcome::Forwarded, "{other:?}");
    assert!(other.rules.read_at >= asked.rules.read_at);

    // A drop in a pod's own namespace is that pod's.
    lab.run("b", &["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "7777", "-j", "DROP"]);
    let to = SocketAddr::new(pod_address(2), 7777);
    lab.connect("a", to, Duration::from_millis(300)).expect_err("the rule drops it");
    let record = stream.drop_where("the SYN to port 7777", |record| record.tuple.dst == to).await;
    let NetnsOwner::Pod { addresses, .. } = &record.netns.owner else { panic!("not a pod's: {record:?}") };
    assert_eq!(addresses, &[pod_address(2)]);
    let walk_then = record.walk.as_deref().expect("walked in the pod");
    assert_eq!((walk_then.packet.origin, walk_then.outcome), (Origin::External, Outcome::Dropped));
    let inside = walked(&mut stream, &walk(Scope::Pod(target(2)), Origin::External, 7777)).await;
    assert!(terminal_text(&inside).contains("--dport 7777"), "{inside:?}");

    let (code, took) = agent.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "it took {took:?} to stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_those_of_the_pod_asked_about() {
    if !lab::possible() {
        return;
    }
    let mut lab = Lab::new();
    lab.pod("a", 1);
    let mut collector = collector_in(&lab);
    let _agent = Agent::start(&lab, collector.address, &[]);
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    let probe = |n| Probe::Listeners { node: "node-1".to_owned(), pod: target(n), protocol: Protocol::Tcp };
    // A pod that comes while the agent runs is found when it is asked about.
    let ProbeOutcome::Failed(gap) = stream.ask(&probe(2), 10_000).await else {
        panic!("there is no such pod")
    };
    assert!(gap.what.contains("shop/pod-2") && gap.why.contains("10.77.2.2"), "{gap:?}");
    lab.pod("b", 2);
    let _listener = lab.listen("b", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)));
    let mut found = stream.ask(&probe(2), 10_000).await;
    let begun = Instant::now();
    while matches!(found, ProbeOutcome::Failed(_)) && begun.elapsed() < PATIENCE {
        // Namespaces are not looked for more often than five times a second.
        found = stream.ask(&probe(2), 10_000).await;
    }
    let ProbeOutcome::Listeners(report) = found else { panic!("no listeners but {found:?}") };
    let ports: Vec<u16> = report.listeners.iter().map(|listener| listener.local.port()).collect();
    assert_eq!(ports, [8080]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_it_runs_and_says_what_that_costs() {
    if !lab::possible() {
        return;
    }
    let lab = Lab::new();
    let mut collector = collector_in(&lab);
    let _agent = Agent::start(&lab, collector.address, &NOBODY);
    let mut stream = collector.accept().await;
    stream.welcome(0).await;
    let drops = source(&mut stream, "drops", Health::Unavailable).await;
    assert!(drops.detail.contains("lacks CAP_BPF and CAP_PERFMON"), "{}", drops.detail);
    // Ready nevertheless: the lack is told.
    let begun = Instant::now();
    let ready = loop {
        let answer = lab.inside("node", || fetch("/readyz"));
        if answer.starts_with("HTTP/1.1 200") || begun.elapsed() > PATIENCE {
            break answer;
        }
    };
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("drops are not seen"), "{ready}");
    let metrics = lab.inside("node", || fetch("/metrics"));
    assert!(metrics.contains("why_dropped_agent_connected 1"), "{metrics}");
}

/// GET from the agent's admin address in this namespace.
fn fetch(path: &str) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7481));
    let mut stream = std::net::TcpStream::connect(address).expect("the admin endpoint should listen");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("reads");
    text
}

#[test]
fn preflight_tells_in_words_and_in_json() {
    let root = nix::unistd::geteuid().is_root();
    if root && Command::new(NOBODY[0]).arg("--version").output().is_err() {
        eprintln!("skipped: as root it needs setpriv to give the rights up");
        return;
    }
    let run = |arguments: &[&str]| {
        let mut command = if root {
            let mut command = Command::new(NOBODY[0]);
            command.args(&NOBODY[1..]).arg(AGENT);
            command
        } else {
            Command::new(AGENT)
        };
        command.args(arguments).output().expect("it should run")
    };
    let output = run(&["preflight"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    let drops = text.lines().find(|line| line.starts_with("drops ")).expect("a line for drops");
    assert!(drops.contains("unavailable") && drops.contains("lacks CAP_BPF and CAP_PERFMON"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("routes ")), "{text}");

    let output = run(&["preflight", "-o", "json"]);
    let parsed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let states = parsed["sources"].as_array().expect("a list");
    assert!(
        states.iter().any(|source| source["name"] == "drops" && source["state"] == "UNAVAILABLE"),
        "{parsed}"
    );
}

#[test]
fn unusable_flags_are_told_and_exit_with_2() {
    let run = |arguments: &[&str]| Command::new(AGENT).args(arguments).output().expect("it should run");
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: no collector: give --collector"));
    let output = run(&["--collector", "http://127.0.0.1:1", "--node", "node-1", "--print-config"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("collector = http://127.0.0.1:1") && text.contains("# WHY_DROPPED_NODE"), "{text}");
}

#[test]
fn walk_tells_what_the_rules_here_do_to_a_packet() {
    if !lab::possible() {
        return;
    }
    let lab = Lab::new();
    lab.run("node", &["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8022", "-j", "DROP"]);
    let run = |arguments: &[&str], input: &str| {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &lab.name("node"), AGENT, "walk"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent should start");
        // Refused flags read nothing.
        drop(child.stdin.take().expect("piped").write_all(input.as_bytes()));
        child.wait_with_output().expect("it should end")
    };
    let local = "127.0.0.1";
    let dropped = run(&["--src", local, "--dst", "127.0.0.1:8022"], "");
    let text = String::from_utf8_lossy(&dropped.stdout);
    assert_eq!(dropped.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&dropped.stderr));
    assert!(text.contains("to 127.0.0.1:8022: DROPPED"), "{text}");
    assert!(text.contains("filter INPUT  -p tcp -m tcp --dport 8022 -j DROP"), "{text}");

    let lines = "{\"id\":1,\"src\":\"127.0.0.1\",\"dst\":\"127.0.0.1\",\"port\":80}\nno\n";
    let batch = run(&["--batch", "-"], lines);
    let text = String::from_utf8_lossy(&batch.stdout);
    assert_eq!(batch.status.code(), Some(2), "{text}");
    let said: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&said[0]["outcome"], &said[1]["line"]), (&"LOCAL".into(), &2.into()), "{text}");

    let nothing = run(&[], "");
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(2), 0));
}

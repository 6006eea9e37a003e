//! How the collector is reached: reflection, health, TLS, the admin pages, and the program itself with its signals.

#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "tests; a step that fails fails the test")]

#[path = "support/lab.rs"]
mod lab;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector::config::TlsFiles;
use collector::{Collector, RunError};
use lab::{Agent, BOUND, Lab, config, record};
use proto::v1;
use proto::v1::why_dropped_client::WhyDroppedClient;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const SERVICES: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "whydropped.v1.AgentLink",
    "whydropped.v1.WhyDropped",
];

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let lab = Lab::start().await;
    let channel = lab::channel(lab.collector.listen()).await;

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("expected a list, got {answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{service} in {names:?}");
    }

    // grpcurl and others of a certain age speak only this one.
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "whydropped.v1.Explanation".into(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(
            answer,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told() {
    let lab = Lab::start().await;
    let mut health = HealthClient::new(lab::channel(lab.collector.listen()).await);
    for service in ["", "whydropped.v1.WhyDropped", "whydropped.v1.AgentLink"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status.as_str_name(), "SERVING", "{service}");
    }
    let ready = lab.page("/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("ready: objects synced, listening\n"),
        "{ready}"
    );
    assert!(lab.page("/healthz").await.ends_with("ok\n"));
    let _agent = lab.agent("node-1").await;
    let metrics = lab.page("/metrics").await;
    for line in ["agents_connected 1", r#"objects{kind="Service"} 2"#, "store_records 0"] {
        assert!(metrics.contains(&format!("why_dropped_collector_{line}\n")), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_those_who_verify_and_nobody_in_plain() {
    let dir = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["collector.test".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    fs::write(&cert, signed.cert.pem()).unwrap();
    fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let mut config = config(dir.path());
    config.tls = Some(TlsFiles { cert, key });
    let collector = Collector::start(config).await.unwrap();
    let connect = |tls: ClientTlsConfig| {
        Channel::from_shared(format!("https://{}", collector.listen())).unwrap().tls_config(tls).unwrap()
    };
    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(signed.cert.pem()))
        .domain_name("collector.test");
    let mut client = WhyDroppedClient::new(connect(trusting.clone()).connect().await.unwrap());
    let nodes = client.list_nodes(v1::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes.len(), 2);

    let other_name = connect(trusting.domain_name("elsewhere.test")).connect().await;
    assert!(other_name.is_err(), "a certificate for another name is not taken");
    let plain = Channel::from_shared(format!("http://{}", collector.listen())).unwrap().connect_lazy();
    let error = WhyDroppedClient::new(plain).list_nodes(v1::ListNodesRequest {}).await.unwrap_err();
    assert_ne!(error.code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start().await;
    let mut taken = config(dir.path());
    taken.listen = lab.collector.listen();
    let error = Collector::start(taken).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listen on {}", lab.collector.listen()));
    assert!(error.hint().unwrap().contains("another process listens there"), "{:?}", error.hint());

    let mut wrong = config(dir.path());
    fs::write(dir.path().join("objects.yaml"), "aapiVersion: v1\nkind: Service\n").unwrap();
    wrong.data_dir = dir.path().join("other");
    let error = Collector::start(wrong).await.unwrap_err();
    assert!(matches!(error, RunError::Objects(_)), "{error}");
    assert!(error.to_string().contains("aapiVersion"), "{error}");
}

/// The program as a process; ended when the test is.
struct Process {
    child: Child,
    log: std::sync::mpsc::Receiver<String>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_why-dropped-collector"))
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self { child, log }
    }

    /// The address in the line that says where it listens.
    fn listening(&self) -> SocketAddr {
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(BOUND) {
            if let Some(at) = line.split("\"listen\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
                return at.parse().unwrap();
            }
            seen.push(line);
        }
        panic!("no line says where it listens: {seen:#?}")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn process(dir: &std::path::Path) -> Process {
    let objects = dir.join("objects.yaml");
    fs::write(&objects, lab::OBJECTS).unwrap();
    let (objects, data) = (objects.display().to_string(), dir.join("data").display().to_string());
    let loopback = "127.0.0.1:0";
    let addresses = ["--listen", loopback, "--admin", loopback];
    let rest = ["--insecure", "--log-format", "json", "--objects", &objects, "--data-dir", &data];
    Process::start(&[&addresses[..], &rest[..]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_in_order_and_what_was_acknowledged_is_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = process(dir.path());
    let address = first.listening();
    let mut agent = Agent::connect(address, "node-1").await;
    assert_eq!(agent.deliver(&[record(1, "10.96.12.7:80")]).await, 1);
    let mut client = WhyDroppedClient::new(lab::channel(address).await);
    let mut events = client.watch_drops(v1::ListDropsRequest::default()).await.unwrap().into_inner();
    first.signal("-TERM");
    let began = Instant::now();
    let ended = agent.next().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the collector is shutting down"));
    let ended = timeout(BOUND, events.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let status = tokio::task::spawn_blocking(move || first.child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let second = process(dir.path());
    let mut client = WhyDroppedClient::new(lab::channel(second.listening()).await);
    let drops = client.list_drops(v1::ListDropsRequest::default()).await.unwrap().into_inner().drops;
    assert_eq!(drops.len(), 1);
}

#[test]
fn it_refuses_plain_text_off_loopback() {
    let refused = Command::new(env!("CARGO_BIN_EXE_why-dropped-collector"))
        .args(["--insecure", "--listen", "0.0.0.0:0", "--objects", "x"])
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert_eq!(
        text,
        "error: --insecure listens on loopback only, and 0.0.0.0:0 is not loopback\n\
         hint: give --tls-cert and --tls-key, or listen on 127.0.0.1 or [::1]\n"
    );
    assert!(refused.stdout.is_empty());
}

#[test]
fn flags_come_from_the_environment_too() {
    let printed = Command::new(env!("CARGO_BIN_EXE_why-dropped-collector"))
        .arg("--print-config")
        .envs([
            ("WHY_DROPPED_LISTEN", "127.0.0.1:9"),
            ("WHY_DROPPED_INSECURE", "true"),
            ("WHY_DROPPED_OBJECTS", "a,b"),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    for line in ["listen = 127.0.0.1:9\n", "insecure = true\n", "objects = a,b\n"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

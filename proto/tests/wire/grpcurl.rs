//! Our JSON is what `grpcurl -emit-defaults` prints of the same answer, fetched through server reflection.

use std::process::{Command, Output};

use proto::v1::why_dropped_server::{WhyDropped, WhyDroppedServer};
use proto::{DESCRIPTORS, convert, json, v1};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::samples;

struct Fixed;

#[tonic::async_trait]
impl WhyDropped for Fixed {
    type WatchDropsStream = tokio_stream::Empty<Result<v1::DropEvent, Status>>;

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::Explanation>, Status> {
        Ok(Response::new(match request.into_inner().source.as_str() {
            "empty" => v1::Explanation::default(),
            _ => convert::explanation(&samples::explanation()),
        }))
    }

    async fn list_drops(
        &self,
        _: Request<v1::ListDropsRequest>,
    ) -> Result<Response<v1::ListDropsResponse>, Status> {
        Ok(Response::new(drops()))
    }

    async fn watch_drops(
        &self,
        _: Request<v1::ListDropsRequest>,
    ) -> Result<Response<Self::WatchDropsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn list_nodes(
        &self,
        _: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        Ok(Response::new(nodes()))
    }
}

fn drops() -> v1::ListDropsResponse {
    let record = samples::drop_record();
    let bare = model::DropRecord { walk: None, ..samples::drop_record() };
    v1::ListDropsResponse {
        drops: [record, bare]
            .iter()
            .map(|record| convert::list_drop(record, convert::DropNames::default(), record.last_at))
            .collect(),
        omitted: 1,
        not_checked: vec![],
    }
}

fn nodes() -> v1::ListNodesResponse {
    v1::ListNodesResponse {
        nodes: vec![
            v1::Node::default(),
            v1::Node {
                name: "node-1".into(),
                last_seen_age_ms: Some(0),
                service_proxy: Some(v1::service_proxy::Value::Iptables.into()),
                ..Default::default()
            },
        ],
    }
}

/// Where the tool is, or nothing if it is not there and need not be.
fn grpcurl() -> Option<String> {
    let program = std::env::var("WHY_DROPPED_GRPCURL").unwrap_or_else(|_| "grpcurl".to_owned());
    if Command::new(&program).arg("-version").output().is_ok() {
        return Some(program);
    }
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true")
        || std::env::var("WHY_DROPPED_REQUIRE_ALL").is_ok_and(|all| all == "1");
    assert!(!required, "grpcurl is needed: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4");
    eprintln!("skipped: grpcurl is not installed");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn prints_the_same_json() {
    let Some(program) = grpcurl() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()
        .expect("reflection");
    let server = tonic::transport::Server::builder()
        .add_service(reflection)
        .add_service(WhyDroppedServer::new(Fixed))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);

    for (method, request, expected) in [
        ("Explain", "{}", json::pretty(&convert::explanation(&samples::explanation()))),
        ("Explain", r#"{"source":"empty"}"#, json::pretty(&v1::Explanation::default())),
        ("ListDrops", "{}", json::line(&drops())),
        ("ListNodes", "{}", json::line(&nodes())),
    ] {
        let mut call = Command::new(&program);
        call.args(["-plaintext", "-emit-defaults", "-max-time", "30", "-d", request, &address]);
        call.arg(format!("whydropped.v1.WhyDropped/{method}"));
        let output: Output = tokio::task::spawn_blocking(move || call.output())
            .await
            .expect("the call ends")
            .expect("grpcurl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("grpcurl prints JSON");
        let ours: serde_json::Value = serde_json::from_str(&expected).expect("we print JSON");
        assert_eq!(ours, theirs, "{method} {request}");
    }
    server.abort();
}

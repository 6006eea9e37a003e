//! The admin address: metrics, liveness and readiness over plain HTTP. Nothing here changes anything.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use cluster::Cluster;
use tokio::sync::watch;

use crate::archive::Archive;
use crate::fleet::Fleet;
use crate::metrics::{Metrics, gauge};

/// What the pages are made from.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) archive: Archive,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// The pages.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let generation = *admin.cluster.changed().borrow();
    admin.metrics.objects(&admin.cluster.status(), generation);
    admin.metrics.agents(admin.fleet.reports().values());
    if let Ok(stats) = admin.archive.stats().await {
        admin.metrics.store_records.set(gauge(stats.records));
        admin.metrics.store_bytes.set(gauge(stats.bytes));
        admin.metrics.store_evicted.set(gauge(stats.evicted));
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.text())
}

/// Ready when objects are synced and the port is open, which it is before this page is.
async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if *admin.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: shutting down\n".to_owned());
    }
    let status = admin.cluster.status();
    let missing = status.missing();
    let mut text = String::new();
    for gap in &missing {
        let _ = writeln!(text, "not ready: {gap}");
    }
    if missing.is_empty() {
        text.push_str("ready: objects synced, listening\n");
    }
    for problem in status.problems().filter(|problem| !missing.contains(problem)) {
        let _ = writeln!(text, "warning: {problem}");
    }
    let code = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text)
}

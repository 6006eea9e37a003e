//! The service `WhyDropped`: requests in, answers out. The work is done in `explain`, `drops` and `fleet`.

use std::pin::Pin;
use std::sync::Arc;

use cluster::Cluster;
use futures_util::Stream;
use model::NodeReport;
use proto::v1::why_dropped_server::WhyDropped;
use proto::{convert, v1};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::archive::Archive;
use crate::drops::{self, Watch};
use crate::explain::Explainer;
use crate::fleet::Fleet;
use crate::metrics::Metrics;

/// Bytes of a request: names and filters.
pub(crate) const REQUEST_BYTES: usize = 64 << 10;

/// Callers of WatchDrops at the same time.
const WATCHERS: i64 = 100;

/// The service.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) archive: Archive,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) explainer: Explainer,
    pub(crate) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl WhyDropped for Queries {
    type WatchDropsStream = Pin<Box<dyn Stream<Item = Result<v1::DropEvent, Status>> + Send>>;

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::Explanation>, Status> {
        let explanation = self.explainer.explain(request.get_ref()).await?;
        Ok(Response::new(convert::explanation(&explanation)))
    }

    async fn list_drops(
        &self,
        request: Request<v1::ListDropsRequest>,
    ) -> Result<Response<v1::ListDropsResponse>, Status> {
        let list = drops::list(&self.archive, &self.cluster, request.get_ref()).await?;
        Ok(Response::new(list))
    }

    async fn watch_drops(
        &self,
        request: Request<v1::ListDropsRequest>,
    ) -> Result<Response<Self::WatchDropsStream>, Status> {
        if self.metrics.watchers.get() >= WATCHERS {
            return Err(Status::resource_exhausted(format!("{WATCHERS} callers watch drops already")));
        }
        let watch = Watch::new(
            &self.archive,
            Arc::clone(&self.cluster),
            Arc::clone(&self.metrics),
            self.stopping.clone(),
            request.get_ref(),
        )?;
        Ok(Response::new(Box::pin(ReceiverStream::new(watch.start()))))
    }

    async fn list_nodes(
        &self,
        _request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let now = cluster::now();
        let mut reports = self.fleet.reports();
        // A node without an agent is one that nobody can answer for, which is worth seeing.
        for name in self.cluster.snapshot().nodes.keys() {
            reports.entry(name.clone()).or_insert_with(|| NodeReport {
                name: name.clone(),
                connected: false,
                last_seen: None,
                agent_version: String::new(),
                kernel: String::new(),
                service_proxy: None,
                sources: Vec::new(),
                lost: 0,
            });
        }
        let nodes = reports.values().map(|report| convert::node(report, now)).collect();
        Ok(Response::new(v1::ListNodesResponse { nodes }))
    }
}

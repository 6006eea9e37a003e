//! Lists and streams of drops: the records of the store with names put to them, filtered.

use std::sync::Arc;

use cluster::Cluster;
use model::{DropRecord, Key, Timestamp};
use proto::{convert, v1};
use store::Query;
use tokio::sync::{broadcast, mpsc, watch};
use tonic::Status;

use crate::archive::{Archive, window_start};
use crate::explain::{WINDOW, duration};
use crate::metrics::Metrics;
use crate::names::{NamedDrop, Names};

/// Drops in one list; more are counted. Far more than a person reads, far below the size of a message.
const LISTED: usize = 1_000;

/// Records looked at for one list.
const LOOKED_AT: usize = 50_000;

/// Bytes of one filter.
const FILTER_BYTES: usize = 512;

/// Drops waiting to be sent to one watcher.
const WAITING: usize = 256;

/// Which drops are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    node: Option<String>,
    pod: Option<Key>,
    service: Option<Key>,
    namespace: Option<String>,
    reason: Option<String>,
    by_cause: bool,
}

impl Filter {
    /// The filter of a request, or which part of it is wrong.
    pub(crate) fn read(request: &v1::ListDropsRequest) -> Result<Self, Status> {
        let fields = [
            ("node", &request.node),
            ("pod", &request.pod),
            ("service", &request.service),
            ("namespace", &request.namespace),
            ("reason", &request.reason),
            ("cause", &request.cause),
        ];
        for (field, value) in fields {
            if value.len() > FILTER_BYTES {
                return Err(Status::invalid_argument(format!("{field}: longer than {FILTER_BYTES} bytes")));
            }
        }
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Ok(Self {
            node: text(&request.node),
            pod: key("pod", &request.pod)?,
            service: key("service", &request.service)?,
            namespace: text(&request.namespace),
            reason: text(&request.reason),
            by_cause: !request.cause.is_empty(),
        })
    }

    fn fits(&self, record: &DropRecord, names: &NamedDrop) -> bool {
        !self.by_cause
            && self.node.as_ref().is_none_or(|node| *node == record.id.node)
            && self.reason.as_ref().is_none_or(|reason| reason.eq_ignore_ascii_case(&record.reason))
            && self.pod.as_ref().is_none_or(|pod| names.concerns_pod(pod))
            && self.service.as_ref().is_none_or(|service| names.service.as_ref() == Some(service))
            && self.namespace.as_ref().is_none_or(|namespace| names.concerns_namespace(namespace))
    }

    fn apply(&self, record: &DropRecord, names: &Names, now: Timestamp) -> Option<v1::Drop> {
        let named = names.drop(record);
        self.fits(record, &named).then(|| convert::list_drop(record, named.into_wire(), now))
    }

    /// What a caller must know about the list.
    fn not_checked(&self) -> Vec<v1::NotChecked> {
        if !self.by_cause {
            return Vec::new();
        }
        vec![v1::NotChecked {
            what: "causes of single drops".to_owned(),
            why: "a drop alone does not tell its cause, so none is listed for one".to_owned(),
            remedy: "ask about the connection: why-dropped SRC DST".to_owned(),
        }]
    }
}

/// A name as `NAMESPACE/NAME`; empty text is no name.
fn key(field: &str, text: &str) -> Result<Option<Key>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(Some(Key::new(namespace, name))),
        _ => {
            Err(Status::invalid_argument(format!("{field}: `{}` is not NAMESPACE/NAME", text.escape_debug())))
        }
    }
}

/// Recent drops, newest first.
pub(crate) async fn list(
    archive: &Archive,
    cluster: &Cluster,
    request: &v1::ListDropsRequest,
) -> Result<v1::ListDropsResponse, Status> {
    let filter = Filter::read(request)?;
    let window = duration("since", &request.since, WINDOW)?;
    let now = cluster::now();
    let query = Query { node: filter.node.clone(), ..Query::since(window_start(now, window), LOOKED_AT) };
    let found = archive.query(query).await.map_err(|error| unavailable(&error))?;
    let names = Names::of(&cluster.snapshot());
    let mut fitting = found.records.iter().filter_map(|record| filter.apply(record, &names, now));
    let drops: Vec<v1::Drop> = fitting.by_ref().take(LISTED).collect();
    let omitted = fitting.count() as u64;
    let mut not_checked = filter.not_checked();
    if found.cut > 0 {
        not_checked.push(v1::NotChecked {
            what: format!("{} older records", found.cut),
            why: format!("only the newest {LOOKED_AT} are looked at"),
            remedy: "look back less far, or at one node".to_owned(),
        });
    }
    Ok(v1::ListDropsResponse { drops, omitted: u32::try_from(omitted).unwrap_or(u32::MAX), not_checked })
}

fn unavailable(error: &crate::archive::Failure) -> Status {
    Status::unavailable(format!("the store cannot be read: {error}"))
}

/// A stream of drops to one caller.
#[derive(Debug)]
pub(crate) struct Watch {
    filter: Filter,
    feed: broadcast::Receiver<Arc<DropRecord>>,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
}

impl Watch {
    /// Begins to listen.
    pub(crate) fn new(
        archive: &Archive,
        cluster: Arc<Cluster>,
        metrics: Arc<Metrics>,
        stopping: watch::Receiver<bool>,
        request: &v1::ListDropsRequest,
    ) -> Result<Self, Status> {
        let filter = Filter::read(request)?;
        if filter.by_cause {
            return Err(Status::invalid_argument(
                "cause: a drop alone does not tell its cause; ask about the connection instead",
            ));
        }
        Ok(Self { filter, feed: archive.feed(), cluster, metrics, stopping })
    }

    /// Sends drops until the caller goes away or the collector stops. Runs in the background.
    pub(crate) fn start(mut self) -> mpsc::Receiver<Result<v1::DropEvent, Status>> {
        let (events, sent) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            self.metrics.watchers.inc();
            self.run(&events).await;
            self.metrics.watchers.dec();
        });
        sent
    }

    async fn run(&mut self, events: &mpsc::Sender<Result<v1::DropEvent, Status>>) {
        let mut changed = self.cluster.changed();
        let mut names = Names::of(&self.cluster.snapshot());
        loop {
            let received = tokio::select! {
                () = stopped(&mut self.stopping) => {
                    let _ = events.send(Err(Status::unavailable("the collector is shutting down"))).await;
                    return;
                }
                () = events.closed() => return,
                received = self.feed.recv() => received,
            };
            let event = match received {
                Ok(record) => {
                    if changed.has_changed().unwrap_or(false) {
                        changed.mark_unchanged();
                        names = Names::of(&self.cluster.snapshot());
                    }
                    let Some(drop) = self.filter.apply(&record, &names, cluster::now()) else { continue };
                    v1::drop_event::Event::Drop(drop)
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.metrics.missed(missed);
                    v1::drop_event::Event::Missed(u32::try_from(missed).unwrap_or(u32::MAX))
                }
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if events.send(Ok(v1::DropEvent { event: Some(event) })).await.is_err() {
                return;
            }
        }
    }
}

/// Returns when the collector stops, without holding on to the flag.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await.map(|_| ());
}

//! Lists and streams of drops: the records of the store with names put to them, filtered.

use std::sync::Arc;

use cluster::Cluster;
use diagnose::{DropCauses, Likely};
use model::{DropRecord, Key, ObjectSet, Timestamp};
use proto::{convert, v1};
use store::Query;
use tokio::sync::{broadcast, mpsc, watch};
use tonic::Status;

use crate::archive::{Archive, window_start};
use crate::causes::{self, Causes, WALK_HOLDS_MS, Walks};
use crate::explain::{WINDOW, duration, thinking};
use crate::metrics::Metrics;
use crate::names::{NamedDrop, Names};

/// Drops in one list; more are counted. Far more than a person reads, far below the size of a message.
const LISTED: usize = 1_000;

/// Records looked at for one list.
const LOOKED_AT: usize = 50_000;

/// Bytes of one filter.
const FILTER_BYTES: usize = 512;

/// Flows whose walks are kept for one watcher, some KB each. A node walks at most twenty a second, and mostly none.
const WATCHED_FLOWS: usize = 4_096;

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
    /// A cause, by its catalogue id.
    cause: Option<&'static str>,
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
            cause: causes::asked(&request.cause)?,
        })
    }

    /// Whether a drop is wanted, its cause left aside: that is dearer to tell.
    fn fits(&self, record: &DropRecord, names: &NamedDrop) -> bool {
        self.node.as_ref().is_none_or(|node| *node == record.id.node)
            && self.reason.as_ref().is_none_or(|reason| reason.eq_ignore_ascii_case(&record.reason))
            && self.pod.as_ref().is_none_or(|pod| names.concerns_pod(pod))
            && self.service.as_ref().is_none_or(|service| names.service.as_ref() == Some(service))
            && self.namespace.as_ref().is_none_or(|namespace| names.concerns_namespace(namespace))
    }

    /// Whether a drop with this cause is wanted.
    fn fits_cause(&self, cause: Option<Likely>) -> bool {
        self.cause.is_none_or(|wanted| cause.is_some_and(|cause| cause.id == wanted))
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
    let since = window_start(now, window);
    // What lies before the window is not listed, but may hold the walk of a flow that is.
    let from = since.minus_ms(WALK_HOLDS_MS);
    let query = Query { node: filter.node.clone(), ..Query::since(from, LOOKED_AT) };
    let found = archive.query(query).await.map_err(|error| unavailable(&error))?;
    let objects = cluster.snapshot();
    let cut = found.cut;
    let mut list = thinking(move || listed(&filter, &found.records, objects, since, now)).await?;
    if cut > 0 {
        list.not_checked.push(v1::NotChecked {
            what: format!("{cut} older records"),
            why: format!("only the newest {LOOKED_AT} are looked at"),
            remedy: "look back less far, or at one node".to_owned(),
        });
    }
    Ok(list)
}

/// The records that fit, newest first as they come.
fn listed(
    filter: &Filter,
    records: &[DropRecord],
    objects: Arc<ObjectSet>,
    since: Timestamp,
    now: Timestamp,
) -> v1::ListDropsResponse {
    let names = Names::of(&objects);
    let mut causes = Causes::new(objects);
    let mut walks = Walks::at_most(LOOKED_AT);
    let mut walked: Vec<Option<&DropRecord>> = records.iter().rev().map(|record| walks.of(record)).collect();
    walked.reverse();
    let mut list = v1::ListDropsResponse::default();
    for (record, walked) in records.iter().zip(walked).filter(|(record, _)| record.last_at >= since) {
        let named = names.drop(record);
        if !filter.fits(record, &named) {
            continue;
        }
        let full = list.drops.len() >= LISTED;
        let cause = if full && filter.cause.is_none() { None } else { causes.of(record, walked, now) };
        if !filter.fits_cause(cause) {
            continue;
        }
        if full {
            list.omitted = list.omitted.saturating_add(1);
        } else {
            list.drops.push(convert::list_drop(record, named.into_wire(cause), now));
        }
    }
    list.not_checked.extend(causes.not_told());
    list
}

fn unavailable(error: &crate::archive::Failure) -> Status {
    Status::unavailable(format!("the store cannot be read: {error}"))
}

/// A stream of drops to one caller.
#[derive(Debug)]
pub(crate) struct Watch {
    filter: Filter,
    /// Until it has begun: whoever holds it keeps the store open.
    archive: Option<Archive>,
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
        let (feed, archive) = (archive.feed(), Some(archive.clone()));
        Ok(Self { filter, archive, feed, cluster, metrics, stopping })
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

    /// The walks of flows that were dropped just before. Without them the first records would lack a cause; no more.
    async fn walks(&mut self) -> Walks<Arc<DropRecord>> {
        let since = cluster::now().minus_ms(WALK_HOLDS_MS);
        let mut walks = Walks::at_most(WATCHED_FLOWS);
        let Some(archive) = self.archive.take() else { return walks };
        let query = Query { node: self.filter.node.clone(), ..Query::since(since, LOOKED_AT) };
        match archive.query(query).await {
            Ok(found) => {
                for record in found.records.into_iter().rev().filter(|record| record.walk.is_some()) {
                    walks.of(Arc::new(record));
                }
            }
            Err(error) => tracing::warn!(%error, "earlier walks could not be read for a watcher"),
        }
        walks
    }

    async fn run(&mut self, events: &mpsc::Sender<Result<v1::DropEvent, Status>>) {
        let mut changed = self.cluster.changed();
        let mut watched = Some(Watched::of(self.cluster.snapshot()));
        let mut walks = self.walks().await;
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
                    let walked = walks.of(Arc::clone(&record));
                    let renewed = changed.has_changed().unwrap_or(false);
                    changed.mark_unchanged();
                    let known = watched.take().filter(|_| !renewed);
                    let objects = self.cluster.snapshot();
                    let filter = self.filter.clone();
                    let told = thinking(move || {
                        let mut watched = known.unwrap_or_else(|| Watched::of(objects));
                        let drop = watched.drop(&filter, &record, walked.as_deref(), cluster::now());
                        (watched, drop)
                    });
                    let drop = match told.await {
                        Ok((known, drop)) => {
                            watched = Some(known);
                            drop
                        }
                        Err(status) => {
                            let _ = events.send(Err(status)).await;
                            return;
                        }
                    };
                    let Some(drop) = drop else { continue };
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

/// Names and causes by the objects of one moment.
struct Watched {
    names: Names,
    causes: DropCauses,
}

impl Watched {
    fn of(objects: Arc<ObjectSet>) -> Self {
        Self { names: Names::of(&objects), causes: DropCauses::new(objects) }
    }

    /// A drop as the wire wants it, if it is wanted.
    fn drop(
        &mut self,
        filter: &Filter,
        record: &DropRecord,
        walked: Option<&DropRecord>,
        now: Timestamp,
    ) -> Option<v1::Drop> {
        let named = self.names.drop(record);
        if !filter.fits(record, &named) {
            return None;
        }
        let walk = walked.and_then(|walked| walked.walk.as_deref());
        let cause = self.causes.of(record, walk, now);
        filter.fits_cause(cause).then(|| convert::list_drop(record, named.into_wire(cause), now))
    }
}

/// Returns when the collector stops, without holding on to the flag.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await.map(|_| ());
}

//! The store as the async part sees it: one writer that joins the batches of all agents, and a feed of what is new.
//!
//! The store blocks, so every call to it runs where blocking is allowed.

use std::sync::Arc;
use std::time::Duration;

use model::{DropRecord, Timestamp};
use store::{Appended, Found, Query, Stats, Store, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

/// Batches joined into one append.
const JOINED: usize = 256;

/// Batches that wait for the writer; agents beyond that are read more slowly.
const WAITING: usize = 512;

/// Records a watcher of drops may lag behind before it misses some.
const FEED: usize = 4_096;

/// How much evidence a crash may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often old evidence is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(30);

struct Batch {
    records: Vec<DropRecord>,
    done: oneshot::Sender<Result<Appended, Arc<StoreError>>>,
}

/// A handle to the store; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    store: Arc<Store>,
    batches: mpsc::Sender<Batch>,
    feed: broadcast::Sender<Arc<DropRecord>>,
}

impl Archive {
    /// Takes a store and returns the task that writes to it, which ends when the last handle is gone.
    pub(crate) fn new(store: Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let store = Arc::new(store);
        let (batches, waiting) = mpsc::channel(WAITING);
        let (feed, _) = broadcast::channel(FEED);
        let writer = write(Arc::clone(&store), waiting, feed.clone());
        (Self { store, batches, feed }, writer)
    }

    /// Keeps records. When this returns, queries see them.
    pub(crate) async fn append(&self, records: Vec<DropRecord>) -> Result<Appended, Failure> {
        let (done, outcome) = oneshot::channel();
        self.batches.send(Batch { records, done }).await.map_err(|_| Failure::Stopped)?;
        outcome.await.map_err(|_| Failure::Stopped)?.map_err(Failure::Store)
    }

    /// The records that fit, newest first.
    pub(crate) async fn query(&self, query: Query) -> Result<Found, Failure> {
        let store = Arc::clone(&self.store);
        blocking(move || store.query(&query)).await
    }

    /// What the store holds.
    pub(crate) async fn stats(&self) -> Result<Stats, Failure> {
        let store = Arc::clone(&self.store);
        blocking(move || store.stats()).await
    }

    /// Puts everything on disk.
    pub(crate) async fn sync(&self) -> Result<(), Failure> {
        let store = Arc::clone(&self.store);
        blocking(move || store.sync()).await
    }

    /// Everything that is appended from now on.
    pub(crate) fn feed(&self) -> broadcast::Receiver<Arc<DropRecord>> {
        self.feed.subscribe()
    }
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It said so.
    #[error("{}", with_source(.0))]
    Store(Arc<StoreError>),
    /// The collector is stopping.
    #[error("the collector is shutting down")]
    Stopped,
}

fn with_source(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome.map_err(|error| Failure::Store(Arc::new(error))),
        // The runtime is going, or the call panicked and was reported by the panic hook.
        Err(_) => Err(Failure::Stopped),
    }
}

async fn write(
    store: Arc<Store>,
    mut waiting: mpsc::Receiver<Batch>,
    feed: broadcast::Sender<Arc<DropRecord>>,
) {
    let mut sync = interval(SYNC_EVERY);
    sync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut prune = interval(PRUNE_EVERY);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsynced = false;
    loop {
        let mut batches = Vec::new();
        tokio::select! {
            received = waiting.recv_many(&mut batches, JOINED) => {
                if received == 0 {
                    return;
                }
                append(&store, batches, &feed).await;
                unsynced = true;
            }
            _ = sync.tick(), if unsynced => {
                let store = Arc::clone(&store);
                report("sync", blocking(move || store.sync()).await);
                unsynced = false;
            }
            _ = prune.tick() => {
                let store = Arc::clone(&store);
                report("prune", blocking(move || store.prune(cluster::now())).await);
                unsynced = true;
            }
        }
    }
}

async fn append(store: &Arc<Store>, batches: Vec<Batch>, feed: &broadcast::Sender<Arc<DropRecord>>) {
    // Each batch is appended by itself: what was new and what was not is told to each agent's counters.
    let store = Arc::clone(store);
    let appended = tokio::task::spawn_blocking(move || {
        batches
            .into_iter()
            .map(|batch| {
                let outcome = store.append(&batch.records).map_err(Arc::new);
                (batch, outcome)
            })
            .collect::<Vec<_>>()
    });
    for (batch, outcome) in appended.await.unwrap_or_default() {
        // A batch that is sent again after a lost acknowledgement is not news.
        if outcome.as_ref().is_ok_and(|appended| appended.new > 0) && feed.receiver_count() > 0 {
            for record in batch.records {
                let _ = feed.send(Arc::new(record));
            }
        }
        let _ = batch.done.send(outcome);
    }
}

fn report<T>(what: &str, outcome: Result<T, Failure>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "{what} the store");
    }
}

/// The moment the store's default window begins.
pub(crate) fn window_start(now: Timestamp, window: Duration) -> Timestamp {
    now.minus_ms(u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
}

//! Follows one kind: list, then watch from there, for ever.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use model::{Key, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::apply::{Item, Update};
use super::request;
use super::trouble::Trouble;
use crate::status::Kind;

/// How much longer than its own time limit a watch may stay silent before the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(15 + request::WATCH_SECONDS as u64);

/// How long one page may take.
const PAGE_TIMEOUT: Duration = Duration::from_mins(1);

/// A watch that lasted so long ended at its time limit and not because something broke.
const FULL_WATCH: Duration = Duration::from_secs(request::WATCH_SECONDS as u64 - 1);

/// A watch that ends sooner than this is not asked for again at once.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// How often a kind that the API server does not have is looked for again: its definition may be installed any time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Lists and watches until nobody takes the updates any more.
pub(super) async fn follow(client: Client, kind: Kind, updates: mpsc::Sender<Update>) {
    let mut pause = Pause::default();
    let mut version: Option<String> = None;
    let mut listed_before = false;
    while !updates.is_closed() {
        let outcome = match &mut version {
            None => match list(&client, kind).await {
                Ok(listed) => {
                    // A kind that was not there and is not there is no news.
                    let resync = listed_before && !listed.version.is_empty();
                    listed_before = true;
                    let Listed { items, version: at_version } = listed;
                    let _ = updates.send(Update::Replaced { kind, items, at: crate::now(), resync }).await;
                    if at_version.is_empty() {
                        sleep(LOOK_AGAIN).await;
                    } else {
                        version = Some(at_version);
                    }
                    Ok(())
                }
                Err(trouble) => Err((trouble, "list")),
            },
            Some(version) => {
                let began = Instant::now();
                let ended = watch(&client, kind, version, &updates).await;
                if ended.is_ok() && began.elapsed() >= FULL_WATCH {
                    // The server ended it at its time limit, so everything up to now was delivered. A kind that nobody
                    // changed since the server started gets no bookmark (apiserver `Cacher.dispatchEvents`).
                    let _ = updates.send(Update::Current { kind, at: crate::now() }).await;
                } else if ended.is_ok() && began.elapsed() < SHORTEST_WATCH {
                    sleep(SHORTEST_WATCH).await;
                }
                ended.map_err(|trouble| (trouble, "watch"))
            }
        };
        match outcome {
            Ok(()) => pause.reset(),
            // A definition that was deleted takes its objects with it.
            Err((trouble, _)) if trouble.gone() || kind.may_be_absent() && trouble.not_found() => {
                tracing::info!(resource = kind.resource(), "watch cannot be resumed; listing anew");
                version = None;
                // A list may end so as well, when its pages outlive the server's patience.
                sleep(SHORTEST_WATCH).await;
            }
            Err((trouble, verb)) => {
                let update = trouble.update(kind, verb);
                if let Update::Failed { problem, .. } = &update {
                    tracing::warn!(resource = kind.resource(), %problem, "objects cannot be followed");
                }
                let _ = updates.send(update).await;
                pause.wait().await;
            }
        }
    }
}

/// All objects of a kind.
pub(super) struct Listed {
    pub(super) items: Vec<Item>,
    /// The resource version they are of; empty where the API server does not have the kind.
    version: String,
}

/// Lists all objects of a kind.
pub(super) async fn list(client: &Client, kind: Kind) -> Result<Listed, Trouble> {
    let mut items = Vec::new();
    if kind.may_be_absent() {
        let served = timeout(PAGE_TIMEOUT, request::served(client, kind)).await;
        if !served.map_err(|_| Trouble::Silent)?? {
            return Ok(Listed { items, version: String::new() });
        }
    }
    let mut token = String::new();
    loop {
        let page = timeout(PAGE_TIMEOUT, request::list_page(client, kind, &token))
            .await
            .map_err(|_| Trouble::Silent)??;
        items.extend(page.items.iter().filter_map(|value| {
            let recorded = objects::api_changed_at(value);
            // An object that records no time may have changed just now; one from the future (another clock) as well.
            let changed_at = if recorded == Timestamp(0) { crate::now() } else { recorded.min(crate::now()) };
            read(kind, value, changed_at)
        }));
        if page.metadata.continue_token.is_empty() {
            return Ok(Listed { items, version: page.metadata.resource_version });
        }
        token = page.metadata.continue_token;
    }
}

/// Passes changes on until the server ends the watch, moving `version` along.
async fn watch(
    client: &Client,
    kind: Kind,
    version: &mut String,
    updates: &mpsc::Sender<Update>,
) -> Result<(), Trouble> {
    let events = timeout(PAGE_TIMEOUT, request::watch(client, kind, version)).await;
    let mut events = pin!(events.map_err(|_| Trouble::Silent)??);
    let mut update = Some(Update::Connected { kind });
    loop {
        if let Some(update) = update.take()
            && updates.send(update).await.is_err()
        {
            return Ok(());
        }
        let Some(event) = timeout(SILENCE, events.next()).await.map_err(|_| Trouble::Silent)? else {
            return Ok(());
        };
        let at = crate::now();
        update = match event? {
            WatchEvent::Added(value) | WatchEvent::Modified(value) => {
                advance(version, &value);
                read(kind, &value, at).map(|item| Update::Applied { kind, item: Box::new(item), at })
            }
            WatchEvent::Deleted(value) => {
                advance(version, &value);
                Some(Update::Deleted { kind, key: key(&value), at })
            }
            WatchEvent::Bookmark(bookmark) => {
                version.clone_from(&bookmark.metadata.resource_version);
                Some(Update::Current { kind, at })
            }
            WatchEvent::Error(status) => return Err(Trouble::from(status.as_ref())),
        };
    }
}

/// Objects without a name are none; they are left out.
fn read(kind: Kind, value: &Value, changed_at: Timestamp) -> Option<Item> {
    let key = key(value);
    if key.name.is_empty() {
        return None;
    }
    let (object, gaps) = objects::from_api(kind.name(), value, changed_at);
    Some(Item { key, object, gaps })
}

fn key(value: &Value) -> Key {
    let text = |field| value["metadata"][field].as_str().unwrap_or_default();
    Key::new(text("namespace"), text("name"))
}

fn advance(version: &mut String, value: &Value) {
    if let Some(seen) = value["metadata"]["resourceVersion"].as_str() {
        seen.clone_into(version);
    }
}

/// Growing pauses between failures, spread so that all kinds do not come back at the same moment.
struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: PAUSES.0 }
    }
}

impl Pause {
    const fn reset(&mut self) {
        self.next = PAUSES.0;
    }

    async fn wait(&mut self) {
        // Between half and all of it; the hasher's random keys are the randomness at hand.
        let spread = RandomState::new().hash_one(()) % 512;
        let part = u32::try_from(512 + spread).unwrap_or(1024);
        sleep(self.next * part / 1024).await;
        self.next = (self.next * 2).min(PAUSES.1);
    }
}

//! Keeps objects in step with their files.
//!
//! Files are looked at twice a second instead of waiting for inotify events: a ConfigMap volume swaps a symbolic link
//! of a directory, editors rename over the old inode, and network and overlay file systems send no events for changes
//! made elsewhere; each needs its own trick with inotify, and none with `stat`. A thousand files cost about a
//! millisecond a look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Gap, ObjectSet, Timestamp};
use objects::ReadObjects;

use super::find::{Signature, signatures};
use super::{Limits, read_within};
use crate::error::{FilesError, StartError};
use crate::history;
use crate::shared::Shared;
use crate::status::{Kind, KindStatus, Status};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long files must have stayed the same before they are read: a half-written file may well be valid, and would
/// then be taken for one that lost its second half.
const SETTLE: Duration = Duration::from_millis(100);

/// How many settling pauses are waited for; whoever writes for longer is read again at a later look.
const SETTLE_TRIES: u32 = 10;

type Look = (Vec<Signature>, Vec<String>);

/// Reads for the first time and returns the task that follows.
pub(crate) async fn start(
    paths: Vec<PathBuf>,
) -> Result<(Arc<Shared>, impl Future<Output = ()> + Send + 'static), StartError> {
    let paths: Arc<[PathBuf]> = paths.into();
    let (look, read) = reread(&paths).await;
    let ReadObjects { set, warnings } = read?;
    for warning in &warnings {
        tracing::warn!(%warning, "object files");
    }
    let status = status_of(&set);
    let shared = Arc::new(Shared::new(set, status));
    let follow = follow(paths, Arc::clone(&shared), look);
    Ok((shared, follow))
}

async fn follow(paths: Arc<[PathBuf]>, shared: Arc<Shared>, mut taken: Look) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if look(&paths).await == taken {
            confirm(&shared);
            continue;
        }
        let (seen, read) = reread(&paths).await;
        taken = seen;
        match read {
            Ok(read) => accept(&shared, read),
            Err(error) => refuse(&shared, &error),
        }
    }
}

/// Nothing changed, so the objects are current as of now; unless the last change could not be taken.
fn confirm(shared: &Shared) {
    if shared.status().problem.is_none() {
        shared.confirm(&Kind::ALL, crate::now());
    }
}

fn accept(shared: &Shared, read: ReadObjects) {
    let ReadObjects { set: mut new, warnings } = read;
    for warning in &warnings {
        tracing::warn!(%warning, "object files");
    }
    shared.update(|set, status| {
        history::carry_over(set, &mut new, crate::now());
        let rereads = status.rereads + 1;
        *status = Status { rereads, ..status_of(&new) };
        *set = new;
    });
    tracing::info!("object files changed and were read again");
}

fn refuse(shared: &Shared, error: &FilesError) {
    let gap = Gap::new(
        "the object files as they are now",
        format!("they changed and could not be taken, the reading before is used: {}", first_lines(error)),
    )
    .with_remedy("correct the files; they are read again by themselves");
    tracing::warn!(error = %error, "object files changed and could not be taken; the reading before stays");
    shared.update(|set, status| {
        if let Some(old) = status.problem.take() {
            set.gaps.retain(|known| *known != old);
        }
        set.gaps.push(gap.clone());
        status.rereads += 1;
        status.problem = Some(gap);
    });
}

/// An answer has room for the first few; the log has all.
fn first_lines(error: &FilesError) -> String {
    const SHOWN: usize = 3;
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.iter().take(SHOWN).copied().collect::<Vec<_>>().join("; ");
    if lines.len() > SHOWN { format!("{shown}; and {} more", lines.len() - SHOWN) } else { shown }
}

/// Reads once nobody seems to be writing, and tells what the files looked like when it began.
async fn reread(paths: &Arc<[PathBuf]>) -> (Look, Result<ReadObjects, FilesError>) {
    let mut before = look(paths).await;
    for _ in 0..SETTLE_TRIES {
        if !recently_written(&before) {
            break;
        }
        tokio::time::sleep(SETTLE).await;
        let after = look(paths).await;
        if after == before {
            break;
        }
        before = after;
    }
    let paths = Arc::clone(paths);
    let read = tokio::task::spawn_blocking(move || read_within(&paths, crate::now(), Limits::default()));
    // A change while it was being read differs from `before` and is seen by the next look.
    (before, join(read).await)
}

fn recently_written((signatures, _): &Look) -> bool {
    let horizon = crate::now().minus_ms(1_000);
    signatures.iter().any(|signature| signature.changed_at() >= horizon)
}

async fn look(paths: &Arc<[PathBuf]>) -> Look {
    let paths = Arc::clone(paths);
    join(tokio::task::spawn_blocking(move || signatures(&paths, Limits::default()))).await
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only at shutdown, when this task is being dropped as well.
            Err(_) => std::future::pending().await,
        },
    }
}

fn status_of(set: &ObjectSet) -> Status {
    let kinds = Kind::ALL
        .into_iter()
        .map(|kind| KindStatus {
            objects: kind.count(set),
            synced: true,
            current_at: set.current_at,
            ..KindStatus::new(kind)
        })
        .collect();
    Status { kinds, ..Status::default() }
}

impl Signature {
    fn changed_at(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.changed;
        let milliseconds = seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000);
        Timestamp(u64::try_from(milliseconds).unwrap_or(0))
    }
}

//! The one copy of the objects that everybody reads, and how it is replaced.
//!
//! A snapshot is a reference to it. Changing it copies it only while somebody still holds a snapshot of the state
//! before, so churn without questions copies nothing, and a question costs at most one copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ObjectSet, Timestamp};
use tokio::sync::watch;

use crate::status::{Kind, Status};

/// A snapshot's time is brought forward in steps of this, so that questions in quick succession share one copy.
const STEP_MS: u64 = 1_000;

#[derive(Debug)]
struct State {
    set: Arc<ObjectSet>,
    status: Status,
}

/// Objects and their status, shared between the tasks that change them and everybody who reads.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    generation: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(set: ObjectSet, status: Status) -> Self {
        Self { state: Mutex::new(State { set: Arc::new(set), status }), generation: watch::Sender::new(0) }
    }

    pub(crate) fn snapshot(&self) -> Arc<ObjectSet> {
        let mut state = self.lock();
        let current_at = state.status.current_at();
        if current_at >= Timestamp(state.set.current_at.0.saturating_add(STEP_MS)) {
            Arc::make_mut(&mut state.set).current_at = current_at;
        }
        Arc::clone(&state.set)
    }

    pub(crate) fn status(&self) -> Status {
        self.lock().status.clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Changes both under one lock, then wakes the waiting.
    pub(crate) fn update(&self, change: impl FnOnce(&mut ObjectSet, &mut Status)) {
        {
            let mut state = self.lock();
            let State { set, status } = &mut *state;
            change(Arc::make_mut(set), status);
        }
        self.generation.send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    /// Notes that some kinds are current as of `at`, unchanged.
    pub(crate) fn confirm(&self, kinds: &[Kind], at: Timestamp) {
        let mut state = self.lock();
        for kind in &mut state.status.kinds {
            if kinds.contains(&kind.kind) {
                kind.current_at = kind.current_at.max(at);
            }
        }
    }

    /// A panic inside `update` may leave a half-applied change; the next listing repairs it, a dead collector would not.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

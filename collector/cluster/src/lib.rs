//! Keeps the cluster's objects current: from files that are watched for change, or from the API server.
//!
//! It reads and stamps objects; it does not validate them (`objects` does) and judges nothing about them.

#![forbid(unsafe_code)]

mod api;
mod error;
mod files;
mod history;
mod shared;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Gap, ObjectSet, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use api::read_once;
pub use error::{ConnectError, FileProblem, FileProblemKind, FilesError, StartError};
pub use files::{Limits, read_files};
pub use status::{Kind, KindStatus, Status};

use shared::Shared;

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// YAML and JSON files, and directories of them.
    Files(Vec<PathBuf>),
    /// The API server of a kubeconfig.
    Kube {
        /// The kubeconfig; `None` for `$KUBECONFIG` or `~/.kube/config`.
        kubeconfig: Option<PathBuf>,
        /// The context in it; `None` for its current one.
        context: Option<String>,
    },
    /// The API server of the pod this process runs in, with its service account.
    InCluster,
}

/// The objects, kept current by tasks that end when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Cluster {
    /// Begins to keep objects current.
    ///
    /// With files, the first reading is done before this returns, and a refusal is an error: there is nothing to fall
    /// back to yet. With an API server only the configuration is read; an unreachable server is retried for ever and
    /// told by [`Cluster::missing`].
    pub async fn start(source: Source) -> Result<Self, StartError> {
        let mut tasks = JoinSet::new();
        let shared = match source {
            Source::Files(paths) => {
                let (shared, follow) = files::start(paths).await?;
                tasks.spawn(follow);
                shared
            }
            Source::Kube { kubeconfig, context } => {
                let client = api::connect(kubeconfig.as_deref(), context.as_deref()).await?;
                api::start(&client, &mut tasks)
            }
            Source::InCluster => api::start(&api::connect_in_cluster()?, &mut tasks),
        };
        Ok(Self { shared, _tasks: tasks })
    }

    /// The objects as they are now. Cheap: a reference, not a copy.
    pub fn snapshot(&self) -> Arc<ObjectSet> {
        self.shared.snapshot()
    }

    /// Wakes whenever the objects, or what is known about their currency, changed. The value counts the changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.subscribe()
    }

    /// What is still to be read before answers mean anything; empty when ready. A kind that the API server refuses to
    /// show is not waited for: it is a gap of every answer instead.
    pub fn missing(&self) -> Vec<Gap> {
        self.status().missing()
    }

    /// Whether nothing is [`missing`](Self::missing).
    pub fn ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// How each kind stands, for metrics and the readiness page.
    pub fn status(&self) -> Status {
        self.shared.status()
    }
}

/// The wall clock. The pure crates take time as a value; this is where it comes from.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

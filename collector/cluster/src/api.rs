//! Objects from the API server: one list-and-watch per kind, and one task that applies what they bring.
//!
//! The watch loop is our own over kube's client, not kube's `watcher`: that one swallows bookmarks, which are what
//! says "nothing has changed up to now", and it parses into typed objects, while ours are read from the raw JSON by
//! the same tolerant reader as files.

mod apply;
mod request;
mod trouble;
mod watch;

use std::path::Path;
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use model::ObjectSet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::ConnectError;
use crate::shared::Shared;
use crate::status::{Kind, KindStatus, Status};
use apply::{Applier, Update};

/// Updates waiting to be applied; a kind that brings more than this waits, which slows its watch and loses nothing.
const WAITING_UPDATES: usize = 1_024;

/// A client for a kubeconfig's API server.
pub(crate) async fn connect(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => {
            let wrong = |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
            let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)?
        }
        None => Config::from_kubeconfig(&options)
            .await
            .map_err(|source| ConnectError::DefaultKubeconfig(Box::new(source)))?,
    };
    client(config)
}

/// A client for the API server of the pod this process runs in. Its address comes from the environment, not from
/// DNS, so that a cluster without working DNS can still be asked about.
pub(crate) fn connect_in_cluster() -> Result<Client, ConnectError> {
    client(Config::incluster_env().map_err(ConnectError::InCluster)?)
}

fn client(config: Config) -> Result<Client, ConnectError> {
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ConnectError::Client { server, source: Box::new(source) })
}

/// Starts the tasks that keep the objects current.
pub(crate) fn start(client: &Client, tasks: &mut JoinSet<()>) -> Arc<Shared> {
    let (set, status) = nothing_yet();
    let shared = Arc::new(Shared::new(set, status));
    let (updates, waiting) = mpsc::channel(WAITING_UPDATES);
    for kind in Kind::ALL {
        tasks.spawn(watch::follow(client.clone(), kind, updates.clone()));
    }
    tasks.spawn(apply::apply_all(Arc::clone(&shared), waiting));
    shared
}

/// Lists everything once, without watching. Kinds that cannot be had are gaps of the set; if none can, an error.
pub async fn read_once(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<ObjectSet, ConnectError> {
    let client = connect(kubeconfig, context).await?;
    let mut lists = JoinSet::new();
    for kind in Kind::ALL {
        let client = client.clone();
        lists.spawn(async move { (kind, watch::list(&client, kind).await) });
    }
    let (mut set, mut status) = nothing_yet();
    let mut applier = Applier::default();
    while let Some(joined) = lists.join_next().await {
        // A panicking list has been reported by the panic hook; its kind stays "not listed".
        let Ok((kind, listed)) = joined else { continue };
        let update = match listed {
            Ok(listed) => Update::Replaced { kind, items: listed.items, at: crate::now(), resync: false },
            Err(trouble) => trouble.update(kind, "list"),
        };
        applier.apply(&mut set, &mut status, [update]);
    }
    // That a kind is not there was learnt without a right to anything.
    if status.kinds.iter().any(|kind| kind.synced && !kind.kind.may_be_absent()) {
        return Ok(set);
    }
    let why = status.problems().next().cloned();
    Err(ConnectError::Nothing(why.unwrap_or_else(|| model::Gap::new("objects", "nothing was listed"))))
}

fn nothing_yet() -> (ObjectSet, Status) {
    let mut set = ObjectSet { origin: model::objects::Origin::ApiServer, ..ObjectSet::default() };
    for kind in Kind::ALL {
        kind.cover(&mut set.coverage, false);
    }
    let status = Status { kinds: Kind::ALL.map(KindStatus::new).to_vec(), ..Status::default() };
    (set, status)
}

//! The running collector: what is opened in which order, and how it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, StartError};
use proto::v1::agent_link_server::AgentLinkServer;
use proto::v1::why_dropped_server::WhyDroppedServer;
use store::{Limits, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::admin::{self, Admin};
use crate::archive::Archive;
use crate::config::{Config, ConfigError, TlsFiles};
use crate::explain::Explainer;
use crate::fleet::{End, Fleet};
use crate::ingest::{Ingest, MESSAGE_BYTES};
use crate::metrics::Metrics;
use crate::queries::{Queries, REQUEST_BYTES};

/// A peer that does not answer a ping for so long is gone; a node that loses power sends no goodbye.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long calls may take to end at shutdown; with the store's last sync it stays under two seconds.
const DRAIN: Duration = Duration::from_secs(1);

/// Calls open on one connection.
const CALLS: usize = 64;

/// Why the collector does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The flags make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The objects cannot be taken.
    #[error(transparent)]
    Objects(#[from] StartError),
    /// The store cannot be opened.
    #[error("open the store: {0}")]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("read {}", path.display().to_string().escape_debug())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate and key make no TLS server.
    #[error("use the TLS certificate and key")]
    Tls(#[source] tonic::transport::Error),
    /// The schema that reflection shows does not load.
    #[error("load the schema for reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server ended by itself.
    #[error("serve")]
    Serve(#[source] tonic::transport::Error),
}

impl RunError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => Some(error.hint().to_owned()),
            Self::Objects(StartError::Files(cluster::FilesError::Refused(refusals))) => {
                refusals.iter().find_map(|refusal| refusal.hint.clone())
            }
            Self::Store(StoreError::Directory { .. }) => {
                Some("give a directory this user can write to with --data-dir".to_owned())
            }
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some("another process listens there; choose another port with --listen or --admin".to_owned())
            }
            _ => None,
        }
    }
}

/// A collector that runs.
#[derive(Debug)]
pub struct Collector {
    listen: SocketAddr,
    admin: SocketAddr,
    fleet: Arc<Fleet>,
    archive: Archive,
    stop: watch::Sender<bool>,
    server: Mutex<JoinHandle<Result<(), tonic::transport::Error>>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    /// Opens everything and begins to serve.
    pub async fn start(config: Config) -> Result<Self, RunError> {
        let identity = config.tls.as_ref().map(identity).transpose()?;
        // The port first: a collector that cannot have it should say so before it lists a cluster.
        let (listener, listen) = bind(config.listen).await?;
        let (admin_listener, admin) = bind(config.admin).await?;
        let limits = Limits { keep: config.keep, max_bytes: config.keep_bytes };
        let (archive, writer) = Archive::new(Store::open(&config.data_dir, limits)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(writer);
        let cluster = Arc::new(Cluster::start(config.objects).await?);
        let fleet = Arc::new(Fleet::default());
        let metrics = Arc::new(Metrics::new());
        let (stop, stopping) = watch::channel(false);
        let pages = admin::router(Admin {
            cluster: Arc::clone(&cluster),
            fleet: Arc::clone(&fleet),
            archive: archive.clone(),
            metrics: Arc::clone(&metrics),
            stopping: stopping.clone(),
        });
        tasks.spawn(async move {
            if let Err(error) = axum::serve(admin_listener, pages).await {
                tracing::error!(%error, "the admin address ended");
            }
        });
        let ingest =
            Ingest { fleet: Arc::clone(&fleet), archive: archive.clone(), metrics: Arc::clone(&metrics) };
        let explainer =
            Explainer::new(Arc::clone(&cluster), Arc::clone(&fleet), archive.clone(), Arc::clone(&metrics));
        let queries = Queries {
            cluster,
            fleet: Arc::clone(&fleet),
            archive: archive.clone(),
            metrics,
            explainer,
            stopping: stopping.clone(),
        };
        let server = serve(listener, identity, ingest, queries, stopping).await?;
        let tls = config.tls.is_some();
        tracing::info!(%listen, %admin, tls, data_dir = %config.data_dir.display(), "collector is listening");
        Ok(Self { listen, admin, fleet, archive, stop, server: Mutex::new(server), _tasks: tasks })
    }

    /// The address for agents and questions, its port known.
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The admin address, its port known.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Waits for the server to end by itself, which it does only when it fails.
    pub async fn ended(&self) -> Result<(), RunError> {
        match (&mut *self.server.lock().await).await {
            Ok(outcome) => outcome.map_err(RunError::Serve),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
        }
    }

    /// Takes no more calls, ends streams with a reason, and puts everything that was acknowledged on disk.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        self.fleet.end_all(End::Shutdown);
        let mut server = self.server.into_inner();
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            tracing::warn!("calls that did not end within {} ms are cut off", DRAIN.as_millis());
            server.abort();
        }
        if let Err(error) = self.archive.sync().await {
            tracing::error!(%error, "sync the store at shutdown");
        }
        tracing::info!("collector stopped");
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn identity(files: &TlsFiles) -> Result<Identity, RunError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| RunError::TlsFile { path: path.clone(), source })
    };
    Ok(Identity::from_pem(read(&files.cert)?, read(&files.key)?))
}

async fn serve(
    listener: TcpListener,
    identity: Option<Identity>,
    ingest: Ingest,
    queries: Queries,
    mut stopping: watch::Receiver<bool>,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, RunError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WhyDroppedServer<Queries>>().await;
    health.set_serving::<AgentLinkServer<Ingest>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .concurrency_limit_per_connection(CALLS);
    if let Some(identity) = identity {
        let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        server = server.tls_config(tls).map_err(RunError::Tls)?;
    }
    let router = server
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(RunError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(RunError::Reflection)?)
        .add_service(WhyDroppedServer::new(queries).max_decoding_message_size(REQUEST_BYTES))
        .add_service(AgentLinkServer::new(ingest).max_decoding_message_size(MESSAGE_BYTES));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(tokio::spawn(router.serve_with_incoming_shutdown(incoming, async move {
        // Fails only when the collector itself is gone, which is a reason to stop as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        health.set_not_serving::<WhyDroppedServer<Queries>>().await;
        health.set_not_serving::<AgentLinkServer<Ingest>>().await;
    })))
}

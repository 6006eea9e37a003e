//! Puts the parts together, runs them, and takes them apart again in order when asked to stop.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use kernel::Namespaces;
use model::SourceState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use trace::{Scope, Tracer};

use crate::config::Config;
use crate::health::{self, Health};
use crate::link::{Link, Pace};
use crate::metrics::Metrics;
use crate::node::{Node, Request, SharedSeen, in_words};
use crate::outbox::{DEFAULT_CAPACITY, Origin, Outbox};
use crate::preflight;
use crate::probe::FromKernel;
use crate::publish::{Publisher, Unwalked};
use crate::status::Reporter;
use crate::walks::{KernelSource, RuleCache};

/// Batches between draining and publishing; further drops wait in the kernel's maps, which count what they cannot hold.
const BATCHES: usize = 4;
/// Blocking threads: 16 probes at once, and as many whose time is over but whose read is not.
const BLOCKING_THREADS: usize = 32;
/// How long the last drops may take to become records when the agent stops. Kubernetes gives 30 s in all.
const LAST_DRAIN: Duration = Duration::from_secs(2);

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The async side only waits; two threads keep one slow poll from stopping health and link.
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let result = runtime.block_on(serve(config));
    // A read from the kernel that nobody waits for any more does not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let listener = health::bind(config.admin)
        .await
        .with_context(|| format!("listen on the admin address {}", config.admin))?;
    let admin_address = listener.local_addr().context("ask for the admin address")?;

    let (health, metrics) = (Health::default(), Arc::new(Metrics::new()));
    let started = kernel::now();
    metrics.start_seconds.set(Duration::from_millis(started.0).as_secs_f64());
    let parts = tokio::task::spawn_blocking(prepare).await.context("look at this node")??;
    health.sources_probed(preflight::summary(&parts.sources));
    let load_error = tell_tracing(&parts, &health);

    let origin = Origin { node: config.node.clone(), boot: format!("{}-{}", parts.boot, started.0) };
    let outbox = Outbox::new(origin, DEFAULT_CAPACITY);
    let cache = Arc::new(RuleCache::new(KernelSource::default(), Arc::clone(&metrics)));
    let (seen, unwalked) = (SharedSeen::default(), Arc::new(Unwalked::default()));
    let (report, status) = watch::channel(Reporter::first(&config.node, &parts.kernel, &parts.sources));
    let own = parts.namespaces.own().clone();

    let (requests, inbox) = mpsc::channel();
    let (batches, batch_inbox) = mpsc::sync_channel(BATCHES);
    let publisher = Publisher {
        outbox: outbox.clone(),
        cache: Arc::clone(&cache),
        metrics: Arc::clone(&metrics),
        unwalked: Arc::clone(&unwalked),
    };
    let node = Node {
        name: config.node.clone(),
        namespaces: parts.namespaces,
        tracer: parts.tracer.ok(),
        batches,
        cache: Arc::clone(&cache),
        seen: Arc::clone(&seen),
        health: health.clone(),
        metrics: Arc::clone(&metrics),
    };
    let publisher_ended = thread("publish", move || publisher.run(&batch_inbox))?;
    let node_ended = thread("node", move || node.run(&inbox))?;

    let stop = CancellationToken::new();
    let reporter = Reporter {
        own,
        cache: Arc::clone(&cache),
        outbox: outbox.clone(),
        seen,
        unwalked,
        load_error,
        metrics: Arc::clone(&metrics),
    };
    tokio::spawn(reporter.run(parts.sources, report));
    let admin = tokio::spawn(health::serve(listener, health.clone(), Arc::clone(&metrics), stop.clone()));
    let answers = Arc::new(FromKernel { requests: requests.clone(), cache, node: config.node.clone() });
    tracing::info!(node = %config.node, admin = %admin_address, "running");
    let link = Link {
        config,
        kernel: parts.kernel,
        outbox,
        status,
        answers,
        health,
        metrics,
        pace: Pace::default(),
    };
    let link = tokio::spawn(link.run(stop.clone()));

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = node_ended => Err(anyhow::anyhow!("the thread that reads this node has failed; see the log above")),
        _ = publisher_ended => Err(anyhow::anyhow!("the thread that makes records has failed; see the log above")),
    };
    if let Ok(signal) = &outcome {
        tracing::info!(signal, "stopping: the last drops are sent first");
        let (done, drained) = oneshot::channel();
        if requests.send(Request::Stop { done }).is_ok() {
            let _ = tokio::time::timeout(LAST_DRAIN, drained).await;
        }
    }
    stop.cancel();
    link.await.context("the connection's task failed")?;
    admin.await.context("the admin endpoint's task failed")?.context("serve the admin endpoint")?;
    outcome.map(|_| ())
}

/// What is found at start.
struct Parts {
    boot: String,
    kernel: String,
    sources: Vec<SourceState>,
    namespaces: Namespaces,
    tracer: Result<Tracer, String>,
}

fn prepare() -> anyhow::Result<Parts> {
    let boot = kernel::boot_id().context("read this boot's id")?;
    let kernel = kernel::kernel_release().context("read the kernel's release")?;
    let namespaces = Namespaces::open().context("read the network namespace this agent runs in")?;
    let scope = if namespaces.is_initial() { Scope::All } else { Scope::Only };
    let tracer = Tracer::load(&trace::Config { scope }).map_err(|error| in_words(&error));
    let sources = preflight::check();
    Ok(Parts { boot, kernel, sources, namespaces, tracer })
}

/// Says whether drops are traced; gives the reason why not.
fn tell_tracing(parts: &Parts, health: &Health) -> Option<String> {
    match &parts.tracer {
        Ok(_) => {
            let initial = parts.namespaces.is_initial();
            tracing::info!(
                scope = if initial { "all namespaces" } else { "this namespace and its pods" },
                "BPF loaded"
            );
            health.bpf(Ok(()));
            None
        }
        Err(error) => {
            tracing::warn!(%error, "BPF not loaded: dropped connections are not seen; rules and sockets still are");
            health.bpf(Err(format!("not loaded, drops are not seen: {error}")));
            Some(error.clone())
        }
    }
}

/// Starts a named thread; the receiver is told when it ends, in whatever way.
fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Dropped at the end, after a panic too: that is what the receiver sees.
            let _ended = ended;
            run();
        })
        .with_context(|| format!("start the thread {name}"))?;
    Ok(end)
}

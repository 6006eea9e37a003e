//! Brings a cluster up inside its namespaces and keeps it: the body of the cluster's main process.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use netlab::{Lab, Netns};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::api::Objects;
use crate::components::{Components, WATCH};
use crate::control;
use crate::control_plane::{self, API_PORT, ControlPlane};
use crate::enforcer::Enforcer;
use crate::full;
use crate::light::Kubelet;
use crate::network;
use crate::nodes;
use crate::pki::Pki;
use crate::place::{Place, Record};
use crate::programs::Programs;
use crate::proxy;
use crate::spec::Kind;

/// One line on standard output: how far it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// A step begins.
    Begun(String),
    /// It is done, so many seconds after the cluster's beginning.
    Done(String, f64),
    /// The cluster is ready.
    Ready,
    /// It will not be.
    Failed(String),
}

struct Reporter {
    begun: Instant,
    step: &'static str,
}

impl Reporter {
    fn begin(step: &'static str) -> Self {
        say(&Progress::Begun(step.to_owned()));
        Self { begun: Instant::now(), step }
    }

    fn done(&self) {
        say(&Progress::Done(self.step.to_owned(), self.begun.elapsed().as_secs_f64()));
    }

    fn next(&mut self, step: &'static str) {
        self.done();
        self.step = step;
        say(&Progress::Begun(step.to_owned()));
    }
}

/// Brings the cluster up, says so, and returns only if it has to end.
pub fn run(place: &Place) -> Result<()> {
    let let_go = Arc::new(AtomicBool::new(false));
    end_with_owner(Arc::clone(&let_go));
    let outcome = place.record().and_then(|record| up(place, record));
    match outcome {
        Ok(stays) => {
            let_go.store(!stays.owned, Ordering::Relaxed);
            say(&Progress::Ready);
            stays.wait()
        }
        Err(error) => {
            say(&Progress::Failed(format!("{error:#}")));
            Err(error)
        }
    }
}

/// What has to stay for the cluster to go on.
struct Stays {
    owned: bool,
    runtime: tokio::runtime::Runtime,
    /// Of a full cluster; in a light one it belongs to what makes the pods.
    lab: Option<Lab>,
    controllers: Vec<JoinHandle<Result<()>>>,
}

impl Stays {
    /// Until a controller ends, which none does for less than a broken machine.
    fn wait(mut self) -> Result<()> {
        loop {
            if let Some(ended) = self.controllers.iter().position(JoinHandle::is_finished) {
                let outcome = self.controllers.swap_remove(ended).join();
                drop((self.runtime, self.lab));
                match outcome {
                    Ok(outcome) => outcome?,
                    // The panic's text is in this log already.
                    Err(_) => bail!("a controller panicked"),
                }
                bail!("a controller ended");
            }
            std::thread::park_timeout(WATCH);
        }
    }
}

fn up(place: &Place, mut record: Record) -> Result<Stays> {
    let mut reporter = Reporter::begin("network and certificates");
    let spec = record.spec.clone();
    let programs = Programs::new(spec.programs.as_deref());
    record.version = programs.version("kube-apiserver")?;
    let components = Arc::new(Components::new(place.clone()));
    components.watch();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;

    let lab = network::build(&spec)?;
    record.prefix = network::prefix(&lab)?;
    let underlay: Netns = lab.underlay().clone();
    let inside = SocketAddr::from((lab.control_address(), API_PORT));
    let (listener, outside) = proxy::listen()?;
    record.api = format!("https://{outside}");
    let names: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([inside.ip().to_string(), outside.ip().to_string(), spec.kubernetes_service().to_string()])
    .collect();
    let pki = Pki::new(place, &names)?;
    let admin = pki.client("admin", Some("system:masters"))?;
    pki.kubeconfig_at(&place.kubeconfig(), &format!("why-dropped-{}", spec.name), &record.api, &admin)?;
    proxy::carry(listener, underlay.clone(), inside);
    place.write_record(&record)?;
    nodes::choose_iptables(spec.mode, place)?;
    reporter.next("API server");

    let plane =
        ControlPlane { spec: &spec, place, netns: &underlay, api: inside, pki: &pki, programs: &programs };
    plane.start_api(&components)?;
    control::serve(place, Arc::clone(&components))?;
    let mut full = match spec.kind {
        Kind::Light => None,
        Kind::Full => Some(full::Nodes::start(&plane, &lab, &components)?),
    };
    let objects = runtime.block_on(async {
        let objects = Objects::connect(&place.kubeconfig()).await?;
        control_plane::wait_ready(objects.client(), &components).await?;
        anyhow::Ok(objects)
    })?;
    reporter.next("controllers, scheduler, kube-proxy");
    plane.start_controllers(&components)?;
    nodes::start(
        &nodes::Start {
            spec: &spec,
            record: &record,
            lab: &lab,
            objects: &objects,
            runtime: &runtime,
            plane: &plane,
        },
        &components,
    )?;
    if let Some(nodes) = &mut full {
        reporter.next("images");
        nodes.start_kubelets()?;
        reporter.next("nodes");
        runtime.block_on(nodes.start_names(&objects))?;
        runtime.block_on(nodes.wait_ready(&objects))?;
    }
    reporter.next("Services are served on every node");

    let mut controllers = Vec::new();
    if let Some(enforcer) = Enforcer::new(place, &spec, &record)? {
        controllers.push(enforcer.start(place.kubeconfig(), runtime.handle().clone()));
    }
    let lab = match spec.kind {
        Kind::Light => {
            let kubelet = Kubelet::new(lab, record.nodes.clone(), objects.clone());
            controllers.push(kubelet.start(runtime.handle().clone()));
            None
        }
        Kind::Full => Some(lab),
    };
    runtime.block_on(nodes::wait_served(&objects, &record, &components))?;
    if let Some(nodes) = &full {
        reporter.next("name service");
        runtime.block_on(nodes.wait_names(&objects))?;
    }
    reporter.done();
    components.check()?;
    record.ready = true;
    record.took = reporter.begun.elapsed().as_secs_f64();
    place.write_record(&record)?;
    Ok(Stays { owned: spec.owned, runtime, lab, controllers })
}

/// Ends this process, and with it the cluster, when nobody reads its standard output any more and it has not been let go.
fn end_with_owner(let_go: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let out = std::io::stdout();
        // No event is asked for: POLLERR, which comes when the last reader has gone, is always told (poll(2)).
        let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if let_go.load(Ordering::Relaxed) => return,
                Ok(_) => std::process::exit(1),
                Err(_) => {}
            }
        }
    });
}

fn say(progress: &Progress) {
    let mut out = std::io::stdout().lock();
    // Nobody reads: then this process is about to end, or has been let go.
    let _ = serde_json::to_string(progress).map(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
}

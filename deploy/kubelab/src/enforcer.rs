//! A stand-in for a NetworkPolicy engine: follows the real objects and programs every node as the chosen engine would.
//!
//! What it writes, and how that differs from the real engines, is `netlab::policy`'s to say. It follows pods,
//! namespaces and policies through the product's own watcher and takes its decisions without the product's evaluator.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;

use ::cluster::{Cluster, Source};
use anyhow::{Context, Result};
use ipnet::IpNet;
use model::ObjectSet;
use model::walk::Backend;
use netlab::policy::{PodDecision, PolicedPod, Style, decide};
use netlab::{Netns, PodSpec};
use tokio::runtime::Handle;

use crate::full;
use crate::place::{Place, Record};
use crate::spec::{Enforcement, Kind, ProxyMode, Spec};

/// The stand-in for all nodes.
pub struct Enforcer {
    engine: netlab::policy::Enforcer,
    nodes: Vec<(String, Netns)>,
    /// Of a full cluster, whose pods' interfaces are named by CNI.
    full: Option<Place>,
    done: Option<Done>,
}

/// What the nodes were programmed for.
#[derive(PartialEq)]
struct Done {
    decisions: Vec<PodDecision>,
    /// Each with its node.
    pods: Vec<(String, PolicedPod)>,
}

impl Enforcer {
    /// For the nodes of a cluster; `None` if nobody is to enforce policies there.
    pub fn new(place: &Place, spec: &Spec, record: &Record) -> Result<Option<Self>> {
        let style = match spec.policies {
            Enforcement::None => return Ok(None),
            Enforcement::KubeRouterPlain => Style::KubeRouterPlain,
            Enforcement::KubeRouter => Style::KubeRouter,
            Enforcement::Calico => Style::Calico,
            Enforcement::Kindnet => Style::Kindnet,
        };
        let backend = match (style, spec.mode) {
            (Style::Kindnet, _) => Backend::Nftables,
            (_, ProxyMode::IptablesLegacy) => Backend::IptablesLegacy,
            _ => Backend::IptablesNft,
        };
        let cidrs = spec.service_cidrs().iter().map(|range| range.parse::<IpNet>()).collect::<Result<_, _>>();
        let nodes = record
            .nodes
            .iter()
            .map(|plan| (plan.name.clone(), Netns::at(format!("/run/netns/{}{}", record.prefix, plan.name))))
            .collect();
        let cidrs = cidrs.context("read the Service ranges")?;
        let full = (spec.kind == Kind::Full).then(|| place.clone());
        Ok(Some(Self {
            engine: netlab::policy::Enforcer::new(style, cidrs, backend),
            nodes,
            full,
            done: None,
        }))
    }

    /// Follows the API server on a thread of its own.
    pub fn start(mut self, kubeconfig: PathBuf, runtime: Handle) -> JoinHandle<Result<()>> {
        std::thread::spawn(move || runtime.block_on(self.follow(kubeconfig)))
    }

    async fn follow(&mut self, kubeconfig: PathBuf) -> Result<()> {
        let source = Source::Kube { kubeconfig: Some(kubeconfig), context: None };
        let cluster = Cluster::start(source).await.context("follow policies")?;
        let mut changed = cluster.changed();
        loop {
            if cluster.ready() {
                // A node that cannot be programmed is tried again with the next change.
                if let Err(error) = self.sync(&cluster.snapshot()) {
                    tracing::error!("program policies: {error:#}");
                    self.done = None;
                }
            }
            changed.changed().await.context("follow policies")?;
        }
    }

    fn sync(&mut self, objects: &ObjectSet) -> Result<()> {
        let wanted = Done { decisions: decide(objects), pods: self.pods(objects)? };
        if self.done.as_ref() == Some(&wanted) {
            return Ok(());
        }
        for (name, netns) in &self.nodes {
            let own: Vec<PolicedPod> =
                wanted.pods.iter().filter(|(node, _)| node == name).map(|(_, pod)| pod.clone()).collect();
            if wanted.decisions.is_empty() {
                self.engine.remove(netns)
            } else {
                self.engine.sync(netns, &own, &wanted.decisions)
            }
            .with_context(|| format!("node {name}"))?;
        }
        self.done = Some(wanted);
        Ok(())
    }

    /// The pods that policies can be about, each with its node.
    fn pods(&self, objects: &ObjectSet) -> Result<Vec<(String, PolicedPod)>> {
        let attached = match &self.full {
            None => None,
            Some(place) => {
                let all: Result<Vec<_>> =
                    self.nodes.iter().map(|(node, _)| full::pods::all(place, node)).collect();
                Some(all?.into_iter().flatten().collect::<Vec<_>>())
            }
        };
        let running = objects.pods.values().filter(|pod| !pod.host_network && !pod.finished());
        let pods = running.filter_map(|pod| {
            let node = pod.node.clone()?;
            let address = pod.addresses.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            })?;
            let interface = match &attached {
                None => PodSpec::new(pod.key().clone(), node.clone(), address).host_interface(),
                // One that is not attached any more needs no rules.
                Some(all) => all
                    .iter()
                    .find(|one| one.key == *pod.key() && one.addresses.contains(&IpAddr::V4(address)))?
                    .interface
                    .clone(),
            };
            let policed = PolicedPod { key: pod.key().clone(), addresses: pod.addresses.clone(), interface };
            Some((node, policed))
        });
        Ok(pods.collect())
    }
}

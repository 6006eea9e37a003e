//! A stand-in for the kubelets of a light cluster: pods bound to a node become network namespaces with real listeners,
//! and get the status that a kubelet would write.
//!
//! It runs no containers and no probes. What a pod listens on are its declared ports, on all addresses; the annotation
//! [`LISTEN`] says otherwise, and [`STATUS`] puts fields of a status over the usual one (an address, not being ready, a
//! container that waits). Both are followed while the pod runs.

pub mod netfilter;
mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use ipnet::{Ipv4Net, Ipv6Net};
use k8s_openapi::api::core::v1::Pod as Object;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use model::Key;
use netlab::{Lab, Listening, PodSpec};
use tokio::runtime::Handle;

use crate::api::{Objects, Target};
use crate::spec::NodePlan;
use pod::Wish;

/// What a pod listens on instead of its declared ports: listeners as `netlab::Listen` reads them, between blanks; `none`
/// for none.
pub const LISTEN: &str = "lab.why-dropped.io/listen";
/// Fields of the status, as JSON, that differ from those of a healthy pod.
pub const STATUS: &str = "lab.why-dropped.io/status";

/// How long after a failed watch it is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// The stand-in for all nodes of a cluster.
pub struct Kubelet {
    lab: Lab,
    nodes: Vec<NodePlan>,
    objects: Objects,
    pods: BTreeMap<Key, Placed>,
}

/// A pod that has been made.
struct Placed {
    uid: String,
    node: String,
    wish: Wish,
    addresses: Vec<IpAddr>,
    /// Of a host-network pod; those of others are kept by the lab.
    listening: Vec<Listening>,
}

impl Kubelet {
    /// For the nodes of this lab.
    pub const fn new(lab: Lab, nodes: Vec<NodePlan>, objects: Objects) -> Self {
        Self { lab, nodes, objects, pods: BTreeMap::new() }
    }

    /// Follows the API server on a thread of its own.
    pub fn start(mut self, runtime: Handle) -> JoinHandle<Result<()>> {
        std::thread::spawn(move || runtime.block_on(self.follow()))
    }

    async fn follow(&mut self) -> Result<()> {
        let pods: Api<Object> = Api::all(self.objects.client().clone());
        let mut events = watcher::watcher(pods, watcher::Config::default()).boxed();
        let mut listed: BTreeSet<Key> = BTreeSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(key(&object));
                    self.told(&object).await;
                }
                Ok(Event::InitDone) => {
                    let gone: Vec<Key> =
                        self.pods.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                    for key in &gone {
                        self.forget(key);
                    }
                }
                Ok(Event::Apply(object)) => self.told(&object).await,
                Ok(Event::Delete(object)) => {
                    let key = key(&object);
                    if self
                        .pods
                        .get(&key)
                        .is_some_and(|placed| Some(&placed.uid) == object.metadata.uid.as_ref())
                    {
                        self.forget(&key);
                    }
                }
                Err(error) => {
                    tracing::warn!("watch pods: {error}");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        Ok(())
    }

    /// A pod is new or has changed. Its trouble is its own: it is told in its status, and the others go on.
    async fn told(&mut self, object: &Object) {
        let key = key(object);
        if let Err(error) = self.follow_pod(&key, object).await {
            tracing::error!("pod {key}: {error:#}");
            let status = serde_json::json!({ "status": {
                "phase": "Pending", "reason": "Lab", "message": format!("{error:#}"),
            }});
            let told = self.objects.patch_status("v1", "Pod", Some(&key.namespace), &key.name, &status).await;
            if let Err(error) = told {
                tracing::error!("pod {key}: {error:#}");
            }
        }
    }

    async fn follow_pod(&mut self, key: &Key, object: &Object) -> Result<()> {
        let Some(node) = object.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { return Ok(()) };
        if !self.nodes.iter().any(|plan| plan.name == node) {
            return Ok(());
        }
        let uid = object.uid().unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() {
            // A kubelet confirms the end by a deletion without grace (`pkg/kubelet/status/status_manager.go`, syncPod).
            self.forget(key);
            let pod = Target::new("v1", "Pod", Some(&key.namespace), &key.name);
            // By the time this is told, another pod may have the name.
            return self.objects.delete_one(&pod, &uid).await;
        }
        let wish = Wish::of(object)?;
        match self.pods.get(key) {
            Some(placed) if placed.uid == uid && placed.wish == wish => return Ok(()),
            Some(placed) if placed.uid == uid && placed.wish.addresses == wish.addresses => {
                self.listen(key, &wish)?;
            }
            _ => {
                self.forget(key);
                self.place(key, uid, node, &wish)?;
                self.listen(key, &wish)?;
            }
        }
        let Some(placed) = self.pods.get_mut(key) else { return Ok(()) };
        placed.wish = wish;
        let plan = self.nodes.iter().find(|plan| plan.name == placed.node).context("a node of the lab")?;
        let status = pod::status(object, &placed.wish, plan, &placed.addresses);
        self.objects.patch_status("v1", "Pod", Some(&key.namespace), &key.name, &status).await
    }

    /// Makes the namespace.
    fn place(&mut self, key: &Key, uid: String, node: String, wish: &Wish) -> Result<()> {
        let plan = self.nodes.iter().find(|plan| plan.name == node).context("a node of the lab")?.clone();
        let addresses = if wish.host_network {
            std::iter::once(IpAddr::V4(plan.address)).chain(plan.address6.map(IpAddr::V6)).collect()
        } else {
            let mut spec = PodSpec::new(key.clone(), node.clone(), self.free(&plan, wish)?);
            if let Some(range) = plan.pod_cidr6 {
                let address6 = companion(range, plan.pod_cidr, spec.address);
                spec = spec.with_v6(address6);
            }
            self.lab.pod(spec)?.addresses()
        };
        let placed = Placed { uid, node, wish: wish.clone(), addresses, listening: Vec::new() };
        self.pods.insert(key.clone(), placed);
        Ok(())
    }

    /// The address asked for, or the node's first that nobody has. The bridge has the first of the range.
    fn free(&self, plan: &NodePlan, wish: &Wish) -> Result<Ipv4Addr> {
        let asked = wish.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let taken = |address: &Ipv4Addr| self.lab.pods().any(|pod| pod.spec.address == *address);
        asked
            .or_else(|| plan.pod_cidr.hosts().skip(1).find(|address| !taken(address)))
            .with_context(|| format!("no address of {} is free", plan.pod_cidr))
    }

    /// Opens the listeners that are wished for instead of those that are there.
    fn listen(&mut self, key: &Key, wish: &Wish) -> Result<()> {
        let Some(placed) = self.pods.get_mut(key) else { return Ok(()) };
        placed.listening.clear();
        if wish.host_network {
            let netns = &self.lab.node(&placed.node)?.netns;
            for listen in wish.listeners(key)? {
                placed.listening.push(netns.listen(listen)?);
            }
            return Ok(());
        }
        let pod = self.lab.get_pod(key)?;
        pod.stop();
        for listen in wish.listeners(key)? {
            pod.listen(listen)?;
        }
        Ok(())
    }

    fn forget(&mut self, key: &Key) {
        if self.pods.remove(key).is_some_and(|placed| !placed.wish.host_network)
            && let Err(error) = self.lab.remove_pod(key)
        {
            tracing::error!("remove pod {key}: {error}");
        }
    }
}

/// The IPv6 address with the same place in its range as the IPv4 address.
fn companion(range6: Ipv6Net, range: Ipv4Net, address: Ipv4Addr) -> Ipv6Addr {
    let place = u32::from(address).wrapping_sub(u32::from(range.network()));
    Ipv6Addr::from(u128::from(range6.network()) + u128::from(place))
}

fn key(object: &Object) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}

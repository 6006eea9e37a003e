//! The lab itself: node namespaces on one underlay, pods behind bridges, and an outside that answers nothing.
//!
//! Rules are not its business; see `kube_proxy` and `policy`.

mod addressing;
mod build;
mod pods;
mod spec;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Key, ObjectSet};

use crate::connect::ConnectResult;
use crate::error::Error;
use crate::listen::{Listen, Listening};
use crate::netns::Netns;
use crate::registry::{Registration, namespaces_of, sweep};

use addressing::Underlay;

pub use spec::{LabSpec, NodeSpec, PodSpec};

/// A node of the lab.
#[derive(Clone, Debug)]
pub struct Node {
    /// As asked for.
    pub spec: NodeSpec,
    /// Its network namespace.
    pub netns: Netns,
}

/// A pod of the lab. Clones are the same pod; it goes with the lab, whoever still holds one.
#[derive(Clone, Debug)]
pub struct Pod {
    /// As asked for.
    pub spec: PodSpec,
    /// Its network namespace.
    pub netns: Netns,
    /// Name of its interface on the node.
    pub host_interface: String,
    listeners: Arc<Mutex<Vec<Arc<Mutex<Listening>>>>>,
}

/// A cluster's network. Dropping it removes everything, on every path; of a killed owner `sweep` does it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<Key, Pod>,
    underlay: Netns,
    outside: Netns,
    plan: Underlay,
    registration: Registration,
}

impl Lab {
    /// Builds the underlay and the nodes. Leftovers of labs whose owner was killed are removed first.
    pub fn new(spec: LabSpec) -> Result<Self, Error> {
        sweep()?;
        build::lab(spec)
    }

    /// Builds the nodes and the pods with an address that objects tell of. Finished and host-network pods are left out.
    pub fn from_objects(name: &str, objects: &ObjectSet) -> Result<Self, Error> {
        let nodes = addressing::nodes_of(objects)?;
        let mut lab = Self::new(LabSpec { name: name.to_owned(), nodes })?;
        for spec in addressing::pods_of(objects) {
            lab.pod(spec)?;
        }
        Ok(lab)
    }

    /// What the lab was called when it was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a pod.
    pub fn pod(&mut self, spec: PodSpec) -> Result<Pod, Error> {
        pods::add(self, spec)
    }

    /// Removes a pod: ends its listeners, takes its interface and its routes off the nodes and deletes its namespace. When
    /// it returns, name and addresses are free. What a clone of the `Pod` is then asked to do fails.
    pub fn remove_pod(&mut self, key: &Key) -> Result<(), Error> {
        pods::remove(self, key)
    }

    /// A pod that was added.
    pub fn get_pod(&self, key: &Key) -> Result<&Pod, Error> {
        self.pods.get(key).ok_or_else(|| Error::NoPod(key.clone()))
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// A node.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        self.nodes.get(name).ok_or_else(|| Error::NoNode(name.to_owned()))
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The namespace behind the nodes' default route. It answers only to its own address and forwards nothing.
    pub const fn outside(&self) -> &Netns {
        &self.outside
    }

    /// The namespace that joins the nodes; programs of a control plane can run here, at `control_address`.
    pub const fn underlay(&self) -> &Netns {
        &self.underlay
    }

    /// The underlay's own address, which every node reaches.
    pub const fn control_address(&self) -> Ipv4Addr {
        self.plan.control
    }

    /// The same for IPv6, if a node has it.
    pub fn control_address6(&self) -> Option<Ipv6Addr> {
        self.plan.v6.map(|plan| plan.control)
    }

    /// A TCP connection from a pod, for real.
    pub fn connect(&self, from: &Key, to: SocketAddr, timeout: Duration) -> Result<ConnectResult, Error> {
        self.get_pod(from)?.netns.connect(to, timeout)
    }

    /// Ends everything now instead of at the drop. Doing it twice does nothing.
    pub fn tear_down(&mut self) {
        for pod in self.pods.values() {
            pod.stop();
        }
        // By the prefix and not by what is known: a build that failed half way has namespaces nobody noted.
        for netns in namespaces_of(&self.registration.prefix).unwrap_or_default() {
            if let Err(error) = crate::netns::run(&["ip", "netns", "del", &netns], None) {
                eprintln!("lab {}: {netns} stays: {error}", self.name);
            }
        }
        self.pods.clear();
        self.nodes.clear();
        self.registration.remove();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tear_down();
    }
}

/// How to enter each namespace, a line each. From another mount namespace than the lab's, /run/netns is found below
/// `/proc/PID/root` of a process that lives there.
impl fmt::Display for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.values().map(|node| ("node", node.spec.name.clone(), &node.netns));
        let pods = self.pods.values().map(|pod| ("pod", pod.spec.key.to_string(), &pod.netns));
        for (what, name, netns) in nodes.chain(pods).chain([("", "outside".to_owned(), &self.outside)]) {
            writeln!(f, "{what:<4} {name:<24} nsenter --net={} bash", netns.path().display())?;
        }
        Ok(())
    }
}

impl Pod {
    /// Opens a listener that stays until the pod or the lab goes, or `stop` is called on it.
    pub fn listen(&self, listen: Listen) -> Result<Arc<Mutex<Listening>>, Error> {
        let listening = Arc::new(Mutex::new(self.netns.listen(listen)?));
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&listening));
        Ok(listening)
    }

    /// Ends its listeners.
    pub fn stop(&self) {
        for listening in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            listening.lock().unwrap_or_else(PoisonError::into_inner).stop();
        }
    }

    /// Its IPv4 address.
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(self.spec.address)
    }

    /// All its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.spec.addresses()
    }
}

impl Node {
    /// Its IPv4 address.
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(self.spec.address)
    }

    /// All its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.spec.addresses()
    }
}

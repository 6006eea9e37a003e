//! What a story plays in: nodes and pods as network namespaces, rules on the nodes, objects where the collector reads
//! them. Either all of it is written by the lab, in less than a second and with root alone, or by a real Kubernetes.

mod real;
mod rendered;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use model::{Key, ObjectSet};
use netlab::Netns;

use crate::manifests::Manifests;

pub use real::Real;
pub use rendered::Rendered;

/// What listens in a pod instead of its declared ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ears {
    /// Nothing.
    Deaf,
    /// These addresses.
    On(Vec<SocketAddr>),
}

/// The pods that do not listen on their declared ports.
pub type AllEars = BTreeMap<Key, Ears>;

/// A network with nodes and pods that follows manifests.
pub trait World: Send {
    /// What it is called in messages and directories.
    fn name(&self) -> &str;

    /// The nodes' names.
    fn nodes(&self) -> Vec<String>;

    /// A node's network namespace.
    fn node(&self, name: &str) -> Result<Netns>;

    /// A pod's network namespace.
    fn pod(&self, key: &Key) -> Result<Netns>;

    /// Brings objects, rules and listeners to what the manifests say, and returns when the nodes' rules are there.
    fn follow(&mut self, manifests: &Manifests, ears: &AllEars) -> Result<ObjectSet>;

    /// The collector's arguments that tell where objects are.
    fn objects_arguments(&self) -> Vec<OsString>;

    /// A program as a pod with the host's network and processes runs it on this node.
    fn on_node(&self, node: &str, program: &Path) -> Result<Command>;

    /// A node's rules lose a Service, as if its kube-proxy had missed it.
    fn forget_service(&mut self, node: &str, service: &Key) -> Result<()>;

    /// How a user enters it.
    fn describe(&self) -> String;
}

/// Addresses on which a pod listens.
fn listening(objects: &ObjectSet, ears: &AllEars, key: &Key) -> Vec<SocketAddr> {
    match ears.get(key) {
        Some(Ears::Deaf) => Vec::new(),
        Some(Ears::On(addresses)) => addresses.clone(),
        None => {
            let ports = objects.pods.get(key).into_iter().flat_map(model::objects::Pod::declared_ports);
            ports.map(|port| SocketAddr::from(([0, 0, 0, 0], port.port))).collect()
        }
    }
}

//! A cluster's network in namespaces: nodes, pods, rules, listeners, faults. For tests and the demonstration only.
//!
//! It makes what a real cluster's kernels would hold; it never explains anything, and no shipped binary uses it.
//! Needs root, `ip` and the iptables tools.

mod connect;
mod error;
mod fault;
pub mod kube_proxy;
mod lab;
mod listen;
mod netns;
pub mod policy;
mod registry;
mod relay;

pub use connect::{ConnectOutcome, ConnectResult};
pub use error::Error;
pub use fault::ForwardPolicy;
pub use kube_proxy::KubeProxy;
pub use lab::{Lab, LabSpec, Node, NodeSpec, Pod, PodSpec};
pub use listen::{Listen, Listening};
pub use netns::Netns;
pub use policy::PolicyEngine;
pub use registry::sweep;
pub use relay::Relay;

//! A cluster's network in namespaces: nodes, pods, rules, listeners, faults. For tests and the demonstration only.
//!
//! It makes what a real cluster's kernels would hold; it never explains anything, and no shipped binary uses it. It does
//! not run anybody's CNI, kube-proxy or policy engine: `kube_proxy` and `policy` write what those would write.
//!
//! # What a lab is
//!
//! ```text
//!  outside ── underlay ──┬── node-1 ── cni0 ──┬── shop/api
//!  (answers nothing)     │                    └── shop/client
//!                        └── node-2 ── cni0 ───── web/front
//! ```
//!
//! Each word is a network namespace, each line a veth. Nodes route to each other's pod ranges; whatever else they send
//! goes outside and is lost there, as on a real uplink. IPv4 is always there, IPv6 beside it where a node or a pod has
//! an address of it.
//!
//! ```no_run
//! use std::time::Duration;
//! use model::Key;
//! use netlab::{ConnectOutcome, Lab, LabSpec, Listen, NodeSpec, PodSpec};
//!
//! let node = NodeSpec::new("node-1", "10.200.0.11".parse()?, "10.244.1.0/24".parse()?)
//!     .with_v6("fd00:77::11".parse()?, "fd00:244:0:1::/64".parse()?);
//! let mut lab = Lab::new(LabSpec { name: "example".into(), nodes: vec![node] })?;
//! let client = lab.pod(PodSpec::new(Key::new("shop", "client"), "node-1", "10.244.1.5".parse()?))?;
//! let server = lab.pod(PodSpec::new(Key::new("shop", "api"), "node-1", "10.244.1.6".parse()?))?;
//! server.listen(Listen { answer: b"api".to_vec(), ..Listen::parse("tcp:8080")? })?;
//! let result = client.netns.connect("10.244.1.6:8080".parse()?, Duration::from_secs(1))?;
//! assert_eq!(result.outcome, ConnectOutcome::Connected);
//! lab.remove_pod(&server.spec.key)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can be relied on
//!
//! * A call that adds something returns when it carries packets: nothing is to be waited for, in either family.
//! * A `Lab` that is dropped leaves nothing. If its owner was killed, the next `Lab::new` or [`sweep`] removes the rest.
//! * Labs with the same addresses do not meet, and namespaces are named by their process.
//! * A namespace is known by its path ([`Netns::at`]), so a lab whose /run/netns is private to a mount namespace is
//!   reached through `/proc/PID/root`. Programs are entered with `nsenter`, which leaves mounts alone.
//! * Listeners are threads of the owner and no processes ([`Listen`] says what they can do, and its text form how to say
//!   it in a manifest).
//!
//! Needs root, `ip` (iproute2), `nsenter` (util-linux) and, for rules, the iptables tools.

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

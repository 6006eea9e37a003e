//! The Kubernetes objects a diagnosis argues about, cut down to the fields it uses.
//!
//! Read by `objects` (files) and `cluster` (API server); nothing here parses or validates.

mod cluster_policy;
mod endpoint_slice;
mod node;
mod other_policy;
mod pod;
mod policy;
mod reference;
mod selector;
mod service;
mod set;

pub use cluster_policy::{
    Action, ClusterPeer, ClusterPolicy, ClusterPolicyKind, ClusterPort, ClusterRule, ClusterSubject,
    NamespacePeer, Tier,
};
pub use endpoint_slice::{Endpoint, EndpointSlice, SlicePort};
pub use node::{Namespace, Node};
pub use other_policy::{Directions, OtherPolicy, Power};
pub use pod::{Condition, Container, ContainerPort, ContainerState, Pod, Workload};
pub use policy::{IpBlock, NetworkPolicy, Peer, PolicyPort, PolicyPortSpec, PolicyRule};
pub use reference::{Key, Meta, ObjectRef};
pub use selector::{Operator, Requirement, Selector};
pub use service::{Service, ServicePort, ServiceType, TargetPort, TrafficPolicy};
pub use set::{ClusterPolicyCoverage, KindCoverage, ObjectSet, Origin};

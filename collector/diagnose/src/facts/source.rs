//! Who connects: the pod or node, its addresses, and where its packets enter the rules.
//!
//! Not how the name was understood; that is the resolver's, and stands in the question.

use std::net::IpAddr;

use model::objects::Pod;
use model::probe::PodTarget;
use model::question::Source;
use model::{Case, Origin};

/// Who connects.
#[derive(Clone, Debug)]
pub struct SourceFacts<'a> {
    /// As answers call it: `web/client`, `node node-1`, `203.0.113.7`.
    pub name: String,
    /// The pod, if a pod connects and is there.
    pub pod: Option<&'a Pod>,
    /// The node whose rules see the packet first, if known.
    pub node: Option<&'a str>,
    /// Its addresses, primary first.
    pub addresses: Vec<IpAddr>,
    /// Where its packets enter that node's rules.
    pub origin: Origin,
}

impl<'a> SourceFacts<'a> {
    pub(crate) fn of(case: &'a Case) -> Self {
        match &case.question.source {
            Source::Pod(key) => {
                let pod = case.objects.pods.get(key);
                Self {
                    name: key.to_string(),
                    pod,
                    node: pod.and_then(|pod| pod.node.as_deref()),
                    addresses: pod.map(|pod| pod.addresses.clone()).unwrap_or_default(),
                    origin: if pod.is_some_and(|pod| pod.host_network) { Origin::Node } else { Origin::Pod },
                }
            }
            Source::Node(name) => Self {
                name: format!("node {name}"),
                pod: None,
                node: Some(name),
                addresses: case
                    .objects
                    .nodes
                    .get(name)
                    .map(|node| node.addresses.clone())
                    .unwrap_or_default(),
                origin: Origin::Node,
            },
            Source::External { address, via } => Self {
                name: address.to_string(),
                pod: None,
                node: via.as_deref(),
                addresses: vec![*address],
                origin: Origin::External,
            },
            Source::Any { namespace } => Self {
                name: format!("an unlabelled pod in {namespace}"),
                pod: None,
                node: None,
                addresses: Vec::new(),
                origin: Origin::Pod,
            },
        }
    }

    /// The pod as an agent finds it, if it has a network namespace of its own.
    pub fn target(&self) -> Option<PodTarget> {
        self.pod.filter(|pod| !pod.host_network).map(pod_target)
    }
}

/// A pod as an agent finds it.
pub fn pod_target(pod: &Pod) -> PodTarget {
    PodTarget { key: pod.key().clone(), uid: pod.meta.uid.clone(), addresses: pod.addresses.clone() }
}

//! The cluster's network: one namespace for each node, one for the control plane, made by `netlab`.

use anyhow::{Context, Result};
use netlab::{Lab, LabSpec, NodeSpec};

use crate::spec::{NodePlan, Spec};

/// Builds it, without pods.
pub fn build(spec: &Spec) -> Result<Lab> {
    let nodes = spec.node_plans().iter().map(node).collect();
    Lab::new(LabSpec { name: spec.name.clone(), nodes }).context("build the nodes' network")
}

fn node(plan: &NodePlan) -> NodeSpec {
    let node = NodeSpec::new(plan.name.clone(), plan.address, plan.pod_cidr);
    match (plan.address6, plan.pod_cidr6) {
        (Some(address), Some(range)) => node.with_v6(address, range),
        _ => node,
    }
}

/// What the names of the lab's namespaces begin with.
pub fn prefix(lab: &Lab) -> Result<String> {
    let node = lab.nodes().next().context("a lab has a node")?;
    let name = node.netns.name();
    Ok(name.strip_suffix(&node.spec.name).unwrap_or(name).to_owned())
}

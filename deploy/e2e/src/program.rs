//! What kube-proxy and a policy engine would program into the lab's nodes for the objects at hand.
//!
//! Policies are expanded to addresses by `netlab::policy` and not by the product's own evaluator: the kernel's verdict
//! in a story is then independent of the one it is compared with.

use anyhow::{Context, Result};
use model::objects::ObjectSet;
use model::walk::Backend;
use netlab::policy::{PolicyEngine, decide};
use netlab::{KubeProxy, Lab};

/// The range that all pods of the lab's clusters lie in.
const CLUSTER_CIDR: &str = "10.244.0.0/16";
/// The range of Service addresses.
const SERVICE_CIDR: &str = "10.96.0.0/16";

/// Programs every node anew: Services through this back-end, then policies.
pub fn everything(lab: &Lab, objects: &ObjectSet, backend: Backend) -> Result<()> {
    services(lab, objects, backend)?;
    policies(lab, objects)
}

/// The proxy that the lab's nodes run.
pub fn kube_proxy(backend: Backend) -> Result<KubeProxy> {
    let mut proxy = KubeProxy::new(CLUSTER_CIDR.parse().context("read the cluster range")?);
    proxy.backend = backend;
    Ok(proxy)
}

/// Services on every node.
fn services(lab: &Lab, objects: &ObjectSet, backend: Backend) -> Result<()> {
    let proxy = kube_proxy(backend)?;
    for node in lab.nodes() {
        proxy
            .load(node, objects)
            .with_context(|| format!("write the Service rules of {}", node.spec.name))?;
    }
    Ok(())
}

/// Policies on every node.
fn policies(lab: &Lab, objects: &ObjectSet) -> Result<()> {
    let engine = PolicyEngine::new(SERVICE_CIDR.parse().context("read the Service range")?);
    if objects.policies.is_empty() {
        for node in lab.nodes() {
            engine.remove(node)?;
        }
        return Ok(());
    }
    let mut decisions = decide(objects);
    // Pods that have no address yet are not in the lab.
    decisions.retain(|decision| lab.get_pod(&decision.pod).is_ok());
    engine.apply(lab, &decisions).context("write the policy rules")
}

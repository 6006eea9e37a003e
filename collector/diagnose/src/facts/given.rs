//! What files leave out that a cluster would have: the pods of workloads.
//!
//! It names the gap; which cause minds it, the causes say.

use model::Gap;
use model::objects::Origin;

use super::Facts;
use crate::words;

/// Kinds that make pods.
const WORKLOADS: [&str; 7] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];

impl Facts<'_> {
    /// Files with workloads but without pods made by one cannot say which pods the Service would have.
    pub fn pods_not_given(&self) -> Option<Gap> {
        let named = self.target.service()?;
        let objects = &self.case.objects;
        let made = objects.pods_in(&named.service.key().namespace).any(|pod| pod.workload.is_some());
        if objects.origin != Origin::Files || made {
            return None;
        }
        let held: Vec<String> = WORKLOADS
            .iter()
            .filter_map(|kind| Some(words::count(*objects.other_kinds.get(*kind)? as usize, kind)))
            .collect();
        (!held.is_empty()).then(|| {
            let why = format!("the files hold {}, but no pod made from that", words::list(&held, 3));
            Gap::new(format!("the pods of {}", named.name()), why)
                .with_remedy("kubectl get pods -A -o yaml > pods.yaml")
        })
    }
}

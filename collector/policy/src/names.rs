//! Which domain names could be those of pods.
//!
//! No name is resolved here. Pods have names below the cluster's domain (Kubernetes DNS specification, 2.3 and 2.4), and
//! a policy that means a pod by another name is taken for one that does not.

/// Below these are the names of pods and of headless Services' pods, in a cluster with the usual domain.
const OF_PODS: [&str; 2] = ["pod.cluster.local", "svc.cluster.local"];

/// Whether one of the names, `*.` in front meaning one label or more, could be a pod's.
pub(crate) fn may_be_a_pods(names: &[String]) -> bool {
    names.iter().any(|name| {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below =
            |name: &str, domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match name.strip_prefix("*.") {
            // It may stand for labels above the domain, or for some below it.
            Some(base) => {
                OF_PODS.iter().any(|domain| base == *domain || below(base, domain) || below(domain, base))
            }
            None => OF_PODS.iter().any(|domain| below(&name, domain)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_cluster_may_be_pods() {
        for (name, may) in [
            ("example.com", false),
            ("*.example.com", false),
            ("db-0.db.shop.svc.cluster.local.", true),
            ("10-0-0-1.shop.pod.cluster.local", true),
            ("*.cluster.local", true),
            ("*.shop.svc.cluster.local", true),
            ("*.svc.cluster.local", true),
            ("mysvc.cluster.local", false),
            ("*.DB.shop.SVC.cluster.local", true),
        ] {
            assert_eq!(may_be_a_pods(&[name.to_owned()]), may, "{name}");
        }
    }
}

//! A DNS name as the source pod's resolver and the cluster's DNS would look it up.
//!
//! It knows the records Kubernetes defines for Services and pods, not what an upstream server may know.

use std::net::IpAddr;

use model::objects::{Key, ObjectSet, Pod};
use model::question::{Destination, Source};

use crate::nearest::nearest;
use crate::view;

/// The cluster's domain where nothing says otherwise.
const DOMAIN: &str = "cluster.local";
/// What the kubelet writes into every pod's `resolv.conf` with the policy `ClusterFirst`.
const NDOTS: usize = 5;

/// What came of a name.
pub(super) enum Lookup {
    /// A record.
    Found(Destination),
    /// No record, and none could come from elsewhere; with the Services the name could have meant.
    Nothing { tried: Vec<Key> },
    /// No record of the cluster, but the name may well be one of the outside world.
    Outside,
}

/// Looks a name up as the source would.
pub(super) fn lookup(
    set: &ObjectSet,
    name: &str,
    source: &Source,
    namespace: &str,
    notes: &mut Vec<String>,
) -> Lookup {
    let Some(searches) = searches(set, source, namespace, name, notes) else {
        return Lookup::Nothing { tried: Vec::new() };
    };
    let candidates = candidates(name, &searches);
    let mut tried = Vec::new();
    for candidate in &candidates {
        match record(set, candidate) {
            Some(Record::Is(destination)) => {
                if candidate.trim_end_matches('.') != name.trim_end_matches('.') {
                    notes.push(format!("{name} is {candidate} to the source's resolver"));
                }
                return Lookup::Found(destination);
            }
            Some(Record::WouldBe(service)) if !tried.contains(&service) => tried.push(service),
            Some(Record::WouldBe(_)) | None => {}
        }
    }
    if may_be_outside(set, name, &tried) { Lookup::Outside } else { Lookup::Nothing { tried } }
}

/// The search list, or `None` for a pod that does not ask the cluster's DNS at all.
fn searches(
    set: &ObjectSet,
    source: &Source,
    namespace: &str,
    name: &str,
    notes: &mut Vec<String>,
) -> Option<Vec<String>> {
    let cluster = |namespace: &str| {
        vec![format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()]
    };
    let pod = match source {
        Source::Pod(key) => set.pods.get(key),
        Source::Any { namespace } => return Some(cluster(namespace)),
        Source::Node(_) | Source::External { .. } => {
            notes.push(format!(
                "nodes and external clients do not use the cluster's DNS; {name} was looked up as a pod in \
                 {namespace} would"
            ));
            return Some(cluster(namespace));
        }
    }?;
    if !uses_cluster_dns(pod) {
        let policy = if pod.dns_policy.is_empty() { "ClusterFirst" } else { &pod.dns_policy };
        let why = if pod.host_network {
            format!("hostNetwork with dnsPolicy {policy}")
        } else {
            format!("dnsPolicy {policy}")
        };
        notes.push(format!(
            "{} has {why}: its resolver is the node's, which knows no cluster names",
            pod.key()
        ));
        return None;
    }
    let mut searches = if pod.dns_policy == "None" { Vec::new() } else { cluster(&pod.key().namespace) };
    searches.extend(pod.dns_searches.iter().map(|search| search.trim_end_matches('.').to_owned()));
    Some(searches)
}

/// `kubelet/network/dns`, `getPodDNSType`: on the host network only `ClusterFirstWithHostNet` asks the cluster.
fn uses_cluster_dns(pod: &Pod) -> bool {
    match pod.dns_policy.as_str() {
        "Default" => false,
        "ClusterFirstWithHostNet" | "None" => true,
        _ => !pod.host_network,
    }
}

/// The names asked for, in the resolver's order (`resolv.conf(5)`).
fn candidates(name: &str, searches: &[String]) -> Vec<String> {
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let mut candidates: Vec<String> = searches.iter().map(|search| format!("{name}.{search}")).collect();
    let dots = name.matches('.').count();
    let place = if dots >= NDOTS { 0 } else { candidates.len() };
    candidates.insert(place, name.to_owned());
    candidates
}

enum Record {
    /// The name has a record.
    Is(Destination),
    /// It would be this Service's name, if there were one.
    WouldBe(Key),
}

/// The record of an absolute name, as the Kubernetes DNS specification has it.
fn record(set: &ObjectSet, name: &str) -> Option<Record> {
    let labels: Vec<&str> = name.strip_suffix(DOMAIN)?.strip_suffix('.')?.split('.').collect();
    match labels.as_slice() {
        [service, namespace, "svc"] => {
            let key = Key::new(*namespace, *service);
            Some(if set.services.contains_key(&key) {
                Record::Is(Destination::Service(key))
            } else {
                Record::WouldBe(key)
            })
        }
        // A pod of a headless Service, by its host name; a StatefulSet's pods have their own name as such.
        [host, service, namespace, "svc"] => {
            let service =
                set.services.get(&Key::new(*namespace, *service)).filter(|service| service.headless)?;
            let pod = view::selected(set, service).into_iter().find(|pod| pod.key().name == *host)?;
            Some(Record::Is(Destination::Pod(pod.key().clone())))
        }
        [dashed, namespace, "pod"] => {
            let address: IpAddr =
                dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse()).ok()?;
            let pod = set.pod_by_address(address).filter(|pod| pod.key().namespace == *namespace);
            Some(Record::Is(
                pod.map_or(Destination::Address(address), |pod| Destination::Pod(pod.key().clone())),
            ))
        }
        _ => None,
    }
}

/// A name with dots that has nothing to do with any namespace or Service at hand is more likely one of the outside
/// world, which only the source's real resolver can look up.
fn may_be_outside(set: &ObjectSet, name: &str, tried: &[Key]) -> bool {
    let name = name.trim_end_matches('.');
    if !name.contains('.') || name.ends_with(DOMAIN) || name.rsplit('.').next() == Some("svc") {
        return false;
    }
    let spaces = || {
        let named = set.namespaces.keys().map(String::as_str);
        named.chain(set.services.keys().map(|key| key.namespace.as_str()))
    };
    !tried.iter().any(|key| {
        set.services.keys().any(|service| service.name == key.name)
            || spaces().any(|space| space == key.namespace)
            || nearest(&key.namespace, spaces()).is_some()
    })
}

//! Following a real API server: what may not be seen, what changes, what goes, and an API server that goes away.
//!
//! Needs `etcd` and `kube-apiserver` in `$KUBEBUILDER_ASSETS` or on the PATH. It is one test because the server takes
//! seconds to start.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[allow(dead_code, reason = "what only the other test of a real API server uses")]
#[path = "support/definitions.rs"]
mod definitions;
#[allow(dead_code, reason = "what only the other test of a real API server uses")]
#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use cluster::{Cluster, Kind, Source, now, read_once};
use model::objects::{ClusterPolicyCoverage, ClusterPolicyKind};
use model::{Key, ObjectSet};
use serde_json::json;
use server::Server;

const BOUND: Duration = Duration::from_mins(1);

async fn until(cluster: &Cluster, what: &str, holds: impl Fn(&ObjectSet) -> bool) {
    let mut changed = cluster.changed();
    let wait = async {
        while !holds(&cluster.snapshot()) {
            changed.changed().await.expect("the cluster is there");
        }
    };
    let waited = tokio::time::timeout(BOUND, wait).await;
    assert!(
        waited.is_ok(),
        "{what}: not within {BOUND:?}; gaps {:#?}; {:#?}",
        cluster.snapshot().gaps,
        cluster.status()
    );
}

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_follow_a_real_api_server() {
    let Some(mut server) = Server::start().await else { return };
    let admin = server.admin();
    admin.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    for (name, app) in [("api", "old"), ("cart", "x")] {
        let spec = json!({"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]});
        let object = json!({"metadata": {"name": name}, "spec": spec});
        admin.post("/api/v1/namespaces/shop/services", object).await;
    }
    let policy = json!({"metadata": {"name": "deny"}, "spec": {"podSelector": {}}});
    admin.post("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", policy).await;
    let created = now();

    // The account may read everything but policies.
    server.grant("most", "", &["services", "pods", "namespaces", "nodes"]).await;
    server.grant("slices", "discovery.k8s.io", &["endpointslices"]).await;
    let source = Source::Kube { kubeconfig: Some(server.kubeconfig()), context: None };
    let cluster = Cluster::start(source).await.expect("the kubeconfig is good");
    until(&cluster, "everything allowed", |set| {
        let coverage = set.coverage;
        coverage.services && coverage.pods && coverage.slices && coverage.namespaces && coverage.nodes
            // A kind that the server does not have needs no right: there is none of it.
            && coverage.cluster_policies == ClusterPolicyCoverage::default()
    })
    .await;
    until(&cluster, "the refusal", |set| set.gaps.iter().any(|gap| gap.what == "networkpolicies")).await;
    let before = cluster.snapshot();
    assert!(!before.coverage.policies);
    let gap = before.gaps.iter().find(|gap| gap.what == "networkpolicies").unwrap();
    assert!(gap.why.contains("`list networkpolicies.networking.k8s.io`"), "{gap}");
    assert!(gap.remedy.contains("--resource=networkpolicies.networking.k8s.io"), "{}", gap.remedy);
    assert!(cluster.ready(), "a refused kind is not waited for: {:?}", cluster.missing());
    let api = &before.services[&key("api")];
    assert_eq!(api.selector["app"], "old");
    let age = api.meta.changed_at.age_ms(created);
    assert!(
        api.meta.changed_at.0 > 0 && age < 60_000,
        "changed at creation, as the object's own fields tell: {age} ms"
    );

    // Nothing changes, and that is told as well: each watch that ends in order says so.
    let quiet_since = now();
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    let moved_on = tokio::time::timeout(BOUND, async {
        while cluster.snapshot().current_at < quiet_since {
            looks.tick().await;
        }
    });
    assert!(moved_on.await.is_ok(), "the objects' time stands still: {:#?}", cluster.status());

    // One changes; the other keeps its time.
    let asked = now();
    admin.patch("/api/v1/namespaces/shop/services/api", json!({"spec": {"selector": {"app": "new"}}})).await;
    until(&cluster, "the change", |set| set.services[&key("api")].selector["app"] == "new").await;
    let after = cluster.snapshot();
    assert!(after.services[&key("api")].meta.changed_at >= asked);
    assert!(after.current_at >= before.current_at);
    assert_eq!(after.services[&key("cart")].meta.changed_at, before.services[&key("cart")].meta.changed_at);

    // A change of something that no diagnosis looks at leaves the time alone.
    let noise = json!({"metadata": {"annotations": {"heartbeat": "1"}}});
    admin.patch("/api/v1/namespaces/shop/services/cart", noise).await;
    admin.delete("/api/v1/namespaces/shop/services/api").await;
    until(&cluster, "the deletion", |set| !set.services.contains_key(&key("api"))).await;
    let cart = &cluster.snapshot().services[&key("cart")];
    assert_eq!(cart.meta.changed_at, before.services[&key("cart")].meta.changed_at);

    // A permission that is granted later is noticed without a restart.
    server.grant("policies", "networking.k8s.io", &["networkpolicies"]).await;
    until(&cluster, "the policy", |set| set.policies.contains_key(&key("deny"))).await;
    assert!(cluster.snapshot().coverage.policies);

    // The same account, once, as the command line does it.
    let once = read_once(Some(&server.kubeconfig()), None).await.expect("the server answers");
    assert_eq!(once.policies.keys().collect::<Vec<_>>(), [&key("deny")]);

    // A definition that comes later brings its kind, once there is a right to it; the watch looks for it again.
    if definitions::install(&admin).await {
        let subject = json!({"namespaces": {}});
        let spec = json!({"tier": "Admin", "priority": 7, "subject": subject});
        let policy = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                            "metadata": {"name": "late"}, "spec": spec});
        admin.post("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", policy).await;
        let forbidden = read_once(Some(&server.kubeconfig()), None).await.expect("the server answers");
        assert_eq!(forbidden.coverage.cluster_policies.missing().count(), 3);
        let kinds = ["clusternetworkpolicies", "adminnetworkpolicies", "baselineadminnetworkpolicies"];
        server.grant("cluster-policies", "policy.networking.k8s.io", &kinds).await;
        until(&cluster, "the cluster-wide policy", |set| {
            let mut found = set.cluster_policies_of(ClusterPolicyKind::ClusterNetworkPolicy);
            found.next().is_some_and(|policy| policy.name() == "late" && policy.priority == 7)
        })
        .await;
        until(&cluster, "its gaps are gone", |set| set.gaps.is_empty()).await;
    }

    // Without the server the objects stay, and the answers say that they cannot be trusted to be current.
    server.stop_api();
    until(&cluster, "the outage", |set| set.gaps.iter().any(|gap| gap.what == "services")).await;
    assert!(cluster.snapshot().services.contains_key(&key("cart")));
    server.start_api().await;
    let object = json!({"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}});
    server.admin().post("/api/v1/namespaces/shop/services", object).await;
    until(&cluster, "the recovery", |set| set.services.contains_key(&key("late")) && set.gaps.is_empty())
        .await;
    assert_eq!(
        cluster.snapshot().services[&key("cart")].meta.changed_at,
        before.services[&key("cart")].meta.changed_at,
        "an outage changes no object"
    );
    let services = cluster.status().kinds.into_iter().find(|kind| kind.kind == Kind::Services).unwrap();
    assert!(services.synced && services.problem.is_none(), "{services:?}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_named() {
    let source = Source::Kube { kubeconfig: Some("/nowhere/kubeconfig".into()), context: None };
    let error = Cluster::start(source).await.expect_err("there is no such file");
    assert!(error.to_string().starts_with("read kubeconfig /nowhere/kubeconfig: "), "{error}");
}

//! What a light cluster does, by real connections: Services as each kube-proxy mode serves them, endpoints and pods as
//! the real controllers make them, NetworkPolicies as each stand-in enforces them.
//!
//! A test is a cluster; its checks run side by side, each in a Kubernetes namespace of its own. Those that disturb others
//! or compare whole nodes come after, one by one.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "light/disturbing.rs"]
mod disturbing;
#[path = "light/services.rs"]
mod services;
mod support;
#[path = "light/workloads.rs"]
mod workloads;
#[path = "light/world.rs"]
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use kubelab::spec::Enforcement;
use kubelab::{Cluster, ProxyMode, Spec};

use support::{can_run, unique};
use world::World;

/// Where the programs of the oldest release are, which `cargo xtask test --long` obtains.
const OLDEST: &str = "WHY_DROPPED_KUBERNETES_OLDEST";

type Check = (&'static str, fn(&World<'_>) -> Result<()>);

const SIDE_BY_SIDE: &[Check] = &[
    ("cluster-ip", services::cluster_addresses_are_spread_over_the_nodes),
    ("hairpin", services::a_pod_reaches_itself_through_its_service),
    ("node-port", services::every_node_serves_a_node_port),
    ("local", services::local_traffic_policy_answers_where_an_endpoint_is),
    ("udp", services::datagrams_are_answered),
    ("headless", services::a_headless_service_has_endpoints_and_no_address),
    ("host-network", services::a_pod_of_the_hosts_network_is_an_endpoint),
    ("readiness", workloads::a_pod_that_is_not_ready_is_no_endpoint),
    ("scaling", workloads::a_deployment_is_scaled_by_the_real_controllers),
    ("listeners", workloads::pods_listen_as_they_are_told),
    ("successor", workloads::a_successor_takes_over_name_and_address),
];

const ONE_BY_ONE: &[Check] = &[
    ("policy", disturbing::policies_deny_admit_and_leave_nothing),
    ("kube-proxy", disturbing::a_stopped_kube_proxy_serves_what_it_knew),
];

#[test]
fn iptables_dual_stack_with_kube_router() {
    prove("ipt-ds", |spec| spec.policies(Enforcement::KubeRouter).dual_stack());
}

#[test]
fn iptables_legacy_dual_stack_with_calico() {
    prove("leg-ds", |spec| spec.mode(ProxyMode::IptablesLegacy).policies(Enforcement::Calico).dual_stack());
}

#[test]
fn nftables_dual_stack_with_kindnet() {
    prove("nft-ds", |spec| spec.mode(ProxyMode::Nftables).policies(Enforcement::Kindnet).dual_stack());
}

#[test]
fn iptables_with_plain_kube_router() {
    prove("ipt-v4", |spec| spec.policies(Enforcement::KubeRouterPlain));
}

#[test]
fn nftables_without_policies() {
    prove("nft-v4", |spec| spec.mode(ProxyMode::Nftables).policies(Enforcement::None));
}

#[test]
#[ignore = "needs the oldest release: cargo xtask test --long"]
fn iptables_dual_stack_in_the_oldest_release() {
    let Some(programs) = std::env::var_os(OLDEST).map(PathBuf::from) else {
        panic!(
            "name the directory that `cargo xtask cluster programs --light --version oldest` prints in {OLDEST}"
        );
    };
    prove("oldest", |spec| Spec {
        programs: Some(programs),
        ..spec.policies(Enforcement::Calico).dual_stack()
    });
}

/// Makes a cluster and checks everything; all that failed is told.
fn prove(name: &str, choose: impl FnOnce(Spec) -> Spec) {
    if !can_run(name) {
        return;
    }
    let spec = choose(Spec::light(unique(name)));
    let begun = Instant::now();
    let cluster = Cluster::up(Path::new(env!("CARGO_BIN_EXE_kubelab")), &spec).unwrap();
    println!("{name}: {} up after {:.1} s", cluster.record().version, begun.elapsed().as_secs_f64());
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = SIDE_BY_SIDE
            .iter()
            .map(|check| {
                let cluster = &cluster;
                (check.0, scope.spawn(move || perform(cluster, check)))
            })
            .collect();
        for (name, thread) in running {
            let outcome = thread.join().unwrap_or_else(|panic| Err(anyhow!("{}", text_of(&*panic))));
            failed.extend(outcome.context(name).err());
        }
    });
    for check in ONE_BY_ONE {
        failed.extend(perform(&cluster, check).context(check.0).err());
    }
    println!("{name}: all checks after {:.1} s", begun.elapsed().as_secs_f64());
    let texts: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
    assert!(texts.is_empty(), "{} checks failed:\n{}", texts.len(), texts.join("\n"));
}

fn perform(cluster: &Cluster, (name, check): &Check) -> Result<()> {
    let begun = Instant::now();
    let world = World::new(cluster, name)?;
    check(&world)?;
    println!("  {name}: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}

//! Pods, by the stand-in for the kubelet, and what the real controllers make of them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use kubelab::api::Target;
use kubelab::{Pod as Running, manifest};
use model::Key;
use netlab::Listen;
use serde_json::json;

use crate::world::{Met, World};

pub fn a_pod_that_is_not_ready_is_no_endpoint(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let one = world.start(&world.server("one", "api", "node-1"))?;
    let two = world.start(&world.server("two", "api", "node-2").not_ready())?;
    world.cluster.apply(&world.service("api").object())?;
    let service = world.key("api");
    // A Service has one slice for each of its families.
    let ready =
        |pods: &[&Running]| -> BTreeSet<_> { pods.iter().flat_map(|pod| pod.addresses.clone()).collect() };
    world.cluster.wait_for_endpoints(&service, &ready(&[&one]))?;
    let addresses = world.addresses("api", 80)?;
    for address in &addresses {
        world.expect_answers(&client.netns, *address, &["one"])?;
    }
    let readiness = |name: &str, is: bool| {
        world.cluster.patch(&Target::new("v1", "Pod", Some(&service.namespace), name), &manifest::ready(is))
    };
    readiness("two", true)?;
    world.cluster.wait_for_endpoints(&service, &ready(&[&one, &two]))?;
    for address in &addresses {
        world.expect_answers(&client.netns, *address, &["one", "two"])?;
    }
    readiness("one", false)?;
    readiness("two", false)?;
    world.cluster.wait_for_endpoints(&service, &BTreeSet::new())?;
    for address in &addresses {
        world.expect(&client.netns, *address, Met::Refusal)?;
    }
    Ok(())
}

pub fn a_deployment_is_scaled_by_the_real_controllers(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let key = world.key("web");
    let target = Target::new("apps/v1", "Deployment", Some(&key.namespace), &key.name);
    world.cluster.apply(&manifest::deployment(&key.namespace, &key.name, 1, 8080))?;
    world.cluster.apply(&world.service("web").object())?;
    let mut before: Vec<Running> = Vec::new();
    for replicas in [1, 3, 1] {
        world.cluster.patch(&target, &json!({ "spec": { "replicas": replicas } }))?;
        let pods = replicas_of(world, replicas)?;
        let names: Vec<&str> = pods.iter().map(|pod| pod.key.name.as_str()).collect();
        for address in world.addresses("web", 80)? {
            world.expect_answers(&client.netns, address, &names)?;
        }
        for gone in before.iter().filter(|pod| !names.contains(&pod.key.name.as_str())) {
            ensure!(!gone.netns.path().exists(), "{} is gone and its network namespace is not", gone.key);
        }
        before = pods;
    }
    Ok(())
}

/// Waits until the Deployment has so many pods and all of them run.
fn replicas_of(world: &World<'_>, wanted: usize) -> Result<Vec<Running>> {
    let namespace = world.key("").namespace;
    let names: Vec<String> = world.cluster.wait_for(&format!("there are {wanted} replicas"), |cluster| {
        let pods = cluster.list("v1", "Pod", Some(&namespace))?;
        let replicas = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "web");
        let names: Vec<String> =
            replicas.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect();
        ensure!(names.len() == wanted, "there are {names:?}");
        Ok(names)
    })?;
    names.iter().map(|name| world.cluster.pod(&Key::new(&*namespace, name))).collect()
}

pub fn pods_listen_as_they_are_told(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let v6only = Listen { v6only: true, ..Listen::on_all(9091, "") };
    let told = world.start(
        &world
            .server("told", "told", "node-2")
            .listen(&Listen::on(9090, ""))
            .listen(&v6only)
            .listen(&Listen::on_loopback(9092, ""))
            .listen(&Listen::on_all(9093, "").udp())
            .listen(&Listen {
                address: SocketAddr::from((Ipv6Addr::LOCALHOST, 9094)),
                ..Listen::on(9094, "")
            }),
    )?;
    let at = |port: u16| told.addresses.iter().map(move |address| SocketAddr::new(*address, port));
    for address in at(9090) {
        let met = if address.is_ipv4() { Met::Answer } else { Met::Refusal };
        world.expect(&client.netns, address, met)?;
    }
    for address in at(9091) {
        let met = if address.is_ipv6() { Met::Answer } else { Met::Refusal };
        world.expect(&client.netns, address, met)?;
    }
    for address in at(9093) {
        world.expect_datagram(&client.netns, address, &["told"])?;
    }
    // Declared, but the annotation says where it listens.
    for address in at(8080).chain(at(9092)).chain(at(9094)) {
        world.expect(&client.netns, address, Met::Refusal)?;
    }
    world.expect(&told.netns, SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)), Met::Answer)?;
    world.expect(&told.netns, SocketAddr::from((Ipv6Addr::LOCALHOST, 9094)), Met::Answer)?;

    let deaf = Listen { backlog: 1, accept: false, ..Listen::on_all(9095, "") };
    let full = world.start(&world.pod("full", "full", "node-2").listen(&deaf))?;
    let address = SocketAddr::new(*full.addresses.first().context("it has an address")?, 9095);
    // Two connections fill a queue of one (`sk_acceptq_is_full` in include/net/sock.h); then the kernel is silent.
    world.expect(&client.netns, address, Met::Answer)?;
    world.expect(&client.netns, address, Met::Answer)?;
    world.expect(&client.netns, address, Met::Silence)
}

/// As a StatefulSet's pods do, at once and without a moment in which the old one answers for the new.
pub fn a_successor_takes_over_name_and_address(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let first = world.start(&world.server("db-0", "db", "node-2"))?;
    let old = SocketAddr::new(*first.addresses.first().context("it has an address")?, 8080);
    world.expect_answers(&client.netns, old, &["db-0"])?;
    world.cluster.delete(&Target::new("v1", "Pod", Some(&first.key.namespace), &first.key.name))?;
    let second = world.cluster.wait_for("the successor runs", |_| {
        let pod = world.start(&world.pod("db-0", "db", "node-1").listen(&Listen::on_all(9090, "")))?;
        ensure!(pod.node == "node-1", "it is still on {}", pod.node);
        Ok(pod)
    })?;
    for address in &second.addresses {
        world.expect_answers(&client.netns, SocketAddr::new(*address, 9090), &["db-0"])?;
        world.expect(&client.netns, SocketAddr::new(*address, 8080), Met::Refusal)?;
    }
    Ok(())
}

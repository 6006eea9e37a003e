//! Services as the real kube-proxy serves them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use kubelab::manifest::Port;
use model::Protocol::{Tcp, Udp};

use crate::world::{Met, World};

/// Also with a target port by name, which is another number in each pod.
pub fn cluster_addresses_are_spread_over_the_nodes(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    world.start(&world.pod("one", "api", "node-1").declare(Some("web"), Tcp, 8080))?;
    world.start(&world.pod("two", "api", "node-2").declare(Some("web"), Tcp, 9090))?;
    world.cluster.apply(&world.service_at("api", Port::tcp(80).to_named("web")).object())?;
    for address in world.addresses("api", 80)? {
        world.expect_answers(&client.netns, address, &["one", "two"])?;
        // Another port of the address is nobody's: it leaves by the default route and is lost.
        world.expect(&client.netns, SocketAddr::new(address.ip(), 81), Met::Silence)?;
    }
    Ok(())
}

pub fn a_pod_reaches_itself_through_its_service(world: &World<'_>) -> Result<()> {
    let only = world.start(&world.server("only", "api", "node-2"))?;
    world.cluster.apply(&world.service("api").object())?;
    for address in world.addresses("api", 80)? {
        world.expect_answers(&only.netns, address, &["only"])?;
    }
    Ok(())
}

pub fn every_node_serves_a_node_port(world: &World<'_>) -> Result<()> {
    world.start(&world.server("one", "api", "node-2"))?;
    world.cluster.apply(&world.service("api").node_port().object())?;
    let port = world.cluster.node_port(&world.key("api"), 80)?;
    for node in ["node-1", "node-2"] {
        for address in world.node_addresses(node) {
            world.expect_answers(&world.cluster.outside(), SocketAddr::new(address, port), &["one"])?;
        }
    }
    Ok(())
}

/// Elsewhere packets from outside are dropped, so that load balancers learn to stay away (KEP-1669 and before).
pub fn local_traffic_policy_answers_where_an_endpoint_is(world: &World<'_>) -> Result<()> {
    world.start(&world.server("one", "api", "node-2"))?;
    world.cluster.apply(&world.service("api").node_port().external_local().object())?;
    let port = world.cluster.node_port(&world.key("api"), 80)?;
    for address in world.node_addresses("node-2") {
        world.expect_answers(&world.cluster.outside(), SocketAddr::new(address, port), &["one"])?;
    }
    for address in world.node_addresses("node-1") {
        world.expect(&world.cluster.outside(), SocketAddr::new(address, port), Met::Silence)?;
    }
    Ok(())
}

pub fn datagrams_are_answered(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    for (name, node) in [("one", "node-1"), ("two", "node-2")] {
        world.start(&world.pod(name, "dns", node).declare(Some("dns"), Udp, 5353))?;
    }
    world.cluster.apply(&world.service_at("dns", Port::udp(53).to_named("dns")).object())?;
    for address in world.addresses("dns", 53)? {
        world.expect_datagram(&client.netns, address, &["one", "two"])?;
    }
    Ok(())
}

pub fn a_headless_service_has_endpoints_and_no_address(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let one = world.start(&world.server("one", "api", "node-2"))?;
    world.cluster.apply(&world.service("api").headless().object())?;
    let addresses: BTreeSet<_> = one.addresses.iter().copied().collect();
    world.cluster.wait_for_endpoints(&world.key("api"), &addresses)?;
    let own = world.cluster.service_addresses(&world.key("api"))?;
    ensure!(own.is_empty(), "a headless Service has the addresses {own:?}");
    for address in addresses {
        world.expect_answers(&client.netns, SocketAddr::new(address, 8080), &["one"])?;
    }
    Ok(())
}

pub fn a_pod_of_the_hosts_network_is_an_endpoint(world: &World<'_>) -> Result<()> {
    let client = world.start(&world.pod("client", "client", "node-1"))?;
    let host =
        world.start(&world.pod("host", "host", "node-2").declare(Some("web"), Tcp, 7080).host_network())?;
    ensure!(host.addresses == world.node_addresses("node-2"), "its addresses are {:?}", host.addresses);
    world.cluster.apply(&world.service_at("host", Port::tcp(80).to(7080)).object())?;
    for address in world.addresses("host", 80)? {
        world.expect_answers(&client.netns, address, &["host"])?;
    }
    Ok(())
}

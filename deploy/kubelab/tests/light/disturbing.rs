//! What would disturb other checks, or be disturbed by them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use kubelab::ProxyMode;
use kubelab::manifest::{Peer, Policy, Rule};
use kubelab::spec::Enforcement;
use netlab::Netns;

use crate::world::{Met, World};

/// Denied before, admitted after a rule is added, on both families and from both nodes; in the end the nodes' rules are
/// those of before.
pub fn policies_deny_admit_and_leave_nothing(world: &World<'_>) -> Result<()> {
    let cluster = world.cluster;
    let spec = &cluster.record().spec;
    let denied = match spec.policies {
        Enforcement::None => Met::Answer,
        Enforcement::KubeRouterPlain | Enforcement::KubeRouter => Met::Refusal,
        Enforcement::Calico | Enforcement::Kindnet => Met::Silence,
    };
    let server = world.start(&world.server("server", "api", "node-1"))?;
    let friends = [
        world.start(&world.pod("near", "friend", "node-1"))?,
        world.start(&world.pod("far", "friend", "node-2"))?,
    ];
    let stranger = world.start(&world.pod("stranger", "stranger", "node-2"))?;
    let bystander = world.start(&world.server("bystander", "other", "node-1"))?;
    cluster.apply(&world.service("api").object())?;
    let service = world.addresses("api", 80)?;
    for address in &service {
        world.expect_answers(&stranger.netns, *address, &["server"])?;
    }
    let nodes: Vec<Netns> =
        spec.node_plans().iter().map(|plan| cluster.node(&plan.name)).collect::<Result<_>>()?;
    let before: Vec<BTreeSet<String>> =
        nodes.iter().map(|node| rules(node, spec.mode)).collect::<Result<_>>()?;

    let namespace = world.key("").namespace;
    let policy = |name: &str| Policy::new(&namespace, name).select("app", "api");
    let deny = policy("deny").deny_ingress();
    let friendly = Rule::new().peer(Peer::pods([("app", "friend")])).tcp(8080);
    let admit = policy("admit").ingress(friendly);
    let direct = |pod: &kubelab::Pod| -> Vec<SocketAddr> {
        pod.addresses.iter().map(|address| SocketAddr::new(*address, 8080)).collect()
    };
    cluster.apply(&deny.object())?;
    for pod in friends.iter().chain([&stranger]) {
        for address in direct(&server).into_iter().chain(service.iter().copied()) {
            world.expect(&pod.netns, address, denied)?;
        }
        for address in direct(&bystander) {
            world.expect(&pod.netns, address, Met::Answer)?;
        }
    }
    if spec.policies != Enforcement::None {
        for (node, before) in nodes.iter().zip(&before).take(1) {
            let now = rules(node, spec.mode)?;
            ensure!(now.difference(before).count() > 0, "a policy is enforced on {} by no rule", node.name());
        }
    }
    cluster.apply(&admit.object())?;
    for address in direct(&server).into_iter().chain(service.iter().copied()) {
        for friend in &friends {
            world.expect(&friend.netns, address, Met::Answer)?;
        }
        world.expect(&stranger.netns, address, denied)?;
    }
    cluster.delete(&admit.target())?;
    cluster.delete(&deny.target())?;
    for address in direct(&server).into_iter().chain(service.iter().copied()) {
        world.expect(&stranger.netns, address, Met::Answer)?;
    }
    for (node, before) in nodes.iter().zip(&before) {
        cluster.wait_for(&format!("{} has the rules of before", node.name()), |_| {
            let now = rules(node, spec.mode)?;
            let added: Vec<_> = now.difference(before).collect();
            let lost: Vec<_> = before.difference(&now).collect();
            ensure!(added.is_empty() && lost.is_empty(), "left: {added:#?}\nmissing: {lost:#?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Every rule and set of a node, without counters and handles.
fn rules(node: &Netns, mode: ProxyMode) -> Result<BTreeSet<String>> {
    let mut text = node.run(&["nft", "--stateless", "list", "ruleset"])?;
    text.push_str(&node.run(&["ipset", "list", "-name"])?);
    if mode == ProxyMode::IptablesLegacy {
        for tool in ["iptables-legacy-save", "ip6tables-legacy-save"] {
            text.push_str(&node.run(&[tool])?);
        }
    }
    // Chains of the old back-end have their counters behind them, and each save the time before it.
    let line = |line: &str| line.split(" [").next().unwrap_or(line).trim().to_owned();
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(line).filter(|line| !line.is_empty()).collect())
}

/// Its rules stay; what changed meanwhile is served once it is there again.
pub fn a_stopped_kube_proxy_serves_what_it_knew(world: &World<'_>) -> Result<()> {
    let clients = [
        world.start(&world.pod("on-1", "client", "node-1"))?,
        world.start(&world.pod("on-2", "client", "node-2"))?,
    ];
    world.start(&world.server("old", "old", "node-2"))?;
    world.start(&world.server("new", "new", "node-2"))?;
    world.cluster.apply(&world.service("old").object())?;
    let old = world.addresses("old", 80)?;
    for address in &old {
        world.expect_answers(&clients[0].netns, *address, &["old"])?;
    }
    world.cluster.stop_kube_proxy("node-1")?;
    world.cluster.apply(&world.service("new").object())?;
    let new = world.addresses("new", 80)?;
    for address in &new {
        world.expect_answers(&clients[1].netns, *address, &["new"])?;
        world.expect(&clients[0].netns, *address, Met::Silence)?;
    }
    for address in &old {
        world.expect_answers(&clients[0].netns, *address, &["old"])?;
    }
    world.cluster.start_kube_proxy("node-1")?;
    for address in &new {
        world.expect_answers(&clients[0].netns, *address, &["new"])?;
    }
    Ok(())
}

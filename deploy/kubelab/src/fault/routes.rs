//! Routes, neighbours and links of nodes.

use anyhow::{Context, Result};

use super::{Destination, Fault, How, Need, Probe, Reach, Source, Stage, Symptom, Tool};

/// Tables for policy routing that nothing else uses.
const TABLE_REPLIES: u16 = 1018;
const TABLE_PODS: u16 = 1004;
/// A bit that neither kube-proxy nor the policy engines use.
const MARK: &str = "0x100";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "no-route",
        breaks: "the client's node has no route to the pods of the server's node",
        cause: "H5",
        // They leave by the default route instead, and are never seen again.
        symptom: Symptom::Silent,
        reach: Reach::Node,
        needs: &[Need::TwoNodes],
        inject: |stage| {
            let plan = stage.cluster.record().nodes.iter().find(|plan| plan.name == stage.scene.second);
            let plan = plan.context("the server's node")?;
            let route = format!("{} via {}", plan.pod_cidr, plan.address);
            stage.ip(
                &stage.scene.client_node(),
                &format!("route del {route}"),
                &format!("route add {route} dev eth0"),
            )
        },
        ..Fault::USUAL
    },
    Fault {
        name: "blackhole-route",
        breaks: "a blackhole route to the server is left over on the client's node",
        cause: "H6",
        symptom: Symptom::Silent,
        inject: |stage| route(stage, "blackhole"),
        ..Fault::USUAL
    },
    Fault {
        name: "unreachable-route",
        breaks: "an unreachable route to the server is left over on the client's node",
        cause: "H6",
        // A node answers at most one such packet a second to each client, and pays for it twice, once for the error
        // (`ip_error` in net/ipv4/route.c) and once for the message (`icmpv4_xrlim_allow` in net/ipv4/icmp.c): who tries
        // again and again is not told any more.
        symptom: Symptom::Lost,
        inject: |stage| route(stage, "unreachable"),
        ..Fault::USUAL
    },
    Fault {
        name: "reply-route",
        breaks: "a routing rule on the server's node sends its replies another way",
        cause: "H18",
        symptom: Symptom::Silent,
        needs: &[Need::TwoNodes],
        inject: |stage| {
            let node = stage.scene.server_node();
            let way = stage.read(&node, &["ip", "-4", "route", "show", "default"])?;
            let (table, way) = (TABLE_REPLIES, way.trim());
            stage.ip(
                &node,
                &format!("-4 route add {way} table {table}"),
                &format!("-4 route flush table {table}"),
            )?;
            rule(stage, &format!("from {} lookup {table}", stage.address("api")?))
        },
        ..Fault::USUAL
    },
    Fault {
        name: "wrong-neighbour",
        breaks: "a permanent neighbour entry of the server's node has a hardware address that nobody has",
        cause: "H7",
        symptom: Symptom::Silent,
        inject: |stage| {
            let address = stage.address("api")?;
            stage.ip(
                &stage.scene.server_node(),
                &format!("neigh replace {address} lladdr 02:00:00:00:00:01 dev cni0 nud permanent"),
                &format!("neigh del {address} dev cni0"),
            )
        },
        ..Fault::USUAL
    },
    Fault {
        name: "mtu",
        breaks: "the way to the server carries smaller packets than its ends believe, and the ICMP that says so is dropped",
        cause: "H11",
        probe: Probe { from: Source::Pod("client"), to: Destination::Service("api", 80), how: How::Bulk },
        symptom: Symptom::Stalled,
        needs: &[Need::TwoNodes],
        inject: |stage| {
            let (client, server) = (stage.address("client")?, stage.address("api")?);
            let node = stage.scene.server_node();
            let rule = format!("-d {client}/32 -p icmp -m icmp --icmp-type fragmentation-needed -j DROP");
            stage.rule(&node, Tool::Nft, "filter", "OUTPUT", &rule)?;
            let route = format!("{server}/32 dev cni0 mtu 1000");
            stage.ip(&node, &format!("route add {route}"), &format!("route del {route}"))
        },
        ..Fault::USUAL
    },
    Fault {
        name: "rp-filter",
        breaks: "rp_filter is strict on the server's node, whose way back to the client is another interface",
        cause: "H4",
        symptom: Symptom::Silent,
        needs: &[Need::TwoNodes],
        inject: |stage| {
            let client = stage.address("client")?;
            let node = stage.scene.server_node();
            let via = stage.scene.first_address;
            // Replies are marked and by that go the right way; the filter looks up the way without a mark
            // (`src_valid_mark` is 0; `__fib_validate_source` in net/ipv4/fib_frontend.c), and that is another. The routes
            // are asymmetric, and nothing but the filter minds.
            let marks = format!(
                "chain prerouting {{ type filter hook prerouting priority mangle; policy accept;\n\
                 ip saddr {} ip daddr {client} meta mark set meta mark or {MARK}\n}}",
                stage.address("api")?
            );
            stage.table(&node, "ip ways-of-replies", &marks)?;
            stage.ip(
                &node,
                &format!("route add {client}/32 via {via} table {TABLE_PODS}"),
                &format!("route flush table {TABLE_PODS}"),
            )?;
            rule(stage, &format!("fwmark {MARK}/{MARK} lookup {TABLE_PODS}"))?;
            let wrong = format!("{client}/32 dev cni0");
            stage.ip(&node, &format!("route add {wrong}"), &format!("route del {wrong}"))?;
            stage.until("asymmetric routes alone do no harm", |_| stage.answer().map(drop))?;
            stage.sysctl(&node, "net.ipv4.conf.eth0.rp_filter", "1")
        },
        ..Fault::USUAL
    },
    Fault {
        name: "bridge-down",
        breaks: "the bridge of the server's node is down, and its pods' route with it",
        cause: "H14",
        symptom: Symptom::Lost,
        reach: Reach::Node,
        needs: &[Need::TwoNodes],
        inject: |stage| stage.ip(&stage.scene.server_node(), "link set cni0 down", "link set cni0 up"),
        ..Fault::USUAL
    },
];

/// A route of a type that has no way.
fn route(stage: &mut Stage<'_>, kind: &str) -> Result<()> {
    let route = format!("{kind} {}/32", stage.address("api")?);
    stage.ip(&stage.scene.client_node(), &format!("route add {route}"), &format!("route del {route}"))
}

/// A routing rule on the server's node.
fn rule(stage: &mut Stage<'_>, rule: &str) -> Result<()> {
    stage.ip(&stage.scene.server_node(), &format!("-4 rule add {rule}"), &format!("-4 rule del {rule}"))
}

//! A lab with both address families, by what connections do. Needs root.

#[path = "support/root.rs"]
mod root;

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::Key;
use netlab::{ConnectOutcome, Error, Lab, LabSpec, Listen, NodeSpec, Pod, PodSpec};

/// Below the first repetition of a neighbour solicitation or a SYN, both after a second: nothing may get lost.
const AT_ONCE: Duration = Duration::from_millis(900);

fn node(number: u8) -> NodeSpec {
    let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
    NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr).with_v6(
        Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x10 + u16::from(number)),
        format!("fd00:244:0:{number}::/64").parse().expect("cidr"),
    )
}

fn pod(lab: &mut Lab, name: &str, node: u8, last: u8) -> Pod {
    let address6 = Ipv6Addr::new(0xfd00, 0x244, 0, node.into(), 0, 0, 0, last.into());
    let spec = PodSpec::new(Key::new("shop", name), format!("node-{node}"), [10, 244, node, last].into());
    lab.pod(spec.with_v6(address6)).expect("a pod")
}

#[test]
fn pods_of_two_nodes_reach_each_other_in_both_families() {
    if !root::available("a dual-stack lab") {
        return;
    }
    let spec = LabSpec { name: "dual".into(), nodes: vec![node(1), node(2)] };
    let mut lab = Lab::new(spec).expect("a lab");
    let client = pod(&mut lab, "client", 1, 5);
    let near = pod(&mut lab, "near", 1, 6);
    let far = pod(&mut lab, "far", 2, 5);
    // Its addresses are of no node's range: every node needs routes of its own to them.
    let stray = lab
        .pod(
            PodSpec::new(Key::new("shop", "stray"), "node-2", [10, 99, 0, 5].into())
                .with_v6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 5)),
        )
        .expect("a pod");
    for (server, name) in [(&near, "near"), (&far, "far"), (&stray, "stray")] {
        let tcp = server.listen(Listen::on_all(8080, name)).expect("listen");
        let udp = server.listen(Listen::on_all(8080, name).udp()).expect("listen");
        assert_eq!(server.addresses().len(), 2);
        for address in server.addresses() {
            let to = SocketAddr::new(address, 8080);
            for from in [&client.netns, &lab.node("node-1").expect("node").netns] {
                for result in [from.connect(to, AT_ONCE), from.exchange_udp(to, AT_ONCE)] {
                    let result = result.expect("attempt");
                    assert_eq!(result.outcome, ConnectOutcome::Connected, "{to}");
                    assert_eq!(result.answer, name.as_bytes(), "{to}");
                }
            }
        }
        // The sources are the client's own addresses: nothing on the way translates.
        for seen in [tcp, udp] {
            let peers = seen.lock().expect("lock").accepted();
            for own in client.addresses() {
                assert!(peers.iter().any(|peer| peer.ip() == own), "{own} is not among {peers:?}");
            }
        }
    }
    // Nobody has this address; the way to it ends outside, in silence.
    let nobody = SocketAddr::from((Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0x77), 80));
    let lost = client.netns.connect(nobody, Duration::from_millis(300)).expect("attempt");
    assert_eq!(lost.outcome, ConnectOutcome::TimedOut);
    let control = SocketAddr::from((lab.control_address6().expect("an address"), 80));
    let refused = lab.node("node-1").expect("node").netns.connect(control, AT_ONCE).expect("attempt");
    assert_eq!(refused.outcome, ConnectOutcome::Refused, "the underlay is reached, and nothing listens");
}

#[test]
fn faults_are_faults_in_both_families() {
    if !root::available("a dual-stack lab") {
        return;
    }
    let mut lab = Lab::new(LabSpec { name: "faults6".into(), nodes: vec![node(1), node(2)] }).expect("a lab");
    let client = pod(&mut lab, "client", 1, 5);
    let far = pod(&mut lab, "far", 2, 5);
    far.listen(Listen::on_all(8080, "far")).expect("listen");
    let outcomes = |patience| -> Vec<ConnectOutcome> {
        let tried = far.addresses().into_iter().map(|address| {
            client.netns.connect(SocketAddr::new(address, 8080), patience).expect("attempt").outcome
        });
        tried.collect()
    };
    assert_eq!(outcomes(AT_ONCE), [ConnectOutcome::Connected; 2]);
    let (one, two) = (lab.node("node-1").expect("node"), lab.node("node-2").expect("node"));
    one.forget_pods_of(two).expect("forget");
    let short = Duration::from_millis(300);
    assert_eq!(outcomes(short), [ConnectOutcome::TimedOut; 2]);
    two.stop_forwarding().expect("stop");
    let forwarding = two.netns.run(&["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]).expect("read");
    assert_eq!(forwarding.trim(), "0");
}

#[test]
fn addresses_that_cannot_be_are_refused_with_the_reason() {
    if !root::available("a lab of a node without IPv6 pods") {
        return;
    }
    let four = NodeSpec { address6: None, pod_cidr6: None, ..node(2) };
    let mut lab = Lab::new(LabSpec { name: "refuse".into(), nodes: vec![node(1), four] }).expect("a lab");
    let taken = pod(&mut lab, "taken", 1, 5);
    let spec = |name: &str, node: &str| {
        PodSpec::new(Key::new("shop", name), node, [10, 244, 1, 9].into())
            .with_v6(Ipv6Addr::new(0xfd00, 0x244, 0, 1, 0, 0, 0, 5))
    };
    let error = lab.pod(spec("twin", "node-1")).expect_err("taken");
    assert_eq!(error.to_string(), "address fd00:244:0:1::5 (pod shop/taken) exists already in the lab");
    let free = PodSpec { address6: Some(Ipv6Addr::LOCALHOST), ..spec("lone", "node-2") };
    let error = lab.pod(free).expect_err("no range");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!(error.to_string(), "node node-2 of pod shop/lone: an IPv6 pod range is missing");
    assert!(taken.netns.path().exists());
}

//! Pods that go, and their successors. Needs root.

#[path = "support/root.rs"]
mod root;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::Key;
use netlab::{ConnectOutcome, Error, Lab, LabSpec, Listen, NodeSpec, Pod, PodSpec};

/// Below the second after which ARP and neighbour discovery repeat themselves.
const AT_ONCE: Duration = Duration::from_millis(900);

fn lab(name: &str) -> Lab {
    let node = |number: u8| {
        let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
        NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr).with_v6(
            Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number.into()),
            format!("fd00:244:0:{number}::/64").parse().expect("cidr"),
        )
    };
    Lab::new(LabSpec { name: name.into(), nodes: vec![node(1), node(2)] }).expect("a lab")
}

/// `third` other than a node's number makes addresses of no node's range.
fn pod(lab: &mut Lab, name: &str, node: u8, third: u8, last: u8) -> Pod {
    let spec = PodSpec::new(Key::new("shop", name), format!("node-{node}"), [10, 244, third, last].into());
    let address6 = Ipv6Addr::new(0xfd00, 0x244, 0, third.into(), 0, 0, 0, last.into());
    let pod = lab.pod(spec.with_v6(address6)).expect("a pod");
    pod.listen(Listen::on_all(8080, name)).expect("listen");
    pod
}

/// Routes of every node that name an address.
fn routes_to(lab: &Lab, address: IpAddr) -> Vec<String> {
    let family = if address.is_ipv4() { "-4" } else { "-6" };
    let wanted = address.to_string();
    lab.nodes()
        .flat_map(|node| {
            let text = node.netns.run(&["ip", family, "route", "show"]).expect("routes");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| line.split(' ').next() == Some(&wanted))
        .collect()
}

#[test]
fn a_removed_pod_leaves_nothing_and_its_successor_is_reached_at_once() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = lab("remove");
    let clients = [pod(&mut lab, "near", 2, 2, 4), pod(&mut lab, "far", 1, 1, 4)];
    for (third, routes) in [(2, 0), (99, 2)] {
        let old = pod(&mut lab, "old", 2, third, 5);
        let reach = |name: &str, pod: &Pod| {
            for client in &clients {
                for address in pod.addresses() {
                    let result = client.netns.connect(SocketAddr::new(address, 8080), AT_ONCE).expect("try");
                    assert_eq!(
                        result.outcome,
                        ConnectOutcome::Connected,
                        "{} to {address} ({name})",
                        client.spec.key
                    );
                    assert_eq!(result.answer, name.as_bytes());
                }
            }
        };
        reach("old", &old);
        for address in old.addresses() {
            assert_eq!(routes_to(&lab, address).len(), routes, "{address}");
        }

        lab.remove_pod(&old.spec.key).expect("remove");
        assert!(!old.netns.path().exists());
        let links = lab.node("node-2").expect("node").netns.run(&["ip", "-o", "link"]).expect("links");
        assert!(!links.contains(&old.host_interface), "{links}");
        for address in old.addresses() {
            assert_eq!(routes_to(&lab, address), [""; 0]);
        }
        let again = lab.remove_pod(&old.spec.key).expect_err("it is gone");
        assert!(matches!(&again, Error::NoPod(key) if *key == old.spec.key), "{again}");
        old.listen(Listen::on(81, "")).expect_err("a clone is of no use any more");

        let successor = pod(&mut lab, "new", 2, third, 5);
        reach("new", &successor);
        lab.remove_pod(&successor.spec.key).expect("remove");
    }
}

#[test]
fn what_somebody_removed_already_is_no_hindrance() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = lab("halves");
    let pod = pod(&mut lab, "api", 1, 99, 5);
    let node = lab.node("node-1").expect("node").netns.clone();
    node.ip(&format!("link del {}\nroute flush exact {}\n", pod.host_interface, pod.address())).expect("ip");
    lab.remove_pod(&pod.spec.key).expect("remove");
    assert!(lab.pods().next().is_none());
}

#[test]
fn a_pod_that_could_not_be_connected_can_be_tried_again() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = lab("again");
    let node = lab.node("node-1").expect("node").netns.clone();
    node.ip("link set cni0 down\nlink set cni0 name away\n").expect("break");
    let spec = PodSpec::new(Key::new("shop", "api"), "node-1", [10, 244, 1, 5].into());
    let error = lab.pod(spec.clone()).expect_err("no bridge");
    assert!(matches!(error, Error::Command { .. }), "{error}");
    node.ip("link set away name cni0\nlink set cni0 up\n").expect("mend");
    lab.pod(spec).expect("a pod");
}

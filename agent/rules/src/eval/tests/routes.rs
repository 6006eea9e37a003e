//! What the way between chains decides: routes, forwarding, and what is not read of them.

use super::*;

#[test]
fn routes_refuse_and_forwarding_may_be_off() {
    let mut state = node(&filter(""));
    let asked = packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80");
    for (kind, outcome, told) in [
        (RouteKind::Blackhole, Outcome::Dropped, None),
        (RouteKind::Unreachable, Outcome::Rejected, Some("icmp-host-unreachable")),
        (RouteKind::Prohibit, Outcome::Rejected, Some("icmp-admin-prohibited")),
    ] {
        state.routes[3].kind = kind;
        let walk = walk(&state, &asked);
        assert_eq!((walk.outcome, walk.branches[0].reject_with.as_deref()), (outcome, told));
        assert!(matches!(walk.branches[0].steps.last().unwrap().action, Action::Route(_)));
    }
    state.routes = node("").routes;
    state.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    assert_eq!(walk(&state, &asked).outcome, Outcome::Dropped);
    state.routes.remove(0);
    state.sysctls.clear();
    let nowhere = walk(&state, &packet(Origin::Pod, "10.244.1.5", "203.0.113.1:80"));
    assert_eq!(
        (nowhere.outcome, nowhere.branches[0].reject_with.as_deref()),
        (Outcome::Rejected, Some("icmp-net-unreachable"))
    );
}

#[test]
fn a_host_reaches_itself_through_output_and_input() {
    let rules = filter("-A INPUT -i lo -p tcp --dport 81 -j DROP");
    let open = walk(&node(&rules), &packet(Origin::Node, "192.0.2.2", "192.0.2.2:80"));
    assert_eq!(open.outcome, Outcome::Local);
    let shut = walk(&node(&rules), &packet(Origin::Node, "192.0.2.2", "192.0.2.2:81"));
    assert_eq!(shut.outcome, Outcome::Dropped);
    assert_eq!(shut.branches[0].steps.last().unwrap().hook, "INPUT");
}

#[test]
fn loopback_addresses_from_the_wire_are_martians() {
    let mut state = node(&filter(""));
    let asked = packet(Origin::External, "192.0.2.9", "127.0.0.1:80");
    assert_eq!(walk(&state, &asked).outcome, Outcome::Dropped);
    state.sysctls.insert("net.ipv4.conf.all.route_localnet".into(), "1".into());
    assert_eq!(walk(&state, &asked).outcome, Outcome::Local);
}

#[test]
fn marks_choose_routes_for_local_senders() {
    let mut state = node(
        "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp --dport 80 -j MARK --set-xmark 0x7/0xff\nCOMMIT\n",
    );
    state.routing_rules = vec![
        model::node_state::RoutingRule {
            priority: 100,
            from: None,
            table: 100,
            other: vec!["fwmark 0x7/0xff".into()],
        },
        model::node_state::RoutingRule { priority: 32766, from: None, table: 254, other: vec![] },
    ];
    state.routes.push(Route { table: 100, kind: RouteKind::Blackhole, ..state.routes[0].clone() });
    assert_eq!(walk(&state, &packet(Origin::Node, "192.0.2.2", "10.244.2.7:80")).outcome, Outcome::Rejected);
    assert_eq!(walk(&state, &packet(Origin::Node, "192.0.2.2", "10.244.2.7:81")).outcome, Outcome::Forwarded);
    // Only mangle looks again for a mark.
    let filter = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-xmark 0x7/0xff\nCOMMIT\n";
    state.iptables = vec![saved(Backend::IptablesNft, filter)];
    assert_eq!(walk(&state, &packet(Origin::Node, "192.0.2.2", "10.244.2.7:80")).outcome, Outcome::Forwarded);
}

#[test]
fn parts_that_were_not_read_are_unknown() {
    let mut state = node(KUBE);
    state.addresses.clear();
    state.miss([Part::Addresses], Gap::new("addresses of node-1", "permission denied"));
    let service = walk(&state, &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:80"));
    assert_eq!(destinations(&service).len(), 2);
    assert_eq!(service.outcome, Outcome::Unknown, "whether an endpoint is this host itself is not known");
    let mut state = node(&filter(""));
    state.routes.clear();
    state.miss(
        [Part::Routes(Family::Ipv4), Part::Routes(Family::Ipv6)],
        Gap::new("routes of node-1", "permission denied"),
    );
    assert_eq!(walk(&state, &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80")).outcome, Outcome::Unknown);
}

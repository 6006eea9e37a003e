//! Policy routing rules, selector by selector.

use std::net::IpAddr;

use super::*;

/// What a rule is asked about: a packet from a pod, by cni0, with this mark.
fn query(mark: u32, input: &Device) -> Query<'_> {
    let (src, dst) = ("10.244.1.5".parse().unwrap(), "198.51.100.7".parse().unwrap());
    Query { src, dst, mark, input }
}

fn named(name: &str) -> Device {
    Device::Named(name.into())
}

fn rule(priority: u32, table: u32, other: &[&str]) -> RoutingRule {
    let other = other.iter().map(|text| (*text).to_owned()).collect();
    RoutingRule { priority, from: Some("0.0.0.0/0".parse().unwrap()), table, other }
}

fn route(table: u32, destination: &str, kind: RouteKind, device: &str) -> Route {
    Route {
        table,
        destination: destination.parse().unwrap(),
        kind,
        gateway: None,
        device: Some(device.to_owned()),
        prefer_src: None,
        metric: 0,
    }
}

/// Table 254 leads by eth0, table 100 by vpn0, where these rules come before the usual ones.
fn network(rules: &[RoutingRule], more: &[Route]) -> Network {
    let mut routing_rules = rules.to_vec();
    routing_rules.extend([rule(0, LOCAL, &[]), rule(32_766, MAIN, &[]), rule(32_767, DEFAULT, &[])]);
    let mut routes = more.to_vec();
    routes.push(route(MAIN, "0.0.0.0/0", RouteKind::Unicast, "eth0"));
    routes.push(route(100, "0.0.0.0/0", RouteKind::Unicast, "vpn0"));
    Network::new(&NodeState { routing_rules, routes, ..NodeState::default() })
}

/// The device a packet leaves by, or why it does not.
fn leaves(network: &Network, query: &Query<'_>) -> String {
    match network.way(query) {
        Way::On { device: Device::Named(name), .. } => name.to_string(),
        Way::Unknown(gap) => format!("unknown: {}", gap.why),
        other => format!("{other:?}"),
    }
}

#[test]
fn selectors_plain_and_turned_round() {
    use Tri::{No, Unknown, Yes};
    const MARK: u32 = 0x4007;
    let from_pod = named("cni0");
    let mut wrong = Vec::new();
    for (selectors, expected) in [
        (&["fwmark 0x4007/0xffffffff"][..], Yes),
        (&["fwmark 0x7/0xff"], Yes),
        (&["fwmark 0x4000/0x4000"], Yes),
        (&["fwmark 0x4000/0xffff"], No),
        (&["fwmark 0x8/0xff"], No),
        (&["fwmark 0x0/0x8000"], Yes),
        (&["fwmark 0x0/0xff"], No),
        // Only the bits under the mask are compared.
        (&["fwmark 0x107/0xff"], Yes),
        (&["fwmark 7/255"], Yes),
        (&["fwmark 0x4007"], Yes),
        (&["fwmark 0x8"], No),
        (&["fwmark 0x4000"], Unknown),
        (&["fwmark odd"], Unknown),
        (&["fwmark 0x7/odd"], Unknown),
        (&["to 198.51.100.0/24"], Yes),
        (&["to 198.51.100.7/32"], Yes),
        (&["to 198.51.100.7"], Yes),
        (&["to 10.0.0.0/8"], No),
        (&["to nowhere"], Unknown),
        (&["iif cni0"], Yes),
        (&["iif cni"], No),
        (&["iif lo"], No),
        // Nothing here is sent by a socket bound to an interface.
        (&["oif eth0"], No),
        (&["suppress_prefixlength 0"], Yes),
        (&["ipproto tcp"], Unknown),
        (&["uidrange 0-99"], Unknown),
        (&["l3mdev"], Unknown),
        // All have to fit.
        (&["fwmark 0x7/0xff", "iif cni0", "to 198.51.100.0/24"], Yes),
        (&["fwmark 0x7/0xff", "iif eth1"], No),
        (&["ipproto tcp", "iif eth1"], No),
        (&["ipproto tcp", "iif cni0"], Unknown),
    ] {
        let turned = [selectors, &["not"]].concat();
        for (selectors, expected) in [(selectors, expected), (&turned[..], expected.not_if(true))] {
            let found = selectors::applies(&rule(100, 100, selectors), &query(MARK, &from_pod));
            if found != expected {
                wrong.push(format!("{selectors:?}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sources_are_selected_and_turned_round() {
    let input = named("cni0");
    for (from, not, expected) in [
        ("10.244.0.0/16", false, Tri::Yes),
        ("10.244.0.0/16", true, Tri::No),
        ("192.0.2.0/24", false, Tri::No),
        ("192.0.2.0/24", true, Tri::Yes),
    ] {
        let mut rule = rule(100, 100, if not { &["not"] } else { &[] });
        rule.from = Some(from.parse().unwrap());
        assert_eq!(selectors::applies(&rule, &query(0, &input)), expected, "{from} {not}");
    }
}

#[test]
fn interfaces_it_came_by() {
    for (input, wanted, expected) in [
        (named("lo"), "iif lo", Tri::Yes),
        (Device::Absent, "iif lo", Tri::Yes),
        (Device::Absent, "iif cni0", Tri::No),
        (Device::Unknown, "iif cni0", Tri::Unknown),
    ] {
        let found = selectors::applies(&rule(100, 100, &[wanted]), &query(0, &input));
        assert_eq!(found, expected, "{input:?} {wanted}");
    }
}

#[test]
fn rules_choose_tables_in_the_order_of_their_priorities() {
    let input = named("cni0");
    for (rules, expected) in [
        (&[][..], "eth0"),
        (&[rule(100, 100, &[])], "vpn0"),
        (&[rule(40_000, 100, &[])], "eth0"),
        (&[rule(100, 100, &["fwmark 0x7/0xff"])], "vpn0"),
        (&[rule(100, 100, &["fwmark 0x8/0xff"])], "eth0"),
        (&[rule(100, 100, &["fwmark 0x8/0xff", "not"])], "vpn0"),
        (&[rule(100, 100, &["oif eth0"])], "eth0"),
        (&[rule(100, 7, &[])], "eth0"),
        (
            &[rule(100, 100, &["ipproto tcp"])],
            "unknown: rule `100: from 0.0.0.0/0 ipproto tcp lookup 100` may apply",
        ),
        // It may apply, but would lead the same way.
        (&[rule(100, MAIN, &["ipproto tcp"])], "eth0"),
        (&[rule(100, 0, &["nop"])], "eth0"),
        (&[rule(100, 0, &["action 3"])], "eth0"),
        (
            &[rule(100, 0, &["action 7"])],
            "unknown: rule `100: from 0.0.0.0/0 action 7 lookup 0` is not modelled",
        ),
        (&[rule(100, 0, &["action 7", "iif eth1"])], "eth0"),
        (
            &[rule(100, 0, &["goto 200"])],
            "unknown: rule `100: from 0.0.0.0/0 goto 200 lookup 0` is not modelled",
        ),
        // Whose table a virtual router's rule looks up is not known.
        (&[rule(100, 0, &["l3mdev"])], "unknown: rule `100: from 0.0.0.0/0 l3mdev lookup 0` is not modelled"),
        (&[rule(40_000, 0, &["l3mdev"])], "eth0"),
    ] {
        assert_eq!(leaves(&network(rules, &[]), &query(0x7, &input)), expected, "{rules:?}");
    }
}

/// As WireGuard's and others' rules have it: what main knows better than by its default route goes by main.
#[test]
fn default_routes_are_suppressed() {
    let input = named("cni0");
    let rules =
        [rule(100, MAIN, &["suppress_prefixlength 0"]), rule(101, 100, &["fwmark 0xca6c/0xffffffff", "not"])];
    let asked = query(0, &input);
    assert_eq!(leaves(&network(&rules, &[]), &asked), "vpn0");
    assert_eq!(leaves(&network(&rules, &[]), &query(0xca6c, &input)), "eth0");
    let near = route(MAIN, "198.51.100.0/24", RouteKind::Unicast, "eth1");
    assert_eq!(leaves(&network(&rules, &[near]), &asked), "eth1");
    // Longer prefixes up to the limit go the same way.
    let rules = [rule(100, MAIN, &["suppress_prefixlength 24"]), rule(101, 100, &[])];
    let near = route(MAIN, "198.51.100.0/24", RouteKind::Unicast, "eth1");
    assert_eq!(leaves(&network(&rules, &[near]), &asked), "vpn0");
    let nearer = route(MAIN, "198.51.100.0/25", RouteKind::Unicast, "eth1");
    assert_eq!(leaves(&network(&rules, &[nearer]), &asked), "eth1");
    // A route that refuses is never suppressed; one that hands on is no answer in the first place.
    let refusing = route(MAIN, "198.51.0.0/16", RouteKind::Prohibit, "lo");
    let net = refusing.destination;
    assert_eq!(network(&rules, &[refusing]).way(&asked), Way::Refused(RouteKind::Prohibit, net));
    let handing_on = route(MAIN, "198.51.100.0/25", RouteKind::Throw, "lo");
    assert_eq!(leaves(&network(&rules, &[handing_on]), &asked), "vpn0");
}

#[test]
fn virtual_routers_are_asked_only_about_what_belongs_to_them() {
    let link = |index, name: &str, kind: &str, master| model::node_state::Link {
        index,
        name: name.to_owned(),
        up: true,
        master,
        peer_index: None,
        kind: kind.to_owned(),
        mtu: 1500,
    };
    for word in ["l3mdev", "attribute 19"] {
        let network = Network::new(&NodeState {
            links: vec![
                link(1, "lo", "", None),
                link(2, "blue", "vrf", None),
                link(3, "cni0", "bridge", None),
                link(4, "eth1", "", Some(2)),
            ],
            routing_rules: vec![rule(1000, 0, &[word]), rule(32_766, MAIN, &[])],
            routes: vec![route(MAIN, "0.0.0.0/0", RouteKind::Unicast, "eth0")],
            ..NodeState::default()
        });
        for other in ["cni0", "lo"] {
            assert_eq!(leaves(&network, &query(0, &named(other))), "eth0", "{word} {other}");
        }
        for own in ["blue", "eth1"] {
            assert!(matches!(network.way(&query(0, &named(own))), Way::Unknown(_)), "{word} {own}");
        }
    }
}

#[test]
fn rules_of_the_other_family_do_not_count() {
    let input = named("cni0");
    let mut other = rule(100, 100, &[]);
    other.from = Some("::/0".parse().unwrap());
    assert_eq!(leaves(&network(&[other], &[]), &query(0, &input)), "eth0");
    let unsaid = RoutingRule { from: None, ..rule(100, 100, &[]) };
    assert_eq!(leaves(&network(&[unsaid], &[]), &query(0, &input)), "vpn0");
    let own: IpAddr = "127.0.0.1".parse().unwrap();
    let asked = Query { dst: own, ..query(0, &input) };
    assert_eq!(network(&[rule(100, 100, &[])], &[]).way(&asked), Way::Local);
}

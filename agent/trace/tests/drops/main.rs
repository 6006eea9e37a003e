//! Provokes each kind of drop in a real kernel and reads it back.
//!
//! Each test has namespaces and programs of its own, so that they run at the same time.

mod lab;
mod raw;

use std::net::SocketAddr;

use lab::{CLIENT, CLIENT6, Lab, SERVER, SERVER6, ready};
use trace::{Config, Drained, Drop, Scope, Tracer};

/// A tracer that sees this lab and nothing else.
fn tracer(lab: &Lab) -> Tracer {
    let mut tracer = Tracer::load(&Config { scope: Scope::Only }).expect("load the programs");
    tracer.set_scope(lab.cookies()).expect("set the scope");
    tracer
}

/// The single drop that was drained.
fn only(drained: &Drained) -> &Drop {
    assert_eq!(drained.lost, 0, "{drained:#?}");
    match drained.drops.as_slice() {
        [drop] => drop,
        _ => panic!("expected one drop: {drained:#?}"),
    }
}

/// What a drop says of itself in short: reason and function.
fn what(drop: &Drop) -> (&str, &str) {
    (&drop.reason, &drop.location.symbol)
}

/// nftables frees the packet itself on 6.18 and returns a verdict to the hook on 6.1.176, where its drops cannot be
/// told from those of iptables-legacy.
fn dropped_by_nftables(drop: &Drop) {
    assert!(matches!(what(drop), ("NETFILTER_DROP", "nft_do_chain" | "nf_hook_slow")), "{drop:#?}");
}

/// Breaks a lab, tries one connection to the server, and checks of the drop what is the same for all of them.
fn provoke(test: &str, break_it: impl FnOnce(&Lab)) -> Option<(Lab, Drop)> {
    const PORT: u16 = 81;
    if !ready(test) {
        return None;
    }
    let lab = Lab::new(test);
    break_it(&lab);
    let mut tracer = tracer(&lab);
    lab.client.fail_to_connect(SERVER, PORT);
    let drained = tracer.drain().expect("drain");
    let drop = only(&drained).clone();
    assert_eq!(drop.tuple.src.to_string(), CLIENT);
    assert_eq!(drop.tuple.dst, SocketAddr::new(SERVER.parse().expect("an address"), PORT));
    assert_eq!((drop.count, drained.total), (1, 1));
    assert!(!drop.reply && drop.last_src_port != 0, "{drop:#?}");
    assert_eq!(drop.first_at, drop.last_at);
    assert!(drop.first_at <= drained.at && drop.first_at.age_ms(drained.at) < 60_000, "{drained:#?}");
    assert_eq!(tracer.drain().expect("drain again").drops, [], "what was drained is gone");
    Some((lab, drop))
}

#[test]
fn nftables_drop() {
    let Some((lab, drop)) = provoke("nft", |lab| {
        lab.router.nft("table ip t { chain c { type filter hook forward priority 0; tcp dport 81 drop; }; }");
    }) else {
        return;
    };
    dropped_by_nftables(&drop);
    assert_eq!(drop.netns_cookie, lab.router.cookie);
    assert_ne!((drop.in_ifindex, drop.ifindex), (0, 0));
}

#[test]
fn the_mark_of_a_dropped_packet_is_kept() {
    let Some((_lab, drop)) = provoke("mark", |lab| {
        lab.router.nft(
            "table ip t { chain c { type filter hook forward priority 0; meta mark set 0x4000 drop; }; }",
        );
    }) else {
        return;
    };
    assert_eq!(drop.mark, 0x4000);
}

#[test]
fn iptables_legacy_drop_in_forward() {
    let Some((lab, drop)) = provoke("legacy", |lab| {
        lab.router.exec("iptables-legacy -w -A FORWARD -p tcp --dport 81 -j DROP");
    }) else {
        return;
    };
    assert_eq!(what(&drop), ("NETFILTER_DROP", "nf_hook_slow"));
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn iptables_nft_drop_in_forward() {
    let Some((lab, drop)) = provoke("iptnft", |lab| {
        lab.router.exec("iptables-nft -w -A FORWARD -p tcp --dport 81 -j DROP");
    }) else {
        return;
    };
    dropped_by_nftables(&drop);
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn reject_in_forward() {
    let Some((lab, drop)) = provoke("rejfwd", |lab| {
        lab.router.exec("iptables-legacy -w -A FORWARD -p tcp --dport 81 -j REJECT");
    }) else {
        return;
    };
    assert_eq!(what(&drop), ("NETFILTER_DROP", "nf_hook_slow"));
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn reject_in_the_servers_input() {
    let Some((lab, drop)) = provoke("rejin", |lab| {
        lab.server.exec("iptables-nft -w -A INPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset");
    }) else {
        return;
    };
    dropped_by_nftables(&drop);
    assert_eq!(drop.netns_cookie, lab.server.cookie);
}

#[test]
fn a_drop_in_output_has_no_device_and_is_known_by_its_socket() {
    let Some((lab, drop)) = provoke("output", |lab| {
        lab.client.exec("iptables-legacy -w -A OUTPUT -p tcp --dport 81 -j DROP");
    }) else {
        return;
    };
    assert_eq!(drop.reason, "NETFILTER_DROP");
    assert_eq!(drop.netns_cookie, lab.client.cookie);
    assert_eq!(drop.in_ifindex, 0);
}

#[test]
fn nobody_listens() {
    let Some((lab, drop)) = provoke("closed", |_| {}) else { return };
    assert_eq!(what(&drop), ("NO_SOCKET", "tcp_v4_rcv"));
    assert_eq!(drop.netns_cookie, lab.server.cookie);
}

#[test]
fn the_router_has_no_route() {
    let Some((lab, drop)) = provoke("noroute", |lab| lab.router.ip("route del 10.7.1.0/24")) else { return };
    assert_eq!(what(&drop), ("IP_INNOROUTES", "ip_error"));
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn a_blackhole_route_gives_no_reason_but_its_place() {
    let Some((lab, drop)) = provoke("blackhole", |lab| lab.router.ip("route add blackhole 10.7.1.2/32"))
    else {
        return;
    };
    assert_eq!(what(&drop).0, "NOT_SPECIFIED");
    assert!(drop.location.symbol.starts_with("ip_"), "{drop:#?}");
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn the_reverse_path_filter() {
    let Some((lab, drop)) = provoke("rpfilter", |lab| {
        // Resolves the router's address first: it would not answer ARP from an address it believes elsewhere.
        lab.client.fail_to_connect(SERVER, 1);
        lab.router.sysctl("net/ipv4/conf/cli/rp_filter", "1");
        lab.router.ip("route add 10.7.0.2/32 dev srv");
    }) else {
        return;
    };
    assert_eq!(what(&drop), ("IP_RPFILTER", "ip_rcv_finish_core"));
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn nobody_listens_on_ipv6() {
    let test = "closed6";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    // A first connection, since interfaces that have just come up solicit no neighbour for a while.
    let _listener = lab.server.listen(80);
    lab.client.connect(SERVER6, 80);
    let mut tracer = tracer(&lab);
    lab.client.fail_to_connect(SERVER6, 81);
    let drained = tracer.drain().expect("drain");
    let drop = only(&drained);
    assert_eq!(what(drop), ("NO_SOCKET", "tcp_v6_rcv"));
    assert_eq!(drop.netns_cookie, lab.server.cookie);
    assert_eq!(drop.tuple.src.to_string(), CLIENT6);
    assert_eq!(drop.tuple.dst.to_string(), format!("[{SERVER6}]:81"));
}

#[test]
fn a_dropped_answer_is_told_apart() {
    let test = "answer";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    lab.router.nft("table ip t { chain c { type filter hook forward priority 0; tcp sport 80 drop; }; }");
    let _listener = lab.server.listen(80);
    let mut tracer = tracer(&lab);
    lab.client.fail_to_connect(SERVER, 80);
    let drained = tracer.drain().expect("drain");
    let drop = only(&drained);
    assert!(drop.reply, "{drop:#?}");
    assert_eq!(drop.tuple.src.to_string(), SERVER);
    assert_eq!(drop.tuple.dst.ip().to_string(), CLIENT);
    assert_eq!(drop.last_src_port, 80);
    assert_ne!(drop.tuple.dst.port(), 0);
    assert_eq!(drop.netns_cookie, lab.router.cookie);
}

#[test]
fn healthy_connections_yield_nothing() {
    let test = "healthy";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    let listener = lab.server.listen(80);
    let mut tracer = tracer(&lab);
    for address in [SERVER, SERVER6].into_iter().cycle().take(50) {
        let connection = lab.client.connect(address, 80);
        let (accepted, _) = listener.accept().expect("accept");
        drop((connection, accepted));
    }
    let drained = tracer.drain().expect("drain");
    assert_eq!((drained.drops.as_slice(), drained.total, drained.lost), ([].as_slice(), 0, 0));
}

#[test]
fn namespaces_out_of_scope_yield_nothing_until_they_are_in() {
    let test = "scope";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    let mut tracer = Tracer::load(&Config { scope: Scope::Only }).expect("load the programs");
    tracer.set_scope([lab.client.cookie, lab.router.cookie]).expect("set the scope");
    lab.client.fail_to_connect(SERVER, 81);
    let drained = tracer.drain().expect("drain");
    assert_eq!((drained.drops.as_slice(), drained.total), ([].as_slice(), 0), "the server is out of scope");

    tracer.set_scope([lab.server.cookie]).expect("set the scope");
    lab.client.fail_to_connect(SERVER, 82);
    let drained = tracer.drain().expect("drain");
    assert_eq!(only(&drained).tuple.dst.port(), 82);

    tracer.set_scope([]).expect("set the scope");
    lab.client.fail_to_connect(SERVER, 83);
    assert_eq!(tracer.drain().expect("drain").drops, []);
}

#[test]
fn without_a_scope_every_namespace_counts() {
    let test = "all";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    let mut tracer = Tracer::load(&Config { scope: Scope::All }).expect("load the programs");
    lab.client.fail_to_connect(SERVER, 81);
    let drained = tracer.drain().expect("drain");
    // Other labs on this machine may be in it too.
    let ours: Vec<_> = drained.drops.iter().filter(|drop| drop.netns_cookie == lab.server.cookie).collect();
    assert!(matches!(ours.as_slice(), [drop] if drop.reason == "NO_SOCKET"), "{drained:#?}");
}

#[test]
fn retries_are_one_drop() {
    let test = "retries";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    let mut tracer = tracer(&lab);
    for _ in 0..5 {
        lab.client.fail_to_connect(SERVER, 81);
    }
    let drained = tracer.drain().expect("drain");
    let drop = only(&drained);
    assert_eq!(drop.count, 5);
    assert!(drop.first_at <= drop.last_at);
    let totals: Vec<_> = tracer.totals().expect("totals");
    assert!(
        matches!(totals.as_slice(), [total] if total.count == 5 && total.reason == "NO_SOCKET" && total.netns_cookie == lab.server.cookie),
        "{totals:#?}"
    );
}

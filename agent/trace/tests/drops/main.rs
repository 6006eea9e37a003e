//! Provokes each kind of drop in a real kernel and reads it back.
//!
//! Each test has namespaces and programs of its own, so that they run at the same time.

mod lab;

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

/// Provokes one drop of a connection from the client to the server and checks everything it does not name itself.
fn provoke(test: &str, port: u16, break_it: impl FnOnce(&Lab)) -> Option<(Lab, Drop)> {
    if !ready(test) {
        return None;
    }
    let lab = Lab::new(test);
    break_it(&lab);
    let mut tracer = tracer(&lab);
    let result = lab.client.connect(SERVER, port);
    assert!(result.is_err(), "the connection was to fail");
    let drop = only(&tracer.drain().expect("drain")).clone();
    assert_eq!(drop.tuple.src.to_string(), CLIENT);
    assert_eq!(drop.tuple.dst, SocketAddr::new(SERVER.parse().expect("an address"), port));
    assert_eq!(drop.count, 1);
    assert!(!drop.reply && drop.last_src_port != 0, "{drop:#?}");
    assert_eq!(drop.first_at, drop.last_at);
    Some((lab, drop))
}

#[test]
fn nftables_drop() {
    let Some((lab, drop)) = provoke("nft", 81, |lab| {
        lab.router.nft("table ip t { chain c { type filter hook forward priority 0; tcp dport 81 drop; }; }");
    }) else {
        return;
    };
    assert_eq!((drop.reason.as_str(), drop.location.symbol.as_str()), ("NETFILTER_DROP", "nft_do_chain"));
    assert_eq!(drop.netns_cookie, lab.router.cookie);
    assert_ne!(drop.in_ifindex, 0);
}

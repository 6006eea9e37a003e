//! Reading and walking kube-proxy's nftables rules, with 1,000 and with 10,000 Services of five endpoints each.

mod listing;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use model::flow::{Origin, Packet, Protocol};
use model::node_state::{NodeState, Route, RouteKind};
use model::time::Timestamp;
use model::walk::{Outcome, RulesStamp};
use rules::Host;

use crate::listing::{address, listing};

fn main() {
    divan::main();
}

#[divan::bench(args = [1_000, 10_000], sample_count = 10)]
fn parse(bencher: Bencher<'_, '_>, services: u32) {
    let text = listing(services);
    bencher.counter(BytesCount::of_str(&text)).bench(|| rules::nft::parse(black_box(&text), |_, _| false));
}

/// Parsing, fingerprint and list of Services: what the agent does when rules changed.
#[divan::bench(args = [1_000, 10_000], sample_count = 10)]
fn load(bencher: Bencher<'_, '_>, services: u32) {
    let state = state(listing(services));
    bencher
        .counter(BytesCount::of_str(&state.nftables))
        .with_inputs(|| state.clone())
        .bench_values(|mut state| Host::taking(&mut state));
}

#[divan::bench(args = [1_000, 10_000])]
fn walk_to_a_service(bencher: Bencher<'_, '_>, services: u32) {
    let host = Host::new(&state(listing(services)));
    let packet = packet(address(services / 2));
    let walk = host.walk(&packet, STAMP);
    assert_eq!((walk.outcome, walk.branches.len()), (Outcome::Forwarded, 5), "{:?}", walk.gaps);
    bencher.bench(|| host.walk(black_box(&packet), STAMP));
}

#[divan::bench(args = [1_000, 10_000])]
fn walk_past_all_services(bencher: Bencher<'_, '_>, services: u32) {
    let host = Host::new(&state(listing(services)));
    let packet = packet("198.51.100.1".to_owned());
    bencher.bench(|| host.walk(black_box(&packet), STAMP));
}

const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };

#[expect(clippy::unwrap_used, reason = "constant input")]
fn packet(to: String) -> Packet {
    Packet {
        origin: Origin::Pod,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: "10.244.1.5".parse().unwrap(),
        src_port: None,
        dst: (to + ":80").parse().unwrap(),
    }
}

#[expect(clippy::unwrap_used, reason = "constant input")]
fn state(text: String) -> NodeState {
    let route = |destination: &str, device: &str| Route {
        table: 254,
        destination: destination.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: None,
        device: Some(device.to_owned()),
        prefer_src: None,
        metric: 0,
    };
    NodeState {
        nftables: text,
        routes: vec![route("0.0.0.0/0", "eth0"), route("10.244.1.0/24", "cni0")],
        sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        ..NodeState::default()
    }
}

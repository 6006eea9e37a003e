//! Reading and walking the rules of 10,000 Services with five endpoints each, as kube-proxy writes them.

mod cluster;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, RulesStamp};
use rules::Host;

use crate::cluster::{SERVICES, address, rules};

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 10)]
fn parse(bencher: Bencher<'_, '_>) {
    let text = rules();
    bencher
        .counter(BytesCount::of_str(&text))
        .with_inputs(|| text.clone())
        .bench_values(|text| rules::iptables::parse(Backend::IptablesNft, Family::Ipv4, text));
}

/// Parsing, fingerprint and list of Services: what the agent does when rules changed.
#[divan::bench(sample_count = 10)]
fn load(bencher: Bencher<'_, '_>) {
    let state = state(rules());
    bencher
        .counter(BytesCount::new(state.iptables[0].text.len()))
        .with_inputs(|| state.clone())
        .bench_values(|mut state| Host::taking(&mut state));
}

/// To the Service in the middle of the list.
#[divan::bench]
fn walk_to_a_service(bencher: Bencher<'_, '_>) {
    let host = Host::new(&state(rules()));
    let packet = packet(address(SERVICES / 2));
    bencher.bench(|| host.walk(black_box(&packet), STAMP));
}

/// To an address no Service has, past the whole list.
#[divan::bench]
fn walk_past_all_services(bencher: Bencher<'_, '_>) {
    let host = Host::new(&state(rules()));
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
        iptables: vec![SavedRules { backend: Backend::IptablesNft, family: Family::Ipv4, text }],
        addresses: vec![InterfaceAddress {
            interface: "eth0".to_owned(),
            address: "192.0.2.2/24".parse().unwrap(),
        }],
        routes: vec![route("0.0.0.0/0", "eth0"), route("10.244.1.0/24", "cni0")],
        ..NodeState::default()
    }
}

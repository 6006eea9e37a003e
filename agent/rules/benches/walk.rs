//! Reading and walking the rules of 10,000 Services with five endpoints each, as kube-proxy writes them.

use std::fmt::Write as _;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use model::flow::{Family, Origin, Packet, Protocol};
use model::node_state::{InterfaceAddress, NodeState, Route, RouteKind, SavedRules};
use model::time::Timestamp;
use model::walk::{Backend, RulesStamp};
use rules::Host;
use rules::owner::kube_proxy::{sep_hash, service_hash};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 5;

/// Counts what is allocated: the peak of `parse` is what the rules need beside the caller's text.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 10)]
fn parse(bencher: Bencher<'_, '_>) {
    let text = rules();
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| rules::iptables::parse(Backend::IptablesNft, Family::Ipv4, black_box(&text)));
}

/// Parsing, fingerprint and list of Services: what the agent does when rules changed.
#[divan::bench(sample_count = 10)]
fn load(bencher: Bencher<'_, '_>) {
    let state = state(rules());
    bencher.counter(BytesCount::new(state.iptables[0].text.len())).bench(|| Host::new(black_box(&state)));
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

fn address(service: u32) -> String {
    format!("10.96.{}.{}", service / 250, service % 250 + 1)
}

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

/// 170,000 rules, chain by chain as `iptables-save` prints them.
fn rules() -> String {
    let mut endpoint_chains = String::new();
    let mut services = String::new();
    let mut of_services = String::new();
    let mut of_endpoints = String::new();
    let mut service_chains = String::new();
    for service in 0..SERVICES {
        let name = format!("shop-{}/service-{service}:http", service % 50);
        let hash = service_hash(&name, Protocol::Tcp);
        let vip = address(service);
        let _ = writeln!(service_chains, ":KUBE-SVC-{hash} - [0:0]");
        let _ = writeln!(
            services,
            "-A KUBE-SERVICES -d {vip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j KUBE-SVC-{hash}"
        );
        let _ = writeln!(
            of_services,
            "-A KUBE-SVC-{hash} ! -s 10.244.0.0/16 -d {vip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ"
        );
        for number in 0..ENDPOINTS {
            let endpoint =
                format!("10.{}.{}.{}:8080", 128 + service % 100, service / 250, service % 250 + number + 1);
            let sep = sep_hash(&name, Protocol::Tcp, &endpoint);
            let (ip, _) = endpoint.split_once(':').unwrap_or_default();
            let _ = writeln!(endpoint_chains, ":KUBE-SEP-{sep} - [0:0]");
            let chance = if number + 1 < ENDPOINTS {
                format!(
                    " -m statistic --mode random --probability {:.11}",
                    1.0 / f64::from(ENDPOINTS - number)
                )
            } else {
                String::new()
            };
            let _ = writeln!(
                of_services,
                "-A KUBE-SVC-{hash} -m comment --comment \"{name} -> {endpoint}\"{chance} -j KUBE-SEP-{sep}"
            );
            let _ = writeln!(
                of_endpoints,
                "-A KUBE-SEP-{sep} -s {ip}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ\n\
                 -A KUBE-SEP-{sep} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {endpoint}"
            );
        }
    }
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n\
         {service_chains}{endpoint_chains}-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n{services}\
         -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n{of_services}{of_endpoints}COMMIT\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    )
}

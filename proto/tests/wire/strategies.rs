//! Arbitrary evidence for properties.

use std::net::{IpAddr, SocketAddr};

use model::evidence::Location;
use model::flow::{Family, Origin, Packet, Protocol, Tuple};
use model::netns::{Netns, NetnsOwner};
use model::node_state::Listener;
use model::objects::Key;
use model::probe::{ListenerReport, PodTarget, Probe, ProbeOutcome, Scope};
use model::walk::{
    Action, Backend, Branch, Masquerade, Outcome, ProxyFacts, RuleRef, RulesStamp, Step, Walk,
};
use model::{DropRecord, Gap, RecordId, ServiceProxy, SourceHealth, SourceState, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn gap() -> impl Strategy<Value = Gap> {
    (text(), text(), text()).prop_map(|(what, why, remedy)| Gap { what, why, remedy })
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        select(vec![Origin::Pod, Origin::Node, Origin::External]),
        option::of(text()),
        protocol(),
        any::<IpAddr>(),
        option::of(any::<u16>()),
        any_socket(),
    )
        .prop_map(|(origin, in_interface, protocol, src, src_port, dst)| Packet {
            origin,
            in_interface,
            protocol,
            src,
            src_port,
            dst,
        })
}

/// Without flow label and scope, which no walk and no record carries.
fn any_socket() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
}

fn rule() -> impl Strategy<Value = RuleRef> {
    (
        select(vec![Backend::IptablesNft, Backend::IptablesLegacy, Backend::Nftables, Backend::Ipvs]),
        select(vec![Family::Ipv4, Family::Ipv6]),
        (text(), text(), text(), text(), text()),
        option::of(any::<u64>()),
    )
        .prop_map(|(backend, family, (table, chain, text, owner, object), handle)| RuleRef {
            backend,
            family,
            table,
            chain,
            handle,
            text,
            owner,
            object,
        })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        text().prop_map(Action::Jump),
        Just(Action::Return),
        Just(Action::Accept),
        Just(Action::Drop),
        text().prop_map(Action::Reject),
        any_socket().prop_map(Action::Dnat),
        Just(Action::Masquerade),
        any::<u32>().prop_map(Action::Mark),
        text().prop_map(Action::Policy),
        text().prop_map(Action::Route),
        text().prop_map(Action::Membership),
        text().prop_map(Action::Unknown),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (text(), option::of(rule()), action(), option::of(any::<u64>()))
        .prop_map(|(hook, rule, action, packets)| Step { hook, rule, action, packets })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    select(vec![Outcome::Forwarded, Outcome::Local, Outcome::Dropped, Outcome::Rejected, Outcome::Unknown])
}

fn branch() -> impl Strategy<Value = Branch> {
    (
        (any_socket(), outcome(), select(vec![Masquerade::No, Masquerade::Yes, Masquerade::Maybe])),
        (option::of(rule()), option::of(rule())),
        (option::of(text()), option::of(text()), option::of(any::<IpAddr>())),
        vec(step(), 0..4),
        vec(gap(), 0..3),
    )
        .prop_map(|(decided, rules, words, steps, gaps)| Branch {
            destination: decided.0,
            outcome: decided.1,
            masquerade: decided.2,
            dnat_rule: rules.0,
            terminal_rule: rules.1,
            reject_with: words.0,
            out_interface: words.1,
            gateway: words.2,
            steps,
            gaps,
        })
}

pub fn service_proxy() -> impl Strategy<Value = ServiceProxy> {
    select(vec![
        ServiceProxy::Iptables,
        ServiceProxy::IptablesLegacy,
        ServiceProxy::Nftables,
        ServiceProxy::Ipvs,
        ServiceProxy::Other,
        ServiceProxy::None,
    ])
}

pub fn walk() -> impl Strategy<Value = Walk> {
    (
        packet(),
        outcome(),
        vec(branch(), 1..3),
        (service_proxy(), any::<u32>(), any::<bool>(), any::<bool>(), vec(text(), 0..3)),
        (time(), any::<u64>(), time()),
        vec(gap(), 0..3),
    )
        .prop_map(|(packet, outcome, branches, proxy, rules, gaps)| Walk {
            packet,
            outcome,
            branches,
            proxy: ProxyFacts {
                mode: proxy.0,
                services: proxy.1,
                knows_destination: proxy.2,
                knows_address: proxy.3,
                evidence: proxy.4,
            },
            rules: RulesStamp { read_at: rules.0, fingerprint: rules.1, unchanged_since: rules.2 },
            gaps,
        })
}

fn netns() -> impl Strategy<Value = Netns> {
    let owner = prop_oneof![
        Just(NetnsOwner::Node),
        (option::of(text()), vec(any::<IpAddr>(), 0..3))
            .prop_map(|(uid, addresses)| NetnsOwner::Pod { uid, addresses }),
        Just(NetnsOwner::Unknown),
    ];
    (any::<u64>(), any::<u32>(), owner).prop_map(|(cookie, inode, owner)| Netns { cookie, inode, owner })
}

pub fn drop_record() -> impl Strategy<Value = DropRecord> {
    (
        (text(), text(), any::<u64>()),
        netns(),
        (protocol(), any::<IpAddr>(), any_socket(), any::<u16>(), any::<bool>()),
        (text(), text(), any::<u32>(), option::of(text())),
        (any::<u64>(), time(), time()),
        option::of(walk().prop_map(Box::new)),
    )
        .prop_map(|(id, netns, flow, place, seen, walk)| DropRecord {
            id: RecordId { node: id.0, boot: id.1, sequence: id.2 },
            netns,
            tuple: Tuple { protocol: flow.0, src: flow.1, dst: flow.2 },
            last_src_port: flow.3,
            reply: flow.4,
            reason: place.0,
            location: Location { symbol: place.1, offset: place.2 },
            in_interface: place.3,
            count: seen.0,
            first_at: seen.1,
            last_at: seen.2,
            walk,
        })
}

fn pod_target() -> impl Strategy<Value = PodTarget> {
    (text(), text(), text(), vec(any::<IpAddr>(), 0..3)).prop_map(|(namespace, name, uid, addresses)| {
        PodTarget { key: Key { namespace, name }, uid, addresses }
    })
}

pub fn probe() -> impl Strategy<Value = Probe> {
    let scope = prop_oneof![Just(Scope::Node), pod_target().prop_map(Scope::Pod)];
    prop_oneof![
        (text(), scope, packet()).prop_map(|(node, scope, packet)| Probe::Walk { node, scope, packet }),
        (text(), pod_target(), protocol()).prop_map(|(node, pod, protocol)| Probe::Listeners {
            node,
            pod,
            protocol
        }),
    ]
}

fn listener() -> impl Strategy<Value = Listener> {
    (
        protocol(),
        any_socket(),
        option::of(any::<bool>()),
        any::<u32>(),
        any::<u32>(),
        option::of(text()),
        option::of(any::<u32>()),
    )
        .prop_map(|(protocol, local, v6only, queued, backlog, process, pid)| Listener {
            protocol,
            local,
            v6only,
            queued,
            backlog,
            process,
            pid,
        })
}

pub fn probe_outcome() -> impl Strategy<Value = ProbeOutcome> {
    prop_oneof![
        walk().prop_map(|walk| ProbeOutcome::Walk(Box::new(walk))),
        (vec(listener(), 0..4), time())
            .prop_map(|(listeners, read_at)| ProbeOutcome::Listeners(ListenerReport { listeners, read_at })),
        gap().prop_map(ProbeOutcome::Failed),
    ]
}

pub fn source_state() -> impl Strategy<Value = SourceState> {
    (text(), select(vec![SourceHealth::Ok, SourceHealth::Degraded, SourceHealth::Unavailable]), text())
        .prop_map(|(name, health, detail)| SourceState { name, health, detail })
}

//! Values that several unit tests start from. Compiled for tests only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::evidence::Location;
use model::walk::{Action, Backend, Branch, Masquerade, ProxyFacts, RulesStamp, Step};
use model::{
    DropRecord, Family, Netns, NetnsOwner, Origin, Outcome, Packet, Protocol, RecordId, RuleRef,
    ServiceProxy, Timestamp, Tuple, Walk,
};

/// A drop in the node's own namespace that counts `count` packets.
pub(crate) fn drop_record(count: u64) -> DropRecord {
    DropRecord {
        id: RecordId { node: String::new(), boot: String::new(), sequence: 0 },
        netns: Netns { cookie: 1, inode: 4_026_531_840, owner: NetnsOwner::Node },
        tuple: Tuple {
            protocol: Protocol::Tcp,
            src: IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2)),
            dst: SocketAddr::from(([10, 244, 2, 3], 8080)),
        },
        last_src_port: 40_000,
        reply: false,
        reason: "NETFILTER_DROP".to_owned(),
        location: Location { symbol: "nf_hook_slow".to_owned(), offset: 180 },
        in_interface: Some("veth1".to_owned()),
        count,
        first_at: Timestamp(1_000),
        last_at: Timestamp(2_000),
        walk: None,
    }
}

/// A walk that passed `steps` rules and was dropped by the last.
pub(crate) fn walk(steps: usize) -> Walk {
    let packet = Packet {
        origin: Origin::Pod,
        in_interface: Some("veth1".to_owned()),
        protocol: Protocol::Tcp,
        src: IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2)),
        src_port: None,
        dst: SocketAddr::from(([10, 244, 2, 3], 8080)),
    };
    let rule = RuleRef {
        backend: Backend::IptablesNft,
        family: Family::Ipv4,
        table: "filter".to_owned(),
        chain: "FORWARD".to_owned(),
        handle: None,
        text: "-A FORWARD -d 10.244.2.3/32 -j DROP".to_owned(),
        owner: String::new(),
        object: String::new(),
    };
    let step =
        Step { hook: "FORWARD".to_owned(), rule: Some(rule.clone()), action: Action::Drop, packets: None };
    let branch = Branch {
        destination: packet.dst,
        outcome: Outcome::Dropped,
        masquerade: Masquerade::No,
        dnat_rule: None,
        terminal_rule: Some(rule),
        reject_with: None,
        out_interface: None,
        gateway: None,
        steps: vec![step; steps],
        gaps: Vec::new(),
    };
    let proxy = ProxyFacts {
        mode: ServiceProxy::None,
        services: 0,
        knows_destination: false,
        knows_address: false,
        evidence: Vec::new(),
    };
    let rules = RulesStamp { read_at: Timestamp(3), fingerprint: 4, unchanged_since: Timestamp(2) };
    Walk { packet, outcome: Outcome::Dropped, branches: vec![branch], proxy, rules, gaps: Vec::new() }
}

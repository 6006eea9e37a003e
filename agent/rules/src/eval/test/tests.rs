//! Every match that is modelled, plain and negated, against one packet and what may differ of it.

use std::net::IpAddr;
use std::sync::LazyLock;

use model::flow::Family;
use model::node_state::{InterfaceAddress, Link, NodeState};
use model::walk::Backend;

use super::Holds::{No, Sometimes, Unknown, Yes};
use super::*;
use crate::ipset::Sets;
use crate::iptables::parse;

/// A host 192.0.2.2 and fd00:1::2 with a pod bridge.
static NETWORK: LazyLock<Network> = LazyLock::new(|| {
    let address = |interface: &str, address: &str| InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    let link = |index, name: &str, kind: &str| Link {
        index,
        name: name.to_owned(),
        up: true,
        master: None,
        peer_index: None,
        kind: kind.to_owned(),
        mtu: 1500,
    };
    Network::new(&NodeState {
        links: vec![link(1, "lo", ""), link(2, "eth0", ""), link(3, "cni0", "bridge")],
        addresses: vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "192.0.2.2/24"),
            address("eth0", "fd00:1::2/64"),
            address("cni0", "10.244.1.1/24"),
        ],
        ..NodeState::default()
    })
});

/// No sets.
static IPSETS: LazyLock<Sets> = LazyLock::new(Sets::default);

/// TCP from a pod, forwarded, its destination translated from 10.96.0.10:80 and its mark set.
fn forwarded() -> Passing {
    let named = |name: &str| Device::Named(name.into());
    Passing {
        protocol: Protocol::Tcp,
        src: "10.244.1.5".parse().unwrap(),
        src_port: Some(40_000),
        dst: "10.244.2.7:8080".parse().unwrap(),
        original: "10.96.0.10:80".parse().unwrap(),
        local_sender: false,
        input: named("cni0"),
        output: named("eth0"),
        mark: 0x4001,
        ct_mark: 0x20,
        tracked: true,
        untracked: false,
        translated: true,
        masqueraded: false,
        dst_settled: true,
        src_settled: false,
        served: None,
    }
}

fn but(change: impl FnOnce(&mut Passing)) -> Passing {
    let mut packet = forwarded();
    change(&mut packet);
    packet
}

fn to(address: &str) -> Passing {
    but(|packet| packet.dst.set_ip(address.parse::<IpAddr>().unwrap()))
}

/// Whether a rule with this condition matches.
fn found(packet: &Passing, condition: &str, target: &str) -> Holds {
    let family = Family::of(packet.dst.ip());
    let text =
        format!("*filter\n:FORWARD ACCEPT [0:0]\n:C - [0:0]\n-A FORWARD {condition} {target}\nCOMMIT\n");
    let rules = parse(Backend::IptablesNft, family, text);
    assert_eq!(rules.problems, [], "{condition}");
    let world = World { network: &NETWORK, ipsets: &IPSETS };
    holds(&rules, &rules.tables[0].rules[0], packet, world)
}

/// Checks conditions with a `~` where a `!` may stand: what they come to without it and with it.
#[track_caller]
fn check(packet: &Passing, table: &[(&str, Holds, Holds)]) {
    let mut wrong = Vec::new();
    for (condition, plain, negated) in table {
        for (sign, expected) in [("", *plain), ("!", *negated)] {
            let condition = condition.replace('~', sign);
            let found = found(packet, &condition, "-j DROP");
            if found != expected {
                wrong.push(format!("{condition}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn addresses_interfaces_and_protocols() {
    check(
        &forwarded(),
        &[
            ("~ -s 10.244.0.0/16", Yes, No),
            ("~ -s 10.244.1.6/32", No, Yes),
            ("~ -s 10.244.1.99/255.255.255.0", Yes, No),
            ("~ -s 10.0.1.5/255.0.255.255", Unknown, Unknown),
            ("~ -d 10.244.2.7", Yes, No),
            ("~ -d 10.96.0.10/32", No, Yes),
            ("~ -d 0.0.0.0/0", Yes, No),
            ("~ -i cni0", Yes, No),
            ("~ -i cni", No, Yes),
            ("~ -i cni+", Yes, No),
            ("~ -i cni0+", Yes, No),
            ("~ -i +", Yes, No),
            ("~ -o eth0", Yes, No),
            ("~ -o eth+", Yes, No),
            ("~ -o cali+", No, Yes),
            ("~ -p tcp", Yes, No),
            ("~ -p 6", Yes, No),
            ("~ -p udp", No, Yes),
            ("~ -p icmp", No, Yes),
            ("~ -p quince", Unknown, Unknown),
            ("~ -f", No, Yes),
            ("-m iprange ~ --src-range 10.244.1.1-10.244.1.5", Yes, No),
            ("-m iprange ~ --src-range 10.244.1.6-10.244.1.9", No, Yes),
            ("-m iprange ~ --dst-range 10.244.2.7-10.244.2.7", Yes, No),
            ("-m iprange ~ --dst-range 10.244.2.0-10.244.2.6", No, Yes),
        ],
    );
    check(&but(|packet| packet.output = Device::Absent), &[("~ -o eth0", No, Yes), ("~ -o +", Yes, No)]);
    let unseen = but(|packet| packet.input = Device::Unknown);
    check(&unseen, &[("~ -i eth0", Unknown, Unknown), ("~ -i eth+", Unknown, Unknown), ("~ -i +", Yes, No)]);
}

#[test]
fn ports_and_flags() {
    check(
        &forwarded(),
        &[
            ("-p tcp -m tcp ~ --dport 8080", Yes, No),
            ("-p tcp -m tcp ~ --dport 80", No, Yes),
            ("-p tcp ~ --dport 8000:", Yes, No),
            ("-p tcp -m tcp ~ --dport :8079", No, Yes),
            ("-p tcp -m tcp ~ --sport 40000", Yes, No),
            ("-p tcp -m tcp ~ --sport 1024:39999", No, Yes),
            ("-p tcp -m tcp ~ --dport http", Unknown, Unknown),
            ("-p udp -m udp ~ --dport 8080", No, No),
            ("-p tcp -m multiport ~ --dports 80,8000:8100", Yes, No),
            ("-p tcp -m multiport ~ --dports 80,443", No, Yes),
            ("-p tcp -m multiport ~ --sports 80,40000", Yes, No),
            ("-p tcp -m multiport ~ --sports 80,443", No, Yes),
            ("-p tcp -m multiport ~ --ports 40000", Yes, No),
            ("-p tcp -m multiport ~ --ports 8080", Yes, No),
            ("-p tcp -m multiport ~ --ports 80", No, Yes),
            ("-p tcp -m tcp ~ --syn", Yes, No),
            ("-p tcp ~ --tcp-flags FIN,SYN,RST,ACK SYN", Yes, No),
            ("-p tcp -m tcp ~ --tcp-flags ALL NONE", No, Yes),
            ("-p tcp -m tcp ~ --tcp-flags ACK,FIN NONE", Yes, No),
            ("-p tcp -m tcp ~ --tcp-flags SYN,RST SYN,RST", No, Yes),
            ("-p tcp -m tcp ~ --tcp-option 5", Unknown, Unknown),
            ("-p udp -m tcp ~ --syn", No, No),
            ("-p icmp -m icmp ~ --icmp-type 8", No, No),
            ("-p icmp ~ --icmp-type any", No, No),
            ("-p icmp ~ --icmp-type 3/4 -m comment --comment x", No, No),
            ("-p ipv6-icmp -m icmp6 ~ --icmpv6-type 135", No, No),
        ],
    );
    let unsaid = but(|packet| packet.src_port = None);
    check(
        &unsaid,
        &[
            ("-p tcp -m tcp ~ --sport 40000", Unknown, Unknown),
            ("-p tcp -m tcp ~ --sport 1024:65535", Yes, No),
            ("-p tcp -m tcp ~ --sport 443", No, Yes),
            ("-p tcp -m multiport ~ --ports 40000", Unknown, Unknown),
            ("-p tcp -m multiport ~ --ports 8080", Yes, No),
            ("-p tcp -m multiport ~ --ports 80,443", No, Yes),
        ],
    );
    let datagram = but(|packet| packet.protocol = Protocol::Udp);
    check(&datagram, &[("-p udp -m udp ~ --dport 8080", Yes, No), ("-p tcp -m tcp ~ --dport 8080", No, No)]);
}

#[test]
fn marks_and_connections() {
    check(
        &forwarded(),
        &[
            ("-m mark ~ --mark 0x4000/0x4000", Yes, No),
            ("-m mark ~ --mark 0x4001", Yes, No),
            ("-m mark ~ --mark 16385", Yes, No),
            ("-m mark ~ --mark 0x0/0x8000", Yes, No),
            ("-m mark ~ --mark 0x4000", No, Yes),
            ("-m mark ~ --mark 0x2/0x1", No, Yes),
            ("-m connmark ~ --mark 0x20/0xf0", Yes, No),
            ("-m connmark ~ --mark 0x4000/0x4000", No, Yes),
            ("-m conntrack ~ --ctstate NEW", Yes, No),
            ("-m conntrack ~ --ctstate RELATED,ESTABLISHED", No, Yes),
            ("-m conntrack ~ --ctstate INVALID", No, Yes),
            ("-m conntrack ~ --ctstate DNAT", Yes, No),
            ("-m conntrack ~ --ctstate SNAT", No, Yes),
            ("-m state ~ --state NEW,ESTABLISHED", Yes, No),
            ("-m state ~ --state RELATED,ESTABLISHED", No, Yes),
            ("-m conntrack ~ --ctstate ODD", Unknown, Unknown),
            ("-m conntrack ~ --ctstatus ASSURED", No, Yes),
            ("-m conntrack ~ --ctstatus CONFIRMED", Unknown, Unknown),
            ("-m conntrack ~ --ctproto 6", Yes, No),
            ("-m conntrack ~ --ctproto udp", No, Yes),
            ("-m conntrack ~ --ctorigdst 10.96.0.10/32", Yes, No),
            ("-m conntrack ~ --ctorigdst 10.244.2.7", No, Yes),
            ("-m conntrack ~ --ctorigdstport 80", Yes, No),
            ("-m conntrack ~ --ctorigdstport 8080", No, Yes),
            ("-m conntrack ~ --ctorigsrc 10.244.1.5", Unknown, Unknown),
            ("-m conntrack ~ --ctstate NEW --ctdir ORIGINAL", Yes, No),
            ("-m conntrack --ctdir REPLY ~ --ctstate NEW", No, No),
        ],
    );
    let masqueraded = but(|packet| packet.masqueraded = true);
    check(&masqueraded, &[("-m conntrack ~ --ctstate SNAT", Yes, No)]);
}

/// Rules about a connection do not match what has none, negated or not; its state can be asked nevertheless.
#[test]
fn without_a_connection() {
    const NEITHER: [(&str, Holds, Holds); 6] = [
        ("-m connmark ~ --mark 0x20/0xf0", No, No),
        ("-m conntrack ~ --ctstatus ASSURED", No, No),
        ("-m conntrack ~ --ctproto 6", No, No),
        ("-m conntrack ~ --ctorigdst 10.96.0.10", No, No),
        ("-m conntrack ~ --ctorigdstport 81", No, No),
        ("-m conntrack ~ --ctstate NEW", No, Yes),
    ];
    let untracked = but(|packet| packet.untracked = true);
    check(&untracked, &NEITHER);
    let states =
        [("-m conntrack ~ --ctstate UNTRACKED", Yes, No), ("-m conntrack ~ --ctstate INVALID,DNAT", No, Yes)];
    check(&untracked, &states);
    let in_raw = but(|packet| packet.tracked = false);
    check(&in_raw, &NEITHER);
    let states =
        [("-m conntrack ~ --ctstate UNTRACKED", No, Yes), ("-m conntrack ~ --ctstate INVALID", Yes, No)];
    check(&in_raw, &states);
}

#[test]
fn kinds_of_addresses() {
    check(
        &forwarded(),
        &[
            ("-m addrtype ~ --src-type LOCAL", No, Yes),
            ("-m addrtype ~ --dst-type LOCAL", No, Yes),
            ("-m addrtype ~ --dst-type UNICAST", Yes, No),
            ("-m addrtype ~ --dst-type LOCAL,UNICAST", Yes, No),
            ("-m addrtype ~ --dst-type LOCAL --limit-iface-in", No, Yes),
            ("-m addrtype ~ --dst-type ODD", Unknown, Unknown),
            ("-m addrtype ~ --src-type UNICAST --dst-type LOCAL", No, No),
        ],
    );
    check(
        &to("192.0.2.2"),
        &[
            ("-m addrtype ~ --dst-type LOCAL", Yes, No),
            ("-m addrtype ~ --dst-type UNICAST", No, Yes),
            ("-m addrtype ~ --dst-type LOCAL --limit-iface-in", Unknown, Unknown),
            ("-m addrtype ~ --dst-type BROADCAST", No, Yes),
        ],
    );
    let from_here = but(|packet| packet.src = "192.0.2.2".parse().unwrap());
    check(
        &from_here,
        &[
            ("-m addrtype ~ --src-type LOCAL", Yes, No),
            ("-m addrtype ~ --src-type LOCAL --limit-iface-out", Unknown, Unknown),
            ("-m addrtype ~ --src-type LOCAL ! --dst-type LOCAL --limit-iface-out", Unknown, Unknown),
        ],
    );
    check(&to("127.0.0.1"), &[("-m addrtype ~ --dst-type LOCAL", Yes, No)]);
    check(&to("192.0.2.255"), &[("-m addrtype ~ --dst-type BROADCAST", Yes, No)]);
    check(&to("224.0.0.1"), &[("-m addrtype ~ --dst-type BROADCAST,MULTICAST", Yes, No)]);
    check(
        &to("fd00:1::2"),
        &[
            ("-m addrtype ~ --dst-type LOCAL", Yes, No),
            // Of IPv6 an address of this host is unicast too.
            ("-m addrtype ~ --dst-type UNICAST", Yes, No),
            ("-m addrtype ~ --dst-type LOCAL --limit-iface-in", Unknown, Unknown),
        ],
    );
    check(
        &to("fd00:2::2"),
        &[
            ("-m addrtype ~ --dst-type LOCAL", No, Yes),
            ("-m addrtype ~ --dst-type UNICAST", Yes, No),
            ("-m addrtype ~ --dst-type LOCAL,UNICAST", No, Yes),
            ("-m addrtype ~ --dst-type UNREACHABLE", Unknown, Unknown),
        ],
    );
    check(
        &to("ff02::1"),
        &[("-m addrtype ~ --dst-type MULTICAST", Yes, No), ("-m addrtype ~ --dst-type UNICAST", No, Yes)],
    );
}

#[test]
fn chance_history_and_what_only_counts() {
    check(
        &forwarded(),
        &[
            ("-m statistic --mode random ~ --probability 0.50000000000", Sometimes, Sometimes),
            ("-m statistic --mode random ~ --probability 1.00000000000", Yes, No),
            ("-m statistic --mode random ~ --probability 0.00000000000", No, Yes),
            ("-m statistic --mode nth ~ --every 3 --packet 0", Sometimes, Sometimes),
            ("-m statistic --mode nth ~ --every 1", Yes, No),
            ("-m recent ~ --set --name x --mask 255.255.255.255 --rsource", Yes, No),
            ("-m recent ~ --rcheck --seconds 60 --reap --name x --rsource", Unknown, Unknown),
            ("-m recent ~ --update --seconds 60 --hitcount 4 --name x --rsource", Unknown, Unknown),
            ("-m recent ~ --remove --name x --rsource", Unknown, Unknown),
            ("-m comment --comment \"! -p udp\" ~ -p tcp", Yes, No),
            ("-m nfacct --nfacct-name  dropped ~ -p tcp", Yes, No),
            ("-m limit --limit 10/min --limit-burst 3 ~ -p tcp", Unknown, No),
            ("-m set ~ --match-set x src,dst", Unknown, Unknown),
            ("-m set ~ --match-set x src -p udp", No, No),
        ],
    );
    // Affinity chooses among endpoints, each of which somebody is sent to.
    let affinity = "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-X --rsource";
    assert_eq!(found(&forwarded(), affinity, "-j C"), Sometimes);
}

#[test]
fn bridge_ports_owners_and_link_layer_kinds() {
    let bridged = forwarded();
    let plain = but(|packet| packet.input = Device::Named("eth0".into()));
    let sent = but(|packet| (packet.local_sender, packet.input) = (true, Device::Absent));
    check(
        &bridged,
        &[
            ("-m physdev ~ --physdev-in veth1", Unknown, Unknown),
            ("-m physdev ~ --physdev-is-bridged", Unknown, Unknown),
        ],
    );
    for packet in [&plain, &sent] {
        check(
            packet,
            &[
                ("-m physdev ~ --physdev-in veth1", No, Yes),
                ("-m physdev ~ --physdev-is-bridged", No, Yes),
                ("-m physdev ~ --physdev-in veth1 --physdev-is-bridged", No, No),
            ],
        );
    }
    check(
        &plain,
        &[
            // Without a socket only a rule that wants none of this matches.
            ("-m owner ~ --uid-owner 1337", No, Yes),
            ("-m owner ~ --socket-exists", No, Yes),
            ("-m owner ~ --uid-owner 1337 --gid-owner 1337", No, No),
            ("-m owner ! --uid-owner 1337 ~ --gid-owner 1337", No, Yes),
            ("-m pkttype ~ --pkt-type unicast", Yes, No),
            ("-m pkttype ~ --pkt-type broadcast", No, Yes),
        ],
    );
    check(
        &sent,
        &[
            ("-m owner ~ --uid-owner 1337", Unknown, Unknown),
            ("-m pkttype ~ --pkt-type unicast", Unknown, Unknown),
        ],
    );
}

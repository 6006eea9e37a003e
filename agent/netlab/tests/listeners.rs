//! Listeners of every kind, by what clients see. Needs root.

#[path = "support/root.rs"]
mod root;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::{Key, Protocol};
use netlab::{ConnectOutcome, Error, Lab, LabSpec, Listen, Netns, NodeSpec, Pod, PodSpec};
use nix::errno::Errno;

const SECOND: Duration = Duration::from_secs(1);
/// The lab answers within a millisecond; silence is silence after this.
const SHORT: Duration = Duration::from_millis(300);

/// A dual-stack lab of one node with a client and a server.
fn lab(name: &str) -> (Lab, Pod, Pod) {
    let node = NodeSpec::new("node-1", [10, 200, 0, 11].into(), "10.244.1.0/24".parse().expect("cidr"))
        .with_v6(v6(0x77, 0x11), "fd00:244::/64".parse().expect("cidr"));
    let mut lab = Lab::new(LabSpec { name: name.into(), nodes: vec![node] }).expect("a lab");
    let mut pod = |name: &str, last: u8| {
        let spec = PodSpec::new(Key::new("shop", name), "node-1", [10, 244, 1, last].into());
        lab.pod(spec.with_v6(v6(0x244, last.into()))).expect("a pod")
    };
    let (client, server) = (pod("client", 5), pod("server", 6));
    (lab, client, server)
}

fn v6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host)
}

fn tcp(from: &Pod, to: IpAddr, port: u16) -> ConnectOutcome {
    from.netns.connect(SocketAddr::new(to, port), SECOND).expect("attempt").outcome
}

fn udp(from: &Pod, to: IpAddr, port: u16) -> ConnectOutcome {
    from.netns.exchange_udp(SocketAddr::new(to, port), SECOND).expect("attempt").outcome
}

/// How many SYNs a full queue has turned away in a namespace.
fn overflows(netns: &Netns) -> u64 {
    // Of the thread: /proc/net is the network of the process, which stayed outside.
    let read = || std::fs::read_to_string("/proc/thread-self/net/netstat");
    let text = netns.enter(read).expect("enter").expect("read");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "ListenOverflows").expect("the counter");
    value.parse().expect("a number")
}

#[test]
fn a_listener_that_accepts_nothing_fills_its_queue_and_turns_syns_away() {
    if !root::available("a lab of one node") {
        return;
    }
    let (_lab, client, server) = lab("queue");
    server.listen(Listen::parse("tcp:8080,backlog=1,deaf").expect("a listener")).expect("listen");
    let to = SocketAddr::new(server.address(), 8080);
    // A backlog of 1 lets two wait (sk_acceptq_is_full in include/net/sock.h); further SYNs are lost.
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let connect = || std::net::TcpStream::connect_timeout(&to, SECOND);
            client.netns.enter(connect).expect("enter").expect("connect")
        })
        .collect();
    assert_eq!(overflows(&server.netns), 0);
    let result = client.netns.connect(to, SHORT).expect("attempt");
    assert_eq!(result.outcome, ConnectOutcome::TimedOut);
    assert!(overflows(&server.netns) >= 1, "the SYN was lost by the queue and not on the way");
    drop(waiting);
}

#[test]
fn datagrams_are_answered_from_the_address_they_came_to() {
    if !root::available("a lab of one node") {
        return;
    }
    let (lab, client, server) = lab("udp");
    let node = lab.node("node-1").expect("node");
    let four = server.listen(Listen::on(53, "four").udp()).expect("listen");
    let both = server.listen(Listen::parse("udp:54").expect("a listener")).expect("listen");
    let result = client.netns.exchange_udp(SocketAddr::new(server.address(), 53), SECOND).expect("attempt");
    assert_eq!((result.outcome, result.answer.as_slice()), (ConnectOutcome::Connected, &b"four"[..]));
    for address in server.addresses() {
        assert_eq!(udp(&client, address, 54), ConnectOutcome::Connected, "{address}");
    }
    let peers = |listening: &std::sync::Mutex<netlab::Listening>| -> Vec<IpAddr> {
        listening.lock().expect("lock").accepted().iter().map(SocketAddr::ip).collect()
    };
    assert_eq!(peers(&four), [client.address()]);
    assert_eq!(peers(&both), client.addresses());

    // A node has two addresses of each family. Its routes prefer the bridge's as the source for its pods, but a client
    // of the other must hear the other.
    let mut on_node = Vec::new();
    for text in ["udp:0.0.0.0:55", "udp:56"] {
        on_node.push(node.netns.listen(Listen::parse(text).expect("a listener")).expect("listen"));
    }
    assert_eq!(udp(&client, node.address(), 55), ConnectOutcome::Connected);
    for address in node.addresses() {
        assert_eq!(udp(&client, address, 56), ConnectOutcome::Connected, "{address}");
    }
}

#[test]
fn a_datagram_is_refused_ignored_or_unreachable() {
    if !root::available("a lab of one node") {
        return;
    }
    let (lab, client, server) = lab("udp-fail");
    let deaf = server.listen(Listen::parse("udp:54,deaf").expect("a listener")).expect("listen");
    let node = lab.node("node-1").expect("node");
    node.netns.ip("route add unreachable 192.0.2.1\nroute add unreachable 2001:db8::1\n").expect("routes");
    for address in server.addresses() {
        assert_eq!(udp(&client, address, 55), ConnectOutcome::Refused, "nothing listens on {address}");
        let to = SocketAddr::new(address, 54);
        let ignored = client.netns.exchange_udp(to, SHORT).expect("attempt");
        assert_eq!(ignored.outcome, ConnectOutcome::TimedOut, "{to} is deaf");
        assert!(ignored.took >= SHORT);
    }
    assert!(deaf.lock().expect("lock").accepted().is_empty());
    // The node says "host unreachable" for the one and "no route" for the other (`ip6_pkt_drop` in net/ipv6/route.c).
    for (address, errno) in [("192.0.2.1", Errno::EHOSTUNREACH), ("2001:db8::1", Errno::ENETUNREACH)] {
        let outcome = udp(&client, address.parse().expect("address"), 53);
        assert_eq!(outcome, ConnectOutcome::Unreachable(errno as i32), "{address}");
    }
    // A stopped listener's port is closed, and free.
    deaf.lock().expect("lock").stop();
    assert_eq!(udp(&client, server.address(), 54), ConnectOutcome::Refused);
    server.listen(Listen::on_all(54, "").udp()).expect("listen");
    assert_eq!(udp(&client, server.address(), 54), ConnectOutcome::Connected);
}

#[test]
fn ipv6_sockets_serve_ipv4_unless_told_not_to() {
    if !root::available("a lab of one node") {
        return;
    }
    let (_lab, client, server) = lab("v6only");
    let answers = |port: u16| -> Vec<(ConnectOutcome, ConnectOutcome)> {
        server.addresses().iter().map(|to| (tcp(&client, *to, port), udp(&client, *to, port))).collect()
    };
    for text in ["tcp:8080", "udp:8080", "tcp:[::]:8081,v6only", "udp:[::]:8081,v6only"] {
        server.listen(Listen::parse(text).expect("a listener")).expect("listen");
    }
    let (yes, no) = (ConnectOutcome::Connected, ConnectOutcome::Refused);
    assert_eq!(answers(8080), [(yes, yes), (yes, yes)]);
    assert_eq!(answers(8081), [(no, no), (yes, yes)]);
    // Only then is the port free for IPv4.
    for listen in [Listen::on(8081, ""), Listen::on(8081, "").udp()] {
        server.listen(listen).expect("listen");
    }
    assert_eq!(answers(8081), [(yes, yes), (yes, yes)]);
    for listen in [Listen::on(8080, ""), Listen::on(8080, "").udp()] {
        let text = listen.to_string();
        let error = server.listen(listen).expect_err("taken");
        let Error::Listen { listen, source, .. } = &error else { panic!("{error}") };
        assert_eq!((listen, source.kind()), (&text, std::io::ErrorKind::AddrInUse));
    }
}

#[test]
fn sctp_is_refused_by_name() {
    if !root::available("a lab of one node") {
        return;
    }
    let (_lab, _client, server) = lab("sctp");
    let listen = Listen { protocol: Protocol::Sctp, ..Listen::on(8080, "") };
    let error = server.listen(listen).expect_err("refused");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

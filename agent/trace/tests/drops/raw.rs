//! SYNs sent by hand: floods, whose packets must be counted to the last one, and headers that no socket writes.
//!
//! Counts, not speed: what an event costs is a benchmark's business.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};

use crate::lab::{CLIENT, CLIENT6, Lab, SERVER, SERVER6, ready};
use crate::tracer;

const PACKETS: u16 = 20_000;

/// Sends SYNs by a raw socket in the client's namespace, `ports` giving source and destination of each.
fn flood(lab: &Lab, ports: impl Fn(u16) -> (u16, u16) + Send) {
    let (src, dst): (Ipv4Addr, Ipv4Addr) =
        (CLIENT.parse().expect("an address"), SERVER.parse().expect("an address"));
    lab.client.enter(move || {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw)
            .expect("a raw socket");
        let to = SockaddrIn::from(SocketAddrV4::new(dst, 0));
        for index in 0..PACKETS {
            let (src_port, dst_port) = ports(index);
            let packet = syn(src, dst, src_port, dst_port);
            let sent = sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("send");
            assert_eq!(sent, packet.len());
        }
    });
}

/// An IPv4 packet with a SYN. The kernel fills in lengths and the IP checksum of a raw packet; nobody on its way
/// looks at that of TCP.
fn syn(src: Ipv4Addr, dst: Ipv4Addr, src_port: u16, dst_port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(src_port.to_be_bytes());
    packet.extend(dst_port.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// Counts what it drops.
fn drop_and_count(lab: &Lab) {
    lab.router.nft(
        "table ip t { counter dropped { }
         chain c { type filter hook forward priority 0; tcp flags syn counter name dropped drop; }; }",
    );
    // Resolves the router's address, so that no packet waits for it.
    lab.client.fail_to_connect(SERVER, 1);
    lab.router.exec("nft reset counter ip t dropped");
}

fn dropped(lab: &Lab) -> u64 {
    let text = lab.router.exec("nft list counter ip t dropped");
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no counter in {text}"))
}

/// An IPv6 packet whose SYN comes after hop-by-hop and destination options and a fragment header.
fn syn_after_extensions(dst_port: u16) -> Vec<u8> {
    let (src, dst): (Ipv6Addr, Ipv6Addr) =
        (CLIENT6.parse().expect("an address"), SERVER6.parse().expect("an address"));
    // Each: next header, length in units of eight bytes beyond the first, then a PadN option that fills it up.
    let options = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let tcp = syn(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, 4711, dst_port).split_off(20);
    let payload = [options(60), options(44), [6, 0, 0, 0, 0, 0, 0, 1]].concat();
    let len = u16::try_from(payload.len() + tcp.len()).expect("small");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 64]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    packet.extend(tcp);
    packet
}

#[test]
fn a_syn_after_ipv6_extension_headers_is_read() {
    let test = "extensions";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    // Before reassembly, which would take the fragment header off.
    lab.router.nft(
        "table ip6 t { chain c { type filter hook prerouting priority -450; iif cli ip6 nexthdr 0 drop; }; }",
    );
    let _listener = lab.server.listen(80);
    lab.client.connect(SERVER6, 80);
    let mut tracer = tracer(&lab);
    lab.client.enter(|| {
        let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::empty(), SockProtocol::Raw)
            .expect("a raw socket");
        let to = SockaddrIn6::from(SocketAddrV6::new(SERVER6.parse().expect("an address"), 0, 0, 0));
        sendto(raw.as_raw_fd(), &syn_after_extensions(443), &to, MsgFlags::empty()).expect("send");
    });
    let drained = tracer.drain().expect("drain");
    let [drop] = drained.drops.as_slice() else { panic!("one drop: {drained:#?}") };
    assert_eq!((drop.reason.as_str(), drop.last_src_port), ("NETFILTER_DROP", 4711));
    assert_eq!(drop.tuple.src.to_string(), CLIENT6);
    assert_eq!(drop.tuple.dst.to_string(), format!("[{SERVER6}]:443"));
}

#[test]
fn a_syn_after_ipv4_options_is_read() {
    let test = "options";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    drop_and_count(&lab);
    let mut tracer = tracer(&lab);
    lab.client.enter(|| {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw)
            .expect("a raw socket");
        let mut packet =
            syn(CLIENT.parse().expect("an address"), SERVER.parse().expect("an address"), 4711, 443);
        // Four no-operation options make the header six words long.
        packet.splice(20..20, [1; 4]);
        if let Some(first) = packet.first_mut() {
            *first = 0x46;
        }
        let to = SockaddrIn::from(SocketAddrV4::new(SERVER.parse().expect("an address"), 0));
        sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("send");
    });
    let drained = tracer.drain().expect("drain");
    let [drop] = drained.drops.as_slice() else { panic!("one drop: {drained:#?}") };
    assert_eq!((drop.tuple.dst.port(), drop.last_src_port), (443, 4711));
}

#[test]
fn a_storm_from_random_ports_is_one_drop_and_counted_exactly() {
    let test = "storm";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    drop_and_count(&lab);
    let mut tracer = tracer(&lab);
    flood(&lab, |index| (1024 + index.wrapping_mul(7919) % 60_000, 80));
    let drained = tracer.drain().expect("drain");
    let expected = dropped(&lab);
    assert_eq!(expected, u64::from(PACKETS), "every packet reached the rule");
    let [drop] = drained.drops.as_slice() else { panic!("one drop: {drained:#?}") };
    assert_eq!((drop.count, drained.total, drained.lost, drained.skipped), (expected, expected, 0, 0));
}

#[test]
fn a_storm_to_more_ports_than_fit_tells_what_it_lost() {
    let test = "scan";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    drop_and_count(&lab);
    let mut tracer = tracer(&lab);
    flood(&lab, |index| (40_000, 1024 + index));
    let drained = tracer.drain().expect("drain");
    let expected = dropped(&lab);
    let detailed: u64 = drained.drops.iter().map(|drop| drop.count).sum();
    assert_eq!(detailed, 8192, "as many as fit");
    assert_eq!((drained.total, drained.lost), (expected, expected - detailed));
    let counted: u64 = tracer.totals().expect("totals").iter().map(|total| total.count).sum();
    assert_eq!(counted, expected, "totals lose nothing");

    let next = tracer.drain().expect("drain again");
    assert_eq!(
        (next.drops.len(), next.total, next.lost),
        (0, drained.total, drained.lost),
        "losses stay told"
    );
}

#[test]
fn draining_during_a_storm_loses_nothing() {
    let test = "drainstorm";
    if !ready(test) {
        return;
    }
    let lab = Lab::new(test);
    drop_and_count(&lab);
    let mut tracer = tracer(&lab);
    let mut detailed = 0;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| flood(&lab, |index| (40_000, 80 + index % 16)));
        while !sender.is_finished() {
            let drained = tracer.drain().expect("drain");
            detailed += drained.drops.iter().map(|drop| drop.count).sum::<u64>();
        }
    });
    // Each map once more: the second for what came after the last turn.
    let mut last = tracer.drain().expect("drain");
    detailed += last.drops.iter().map(|drop| drop.count).sum::<u64>();
    last = tracer.drain().expect("drain");
    detailed += last.drops.iter().map(|drop| drop.count).sum::<u64>();
    assert_eq!((detailed, last.total, last.lost), (dropped(&lab), dropped(&lab), 0));
}

//! Sets read from text and asked; that the kernel answers the same is tested against the kernel.

use super::*;

/// One set of each type, as `ipset save` (7.17) prints them.
const SAVED: &str = r#"create ip hash:ip family inet hashsize 1024 maxelem 65536 netmask 24 timeout 600 counters comment bucketsize 12 initval 0x5fe9b91f
add ip 10.0.1.0 timeout 499 packets 3 bytes 4
add ip 10.0.0.0 timeout 0 packets 0 bytes 0 comment "hello world"
create net hash:net family inet hashsize 1024 maxelem 65536 comment skbinfo bucketsize 12 initval 0x068e2354
add net 10.0.0.0/8 comment "x y"
add net 10.1.0.0/16 nomatch comment "x y"
add net 10.1.2.3 skbmark 0x10/0x10 skbprio 1:10 skbqueue 2
create net6 hash:net family inet6 hashsize 1024 maxelem 65536 bucketsize 12 initval 0x068e2354
add net6 2001:db8::/32
add net6 2001:db8:1::/48 nomatch
create port hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x9abb5371
add port 10.0.0.1,sctp:5
add port 10.0.0.1,udp:53
add port 10.0.0.1,tcp:80
add port 10.0.0.1,gre:0
add port 10.0.0.1,icmp:echo-request
create loop hash:ip,port,ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x9abb5371
add loop 10.0.0.1,tcp:80,10.0.0.1
create range hash:ip,port,net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xf33dcf74
add range 10.0.0.1,tcp:80,192.168.0.0/16 nomatch
add range 10.0.0.1,tcp:80,192.0.0.0/8
create pair hash:net,net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xf33dcf74
add pair 10.0.0.0/8,192.168.0.0/16
add pair 10.0.0.0/16,192.0.0.0/8 nomatch
create netport hash:net,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x34be4f48
add netport 10.0.0.0/8,tcp:80
create device hash:net,iface family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2652fcd4
add device 0.0.0.0/0,eth1
add device 10.1.0.0/16,physdev:eth2
add device 10.2.0.0/16,veth wildcard
add device 10.0.0.0/8,eth0
create mark hash:ip,mark family inet markmask 0x000000ff hashsize 1024 maxelem 65536 bucketsize 12 initval 0x0
add mark 10.0.0.1,0x00000005
create ports bitmap:port range 100-200
add ports 150
create map bitmap:ip range 10.0.0.0-10.0.0.255 netmask 30
add map 10.0.0.4
create list list:set size 8
add list net6
add list port
add list ip
create mac bitmap:ip,mac range 10.0.0.0-10.0.0.255
add mac 10.0.0.1,00:11:22:33:44:55
"#;

const ABSENT: Device = Device::Absent;

/// TCP from 10.0.0.1:40000 to `dst`, asked for `sides`.
fn asked(sides: &str, dst: &str) -> Asked<'static> {
    let dst: std::net::SocketAddr = dst.parse().unwrap();
    let (dimensions, sources) = super::sides(sides).unwrap();
    Asked {
        family: Family::of(dst.ip()),
        dimensions,
        sources,
        excepted: false,
        src: Some(if dst.is_ipv4() { "10.0.0.1" } else { "2001:db8::1" }.parse().unwrap()),
        dst: dst.ip(),
        src_port: Some(40_000),
        dst_port: dst.port(),
        protocol: 6,
        mark: 0x105,
        input: &ABSENT,
        output: &ABSENT,
    }
}

fn sets() -> Sets {
    let sets = Sets::parse(SAVED);
    assert_eq!(sets.problems(), []);
    sets
}

#[track_caller]
fn check(set: &str, expected: &[(&str, &str, Held)]) {
    let sets = sets();
    for (sides, dst, held) in expected {
        assert_eq!(sets.holds(set, &asked(sides, dst)), *held, "{set} {sides} {dst}");
    }
}

use Held::{No, Yes};

#[test]
fn every_type_is_read() {
    let sets = sets();
    let names: Vec<_> = sets.names().collect();
    assert_eq!(names.len(), 14, "{names:?}");
    assert_eq!(names[0], ("ip", "hash:ip"));
    // Neither messages of ICMP, nor protocols without ports, nor ports of bridges, nor what is not modelled.
    assert_eq!(sets.members(), 25);
}

#[test]
fn addresses_are_looked_up_under_the_mask() {
    check("ip", &[("dst", "10.0.1.77:80", Yes), ("dst", "10.0.2.77:80", No), ("src", "10.0.2.77:80", Yes)]);
    check("map", &[("dst", "10.0.0.6:80", Yes), ("dst", "10.0.0.8:80", No), ("dst", "10.0.1.4:80", No)]);
    check("mark", &[("src,dst", "10.0.0.9:80", Yes), ("dst,dst", "10.0.0.9:80", No)]);
}

#[test]
fn of_networks_the_longest_decides() {
    check(
        "net",
        &[
            ("dst", "10.2.0.1:80", Yes),
            ("dst", "10.1.9.9:80", No),
            ("dst", "10.1.2.3:80", Yes),
            ("dst", "11.1.2.3:80", No),
        ],
    );
    check("net6", &[("dst", "[2001:db8::9]:80", Yes), ("dst", "[2001:db8:1::9]:80", No)]);
    check("netport", &[("dst,dst", "10.9.9.9:80", Yes), ("dst,dst", "10.9.9.9:81", No)]);
    // The longest of the first, then the longest of the second.
    check("pair", &[("src,dst", "192.168.0.1:1", No), ("dst,src", "192.168.0.1:1", No)]);
}

#[test]
fn what_is_excepted_counts_where_the_rule_says_so() {
    let sets = sets();
    let ask = |dst| sets.holds("net", &Asked { excepted: true, ..asked("dst", dst) });
    assert_eq!(ask("10.1.9.9:80"), Yes);
    assert_eq!(ask("10.2.0.1:80"), No);
    assert_eq!(ask("11.2.0.1:80"), No);
    let ports = sets.holds("port", &Asked { excepted: true, ..asked("dst,dst", "10.0.0.1:80") });
    assert_eq!(ports, Yes, "sets without networks have no exceptions");
}

#[test]
fn ports_go_with_their_protocol() {
    check(
        "port",
        &[("dst,dst", "10.0.0.1:80", Yes), ("dst,dst", "10.0.0.1:53", No), ("src,dst", "10.0.0.7:80", Yes)],
    );
    check("loop", &[("dst,dst,src", "10.0.0.1:80", Yes), ("dst,dst,dst", "10.0.0.1:80", Yes)]);
    check("range", &[("src,dst,dst", "192.168.0.1:80", No), ("src,dst,dst", "192.1.0.1:80", Yes)]);
    let sets = sets();
    let other = |protocol| Asked { protocol, ..asked("dst,dst", "10.0.0.1:53") };
    assert_eq!(sets.holds("port", &other(17)), Yes);
    assert_eq!(sets.holds("port", &other(132)), No);
}

#[test]
fn bitmaps_of_ports_know_tcp_and_udp() {
    check(
        "ports",
        &[("dst", "10.0.0.1:150", Yes), ("dst", "[fd00::1]:150", Yes), ("dst", "10.0.0.1:151", No)],
    );
    let sets = sets();
    let sctp = Asked { protocol: 132, ..asked("dst", "10.0.0.1:150") };
    assert_eq!(sets.holds("ports", &sctp), No);
}

#[test]
fn a_network_that_is_there_with_another_interface_ends_the_search() {
    let sets = sets();
    let ask = |dst, device: &str| {
        let output = Device::Named(device.into());
        sets.holds("device", &Asked { output: &output, ..asked("dst,dst", dst) })
    };
    assert_eq!(ask("10.9.0.1:80", "eth0"), Yes);
    assert_eq!(ask("11.0.0.1:80", "eth1"), Yes);
    assert_eq!(ask("10.9.0.1:80", "eth1"), No);
    assert_eq!(ask("10.2.0.1:80", "veth12"), Yes);
    assert_eq!(ask("10.2.0.1:80", "eth0"), No);
    assert_eq!(ask("10.1.0.1:80", "eth0"), Yes, "ports of bridges are members of their own");
    assert_eq!(sets.holds("device", &asked("dst,dst", "10.9.0.1:80")), No, "no interface");
}

#[test]
fn a_set_of_sets_holds_what_one_of_them_holds() {
    // `port` wants two dimensions and `net6` the other family: they hold nothing then.
    check(
        "list",
        &[("dst", "10.0.1.5:80", Yes), ("dst", "10.0.2.5:80", No), ("dst,dst", "10.0.0.1:80", Yes)],
    );
}

#[test]
fn too_few_dimensions_and_the_other_family_hold_nothing() {
    check("port", &[("dst", "10.0.0.1:80", No)]);
    check("net", &[("dst", "[2001:db8::9]:80", No), ("dst,dst,dst", "10.2.0.1:80", Yes)]);
}

#[test]
fn what_cannot_be_told_is_unknown_and_says_why() {
    let mut sets = sets();
    let ask = |sets: &Sets, set: &str| sets.holds(set, &asked("dst,dst", "10.0.0.1:80"));
    assert_eq!(ask(&sets, "mac"), Held::Unknown(Doubt::Unmodelled));
    assert_eq!(sets.why("mac", Doubt::Unmodelled), "type bitmap:ip,mac is not modelled");
    assert_eq!(ask(&sets, "none"), Held::Unknown(Doubt::Absent));
    sets.mark_changing("port");
    assert_eq!(ask(&sets, "port"), Held::Unknown(Doubt::Changing));
    assert_eq!(ask(&sets, "list"), Held::Yes, "the next set of the list is sure");
    let unread = Sets::unread(Gap::new("ipset", "ipset is not installed"));
    assert_eq!(ask(&unread, "port"), Held::Unknown(Doubt::Unread));
    assert_eq!(unread.why("port", Doubt::Unread), "not read: ipset is not installed");
}

#[test]
fn a_field_that_is_not_known_matters_only_where_a_member_may_fit() {
    let sets = sets();
    let hidden = |sides| Asked { src: None, src_port: None, ..asked(sides, "10.0.0.1:80") };
    let unknown = Held::Unknown(Doubt::Packet);
    assert_eq!(sets.holds("port", &hidden("dst,src")), unknown);
    assert_eq!(sets.holds("port", &hidden("src,dst")), unknown);
    assert_eq!(sets.holds("port", &Asked { dst_port: 81, ..hidden("src,dst") }), No);
    assert_eq!(sets.holds("net", &hidden("src")), unknown);
    let output = Device::Unknown;
    let device = |dst| sets.holds("device", &Asked { output: &output, ..asked("dst,dst", dst) });
    assert_eq!(device("10.9.0.1:80"), unknown);
}

#[test]
fn a_member_about_to_expire_is_no_ground_to_stand_on() {
    let sets = Sets::parse(
        "create a hash:net family inet timeout 9\nadd a 10.0.0.0/8 timeout 0\nadd a 10.1.0.0/16 timeout 5\n\
         add a 10.2.0.0/16 timeout 5 nomatch\nadd a 11.0.0.0/8 timeout 5\nadd a 12.0.0.0/8 timeout 500\n",
    );
    assert_eq!(sets.problems(), []);
    let ask = |dst| sets.holds("a", &asked("dst", dst));
    assert_eq!(ask("10.1.0.1:1"), Yes, "a shorter prefix says the same");
    assert_eq!(ask("10.2.0.1:1"), Held::Unknown(Doubt::Expiring));
    assert_eq!(ask("11.0.0.1:1"), Held::Unknown(Doubt::Expiring));
    assert_eq!(ask("12.0.0.1:1"), Yes);
    assert_eq!(ask("13.0.0.1:1"), No);
}

#[test]
fn what_cannot_be_read_is_told_and_what_is_missing_is_unknown() {
    let sets = Sets::parse(
        "create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.x\nadd b 10.0.0.1\nhello\ncreate\n\
         create c hash:odd family inet\nadd c 1,2,3\ncreate d hash:ip family inet strange 5\ncreate a hash:ip\n",
    );
    let problems: Vec<_> =
        sets.problems().iter().map(|problem| (problem.line, problem.what.as_str())).collect();
    assert_eq!(
        problems,
        [
            (3, "no address"),
            (4, "a member of a set that was not created"),
            (5, "not a line of ipset save"),
            (6, "a set without a name"),
            (10, "a set that is there already"),
        ]
    );
    let ask = |set, dst| sets.holds(set, &asked("dst", dst));
    assert_eq!(ask("a", "10.0.0.1:1"), Yes);
    assert_eq!(ask("a", "10.0.0.2:1"), Held::Unknown(Doubt::Incomplete));
    assert_eq!(ask("c", "10.0.0.2:1"), Held::Unknown(Doubt::Unmodelled));
    assert_eq!(ask("d", "10.0.0.2:1"), Held::Unknown(Doubt::Unmodelled));
    assert_eq!(sets.why("d", Doubt::Unmodelled), "option strange is not modelled");
}

#[test]
fn questions_are_put_as_ipset_writes_members() {
    let sets = sets();
    assert_eq!(sets.question("loop", &asked("dst,dst,src", "10.0.0.9:80")), "10.0.0.9,tcp:80,10.0.0.1");
    assert_eq!(sets.question("ports", &asked("dst", "10.0.0.9:80")), "80");
    assert_eq!(sets.question("none", &asked("src", "10.0.0.9:80")), "10.0.0.1");
}

#[test]
fn addresses_and_ports_can_be_listed() {
    let sets = sets();
    let mut found = sets.destinations("port");
    found.sort_unstable();
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(found, [(address, 6, 80), (address, 17, 53), (address, 132, 5)]);
    assert_eq!(sets.ports("ports"), [150]);
    assert_eq!(sets.destinations("net"), []);
}

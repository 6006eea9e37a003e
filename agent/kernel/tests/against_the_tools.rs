//! Every reader against the kernel's own printers (`ip -j`, `ss`, `iptables-save`), in namespaces made for it. Needs root.

#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use kernel::{
    Change, Namespaces, in_netns, read_listeners, read_state, read_state_stamped, rules_changed, rules_token,
};
use model::node_state::{RouteKind, RoutingRule};
use model::probe::PodTarget;
use model::walk::Backend;
use model::{Family, Key, NetnsOwner, Protocol};
use scratch::{Scratch, json, output};

#[test]
fn addresses_and_links_are_those_of_ip() {
    let Some(scratch) = Scratch::new("addr") else { return };
    scratch.ip(&["link", "add", "br0", "type", "bridge"]);
    scratch.ip(&["link", "add", "v0", "mtu", "1400", "type", "veth", "peer", "name", "v1"]);
    scratch.ip(&["link", "set", "v0", "master", "br0", "up"]);
    scratch.ip(&["addr", "add", "10.1.2.3/24", "dev", "br0"]);
    scratch.ip(&["addr", "add", "10.9.0.1", "peer", "10.9.0.2/32", "dev", "v1"]);
    scratch.ip(&["addr", "add", "fd00::5/64", "dev", "v1", "nodad"]);
    let state = read_state(&scratch.known());
    assert_eq!(state.gaps, vec![]);

    let listed = json(&scratch.run(&["ip", "-j", "-d", "addr"]));
    let mut expected = BTreeSet::new();
    for link in listed.as_array().expect("links") {
        for address in link["addr_info"].as_array().expect("addresses") {
            expected.insert(format!(
                "{} {}/{}",
                link["ifname"].as_str().expect("name"),
                address["local"].as_str().expect("address"),
                address["prefixlen"]
            ));
        }
        let ours = state.links.iter().find(|ours| ours.name == link["ifname"]).expect("the link");
        assert_eq!(u64::from(ours.index), link["ifindex"]);
        assert_eq!(u64::from(ours.mtu), link["mtu"]);
        assert_eq!(ours.kind, link["linkinfo"]["info_kind"].as_str().unwrap_or(""));
        let flags: Vec<_> =
            link["flags"].as_array().expect("flags").iter().filter_map(|flag| flag.as_str()).collect();
        assert_eq!(ours.up, flags.contains(&"UP"));
        let master = ours.master.and_then(|index| state.links.iter().find(|link| link.index == index));
        assert_eq!(master.map_or("", |link| &link.name), link["master"].as_str().unwrap_or(""));
        let peer = ours.peer_index.and_then(|index| state.links.iter().find(|link| link.index == index));
        assert_eq!(peer.map_or("", |link| &link.name), link["link"].as_str().unwrap_or(""));
    }
    let ours: BTreeSet<_> =
        state.addresses.iter().map(|entry| format!("{} {}", entry.interface, entry.address)).collect();
    assert_eq!(ours, expected);
    assert!(ours.len() >= 4, "{ours:?}");
}

#[test]
fn routes_of_all_tables_are_those_of_ip() {
    let Some(scratch) = Scratch::new("route") else { return };
    scratch.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    scratch.ip(&["link", "set", "v0", "up"]);
    scratch.ip(&["link", "set", "v1", "up"]);
    scratch.ip(&["addr", "add", "10.1.0.1/24", "dev", "v0"]);
    scratch.ip(&["addr", "add", "fd01::1/64", "dev", "v0", "nodad"]);
    scratch.ip(&["route", "add", "default", "via", "10.1.0.254", "metric", "7"]);
    scratch.ip(&["route", "add", "10.244.0.0/16", "via", "10.1.0.9", "src", "10.1.0.1"]);
    scratch.ip(&["route", "add", "blackhole", "10.66.0.0/16"]);
    scratch.ip(&["route", "add", "unreachable", "10.67.0.0/16", "table", "1234"]);
    scratch.ip(&["route", "add", "10.68.0.0/16", "nexthop", "via", "10.1.0.5", "nexthop", "via", "10.1.0.6"]);
    scratch.ip(&["route", "add", "10.69.0.0/16", "via", "inet6", "fd01::9", "dev", "v0"]);
    scratch.ip(&["rule", "add", "from", "10.5.0.0/16", "lookup", "1234", "pref", "900"]);
    scratch.ip(&["rule", "add", "fwmark", "0x4000", "lookup", "1234", "pref", "901"]);
    let state = read_state(&scratch.known());
    assert_eq!(state.gaps, vec![]);

    let mut expected = BTreeSet::new();
    for (family, all) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
        let listed = json(&scratch.run(&["ip", "-j", "-d", "-N", family, "route", "show", "table", "all"]));
        for route in listed.as_array().expect("routes") {
            let destination = match route["dst"].as_str().expect("dst") {
                "default" => all.to_owned(),
                plain if plain.contains('/') => plain.to_owned(),
                host => format!("{host}/{}", if host.contains(':') { 128 } else { 32 }),
            };
            let kind = route["type"].as_str().unwrap_or("unicast");
            let kind = match kind {
                "1" => "unicast",
                "2" => "local",
                "3" => "broadcast",
                "5" => "multicast",
                "6" => "blackhole",
                "7" => "unreachable",
                other => other,
            };
            let table = route["table"].as_str().unwrap_or("254");
            let table = match table {
                "local" => "255",
                "main" => "254",
                other => other,
            };
            let metric = route["metric"].as_u64().unwrap_or(0);
            let hops = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route.clone()]);
            for hop in hops {
                let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).unwrap_or("-");
                let device = hop["dev"].as_str().unwrap_or("-");
                expected.insert(format!("{table} {kind} {destination} {gateway} {device} {metric}"));
            }
        }
    }
    let ours: BTreeSet<_> = state
        .routes
        .iter()
        .map(|route| {
            format!(
                "{} {} {} {} {} {}",
                route.table,
                format!("{:?}", route.kind).to_lowercase(),
                route.destination,
                route.gateway.map_or_else(|| "-".into(), |gateway| gateway.to_string()),
                route.device.as_deref().unwrap_or("-"),
                route.metric
            )
        })
        .collect();
    assert_eq!(ours, expected);
    assert!(state.routes.iter().any(|route| route.kind == RouteKind::Unreachable && route.table == 1234));

    let rules: Vec<_> =
        state.routing_rules.iter().map(|rule| (rule.priority, rule.table, rule.other.clone())).collect();
    assert!(rules.contains(&(900, 1234, vec![])), "{rules:?}");
    assert!(rules.contains(&(901, 1234, vec!["fwmark 0x4000/0xffffffff".to_owned()])), "{rules:?}");
    assert!(rules.contains(&(0, 255, vec![])), "{rules:?}");
    assert!(rules.contains(&(32766, 254, vec![])), "{rules:?}");
}

/// A node directory saved by hand and an agent must lead to the same walk.
#[test]
fn saved_texts_and_netlink_give_the_same_state() {
    let Some(scratch) = Scratch::new("same") else { return };
    let Some(other) = Scratch::new("same2") else { return };
    scratch.ip(&["link", "add", "br0", "type", "bridge"]);
    scratch.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", other.name()]);
    scratch.ip(&["link", "set", "v0", "master", "br0", "up"]);
    scratch.ip(&["link", "set", "br0", "up"]);
    other.ip(&["link", "set", "eth0", "up"]);
    scratch.ip(&["addr", "add", "10.1.0.1/24", "dev", "br0"]);
    scratch.ip(&["addr", "add", "fd01::1/64", "dev", "br0", "nodad"]);
    scratch.ip(&["route", "add", "default", "via", "10.1.0.254"]);
    scratch.ip(&["route", "add", "prohibit", "10.66.0.0/16", "table", "77"]);
    scratch.ip(&["route", "add", "10.68.0.0/16", "nexthop", "via", "10.1.0.5", "nexthop", "via", "10.1.0.6"]);
    scratch.ip(&["rule", "add", "from", "10.5.0.0/16", "to", "10.6.0.0/16", "lookup", "77", "pref", "900"]);
    scratch.ip(&["rule", "add", "fwmark", "0x4000/0xf000", "iif", "v0", "lookup", "77", "pref", "901"]);
    scratch.ip(&["rule", "add", "not", "from", "10.7.0.0/16", "lookup", "77", "pref", "902"]);
    scratch.ip(&["-6", "rule", "add", "from", "fd02::/64", "lookup", "77", "pref", "903"]);
    scratch.ip(&["rule", "add", "lookup", "main", "suppress_prefixlength", "0", "pref", "904"]);
    scratch.ip(&["rule", "add", "fwmark", "0/0xff", "lookup", "77", "pref", "905"]);
    let state = read_state(&scratch.known());
    assert_eq!(state.gaps, vec![]);

    let saved = |command: &[&str]| scratch.run(command);
    assert_eq!(state.links, snapshot::links(&saved(&["ip", "-j", "-d", "link"])).expect("links"));
    let addresses = snapshot::addresses(&saved(&["ip", "-j", "addr"])).expect("addresses");
    assert_eq!(sorted(&state.addresses), sorted(&addresses));
    let mut routes = Vec::new();
    let mut rules = Vec::new();
    for (flag, family) in [("-4", Family::Ipv4), ("-6", Family::Ipv6)] {
        let text = saved(&["ip", "-j", flag, "route", "show", "table", "all"]);
        routes.extend(snapshot::routes(&text, family).expect("routes"));
        rules.extend(snapshot::routing_rules(&saved(&["ip", "-j", flag, "rule"]), family).expect("rules"));
    }
    assert_eq!(sorted(&state.routes), sorted(&routes));
    let words = |rule: &RoutingRule| RoutingRule { other: sorted(&rule.other), ..rule.clone() };
    let ours: Vec<_> = state.routing_rules.iter().map(words).collect();
    let theirs: Vec<_> = rules.iter().map(words).collect();
    assert_eq!(sorted(&ours), sorted(&theirs));
    let sysctls = snapshot::sysctls(&saved(&["sysctl", "-a"]));
    for (name, value) in &state.sysctls {
        assert_eq!(sysctls.get(name), Some(value), "{name}");
    }
    assert!(state.sysctls.contains_key("net.ipv4.conf.v0.rp_filter"));
}

fn sorted<T: std::fmt::Debug>(items: &[T]) -> Vec<String> {
    let mut texts: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    texts.sort();
    texts
}

#[test]
fn iptables_text_of_both_back_ends_is_that_of_the_tools_and_nothing_is_created() {
    let Some(scratch) = Scratch::new("ipt") else { return };
    let known = scratch.known();
    let empty = read_state(&known);
    assert!(empty.iptables.is_empty() && empty.gaps.is_empty(), "{empty:?}");
    assert_eq!(scratch.run(&["nft", "list", "tables"]), "", "reading created nft tables");
    assert_eq!(scratch.run(&["cat", "/proc/net/ip_tables_names"]), "", "reading created legacy tables");

    let rules = "*nat\n:KUBE-SVC-X - [0:0]\n-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SVC-X\n\
                 -A KUBE-SVC-X -p tcp -m statistic --mode random --probability 0.5 -j MARK --set-mark 0x4000\nCOMMIT\n";
    scratch.feed(&["iptables-nft-restore"], rules);
    scratch.feed(&["ip6tables-nft-restore"], "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
    scratch.feed(&["iptables-legacy-restore"], "*filter\n-A INPUT -s 192.0.2.0/24 -j DROP\nCOMMIT\n");
    let state = read_state(&known);
    assert_eq!(state.gaps, vec![]);
    assert_eq!(state.foreign_nft_tables, Vec::<String>::new());
    let read: Vec<_> = state.iptables.iter().map(|saved| (saved.backend, saved.family)).collect();
    assert_eq!(
        read,
        vec![
            (Backend::IptablesNft, Family::Ipv4),
            (Backend::IptablesLegacy, Family::Ipv4),
            (Backend::IptablesNft, Family::Ipv6)
        ]
    );
    for (saved, tool) in
        state.iptables.iter().zip(["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save"])
    {
        assert_eq!(without_times(&saved.text), without_times(&scratch.run(&[tool, "-c"])), "{tool}");
    }
}

#[test]
fn foreign_nft_tables_count_only_if_they_can_decide() {
    let Some(scratch) = Scratch::new("nft") else { return };
    let known = scratch.known();
    scratch.feed(
        &["nft", "-f", "-"],
        "table inet idle {
             chain input { type filter hook input priority 0; }
         }
         table inet busy {
             chain input {
                 type filter hook input priority 0;
                 tcp dport 22 accept
             }
         }
         table ip shut {
             chain forward { type filter hook forward priority 0; policy drop; }
         }
         table ip off {
             flags dormant;
             chain forward { type filter hook forward priority 0; policy drop; }
         }
         table ip loose {
             chain unused {
                 tcp dport 22 drop
             }
         }
",
    );
    let state = read_state(&known);
    assert_eq!(state.foreign_nft_tables, ["inet busy", "ip shut"]);
    assert_eq!(state.gaps, vec![]);

    // A native table that bears an iptables name and holds what iptables cannot print.
    scratch.feed(
        &["nft", "-f", "-"],
        "table ip filter {
             set s { type ipv4_addr; }
             chain odd {
                 type filter hook input priority 5;
                 ip saddr @s drop
             }
         }
",
    );
    let state = read_state(&known);
    assert!(state.foreign_nft_tables.contains(&"ip filter".to_owned()), "{state:?}");
    assert!(state.nftables.contains("\"chain\":\"odd\""), "nft prints it: {}", state.nftables);
    assert_eq!(state.gaps, vec![]);
}

#[test]
fn a_token_tells_a_changed_rule_set_from_an_unchanged_one() {
    let Some(scratch) = Scratch::new("token") else { return };
    let known = scratch.known();
    scratch.run(&["iptables-nft", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]);
    let token = read_state_stamped(&known).token.expect("a token");
    assert_eq!(rules_changed(&known, &token).expect("read"), Change::Unchanged);
    read_state(&known);
    assert_eq!(rules_changed(&known, &token).expect("read"), Change::Unchanged, "reading changes nothing");
    scratch.run(&["iptables-nft", "-D", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]);
    assert_eq!(rules_changed(&known, &token).expect("read"), Change::Changed);
    scratch.run(&["iptables-legacy", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]);
    let token = rules_token(&known).expect("a token");
    assert_eq!(rules_changed(&known, &token).expect("read"), Change::CannotTell);
}

#[test]
fn listeners_are_those_of_ss_with_queue_backlog_and_v6only() {
    let Some(scratch) = Scratch::new("ss") else { return };
    let known = scratch.known();
    // The sockets live only as long as this test; that they hold the namespace is what the test wants.
    let sockets = in_netns(&known.handle, || {
        [
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)),
            TcpListener::bind((Ipv4Addr::LOCALHOST, 9090)),
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7070)),
        ]
        .map(|socket| socket.expect("bind"))
    })
    .expect("enter");
    let client = in_netns(&known.handle, || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)))
        .expect("enter")
        .expect("connect");

    let report = read_listeners(&known, Protocol::Tcp).expect("listeners");
    let ours: BTreeSet<_> = report
        .listeners
        .iter()
        .map(|listener| {
            let address = match (listener.local, listener.v6only) {
                (SocketAddr::V6(address), Some(false)) if address.ip().is_unspecified() => {
                    format!("*:{}", address.port())
                }
                (address, _) => address.to_string(),
            };
            format!("{} {} {address}", listener.queued, listener.backlog)
        })
        .collect();
    let printed = scratch.run(&["ss", "-H", "-l", "-t", "-n"]);
    let expected: BTreeSet<_> = printed
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            format!("{} {} {}", fields[1], fields[2], fields[3])
        })
        .collect();
    assert_eq!(ours, expected);
    let waiting = report.listeners.iter().find(|listener| listener.local.port() == 8080).expect("listener");
    assert_eq!(waiting.queued, 1);
    let only_loopback =
        report.listeners.iter().find(|listener| listener.local.port() == 9090).expect("listener");
    assert!(only_loopback.loopback_only());
    drop((client, sockets));
}

#[test]
fn a_listener_names_its_process() {
    let Some(mut scratch) = Scratch::new("proc") else { return };
    let pid = scratch.spawn(&["python3", "-m", "http.server", "8085"]);
    let known = scratch.known();
    let listener = scratch::wait_for("the server to listen", || {
        let report = read_listeners(&known, Protocol::Tcp).expect("listeners");
        report.listeners.into_iter().find(|listener| listener.local.port() == 8085)
    });
    assert_eq!(listener.pid, Some(pid));
    assert!(listener.process.as_deref().is_some_and(|name| name.starts_with("python3")), "{listener:?}");
}

#[test]
fn a_namespace_joined_by_a_veth_is_a_pod_and_its_address_finds_it() {
    let Some(scratch) = Scratch::new("own") else { return };
    let host = format!("wdk{}", std::process::id());
    output(&["ip", "link", "add", &host, "type", "veth", "peer", "name", "eth0", "netns", scratch.name()]);
    scratch.ip(&["addr", "add", "10.244.77.5/24", "dev", "eth0"]);
    let known = scratch.known();
    let address: IpAddr = "10.244.77.5".parse().expect("address");
    assert_eq!(known.netns.owner, NetnsOwner::Pod { uid: None, addresses: vec![address] });
    assert!(known.links.iter().any(|link| link.name == "eth0"));

    let namespaces = Namespaces::open().expect("namespaces");
    let target = PodTarget { key: Key::new("shop", "api"), uid: "some-uid".into(), addresses: vec![address] };
    assert_eq!(namespaces.find_pod(&target).expect("the pod").netns.cookie, known.netns.cookie);
    let other = PodTarget { addresses: vec!["10.244.77.6".parse().expect("address")], ..target };
    assert!(namespaces.find_pod(&other).is_none());
    assert_eq!(namespaces.by_cookie(known.netns.cookie).expect("known").netns.inode, known.netns.inode);
    assert_eq!(namespaces.own().netns.owner, NetnsOwner::Node);
}

#[test]
fn a_lonely_namespace_is_nobodys_and_a_dead_one_is_gone() {
    let Some(scratch) = Scratch::new("lone") else { return };
    let known = scratch.known();
    assert_eq!(known.netns.owner, NetnsOwner::Unknown);
    drop(scratch);
    let error = in_netns(&known.handle, || ()).expect_err("gone");
    assert!(error.in_words().contains("is gone"), "{}", error.in_words());
    let state = read_state(&known);
    assert_eq!(state.gaps.len(), 1, "{state:?}");
}

#[test]
fn reading_does_not_keep_a_namespace_alive() {
    let Some(scratch) = Scratch::new("free") else { return };
    let host = format!("wdf{}", std::process::id());
    output(&["ip", "link", "add", &host, "type", "veth", "peer", "name", "eth0", "netns", scratch.name()]);
    let known = scratch.known();
    read_state(&known);
    read_listeners(&known, Protocol::Tcp).expect("listeners");
    drop(scratch);
    // The kernel removes the veth when it frees the namespace, which only a held reference delays.
    scratch::wait_for("the veth to vanish with its namespace", || {
        (!std::path::Path::new("/sys/class/net").join(&host).exists()).then_some(())
    });
}

#[test]
fn preflight_says_that_everything_works_for_root() {
    let Some(_scratch) = Scratch::new("pre") else { return };
    let sources = kernel::preflight();
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["iptables", "nftables", "ipset", "ipvs", "routes", "sockets", "netns"]);
    for source in &sources {
        assert_eq!(source.health, model::SourceHealth::Ok, "{source:?}");
        assert!(!source.detail.is_empty());
    }
}

/// The two comment lines with the date.
fn without_times(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

//! Walks through IPVS: what is delivered here goes on to a real server, by OUTPUT and POSTROUTING.

use model::ServiceProxy;

use super::*;

/// 10.96.0.10:80 with two real servers and one on its way out, an empty one, and a node port.
const SERVERS: &str = "\
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 1
-a -t 10.96.0.10:80 -r 10.244.2.7:8080 -m -w 1
-a -t 10.96.0.10:80 -r 10.244.2.8:8080 -m -w 0
-A -t 10.96.0.11:80 -s rr
-A -t 192.0.2.2:30080 -s rr
-a -t 192.0.2.2:30080 -r 10.244.2.7:8080 -m -w 1
";

/// As kube-proxy 1.36 writes them in IPVS mode, shortened.
const RULES: &str = r#"*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-IPVS-FILTER - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable
COMMIT
"#;

const SETS: &str = "create KUBE-CLUSTER-IP hash:ip,port family inet\nadd KUBE-CLUSTER-IP 10.96.0.10,tcp:80\n\
                    add KUBE-CLUSTER-IP 10.96.0.11,tcp:80\ncreate KUBE-IPVS-IPS hash:ip family inet\n\
                    add KUBE-IPVS-IPS 10.96.0.10\nadd KUBE-IPVS-IPS 10.96.0.11\n\
                    create KUBE-LOOP-BACK hash:ip,port,ip family inet\n\
                    add KUBE-LOOP-BACK 10.244.1.5,tcp:8080,10.244.1.5\n\
                    create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\nadd KUBE-NODE-PORT-TCP 30080\n";

fn ipvs(rules: &str, servers: &str) -> NodeState {
    let mut state = node(rules);
    for address in ["10.96.0.10/32", "10.96.0.11/32"] {
        let interface = "kube-ipvs0".to_owned();
        state.addresses.push(InterfaceAddress { interface, address: address.parse().unwrap() });
    }
    state.ipsets = Some(SETS.to_owned());
    state.ipvs = Some(servers.to_owned());
    state.sysctls.insert("net.ipv4.vs.conntrack".to_owned(), "1".to_owned());
    state
}

fn from_pod(state: &NodeState, to: &str) -> Walk {
    walk(state, &packet(Origin::Pod, "10.244.1.5", to))
}

fn ends(walk: &Walk) -> Vec<(String, Outcome, Masquerade)> {
    walk.branches
        .iter()
        .map(|branch| (branch.destination.to_string(), branch.outcome, branch.masquerade))
        .collect()
}

#[test]
fn every_real_server_with_a_weight_is_a_branch() {
    let found = from_pod(&ipvs(RULES, SERVERS), "10.96.0.10:80");
    // Not through FORWARD, whose policy is DROP; and to itself masqueraded.
    assert_eq!(
        ends(&found),
        [
            ("10.244.1.5:8080".to_owned(), Outcome::Forwarded, Masquerade::Yes),
            ("10.244.2.7:8080".to_owned(), Outcome::Forwarded, Masquerade::No),
        ]
    );
    assert_eq!(found.gaps, []);
    let to_other = &found.branches[1];
    assert_eq!(
        (to_other.out_interface.as_deref(), to_other.gateway),
        (Some("eth0"), Some("192.0.2.3".parse().unwrap()))
    );
    let rule = to_other.dnat_rule.as_ref().unwrap();
    assert_eq!(
        (rule.backend, rule.table.as_str(), rule.chain.as_str(), rule.text.as_str(), rule.owner.as_str()),
        (
            Backend::Ipvs,
            "ipvs",
            "TCP 10.96.0.10:80",
            "-a -t 10.96.0.10:80 -r 10.244.2.7:8080 -m -w 1",
            "kube-proxy"
        )
    );
    let mut hooks: Vec<_> = to_other.steps.iter().map(|step| step.hook.as_str()).collect();
    hooks.dedup();
    // OUTPUT is passed as well, but holds no rules.
    assert_eq!(hooks, ["PREROUTING", "ROUTE", "INPUT", "ROUTE", "POSTROUTING"]);
}

#[test]
fn a_virtual_server_without_real_ones_refuses() {
    let found = from_pod(&ipvs(RULES, SERVERS), "10.96.0.11:80");
    assert_eq!(ends(&found), [("10.96.0.11:80".to_owned(), Outcome::Rejected, Masquerade::No)]);
    let [branch] = &found.branches[..] else { panic!("one branch") };
    assert_eq!(branch.reject_with.as_deref(), Some("icmp-port-unreachable"));
    let rule = branch.terminal_rule.as_ref().unwrap();
    assert_eq!((rule.backend, rule.text.as_str()), (Backend::Ipvs, "-A -t 10.96.0.11:80 -s rr"));
    let idle = "-A -t 10.96.0.11:80 -s rr\n-a -t 10.96.0.11:80 -r 10.244.2.7:8080 -m -w 0\n";
    assert_eq!(
        from_pod(&ipvs(RULES, idle), "10.96.0.11:80").outcome,
        Outcome::Rejected,
        "weight 0 takes nothing new"
    );
}

#[test]
fn a_port_without_a_virtual_server_meets_the_access_filter() {
    let found = from_pod(&ipvs(RULES, SERVERS), "10.96.0.10:81");
    assert_eq!(found.outcome, Outcome::Rejected);
    assert_eq!(found.terminal_rule().unwrap().chain, "KUBE-IPVS-FILTER");
    // Up to 1.25 there is none: the node's own sockets answer.
    let found = from_pod(&ipvs(&filter(""), SERVERS), "10.96.0.10:81");
    assert_eq!(found.outcome, Outcome::Local);
}

#[test]
fn who_asks_from_the_node_or_from_outside_is_masqueraded() {
    let state = ipvs(RULES, SERVERS);
    let from_node = walk(&state, &packet(Origin::Node, "192.0.2.2", "10.96.0.10:80"));
    let both = [Outcome::Forwarded; 2];
    assert_eq!(from_node.branches.iter().map(|branch| branch.outcome).collect::<Vec<_>>(), both);
    assert!(from_node.branches.iter().all(|branch| branch.masquerade == Masquerade::Yes), "{from_node:?}");
    let from_outside = walk(&state, &packet(Origin::External, "198.51.100.7", "192.0.2.2:30080"));
    assert_eq!(ends(&from_outside), [("10.244.2.7:8080".to_owned(), Outcome::Forwarded, Masquerade::Yes)]);
}

#[test]
fn without_conntrack_for_ipvs_nothing_is_masqueraded() {
    let mut state = ipvs(RULES, SERVERS);
    state.sysctls.insert("net.ipv4.vs.conntrack".to_owned(), "0".to_owned());
    let found = walk(&state, &packet(Origin::External, "198.51.100.7", "192.0.2.2:30080"));
    assert_eq!(ends(&found), [("10.244.2.7:8080".to_owned(), Outcome::Forwarded, Masquerade::No)]);
    state.sysctls.remove("net.ipv4.vs.conntrack");
    let found = walk(&state, &packet(Origin::External, "198.51.100.7", "192.0.2.2:30080"));
    assert_eq!(found.branches[0].masquerade, Masquerade::Yes);
    assert!(found.gaps.iter().any(|gap| gap.why.contains("net.ipv4.vs.conntrack")), "{:?}", found.gaps);
}

#[test]
fn an_address_that_no_device_holds_never_comes_to_ipvs() {
    let mut state = ipvs(RULES, SERVERS);
    state.addresses.retain(|address| address.interface != "kube-ipvs0");
    let found = from_pod(&state, "10.96.0.10:80");
    assert_eq!(ends(&found), [("10.96.0.10:80".to_owned(), Outcome::Dropped, Masquerade::No)]);
    assert_eq!(found.terminal_rule().unwrap().chain, "FORWARD");
}

#[test]
fn rules_see_the_virtual_address_first_and_the_real_one_then() {
    let rules = |extra: &str| {
        RULES.replace("*filter\n", "*filter\n:X - [0:0]\n").replace(
            "-A INPUT -m comment --comment \"kubernetes ipvs",
            &format!("{extra}\n-A INPUT -m comment --comment \"kubernetes ipvs"),
        )
    };
    let dropped = |extra: &str| {
        let found = from_pod(&ipvs(&rules(extra), SERVERS), "10.96.0.10:80");
        found.branches.iter().map(|branch| branch.outcome == Outcome::Dropped).collect::<Vec<_>>()
    };
    assert_eq!(dropped("-A INPUT -d 10.96.0.10/32 -j DROP"), [true]);
    assert_eq!(dropped("-A INPUT -d 10.244.2.7/32 -j DROP"), [false, false]);
    assert_eq!(dropped("-A OUTPUT -d 10.244.2.7/32 -j DROP"), [false, true]);
    assert_eq!(dropped("-A OUTPUT -d 10.96.0.10/32 -j DROP"), [false, false]);
    assert_eq!(dropped("-A FORWARD -j DROP"), [false, false]);
    assert_eq!(dropped("-A OUTPUT -m ipvs --vaddr 10.96.0.10 --vport 80 -j DROP"), [true, true]);
    assert_eq!(dropped("-A OUTPUT -m ipvs ! --vaddr 10.96.0.10 -j DROP"), [false, false]);
    assert_eq!(dropped("-A INPUT -m ipvs --ipvs -j DROP"), [false, false], "IPVS comes after it");
    assert_eq!(dropped("-A INPUT -m ipvs ! --ipvs -j DROP"), [true]);
    assert_eq!(
        dropped("-A OUTPUT -m conntrack --ctstate DNAT -j DROP"),
        [false, false],
        "no translation of nat's"
    );
    assert_eq!(dropped("-A OUTPUT -i cni0 -j DROP"), [false, false], "it comes from nowhere any more");
}

#[test]
fn a_real_server_of_this_host_gets_it_where_it_is() {
    let servers = "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 192.0.2.2:6443 -m -w 1\n";
    let found = from_pod(&ipvs(RULES, servers), "10.96.0.10:80");
    assert_eq!(ends(&found), [("192.0.2.2:6443".to_owned(), Outcome::Local, Masquerade::No)]);
    let found = walk(&ipvs(RULES, servers), &packet(Origin::Node, "192.0.2.2", "10.96.0.10:80"));
    assert_eq!(found.branches[0].destination, "192.0.2.2:6443".parse().unwrap());
    assert_eq!(found.outcome, Outcome::Local);
    let loopback = "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 127.0.0.1:6443 -m -w 1\n";
    assert_eq!(from_pod(&ipvs(RULES, loopback), "10.96.0.10:80").outcome, Outcome::Dropped);
}

#[test]
fn what_cannot_get_to_its_real_server_is_told_so() {
    let servers = "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 203.0.113.9:80 -m -w 1\n";
    let mut state = ipvs(RULES, servers);
    state.routes.retain(|route| route.gateway != Some("192.0.2.1".parse().unwrap()));
    let found = from_pod(&state, "10.96.0.10:80");
    assert_eq!(found.outcome, Outcome::Rejected);
    assert_eq!(found.branches[0].reject_with.as_deref(), Some("icmp-host-unreachable"));
    let found = walk(&ipvs(RULES, SERVERS), &packet(Origin::Node, "127.0.0.1", "192.0.2.2:30080"));
    assert_eq!(found.outcome, Outcome::Dropped, "a loopback source may not leave: {found:?}");
}

#[test]
fn direct_routing_keeps_the_address_and_tunnels_are_not_followed() {
    let servers =
        |how: &str| format!("-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.244.2.7:80 {how} -w 1\n");
    let found = from_pod(&ipvs(RULES, &servers("-g")), "10.96.0.10:80");
    assert_eq!(ends(&found), [("10.96.0.10:80".to_owned(), Outcome::Forwarded, Masquerade::No)]);
    assert_eq!(found.branches[0].out_interface.as_deref(), Some("eth0"));
    let found = from_pod(&ipvs(RULES, &servers("-i")), "10.96.0.10:80");
    assert_eq!(found.outcome, Outcome::Unknown);
    assert!(found.gaps.iter().any(|gap| gap.why.contains("tunnel to 10.244.2.7")), "{:?}", found.gaps);
}

#[test]
fn marks_choose_virtual_servers_too() {
    let rules = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x7/0xffffffff\nCOMMIT\n";
    let servers = "-A -f 7 -s rr\n-a -f 7 -r 10.244.2.7:0 -m -w 1\n";
    let found = from_pod(&ipvs(rules, servers), "10.96.0.10:443");
    assert_eq!(ends(&found), [("10.244.2.7:443".to_owned(), Outcome::Forwarded, Masquerade::No)]);
    assert_eq!(from_pod(&ipvs(rules, servers), "10.96.0.10:80").outcome, Outcome::Local);
}

#[test]
fn virtual_servers_that_were_not_read_leave_open_what_comes_to_this_host() {
    let mut state = ipvs(RULES, "");
    state.ipvs = None;
    let found = from_pod(&state, "10.96.0.10:80");
    assert_eq!(found.outcome, Outcome::Unknown);
    assert!(
        found.gaps.iter().any(|gap| gap.why.contains("virtual servers were not read")),
        "{:?}",
        found.gaps
    );
    assert_eq!(found.proxy.mode, ServiceProxy::Ipvs);
    assert!(found.proxy.knows_destination, "the sets know it");
    // What is forwarded has nothing to do with them.
    let passing = walk(&ipvs(&filter(""), ""), &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"));
    assert_eq!(passing.outcome, Outcome::Forwarded);
    // Nor is a node in doubt that shows no sign of them.
    let mut plain = node(&filter(""));
    plain.ipvs = None;
    assert_eq!(walk(&plain, &packet(Origin::Pod, "10.244.1.5", "192.0.2.2:80")).outcome, Outcome::Local);
}

#[test]
fn the_kernel_shows_that_ipvs_serves_the_node() {
    let found = from_pod(&ipvs(RULES, SERVERS), "10.96.0.10:80");
    assert_eq!(found.proxy.mode, ServiceProxy::Ipvs);
    assert_eq!(
        (found.proxy.services, found.proxy.knows_destination, found.proxy.knows_address),
        (2, true, true)
    );
    assert_eq!(
        found.proxy.evidence,
        [
            "IPv4: nat PREROUTING and OUTPUT jump to KUBE-SERVICES, which asks sets as IPVS mode does",
            "3 virtual servers of IPVS, 2 addresses on kube-ipvs0",
            "2 service addresses",
        ]
    );
    let node_port = walk(&ipvs(RULES, SERVERS), &packet(Origin::External, "198.51.100.7", "192.0.2.2:30080"));
    assert!(node_port.proxy.knows_destination && !node_port.proxy.knows_address, "{:?}", node_port.proxy);
    let flushed = from_pod(&ipvs(&filter(""), SERVERS), "10.96.0.10:80");
    assert_eq!(flushed.proxy.mode, ServiceProxy::Ipvs, "the virtual servers outlive the rules");
    let other = from_pod(&node(RULES), "10.96.0.10:80");
    assert_eq!(other.proxy.mode, ServiceProxy::Ipvs, "rules without sets and servers");
}

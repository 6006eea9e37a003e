//! Each style of the policy stand-in through each back-end, by what real connections do. Needs root.
//!
//! Objects are read from text as the product reads them; what is expected is written down in `cases`.

#[path = "policy_styles/cases.rs"]
mod cases;
#[path = "support/root.rs"]
mod root;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use cases::{BY_LABEL, BY_LABEL_RELABELLED, CASES, Case, Grid};
use model::walk::Backend;
use model::{Key, ObjectSet, Timestamp};
use netlab::policy::{Enforcer, PolicedPod, Style, decide};
use netlab::{ConnectOutcome, Error, Lab, Listen, Node, Pod};

/// For what must get an answer, be it a refusal.
const PATIENT: Duration = Duration::from_secs(3);
/// For what must be met with silence. An answer that came later than this would go unseen; it comes within milliseconds.
const SHORT: Duration = Duration::from_millis(250);

const FROM: [(&str, &str); 3] = [("shop", "friend"), ("shop", "stranger"), ("back", "store")];
const TO: [&str; 2] = ["server", "near"];
/// Letter of the grids, port, and whether it is UDP.
const PORTS: [(char, u16, bool); 3] = [('w', 8080, false), ('m', 9090, false), ('d', 5353, true)];

#[test]
fn kube_router_without_sets_through_iptables_nft() {
    prove("plain-nft", Style::KubeRouterPlain, Backend::IptablesNft);
}

#[test]
fn kube_router_without_sets_through_iptables_legacy() {
    prove("plain-legacy", Style::KubeRouterPlain, Backend::IptablesLegacy);
}

#[test]
fn kube_router_through_iptables_nft() {
    prove("router-nft", Style::KubeRouter, Backend::IptablesNft);
}

#[test]
fn kube_router_through_iptables_legacy() {
    prove("router-legacy", Style::KubeRouter, Backend::IptablesLegacy);
}

#[test]
fn calico_through_iptables_nft() {
    prove("calico-nft", Style::Calico, Backend::IptablesNft);
}

#[test]
fn calico_through_iptables_legacy() {
    prove("calico-legacy", Style::Calico, Backend::IptablesLegacy);
}

#[test]
fn kindnet_through_nftables() {
    prove("kindnet", Style::Kindnet, Backend::Nftables);
}

#[test]
fn a_back_end_that_a_style_has_not_is_refused() {
    let nowhere = netlab::Netns::at("/run/netns/there-is-none");
    for (style, backend) in [
        (Style::Kindnet, Backend::IptablesNft),
        (Style::Calico, Backend::Nftables),
        (Style::KubeRouter, Backend::Ipvs),
    ] {
        let enforcer = Enforcer::new(style, Vec::new(), backend);
        for refused in [enforcer.sync(&nowhere, &[], &[]), enforcer.remove(&nowhere)] {
            let error = refused.expect_err("refused");
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        }
    }
}

/// A lab, the objects it was made of, and the enforcer of its nodes.
struct World {
    lab: Lab,
    objects: ObjectSet,
    enforcer: Enforcer,
    style: Style,
    backend: Backend,
    rounds: u16,
}

fn prove(name: &str, style: Style, backend: Backend) {
    if !root::available("policy rules") {
        return;
    }
    let mut world = World::new(name, style, backend);
    let before = world.state();
    for case in CASES.iter().chain([&BY_LABEL]) {
        world.objects = read(case);
        world.sync();
        let one_chain = case.one_chain.as_ref().filter(|_| style == Style::KubeRouter);
        world.expect(case.name, one_chain.unwrap_or(&case.v4), one_chain.unwrap_or(&case.v6));
        let state = world.state();
        world.sync();
        assert_eq!(world.state(), state, "{}: the second sync changes nothing", case.name);
    }
    relabel(&mut world, "friend");
    world.expect("relabelled", &BY_LABEL_RELABELLED, &BY_LABEL_RELABELLED);
    relabel(&mut world, "stranger");
    world.expect("relabelled back", &BY_LABEL.v4, &BY_LABEL.v6);
    for node in world.lab.nodes() {
        world.enforcer.remove(&node.netns).expect("remove");
        world.enforcer.remove(&node.netns).expect("remove once more");
    }
    assert_eq!(world.state(), before, "what others have is left alone, and of the enforcer nothing is left");
    world.expect("removed", &cases::OPEN, &cases::OPEN);
}

fn relabel(world: &mut World, app: &str) {
    let pod = world.objects.pods.get_mut(&Key::new("shop", "stranger")).expect("pod");
    pod.meta.labels.insert("app".into(), app.into());
    world.sync();
}

/// The world and a case's policies.
fn read(case: &Case) -> ObjectSet {
    let mut reader = objects::Reader::new(Timestamp(0));
    reader.add("world.yaml", Timestamp(0), include_str!("policy_styles/world.yaml"));
    for (name, spec) in case.policies {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
        );
        reader.add(case.name, Timestamp(0), &text);
    }
    reader.finish().unwrap_or_else(|refusals| panic!("{}: {refusals:?}", case.name)).set
}

impl World {
    fn new(name: &str, style: Style, backend: Backend) -> Self {
        let objects = read(&BY_LABEL);
        let lab = Lab::from_objects(name, &objects).expect("a lab");
        for name in TO {
            let pod = lab.get_pod(&Key::new("shop", name)).expect("pod");
            for (_, port, udp) in PORTS {
                let listen = Listen::on_all(port, name);
                pod.listen(if udp { listen.udp() } else { listen }).expect("listen");
            }
        }
        for node in lab.nodes() {
            // Or a refusal is told to a pod only a few times a second (`inet_peer_xrlim_allow` in net/ipv4/inetpeer.c).
            node.netns.sysctl("net.ipv4.icmp_ratelimit", "0").expect("sysctl");
            node.netns.sysctl("net.ipv6.icmp.ratelimit", "0").expect("sysctl");
            others(node, backend);
        }
        let cidrs = ["10.96.0.0/16", "fd00:96::/112"].map(|cidr| cidr.parse().expect("cidr"));
        let enforcer = Enforcer::new(style, cidrs.to_vec(), backend);
        Self { lab, objects, enforcer, style, backend, rounds: 0 }
    }

    fn sync(&self) {
        let decisions = decide(&self.objects);
        for node in self.lab.nodes() {
            let pods: Vec<_> =
                self.lab.pods().filter(|pod| pod.spec.node == node.spec.name).map(PolicedPod::from).collect();
            self.enforcer.sync(&node.netns, &pods, &decisions).expect("sync");
        }
    }

    /// Tries all connections at once and compares each with the grids; and nodes reach their own pods, always.
    fn expect(&mut self, name: &str, v4: &Grid, v6: &Grid) {
        self.rounds += 1;
        // No source port twice: what conntrack still knows of an earlier datagram would admit the next.
        let first = 20_000 + 200 * self.rounds;
        for (namespace, pod) in FROM {
            let pod = self.lab.get_pod(&Key::new(namespace, pod)).expect("pod");
            let range = format!("{first} {}", first + 199);
            pod.netns.sysctl("net.ipv4.ip_local_port_range", &range).expect("sysctl");
        }
        let mut wrong: Vec<String> = Vec::new();
        let world = &*self;
        thread::scope(|scope| {
            let mut attempts = Vec::new();
            for (row, (namespace, from)) in FROM.into_iter().enumerate() {
                for (column, to) in TO.into_iter().enumerate() {
                    let source = self.lab.get_pod(&Key::new(namespace, from)).expect("pod");
                    let target = self.lab.get_pod(&Key::new("shop", to)).expect("pod");
                    for address in target.addresses() {
                        let grid = if address.is_ipv4() { v4 } else { v6 };
                        for (letter, port, udp) in PORTS {
                            let admitted = grid[row][column].contains(letter);
                            let to = SocketAddr::new(address, port);
                            attempts.push(scope.spawn(move || world.attempt(source, to, udp, admitted)));
                        }
                    }
                }
            }
            for name in TO {
                let pod = self.lab.get_pod(&Key::new("shop", name)).expect("pod");
                for address in pod.addresses() {
                    attempts.push(scope.spawn(move || world.probe(pod, address)));
                }
            }
            wrong.extend(attempts.into_iter().filter_map(|attempt| attempt.join().expect("attempt")));
        });
        let style = (self.style, self.backend);
        assert!(wrong.is_empty(), "{style:?}, {name}:\n{}\n{:#?}", wrong.join("\n"), self.state());
    }

    /// What is wrong about the outcome, if anything is.
    fn attempt(&self, from: &Pod, to: SocketAddr, udp: bool, admitted: bool) -> Option<String> {
        let (expected, patience) = match (admitted, self.style.rejects()) {
            (true, _) => (ConnectOutcome::Connected, PATIENT),
            (false, true) => (ConnectOutcome::Refused, PATIENT),
            (false, false) => (ConnectOutcome::TimedOut, SHORT),
        };
        let result =
            if udp { from.netns.exchange_udp(to, patience) } else { from.netns.connect(to, patience) };
        let outcome = result.expect("attempt").outcome;
        let what = if udp { "udp" } else { "tcp" };
        (outcome != expected)
            .then(|| format!("{} to {what} {to}: {outcome:?}, expected {expected:?}", from.spec.key))
    }

    /// A kubelet's probes get through whatever policies say.
    fn probe(&self, pod: &Pod, address: IpAddr) -> Option<String> {
        let node = self.lab.node(&pod.spec.node).expect("node");
        let to = SocketAddr::new(address, 8080);
        let outcome = node.netns.connect(to, PATIENT).expect("attempt").outcome;
        (outcome != ConnectOutcome::Connected).then(|| format!("{} to {to}: {outcome:?}", node.spec.name))
    }

    /// All that is programmed on the nodes, without counters.
    fn state(&self) -> BTreeMap<String, Vec<String>> {
        let mut state = BTreeMap::new();
        for node in self.lab.nodes() {
            let mut look = |command: &[&str]| {
                let text = node.netns.run(command).expect("look");
                state.insert(format!("{} {}", node.spec.name, command.join(" ")), settled(&text));
            };
            match self.backend {
                Backend::IptablesNft => {
                    look(&["iptables-nft-save"]);
                    look(&["ip6tables-nft-save"]);
                }
                Backend::IptablesLegacy => {
                    look(&["iptables-legacy-save"]);
                    look(&["ip6tables-legacy-save"]);
                    look(&["nft", "list", "ruleset"]);
                }
                _ => look(&["nft", "list", "ruleset"]),
            }
            look(&["ipset", "save"]);
        }
        state
    }
}

/// Rules, sets and tables of somebody else, some with names like those of the enforcer.
fn others(node: &Node, backend: Backend) {
    let chain = "*filter\n:THEIRS - [0:0]\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j THEIRS\n-A OUTPUT -j KUBE-FORWARD\n\
                 -A THEIRS -m comment --comment \"cali-FORWARD\" -j RETURN\nCOMMIT\n";
    let kind = match backend {
        Backend::IptablesLegacy => Some("legacy"),
        Backend::IptablesNft => Some("nft"),
        _ => None,
    };
    for tool in kind
        .into_iter()
        .flat_map(|kind| ["iptables", "ip6tables"].map(|tool| format!("{tool}-{kind}-restore")))
    {
        node.netns.feed(&[&tool, "--noflush"], chain).expect("their chains");
    }
    node.netns
        .feed(&["ipset", "restore"], "create THEIRS hash:ip\nadd THEIRS 10.1.1.1\n")
        .expect("their set");
    if backend != Backend::IptablesNft {
        node.netns
            .feed(&["nft", "-f", "-"], "table inet theirs {\nchain c {\ntcp dport 1 accept\n}\n}\n")
            .expect("their table");
    }
}

/// Lines that stay the same while packets pass and sets are filled again: no counters, no times, no seeds of hashes.
fn settled(text: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with("add ") {
            // In the order of hashes, whose seed is new with each set.
            members.push(line.to_owned());
            continue;
        }
        let line = line.split(" bucketsize ").next().unwrap_or(line);
        let line = line.split(" [").next().unwrap_or(line);
        lines.push(line.to_owned());
    }
    members.sort();
    lines.extend(members);
    lines
}

//! The rule walker against the kernel: what a walk through the nodes' rules predicts is what a connection does. Needs root.
//!
//! Each question is predicted by walking the source's node, then, for a destination on the other node, that one too;
//! then it is tried for real, often enough to see every endpoint.

#[path = "oracle/cluster.rs"]
mod cluster;
#[path = "oracle/nft.rs"]
mod nft;
#[path = "support/root.rs"]
mod root;
#[path = "oracle/rules.rs"]
mod rules_of_nft;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use kernel::{Namespaces, read_state};
use model::flow::{Origin, Packet, Protocol};
use model::walk::{Backend, Branch, Masquerade, Outcome, RulesStamp, Walk};
use model::{Key, Timestamp};
use netlab::policy::{Admitted, Isolation, PodDecision};
use netlab::{ConnectOutcome, ForwardPolicy, KubeProxy, Lab, Netns, Pod, PolicyEngine};
use rules::Host;

/// Three endpoints: the chance that 40 picks miss one of them is 3·(2/3)^40, below one in three million.
const TRIES: usize = 40;
const FURTHER: usize = 2;
/// The lab answers within a millisecond; silence is silence after this.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same where no silence is expected: a busy machine may take its time.
const MORE_PATIENCE: Duration = Duration::from_secs(4);

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Answer(String),
    Refused,
    Silence,
}

#[derive(Clone, Debug)]
struct Question {
    from: String,
    netns: Netns,
    /// The node whose rules see it first.
    node: String,
    origin: Origin,
    to: SocketAddr,
}

#[test]
fn the_kernel_does_what_the_walk_says() {
    if !root::available("the kernel oracle") {
        return;
    }
    let lab = cluster::lab("oracle");
    let objects = cluster::objects();
    let mut asked = 0;
    for backend in [Backend::IptablesNft, Backend::IptablesLegacy] {
        let mut proxy = KubeProxy::new("10.244.0.0/16".parse().expect("cidr"));
        proxy.backend = backend;
        proxy.extras = cluster::extras();
        let mut engine = PolicyEngine::new("10.96.0.0/16".parse().expect("cidr"));
        engine.backend = backend;

        asked += compare(&lab, &format!("{backend:?}: no rules"));
        for node in lab.nodes() {
            proxy.load(node, &objects).expect("load");
        }
        asked += compare(&lab, &format!("{backend:?}: kube-proxy"));

        engine.apply(&lab, &decisions()).expect("policies");
        asked += compare(&lab, &format!("{backend:?}: kube-proxy and policies"));
        for node in lab.nodes() {
            engine.remove(node).expect("remove");
        }

        let one = lab.node("node-1").expect("node");
        one.set_forward_policy(backend, ForwardPolicy::Drop).expect("FORWARD DROP");
        asked += compare(&lab, &format!("{backend:?}: FORWARD DROP on node-1"));
        one.set_forward_policy(backend, ForwardPolicy::Accept).expect("FORWARD ACCEPT");

        one.insert_filter_rule(backend, "FORWARD", "-s 10.244.1.5 -p tcp -m tcp --dport 8080 -j DROP")
            .expect("rule");
        one.insert_filter_rule(backend, "OUTPUT", "-d 10.244.2.5/32 -p tcp -m tcp --dport 8080 -j REJECT")
            .expect("rule");
        asked += compare(&lab, &format!("{backend:?}: rules by hand on node-1"));

        proxy.load_without(one, &objects, &Key::new("shop", "api")).expect("load");
        asked += compare(&lab, &format!("{backend:?}: a Service that node-1 does not know"));
        proxy.flush(one).expect("flush");
        asked += compare(&lab, &format!("{backend:?}: flushed on node-1"));
        for node in lab.nodes() {
            cluster::clear(&node.netns, backend);
        }
    }
    let question_count = questions(&lab).len();
    assert_eq!(asked, question_count * 14, "every question under every rule set");
}

#[test]
fn the_kernel_does_what_the_walk_through_nftables_says() {
    if !root::available("the kernel oracle for nftables") {
        return;
    }
    let lab = cluster::lab("oracle-nft");
    let one = lab.node("node-1").expect("node");
    let load = |text: &str| {
        one.netns.feed(&["nft", "-f", "-"], text).unwrap_or_else(|error| panic!("{error}: {text}"));
    };
    let clear = || {
        one.netns.run(&["nft", "flush", "ruleset"]).expect("flush");
    };
    for dialect in [nft::Dialect::Chains, nft::Dialect::Maps] {
        for (number, node) in (1..).zip(lab.nodes()) {
            node.netns.feed(&["nft", "-f", "-"], &nft::kube_proxy(dialect, number)).expect("load");
        }
        let count = compare(&lab, &format!("nftables, {dialect:?}: kube-proxy"));
        assert_eq!(count, questions(&lab).len());
        // Both back-ends at once: iptables-nft beside kube-proxy's own table, each counted once. Which of two chains of one
        // place comes first is not in what is read, so nothing is asked here on which both decide differently.
        one.insert_filter_rule(
            Backend::IptablesNft,
            "FORWARD",
            "-s 10.244.1.5 -p tcp -m tcp --dport 8080 -j DROP",
        )
        .expect("rule");
        compare(&lab, &format!("nftables, {dialect:?}: and a rule of iptables on node-1"));
        for node in lab.nodes() {
            node.netns.run(&["nft", "flush", "ruleset"]).expect("flush");
        }
    }
    let asked = |to: &str| {
        let to: SocketAddr = to.parse().expect("address");
        let mut asked = questions(&lab);
        asked.retain(|question| matches!(question.from.as_str(), "shop/client" | "node-1"));
        asked.dedup_by(|one, next| one.from == next.from);
        for question in &mut asked {
            question.to = to;
        }
        asked
    };
    let far = asked("10.244.2.5:8080");
    assert_eq!(far.len(), 2, "the client and the node: {far:?}");
    let rules = rules_of_nft::CONDITIONS.iter().map(|condition| rules_of_nft::conditional(condition));
    for text in rules.chain(rules_of_nft::RULES.iter().map(|rule| rules_of_nft::table(rule))) {
        load(&text);
        compare_these(&lab, &text, &far);
        clear();
    }
    let nowhere: Vec<Question> = asked("192.0.2.9:80").into_iter().chain(asked("192.0.2.9:8080")).collect();
    for text in rules_of_nft::ORDERED {
        load(text);
        compare_these(&lab, text, &far);
        compare_these(&lab, text, &nowhere);
        clear();
    }
    for rule in rules_of_nft::TRANSLATIONS {
        load(&rules_of_nft::translating(rule));
        compare_these(&lab, rule, &nowhere);
        clear();
    }
}

/// Returns how many questions were compared; panics with all mismatches.
fn compare(lab: &Lab, situation: &str) -> usize {
    compare_these(lab, situation, &questions(lab))
}

fn compare_these(lab: &Lab, situation: &str, questions: &[Question]) -> usize {
    let hosts = hosts(lab);
    let mut mismatches = Vec::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = questions
            .iter()
            .map(|question| {
                let hosts = &hosts;
                (
                    question,
                    scope.spawn(move || {
                        let predicted = predict(lab, hosts, question);
                        let observed = observe(question, predicted.as_ref().unwrap_or(&BTreeSet::new()));
                        (predicted, observed)
                    }),
                )
            })
            .collect();
        for (question, thread) in running {
            let (predicted, observed) = thread.join().expect("a question");
            let agree = match &predicted {
                Ok(predicted) => *predicted == observed,
                Err(_) => false,
            };
            if !agree {
                mismatches.push(format!(
                    "{} -> {}\n    the walk says {predicted:?}\n    the kernel does {observed:?}",
                    question.from, question.to
                ));
            }
        }
    });
    assert!(
        mismatches.is_empty(),
        "{situation}: {} of {} differ\n{}",
        mismatches.len(),
        questions.len(),
        mismatches.join("\n")
    );
    questions.len()
}

/// Each node's rules, read and parsed as the agent does.
fn hosts(lab: &Lab) -> BTreeMap<String, Host> {
    let namespaces = Namespaces::open().expect("namespaces");
    lab.nodes()
        .map(|node| {
            let inode = std::fs::metadata(node.netns.path()).expect("the namespace").ino();
            let known =
                namespaces.all().find(|known| u64::from(known.netns.inode) == inode).expect("the node");
            let state = read_state(known);
            assert_eq!(state.gaps, vec![]);
            let host = Host::new(&state);
            assert_eq!(host.problems().count(), 0);
            (node.spec.name.clone(), host)
        })
        .collect()
}

fn questions(lab: &Lab) -> Vec<Question> {
    let mut sources: Vec<(String, Netns, String, Origin)> = Vec::new();
    for pod in lab.pods() {
        sources.push((pod.spec.key.to_string(), pod.netns.clone(), pod.spec.node.clone(), Origin::Pod));
    }
    for node in lab.nodes() {
        sources.push((node.spec.name.clone(), node.netns.clone(), node.spec.name.clone(), Origin::Node));
    }
    let mut questions = Vec::new();
    for (from, netns, node, origin) in sources {
        for to in cluster::destinations() {
            questions.push(Question {
                from: from.clone(),
                netns: netns.clone(),
                node: node.clone(),
                origin,
                to: to.parse().expect("address"),
            });
        }
    }
    // From outside a packet meets the node that it is sent to.
    for (node, address) in [("node-1", "10.200.0.11"), ("node-2", "10.200.0.12")] {
        for port in cluster::NODE_PORTS {
            questions.push(Question {
                from: "outside".into(),
                netns: lab.outside().clone(),
                node: node.into(),
                origin: Origin::External,
                to: SocketAddr::new(address.parse().expect("address"), port),
            });
        }
    }
    questions
}

/// Tries until everything that was predicted was seen, and a few times more in case there is something else.
fn observe(question: &Question, predicted: &BTreeSet<Seen>) -> BTreeSet<Seen> {
    let mut seen = BTreeSet::new();
    let mut further = FURTHER;
    for _ in 0..TRIES {
        let mut result = question.netns.connect(question.to, PATIENCE).expect("attempt");
        if matches!(result.outcome, ConnectOutcome::TimedOut) && !predicted.contains(&Seen::Silence) {
            result = question.netns.connect(question.to, MORE_PATIENCE).expect("attempt");
        }
        seen.insert(match result.outcome {
            ConnectOutcome::Connected => Seen::Answer(String::from_utf8(result.answer).expect("text")),
            ConnectOutcome::Refused => Seen::Refused,
            ConnectOutcome::TimedOut => Seen::Silence,
            ConnectOutcome::Unreachable(errno) => panic!("{question:?}: errno {errno}"),
        });
        if seen.is_superset(predicted) {
            if further == 0 {
                break;
            }
            further -= 1;
        }
    }
    seen
}

fn predict(lab: &Lab, hosts: &BTreeMap<String, Host>, question: &Question) -> Result<BTreeSet<Seen>, String> {
    if let Some(own) = lab.pods().find(|pod| pod.netns == question.netns && pod.address() == question.to.ip())
    {
        // It never leaves the pod.
        return Ok(BTreeSet::from([at_pod(own, question.to)]));
    }
    let packet = Packet {
        origin: question.origin,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: source_address(question),
        src_port: None,
        dst: question.to,
    };
    follow(lab, hosts, &question.node, &packet, 0)
}

/// The address the kernel would send from, which depends on the route.
fn source_address(question: &Question) -> IpAddr {
    let asked = question.netns.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(question.to)?;
        socket.local_addr()
    });
    asked.expect("enter").expect("a route").ip()
}

fn follow(
    lab: &Lab,
    hosts: &BTreeMap<String, Host>,
    node: &str,
    packet: &Packet,
    depth: usize,
) -> Result<BTreeSet<Seen>, String> {
    let stamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };
    let walk: Walk = hosts.get(node).ok_or("no such node")?.walk(packet, stamp);
    let mut seen = BTreeSet::new();
    for branch in &walk.branches {
        match branch.outcome {
            // Nothing listens on the nodes.
            Outcome::Rejected | Outcome::Local => {
                seen.insert(Seen::Refused);
            }
            // Also by OUTPUT on the sender itself: TCP takes the lost SYN for a lost one and tries again.
            Outcome::Dropped => {
                seen.insert(Seen::Silence);
            }
            Outcome::Unknown => return Err(format!("unknown: {:?}", branch.gaps)),
            Outcome::Forwarded => seen.extend(delivered(lab, hosts, node, packet, branch, depth)?),
        }
    }
    Ok(seen)
}

fn at_pod(pod: &Pod, to: SocketAddr) -> Seen {
    let name = pod.spec.key.name.as_str();
    let listens = to.port() == 8080 && cluster::SERVERS.contains(&name);
    if listens { Seen::Answer(name.to_owned()) } else { Seen::Refused }
}

/// Where a packet that left a node arrives.
fn delivered(
    lab: &Lab,
    hosts: &BTreeMap<String, Host>,
    node: &str,
    packet: &Packet,
    branch: &Branch,
    depth: usize,
) -> Result<BTreeSet<Seen>, String> {
    let to = branch.destination;
    let pod = lab.pods().find(|pod| pod.address() == to.ip());
    if let Some(pod) = pod.filter(|pod| pod.spec.node == node) {
        return Ok(BTreeSet::from([at_pod(pod, to)]));
    }
    let next = pod
        .map(|pod| pod.spec.node.clone())
        .or_else(|| lab.nodes().find(|node| node.address() == to.ip()).map(|node| node.spec.name.clone()));
    // By the default route, where nobody answers.
    let Some(next) = next else { return Ok(BTreeSet::from([Seen::Silence])) };
    // A node that translates for somebody else's pod and keeps the source never sees the answer, which goes straight back
    // under the endpoint's own address.
    let translated = to != packet.dst && branch.masquerade == Masquerade::No;
    if packet.origin == Origin::External && translated {
        return Ok(BTreeSet::from([Seen::Silence]));
    }
    if depth > 2 {
        return Err(format!("{to} goes round and round"));
    }
    let src = match branch.masquerade {
        Masquerade::Yes => lab.node(node).expect("node").address(),
        Masquerade::No => packet.src,
        Masquerade::Maybe => return Err("masquerade cannot be told".into()),
    };
    let packet = Packet { origin: Origin::External, in_interface: None, src, dst: to, ..packet.clone() };
    follow(lab, hosts, &next, &packet, depth + 1)
}

/// Who may talk to whom, as a policy engine would have decided.
fn decisions() -> Vec<PodDecision> {
    let only = |pod: &str, policy: &str, ingress: Vec<Admitted>| PodDecision {
        pod: Key::new("shop", pod),
        ingress: vec![Isolation { policy: Key::new("shop", policy), admitted: ingress }],
        egress: Vec::new(),
    };
    let host = |address: &str| format!("{address}/32").parse().expect("prefix");
    vec![
        only(
            "far",
            "friends",
            vec![Admitted::tcp(host("10.244.1.5"), 8080), Admitted::all(host("10.244.2.6"))],
        ),
        only("near", "nobody", Vec::new()),
        PodDecision {
            pod: Key::new("shop", "other"),
            ingress: Vec::new(),
            egress: vec![Isolation {
                policy: Key::new("shop", "locked"),
                admitted: vec![Admitted::tcp("10.244.1.0/24".parse().expect("prefix"), 8080)],
            }],
        },
    ]
}

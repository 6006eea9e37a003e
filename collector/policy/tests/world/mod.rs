//! A small cluster as manifests, read as files are, for the tables beside it.
//!
//! Namespaces `own` and `far`, a pod in each and a second one beside the first, two nodes, a Service; in IPv4, IPv6 or
//! both. Tables write addresses as words: `{PEER}` is the peer's, `{NEAR}` a block around it, `{ELSEWHERE}` one without it.

use std::fmt::Write as _;

use model::explanation::PolicyVerdict;
use model::objects::{Key, ObjectSet};
use model::{Protocol, Timestamp};
use objects::Reader;
use policy::{Connection, Detailed, End, PolicyIndex, evaluate_detailed, verdict};

/// The families a world is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both, IPv4 first.
    Both,
}

/// Who stands at the other end of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `far/peer`, on node-2.
    Pod,
    /// `own/beside`, in the subject's namespace.
    Beside,
    /// `far/peer`, on the host network of node-2.
    HostPod,
    /// `far/peer`, on the host network of the subject's node.
    HostPodHere,
    /// `far/peer`, which has ended.
    Finished,
    /// `far/peer`, which has no address yet.
    Waiting,
    /// node-2.
    Node,
    /// The subject's node.
    OwnNode,
    /// An address that nothing among the objects owns.
    Outside,
    /// The address of a Service.
    Service,
    /// The subject itself.
    Itself,
}

/// Addresses: IPv4, IPv6.
const SUBJECT: [&str; 2] = ["10.1.0.5", "fd00:1::5"];
const BESIDE: [&str; 2] = ["10.1.0.6", "fd00:1::6"];
const PEER: [&str; 2] = ["10.2.0.9", "fd00:2::9"];
const NODE_1: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const NODE_2: [&str; 2] = ["192.0.2.2", "2001:db8::2"];
const OUTSIDE: [&str; 2] = ["203.0.113.9", "2001:db8:f::9"];
const SERVICE: [&str; 2] = ["10.96.0.9", "fd00:96::9"];

/// Words for addresses and blocks in manifests.
const WORDS: &[(&str, [&str; 2])] = &[
    ("{PEER}", ["10.2.0.9/32", "fd00:2::9/128"]),
    ("{NEAR}", ["10.2.0.0/24", "fd00:2::/64"]),
    ("{PODS}", ["10.0.0.0/8", "fd00::/16"]),
    ("{ELSEWHERE}", ["198.51.100.0/24", "2001:db8:e::/64"]),
    ("{ALL}", ["0.0.0.0/0", "::/0"]),
    ("{OTHER-FAMILY}", ["::/0", "0.0.0.0/0"]),
    ("{NODES}", ["192.0.2.0/24", "2001:db8::/64"]),
    ("{OUTSIDE}", ["203.0.113.9/32", "2001:db8:f::9/128"]),
    ("{AROUND-OUTSIDE}", ["203.0.113.0/24", "2001:db8:f::/64"]),
    ("{TUNNEL}", ["10.2.0.0/16", "fd00:2::/32"]),
    ("{SERVICES}", ["10.96.0.0/12", "fd00:96::/64"]),
];

impl Families {
    fn of(self, pair: [&str; 2]) -> Vec<String> {
        let [v4, v6] = pair.map(str::to_owned);
        match self {
            Self::V4 => vec![v4],
            Self::V6 => vec![v6],
            Self::Both => vec![v4, v6],
        }
    }

    /// The family whose words are meant.
    const fn place(self) -> usize {
        match self {
            Self::V4 | Self::Both => 0,
            Self::V6 => 1,
        }
    }
}

/// The cluster, before it is read.
#[derive(Clone, Debug)]
pub struct World {
    families: Families,
    peer: Peer,
    text: String,
    change: fn(&mut ObjectSet),
}

impl World {
    /// The cluster without any policy.
    pub fn new(families: Families, peer: Peer) -> Self {
        Self { families, peer, text: String::new(), change: |_| {} }
    }

    /// More manifests, words replaced.
    pub fn with(mut self, manifest: &str) -> Self {
        let mut manifest = manifest.to_owned();
        for (word, meanings) in WORDS {
            manifest = manifest.replace(word, meanings[self.families.place()]);
        }
        self.text = format!("{}---\n{manifest}\n", self.text);
        self
    }

    /// Something that no manifest says: what was not read.
    pub fn changed(mut self, change: fn(&mut ObjectSet)) -> Self {
        self.change = change;
        self
    }

    /// The end that the peer is.
    pub fn peer(&self) -> End {
        let pod = |namespace: &str, name: &str| End::Pod(Key::new(namespace, name));
        let address =
            |pair: [&str; 2]| End::Address(pair[self.families.place()].parse().expect("an address"));
        match self.peer {
            Peer::Pod | Peer::HostPod | Peer::HostPodHere | Peer::Finished | Peer::Waiting => {
                pod("far", "peer")
            }
            Peer::Beside => pod("own", "beside"),
            Peer::Node => End::Node { name: "node-2".to_owned() },
            Peer::OwnNode => End::Node { name: "node-1".to_owned() },
            Peer::Outside => address(OUTSIDE),
            Peer::Service => address(SERVICE),
            Peer::Itself => pod("own", "subject"),
        }
    }

    /// Everything, read.
    pub fn set(&self) -> ObjectSet {
        let mut reader = Reader::new(Timestamp(1));
        let text = format!("{}{}", self.manifests(), self.text);
        reader.add("world.yaml", Timestamp(1), &text);
        let read = reader.finish().unwrap_or_else(|refusals| panic!("{refusals:#?}\n{text}"));
        let mut set = read.set;
        (self.change)(&mut set);
        set
    }

    fn manifests(&self) -> String {
        let pod = |namespace: &str,
                   name: &str,
                   label: &str,
                   node: &str,
                   pair: [&str; 2],
                   host: bool,
                   phase: &str| {
            let addresses = if phase == "Pending" { Vec::new() } else { self.families.of(pair) };
            let ips: Vec<String> = addresses.iter().map(|address| format!("{{ip: '{address}'}}")).collect();
            let first = addresses.first().map(|first| format!("podIP: '{first}', ")).unwrap_or_default();
            format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {label}, tier: x}}}}, \
                 spec: {{nodeName: {node}, hostNetwork: {host}, containers: [{{name: c, image: i, ports: [\
                 {{name: http, containerPort: 8080, hostPort: {port}}}, {{name: dns, containerPort: 53, protocol: UDP}}]}}]}}, \
                 status: {{phase: {phase}, {first}podIPs: [{}]}}}}\n",
                ips.join(", "),
                port = if host { "8080" } else { "null" },
            )
        };
        let node = |name: &str, pair: [&str; 2], ranges: [&str; 2]| {
            let addresses = self.families.of(pair);
            let addresses: Vec<String> = addresses
                .iter()
                .map(|address| format!("{{type: InternalIP, address: '{address}'}}"))
                .collect();
            let ranges: Vec<String> =
                self.families.of(ranges).iter().map(|range| format!("'{range}'")).collect();
            format!(
                "---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{pool: {name}}}}}, \
                 spec: {{podCIDRs: [{}]}}, status: {{addresses: [{}]}}}}\n",
                ranges.join(", "),
                addresses.join(", ")
            )
        };
        let mut text = String::new();
        for namespace in ["own", "far"] {
            let _ = write!(
                text,
                "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {{team: {namespace}}}}}}}\n"
            );
        }
        text.push_str(&node("node-1", NODE_1, ["10.1.0.0/24", "fd00:1::/64"]));
        text.push_str(&node("node-2", NODE_2, ["10.2.0.0/24", "fd00:2::/64"]));
        text.push_str(&pod("own", "subject", "subject", "node-1", SUBJECT, false, "Running"));
        text.push_str(&pod("own", "beside", "beside", "node-2", BESIDE, false, "Running"));
        text.push_str(&match self.peer {
            Peer::HostPod => pod("far", "peer", "peer", "node-2", NODE_2, true, "Running"),
            Peer::HostPodHere => pod("far", "peer", "peer", "node-1", NODE_1, true, "Running"),
            Peer::Finished => pod("far", "peer", "peer", "node-2", PEER, false, "Succeeded"),
            Peer::Waiting => pod("far", "peer", "peer", "node-2", PEER, false, "Pending"),
            _ => pod("far", "peer", "peer", "node-2", PEER, false, "Running"),
        });
        let addresses: Vec<String> =
            self.families.of(SERVICE).iter().map(|address| format!("'{address}'")).collect();
        let _ = write!(
            text,
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: api, namespace: far}}, spec: {{clusterIP: {}, clusterIPs: [{}], \
             ipFamilyPolicy: {}, selector: {{app: peer}}, ports: [{{port: 80, targetPort: 8080}}]}}}}\n",
            addresses[0],
            addresses.join(", "),
            if addresses.len() == 2 { "RequireDualStack" } else { "SingleStack" },
        );
        text
    }
}

/// The verdict of a connection, asked in both ways.
pub fn judge(set: &ObjectSet, src: &End, dst: &End, port: u16, protocol: Protocol) -> Detailed {
    let index = PolicyIndex::new(set);
    let connection = Connection::direct(src.clone(), dst.clone(), port, protocol);
    let detailed = evaluate_detailed(&index, &connection);
    assert_eq!(detailed.verdict(), verdict(&index, &connection), "the short way agrees with the long one");
    detailed
}

/// The subject.
pub fn subject() -> End {
    End::Pod(Key::new("own", "subject"))
}

/// A verdict as one letter: A, D or `?`.
pub const fn letter(verdict: PolicyVerdict) -> char {
    match verdict {
        PolicyVerdict::Allow => 'A',
        PolicyVerdict::Deny => 'D',
        PolicyVerdict::Unknown => '?',
    }
}

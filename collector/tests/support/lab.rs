//! A collector in this process, with objects of its own, and agents that are played by the test over real channels.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use collector::Collector;
use collector::config::Config;
use model::evidence::Location;
use model::node_state::Listener;
use model::probe::ListenerReport;
use model::walk::{Backend, Branch, Masquerade, Outcome, ProxyFacts, RuleRef, RulesStamp, Walk};
use model::{
    DropRecord, Family, Netns, NetnsOwner, Packet, Probe, ProbeOutcome, Protocol, RecordId, ServiceProxy,
    Timestamp, Tuple,
};
use proto::v1::agent_link_client::AgentLinkClient;
use proto::v1::why_dropped_client::WhyDroppedClient;
use proto::v1::{agent_message, collector_message};
use proto::{convert, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Everything here happens within milliseconds; this is for a busy machine.
pub const BOUND: Duration = Duration::from_secs(20);

/// `web/client` on node-1, `shop/api-1` on node-2 behind Service `shop/api`, and an empty Service `shop/empty`.
pub const OBJECTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.12.7, clusterIPs: [10.96.12.7], selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec: {clusterIP: 10.96.12.8, clusterIPs: [10.96.12.8], selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api-1, namespace: shop, uid: uid-api-1, labels: {app: api}}
spec: {nodeName: node-2, containers: [{name: api, image: api, ports: [{containerPort: 8080}]}]}
status:
  phase: Running
  podIP: 10.244.2.14
  podIPs: [{ip: 10.244.2.14}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: web, uid: uid-client, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: client, image: client}]}
status:
  phase: Running
  podIP: 10.244.1.9
  podIPs: [{ip: 10.244.1.9}]
  conditions: [{type: Ready, status: "True"}]
"#;

/// A running collector and its directory.
pub struct Lab {
    pub collector: Collector,
    _dir: tempfile::TempDir,
}

impl Lab {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let collector = Collector::start(config(dir.path())).await.unwrap();
        Self { collector, _dir: dir }
    }

    pub async fn queries(&self) -> WhyDroppedClient<Channel> {
        WhyDroppedClient::new(channel(self.collector.listen()).await)
    }

    pub async fn agent(&self, node: &str) -> Agent {
        Agent::connect(self.collector.listen(), node).await
    }

    /// A page of the admin address: status line and body.
    pub async fn page(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.collector.admin()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// A configuration on free ports, with [`OBJECTS`] written to a file.
pub fn config(dir: &Path) -> Config {
    let objects = dir.join("objects.yaml");
    fs::write(&objects, OBJECTS).unwrap();
    Config {
        listen: loopback(),
        admin: loopback(),
        objects: cluster::Source::Files(vec![objects]),
        data_dir: dir.join("data"),
        keep: Duration::from_hours(1),
        keep_bytes: 64 << 20,
        tls: None,
    }
}

pub async fn channel(collector: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{collector}")).unwrap().connect().await.unwrap()
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The agent's half of one stream.
pub struct Agent {
    /// What the collector said first.
    pub welcome: v1::Welcome,
    to_collector: mpsc::Sender<v1::AgentMessage>,
    from_collector: Streaming<v1::CollectorMessage>,
}

impl Agent {
    pub async fn connect(collector: SocketAddr, node: &str) -> Self {
        let (to_collector, messages) = mpsc::channel(64);
        let mut client = AgentLinkClient::new(channel(collector).await);
        let hello = v1::Hello {
            node: node.to_owned(),
            agent_version: "0.1.0".to_owned(),
            kernel: "6.12.0".to_owned(),
            boot: boot(node),
            protocol_version: proto::PROTOCOL_VERSION,
        };
        send(&to_collector, agent_message::Kind::Hello(hello)).await;
        let mut from_collector = client.connect(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let first = from_collector.message().await.unwrap().unwrap().kind;
        let Some(collector_message::Kind::Welcome(welcome)) = first else {
            panic!("expected Welcome, got {first:?}")
        };
        Self { welcome, to_collector, from_collector }
    }

    /// Sends records and waits until they are acknowledged.
    pub async fn deliver(&mut self, records: &[DropRecord]) -> u64 {
        self.drops(records).await;
        match self.next().await {
            Ok(collector_message::Kind::DropsAck(ack)) => ack.through_sequence,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    pub async fn drops(&self, records: &[DropRecord]) {
        let records = records.iter().map(convert::drop_record).collect();
        send(&self.to_collector, agent_message::Kind::Drops(v1::Drops { records })).await;
    }

    pub async fn ping(&self, nonce: u64) {
        send(&self.to_collector, agent_message::Kind::Ping(v1::Ping { nonce })).await;
    }

    /// The next message, or how the stream ended.
    pub async fn next(&mut self) -> Result<collector_message::Kind, Status> {
        let next =
            timeout(BOUND, self.from_collector.message()).await.expect("a message within the bound")?;
        Ok(next.expect("a stream that does not end in good order").kind.unwrap())
    }

    /// Answers every probe, sending `drops` right before each answer, until the stream ends. Returns the probes.
    pub async fn serve(mut self, drops: Vec<DropRecord>, answer: fn(&Probe) -> ProbeOutcome) -> Vec<Probe> {
        let mut seen = Vec::new();
        while let Ok(Some(message)) = self.from_collector.message().await {
            let Some(collector_message::Kind::Probe(sent)) = message.kind else { continue };
            let id = sent.id;
            let probe = convert::probe_to_model(sent).unwrap();
            self.drops(&drops).await;
            let reply = convert::probe_answer(id, &answer(&probe));
            send(&self.to_collector, agent_message::Kind::ProbeAnswer(reply)).await;
            seen.push(probe);
        }
        seen
    }
}

async fn send(to_collector: &mpsc::Sender<v1::AgentMessage>, kind: agent_message::Kind) {
    // The collector may have ended the stream; whoever cares reads how.
    let _ = to_collector.send(v1::AgentMessage { kind: Some(kind) }).await;
}

pub fn boot(node: &str) -> String {
    format!("boot-of-{node}")
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A SYN of `web/client` that node-1 dropped in its own namespace just now.
pub fn record(sequence: u64, destination: &str) -> DropRecord {
    let now = cluster::now();
    DropRecord {
        id: RecordId { node: "node-1".into(), boot: boot("node-1"), sequence },
        netns: Netns { cookie: 1, inode: 4_026_531_840, owner: NetnsOwner::Node },
        tuple: Tuple {
            protocol: Protocol::Tcp,
            src: address("10.244.1.9"),
            dst: destination.parse().unwrap(),
        },
        last_src_port: 40_000,
        reply: false,
        reason: "NETFILTER_DROP".into(),
        location: Location { symbol: "nf_hook_slow".into(), offset: 16 },
        in_interface: Some("veth1".into()),
        count: 3,
        first_at: now,
        last_at: now,
        walk: None,
    }
}

/// The same to `shop/empty`, by kube-proxy's rule for want of endpoints, walked when it happened.
pub fn rejected(sequence: u64) -> DropRecord {
    let record = record(sequence, "10.96.12.8:80");
    let packet = Packet {
        origin: model::Origin::Pod,
        in_interface: record.in_interface.clone(),
        protocol: record.tuple.protocol,
        src: record.tuple.src,
        src_port: Some(record.last_src_port),
        dst: record.tuple.dst,
    };
    let walk = walk(packet, Outcome::Rejected, record.tuple.dst, Some(reject_rule()));
    DropRecord { walk: Some(Box::new(walk)), ..record }
}

/// What kube-proxy's rules of node-1 do: `shop/api` is translated, `shop/empty` is rejected.
pub fn rules(probe: &Probe) -> ProbeOutcome {
    let packet = match probe {
        Probe::Walk { packet, .. } => packet,
        Probe::Listeners { .. } => return listening(8080),
    };
    let (outcome, destination, terminal_rule) = match packet.dst.to_string().as_str() {
        "10.96.12.7:80" if matches!(probe, Probe::Walk { scope: model::probe::Scope::Node, .. }) => {
            (Outcome::Forwarded, "10.244.2.14:8080".parse().unwrap(), None)
        }
        "10.96.12.8:80" if matches!(probe, Probe::Walk { scope: model::probe::Scope::Node, .. }) => {
            (Outcome::Rejected, packet.dst, Some(reject_rule()))
        }
        _ => (Outcome::Forwarded, packet.dst, None),
    };
    ProbeOutcome::Walk(Box::new(walk(packet.clone(), outcome, destination, terminal_rule)))
}

pub fn listening(port: u16) -> ProbeOutcome {
    let listener = Listener {
        protocol: Protocol::Tcp,
        local: SocketAddr::from(([0, 0, 0, 0], port)),
        v6only: None,
        queued: 0,
        backlog: 128,
        process: Some("api".into()),
        pid: Some(1),
    };
    ProbeOutcome::Listeners(ListenerReport { listeners: vec![listener], read_at: cluster::now() })
}

fn reject_rule() -> RuleRef {
    RuleRef {
        backend: Backend::IptablesNft,
        family: Family::Ipv4,
        table: "filter".into(),
        chain: "KUBE-SERVICES".into(),
        handle: None,
        text: "-A KUBE-SERVICES -d 10.96.12.8/32 -p tcp -m tcp --dport 80 -j REJECT".into(),
        owner: "kube-proxy".into(),
        object: "service shop/empty".into(),
    }
}

fn walk(packet: Packet, outcome: Outcome, destination: SocketAddr, terminal_rule: Option<RuleRef>) -> Walk {
    let now = cluster::now();
    let rejected = outcome == Outcome::Rejected;
    Walk {
        packet,
        outcome,
        branches: vec![Branch {
            destination,
            outcome,
            masquerade: Masquerade::No,
            dnat_rule: None,
            terminal_rule,
            reject_with: rejected.then(|| "icmp-port-unreachable".to_owned()),
            out_interface: None,
            gateway: None,
            steps: Vec::new(),
            gaps: Vec::new(),
        }],
        proxy: ProxyFacts {
            mode: ServiceProxy::Iptables,
            services: 2,
            knows_destination: true,
            knows_address: true,
            evidence: vec!["KUBE-SERVICES is hooked".into()],
        },
        rules: RulesStamp { read_at: now, fingerprint: 7, unchanged_since: Timestamp(now.0 - 60_000) },
        gaps: Vec::new(),
    }
}

//! Where a fault is made: its nodes, the small world it breaks, and changes that write down how they are put back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use model::Key;
use netlab::Netns;
use serde_json::{Value, json};

use super::journal::{At, Back, Journal, run};
use crate::api::Target;
use crate::cluster::{self, Cluster};
use crate::control::Request;
use crate::manifest::{Namespace, Pod, Port, Service};
use crate::nodes::proxy_name;
use crate::spec::ProxyMode;

/// The port that the usual server listens on.
pub const SERVED: u16 = 8080;
/// How long a server may take that works.
const ANSWERS: Duration = Duration::from_millis(1500);

/// What of a cluster a fault is about.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The fault's namespace.
    pub namespace: String,
    /// The client's node.
    pub first: String,
    /// Its address.
    pub first_address: Ipv4Addr,
    /// The server's node: another one, if there is another.
    pub second: String,
    /// The address of a machine beside the nodes.
    pub machine: IpAddr,
}

/// The place of one fault while it is being made.
pub struct Stage<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Names and nodes.
    pub scene: Scene,
    journal: &'a mut Journal,
}

/// Which of the two old rule interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `iptables` on nf_tables.
    Nft,
    /// The one before it.
    Legacy,
}

impl Scene {
    /// For a fault of this name.
    pub fn new(cluster: &Cluster, fault: &str) -> Result<Self> {
        let record = cluster.record();
        let first = record.nodes.first().context("a cluster has a node")?;
        let second = record.nodes.get(1).unwrap_or(first);
        let address = first.address;
        let machine = cluster.outside().enter(move || {
            // Nothing is sent: connecting a datagram socket only looks up the way, and with it the own address.
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((address, 9))?;
            std::io::Result::Ok(socket.local_addr()?.ip())
        })??;
        Ok(Self {
            namespace: format!("fault-{fault}"),
            first: first.name.clone(),
            first_address: first.address,
            second: second.name.clone(),
            machine,
        })
    }

    /// As far as it is known without a cluster: the namespace.
    pub fn unknown(fault: &str) -> Self {
        Self {
            namespace: format!("fault-{fault}"),
            first: String::new(),
            first_address: Ipv4Addr::UNSPECIFIED,
            second: String::new(),
            machine: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// A second namespace for those that need one.
    pub fn other(&self) -> String {
        format!("{}-other", self.namespace)
    }

    /// A name in the fault's namespace.
    pub fn key(&self, name: &str) -> Key {
        Key::new(self.namespace.clone(), name)
    }

    /// The usual client, on the first node.
    pub fn client(&self) -> Pod {
        Pod::new(&self.namespace, "client").node(&self.first).label("role", "client")
    }

    /// The usual server without listeners, on the second node.
    pub fn server(&self) -> Pod {
        Pod::new(&self.namespace, "api").node(&self.second).label("app", "api")
    }

    /// The usual Service without ports.
    pub fn service(&self) -> Service {
        Service::new(&self.namespace, "api").select("app", "api")
    }

    /// The usual port of it.
    pub fn port() -> Port {
        Port::tcp(80).to(SERVED)
    }

    /// The server's node.
    pub fn server_node(&self) -> At {
        At::Node(self.second.clone())
    }

    /// The client's node.
    pub fn client_node(&self) -> At {
        At::Node(self.first.clone())
    }
}

impl<'a> Stage<'a> {
    /// For the fault of a journal.
    pub const fn new(cluster: &'a Cluster, scene: Scene, journal: &'a mut Journal) -> Self {
        Self { cluster, scene, journal }
    }

    /// Makes an object of the world, which goes with its namespace.
    pub fn create(&self, object: &Value) -> Result<()> {
        self.cluster.apply(object).map(drop)
    }

    /// The usual world: a client on one node, a server on the other, a Service before it.
    pub fn usual(&self) -> Result<()> {
        self.usual_clients()?;
        self.create(&self.scene.server().serve(SERVED).object())?;
        self.create(&self.scene.service().port(Scene::port()).object())
    }

    /// The client alone, in a namespace labelled `team=shop`.
    pub fn usual_clients(&self) -> Result<()> {
        self.create(&Namespace::new(&self.scene.namespace).label("team", "shop").object())?;
        self.create(&self.scene.client().object())
    }

    /// How kube-proxy serves Services here.
    pub fn mode(&self) -> ProxyMode {
        self.cluster.record().spec.mode
    }

    /// The tool that writes rules where kube-proxy does not.
    pub const fn other_tool(&self) -> Tool {
        match self.cluster.record().spec.mode {
            ProxyMode::IptablesLegacy => Tool::Nft,
            ProxyMode::Iptables | ProxyMode::Nftables => Tool::Legacy,
        }
    }

    /// A pod that runs.
    pub fn pod(&self, name: &str) -> Result<cluster::Pod> {
        self.cluster.pod(&self.scene.key(name))
    }

    /// A pod's IPv4 address.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        self.pod(name)?.ipv4()
    }

    /// The name of a pod's interface on its node.
    pub fn interface(&self, name: &str) -> Result<String> {
        let pod = self.pod(name)?;
        Ok(netlab::PodSpec::new(pod.key.clone(), pod.node.clone(), pod.ipv4()?).host_interface())
    }

    /// A Service's ClusterIP.
    pub fn cluster_ip(&self, name: &str) -> Result<Ipv4Addr> {
        let target = self.target("v1", "Service", name);
        let object = self.cluster.get(&target)?.with_context(|| format!("there is no {target}"))?;
        let address = object["spec"]["clusterIP"].as_str().unwrap_or_default();
        address.parse().with_context(|| format!("{target} has no ClusterIP: {}", object["spec"]))
    }

    /// An object of the fault's namespace.
    pub fn target(&self, api_version: &str, kind: &str, name: &str) -> Target {
        Target::new(api_version, kind, Some(&self.scene.namespace), name)
    }

    /// Creates or changes an object.
    pub fn apply(&mut self, object: &Value) -> Result<()> {
        let target = Target::of(object)?;
        let back = Back::Object { before: self.written(&target)?, target };
        let cluster = self.cluster;
        self.journal.change(back, || cluster.apply(object).map(drop))
    }

    /// Removes an object.
    pub fn delete(&mut self, target: &Target) -> Result<()> {
        let back = Back::Object { before: self.written(target)?, target: target.clone() };
        let cluster = self.cluster;
        self.journal.change(back, || cluster.delete(target))
    }

    /// Changes fields of an object's status.
    pub fn set_status(&mut self, target: &Target, status: &Value) -> Result<()> {
        let before = self.cluster.get(target)?.unwrap_or_default()["status"].clone();
        let back = Back::Status { target: target.clone(), before };
        let cluster = self.cluster;
        self.journal.change(back, || cluster.patch_status(target, &json!({ "status": status })))
    }

    /// Runs a command whose opposite is another command.
    pub fn run(&mut self, at: &At, command: &[&str], back: &[&str]) -> Result<()> {
        self.feed(at, command, None, back, None)
    }

    /// The same for commands that read.
    pub fn feed(
        &mut self,
        at: &At,
        command: &[&str],
        input: Option<&str>,
        back: &[&str],
        back_input: Option<&str>,
    ) -> Result<()> {
        let netns = self.netns(at)?;
        let back =
            Back::Run { at: at.clone(), command: owned(back), input: back_input.map(ToOwned::to_owned) };
        self.journal.change(back, || run(&netns, &owned(command), input))
    }

    /// Runs an `ip` command whose opposite is another.
    pub fn ip(&mut self, at: &At, command: &str, back: &str) -> Result<()> {
        let words = |command: &'_ str| -> Vec<String> {
            std::iter::once("ip").chain(command.split_ascii_whitespace()).map(str::to_owned).collect()
        };
        let netns = self.netns(at)?;
        let back = Back::Run { at: at.clone(), command: words(back), input: None };
        self.journal.change(back, || run(&netns, &words(command), None))
    }

    /// Sets a sysctl.
    pub fn sysctl(&mut self, at: &At, name: &str, value: &str) -> Result<()> {
        let netns = self.netns(at)?;
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = netns.enter(|| std::fs::read_to_string(&path))?;
        let before = before.with_context(|| format!("read {path}"))?.trim().to_owned();
        let back = Back::Sysctl { at: at.clone(), name: name.to_owned(), value: before };
        self.journal.change(back, || Ok(netns.sysctl(name, value)?))
    }

    /// Puts a rule at the top of a chain, as somebody does by hand. Words must hold no blanks.
    pub fn rule(&mut self, at: &At, tool: Tool, table: &str, chain: &str, rule: &str) -> Result<()> {
        let words = rule.split_ascii_whitespace();
        let program = tool.program();
        let insert = [program, "-w", "-t", table, "-I", chain, "1"].into_iter().chain(words.clone());
        let delete = [program, "-w", "-t", table, "-D", chain].into_iter().chain(words);
        let mut delete: Vec<&str> = delete.collect();
        // The first rule makes the table, and only this interface can remove one.
        if tool == Tool::Nft && !self.has_table(at, &format!("ip {table}")) {
            delete = vec!["nft", "delete", "table", "ip", table];
        }
        self.run(at, &insert.collect::<Vec<_>>(), &delete)
    }

    /// Whether there is an nftables table, of rules of whichever interface.
    pub fn has_table(&self, at: &At, table: &str) -> bool {
        let words: Vec<&str> = ["nft", "list", "table"].into_iter().chain(table.split(' ')).collect();
        self.read(at, &words).is_ok()
    }

    /// Makes an nftables table: `inet hand`, and what is between its braces.
    pub fn table(&mut self, at: &At, table: &str, body: &str) -> Result<()> {
        let text = format!("table {table} {{\n{body}\n}}\n");
        let delete: Vec<&str> = ["nft", "delete", "table"].into_iter().chain(table.split(' ')).collect();
        self.feed(at, &["nft", "-f", "-"], Some(&text), &delete, None)
    }

    /// Stops a node's kube-proxy where it is.
    pub fn pause_proxy(&mut self, node: &str) -> Result<()> {
        let name = proxy_name(node);
        let cluster = self.cluster;
        let back = Back::Component { name: name.clone(), paused: true };
        self.journal.change(back, || cluster.control(&Request::Pause { component: name }))
    }

    /// Ends a node's kube-proxy.
    pub fn end_proxy(&mut self, node: &str) -> Result<()> {
        let name = proxy_name(node);
        let cluster = self.cluster;
        let back = Back::Component { name: name.clone(), paused: false };
        self.journal.change(back, || cluster.control(&Request::Stop { component: name }))
    }

    /// Which pod answers the client through the usual Service.
    pub fn answer(&self) -> Result<String> {
        let address = SocketAddr::from((self.cluster_ip("api")?, 80));
        let result = self.pod("client")?.netns.connect(address, ANSWERS)?;
        ensure!(!result.answer.is_empty(), "{address}: {:?}, and no answer", result.outcome);
        String::from_utf8(result.answer).context("read the answer")
    }

    /// What a command tells; it must change nothing.
    pub fn read(&self, at: &At, command: &[&str]) -> Result<String> {
        Ok(self.netns(at)?.run(command)?)
    }

    /// Waits until it holds; what it said last is in the error.
    pub fn until<T>(&self, what: &str, attempt: impl FnMut(&Cluster) -> Result<T>) -> Result<T> {
        self.cluster.wait_for(what, attempt)
    }

    fn netns(&self, at: &At) -> Result<Netns> {
        at.netns(self.cluster)?.with_context(|| format!("{at:?} is not there"))
    }

    /// An object without what only the server writes, so that it can be applied again.
    fn written(&self, target: &Target) -> Result<Option<Value>> {
        let Some(mut object) = self.cluster.get(target)? else { return Ok(None) };
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let Some(metadata) = object["metadata"].as_object_mut() else { bail!("{target} has no metadata") };
        metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "labels" | "annotations"));
        Ok(Some(object))
    }
}

impl Tool {
    /// The program's name.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nft => "iptables-nft",
            Self::Legacy => "iptables-legacy",
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

//! A cluster seen from one Kubernetes namespace: objects made there, connections from there.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use kubelab::manifest::{Namespace, Pod, Port, Service};
use kubelab::{Cluster, Pod as Running};
use model::{Key, Protocol};
use netlab::{ConnectOutcome, ConnectResult, Netns};

/// For what must get an answer, be it a refusal. An ICMPv6 error that comes while `connect` still holds the socket, as it
/// does between namespaces, is only noted (`tcp_v6_err` in net/ipv6/tcp_ipv6.c, counted as LockDroppedIcmps); that to the
/// SYN sent again after a second counts.
const PATIENT: Duration = Duration::from_secs(3);
/// How long silence is listened to: an answer that came later would go unseen.
pub const SILENCE: Duration = Duration::from_millis(250);
/// So many connections meet both of two backends but for one case in 30 000 (2 · 2⁻¹⁶), after which they are made anew.
const TRIES: usize = 16;

/// The namespace.
pub struct World<'a> {
    pub cluster: &'a Cluster,
    namespace: &'a str,
}

/// What a connection is to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// An answer.
    Answer,
    /// A RST or an ICMP error that says that nobody is there.
    Refusal,
    /// Nothing.
    Silence,
}

impl<'a> World<'a> {
    /// Makes the namespace.
    pub fn new(cluster: &'a Cluster, namespace: &'a str) -> Result<Self> {
        cluster.apply(&Namespace::new(namespace).object())?;
        Ok(Self { cluster, namespace })
    }

    pub fn key(&self, name: &str) -> Key {
        Key::new(self.namespace, name)
    }

    /// A pod, not made yet, labelled with the application it belongs to.
    pub fn pod(&self, name: &str, app: &str, node: &str) -> Pod {
        Pod::new(self.namespace, name).label("app", app).node(node)
    }

    /// A pod with a listener on TCP port 8080.
    pub fn server(&self, name: &str, app: &str, node: &str) -> Pod {
        self.pod(name, app, node).declare(Some("web"), Protocol::Tcp, 8080)
    }

    /// A Service for an application, port 80, not made yet.
    pub fn service(&self, app: &str) -> Service {
        self.service_at(app, Port::tcp(80).to(8080))
    }

    /// The same with another port.
    pub fn service_at(&self, app: &str, port: Port) -> Service {
        Service::new(self.namespace, app).select("app", app).port(port).all_families()
    }

    /// Makes a pod and waits until it runs.
    pub fn start(&self, pod: &Pod) -> Result<Running> {
        let object = pod.object();
        self.cluster.apply(&object)?;
        self.cluster.pod(&self.key(object["metadata"]["name"].as_str().unwrap_or_default()))
    }

    /// The Service's addresses with a port. In a cluster of both families there are both.
    pub fn addresses(&self, service: &str, port: u16) -> Result<Vec<SocketAddr>> {
        let addresses = self.cluster.service_addresses(&self.key(service))?;
        let families = 1 + usize::from(self.cluster.record().spec.dual_stack);
        ensure!(addresses.len() == families, "Service {service} has {addresses:?}, not {families} of them");
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// A node's addresses.
    pub fn node_addresses(&self, node: &str) -> Vec<IpAddr> {
        let nodes = self.cluster.record().nodes.iter().filter(|plan| plan.name == node);
        nodes
            .flat_map(|plan| std::iter::once(plan.address.into()).chain(plan.address6.map(IpAddr::V6)))
            .collect()
    }

    /// Waits until connections are answered by exactly these pods of the namespace.
    pub fn expect_answers(&self, from: &Netns, to: SocketAddr, wanted: &[&str]) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().map(|name| self.key(name).to_string()).collect();
        let what = format!("{to} answers {} as {wanted:?}", from.name());
        self.cluster.wait_for(&what, |_| {
            let mut seen = BTreeSet::new();
            for _ in 0..TRIES {
                let result = from.connect(to, PATIENT)?;
                ensure!(result.outcome == ConnectOutcome::Connected, "{:?}, after {seen:?}", result.outcome);
                seen.insert(answer(&result));
            }
            ensure!(seen == wanted, "answered by {seen:?}");
            Ok(())
        })
    }

    /// Waits until a datagram is answered by one of these pods of the namespace.
    pub fn expect_datagram(&self, from: &Netns, to: SocketAddr, wanted: &[&str]) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().map(|name| self.key(name).to_string()).collect();
        self.cluster.wait_for(&format!("{to} answers a datagram of {}", from.name()), |_| {
            let result = from.exchange_udp(to, SILENCE)?;
            let answer = answer(&result);
            ensure!(wanted.contains(&answer), "{:?} `{answer}`", result.outcome);
            Ok(())
        })
    }

    /// Waits until a connection meets this.
    pub fn expect(&self, from: &Netns, to: SocketAddr, wanted: Met) -> Result<()> {
        self.cluster.wait_for(&format!("{to} meets {} with {wanted:?}", from.name()), |_| {
            let result = from.connect(to, if wanted == Met::Silence { SILENCE } else { PATIENT })?;
            let met = match result.outcome {
                ConnectOutcome::Connected => Some(Met::Answer),
                ConnectOutcome::Refused => Some(Met::Refusal),
                ConnectOutcome::TimedOut => Some(Met::Silence),
                ConnectOutcome::Unreachable(_) => None,
            };
            ensure!(met == Some(wanted), "it met {:?}", result.outcome);
            Ok(())
        })
    }
}

fn answer(result: &ConnectResult) -> String {
    String::from_utf8_lossy(&result.answer).into_owned()
}

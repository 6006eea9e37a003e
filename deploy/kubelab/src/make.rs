//! Objects as tests write them: pods with chosen listeners, Services, NetworkPolicies.
//!
//! Each says what tests vary and leaves the rest to the API server's defaults; whatever else an object may say is put
//! into its JSON. For objects that matter as they are written there are manifests ([`crate::Cluster::load`]).

use model::{Key, Protocol};
use netlab::Listen;
use serde_json::{Map, Value, json};

use crate::api::Target;
use crate::light::{LISTEN, STATUS};

/// A pod of one container.
#[derive(Clone, Debug)]
pub struct Pod {
    key: Key,
    node: Option<String>,
    labels: Map<String, Value>,
    ports: Vec<Value>,
    listens: Option<Vec<String>>,
    status: Option<Value>,
    host_network: bool,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    key: Key,
    spec: Map<String, Value>,
    ports: Vec<Value>,
}

/// A NetworkPolicy about incoming connections; one without a rule denies them all.
#[derive(Clone, Debug)]
pub struct IngressPolicy {
    key: Key,
    selector: Value,
    rules: Vec<Value>,
}

impl Pod {
    /// A pod that listens nowhere, on the node that the scheduler chooses.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            node: None,
            labels: Map::new(),
            ports: Vec::new(),
            listens: None,
            status: None,
            host_network: false,
        }
    }

    /// On this node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.into());
        self
    }

    /// With a declared port, on which it listens unless told otherwise.
    #[must_use]
    pub fn port(mut self, name: &str, port: u16, protocol: Protocol) -> Self {
        self.ports.push(json!({ "name": name, "containerPort": port, "protocol": protocol.upper() }));
        self
    }

    /// Listening here instead of on the declared ports: port, address, family, backlog, protocol.
    #[must_use]
    pub fn listen(mut self, listen: &Listen) -> Self {
        self.listens.get_or_insert_default().push(listen.to_string());
        self
    }

    /// Listening nowhere, whatever is declared.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.listens = Some(Vec::new());
        self
    }

    /// In its node's network namespace.
    #[must_use]
    pub const fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// Running and not ready.
    #[must_use]
    pub fn not_ready(mut self) -> Self {
        self.status = Some(readiness(false));
        self
    }

    /// As the API server takes it.
    pub fn object(&self) -> Value {
        let mut annotations = Map::new();
        if let Some(listens) = &self.listens {
            let text = if listens.is_empty() { "none".to_owned() } else { listens.join(" ") };
            annotations.insert(LISTEN.to_owned(), text.into());
        }
        if let Some(status) = &self.status {
            annotations.insert(STATUS.to_owned(), status.to_string().into());
        }
        let mut spec = json!({
            "containers": [{ "name": "main", "image": "none", "ports": self.ports }],
            "hostNetwork": self.host_network,
        });
        if let Some(node) = &self.node {
            spec["nodeName"] = node.as_str().into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.key.namespace, "name": self.key.name,
                "labels": self.labels, "annotations": annotations,
            },
            "spec": spec,
        })
    }
}

/// What makes a running pod of a light cluster ready or not: a patch of the pod.
pub fn ready(ready: bool) -> Value {
    let status = if ready { Value::Null } else { readiness(false).to_string().into() };
    json!({ "metadata": { "annotations": { STATUS: status } } })
}

fn readiness(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({ "conditions": [{ "type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
}

impl Service {
    /// One that selects pods by a label, without ports yet.
    pub fn new(key: Key, label: &str, value: &str) -> Self {
        let spec = json!({ "selector": { label: value } });
        Self { key, spec: spec.as_object().cloned().unwrap_or_default(), ports: Vec::new() }
    }

    /// With a port. `target` is a number or the name of a declared port.
    #[must_use]
    pub fn port(mut self, port: u16, target: impl Into<Value>, protocol: Protocol) -> Self {
        let name = format!("{}-{port}", protocol.lower());
        let target: Value = target.into();
        self.ports
            .push(json!({ "name": name, "port": port, "targetPort": target, "protocol": protocol.upper() }));
        self
    }

    /// Open on a port of every node.
    #[must_use]
    pub fn node_port(self) -> Self {
        self.with("type", "NodePort")
    }

    /// From outside only by nodes that have an endpoint.
    #[must_use]
    pub fn local(self) -> Self {
        self.with("externalTrafficPolicy", "Local")
    }

    /// Without an address of its own.
    #[must_use]
    pub fn headless(self) -> Self {
        self.with("clusterIP", "None")
    }

    /// With an address of each family that the cluster has.
    #[must_use]
    pub fn all_families(self) -> Self {
        self.with("ipFamilyPolicy", "PreferDualStack")
    }

    /// With any field of its spec.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(field.to_owned(), value.into());
        self
    }

    /// As the API server takes it.
    pub fn object(&self) -> Value {
        let mut spec = self.spec.clone();
        spec.insert("ports".to_owned(), self.ports.clone().into());
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": self.key.namespace, "name": self.key.name },
            "spec": spec,
        })
    }
}

impl IngressPolicy {
    /// About the pods with this label.
    pub fn new(key: Key, label: &str, value: &str) -> Self {
        Self { key, selector: json!({ "matchLabels": { label: value } }), rules: Vec::new() }
    }

    /// Admits pods of its namespace with a label, to a port.
    #[must_use]
    pub fn admit(mut self, label: &str, value: &str, port: u16, protocol: Protocol) -> Self {
        self.rules.push(json!({
            "from": [{ "podSelector": { "matchLabels": { label: value } } }],
            "ports": [{ "port": port, "protocol": protocol.upper() }],
        }));
        self
    }

    /// As the API server takes it.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "namespace": self.key.namespace, "name": self.key.name },
            "spec": { "podSelector": self.selector, "policyTypes": ["Ingress"], "ingress": self.rules },
        })
    }

    /// For its removal.
    pub fn target(&self) -> Target {
        Target::new("networking.k8s.io/v1", "NetworkPolicy", Some(&self.key.namespace), &self.key.name)
    }
}

/// A Deployment whose pods have the label `app` with its name, and one declared TCP port.
pub fn deployment(key: &Key, replicas: u32, port: u16) -> Value {
    let labels = json!({ "app": key.name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": key.namespace, "name": key.name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "none", "ports": [{ "containerPort": port }] }] },
            },
        },
    })
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_written_as_the_stand_in_reads_them() {
        let listen = Listen { backlog: 1, accept: false, ..Listen::on_all(9090, "") };
        let pod = Pod::new(Key::new("a", "b")).port("web", 80, Protocol::Tcp).listen(&listen).on("node-1");
        let object = pod.object();
        assert_eq!(object["metadata"]["annotations"][LISTEN], "tcp:9090,backlog=1,deaf");
        assert_eq!(object["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(pod.deaf().object()["metadata"]["annotations"][LISTEN], "none");
    }

    #[test]
    fn a_policy_without_a_rule_denies() {
        let policy = IngressPolicy::new(Key::new("a", "b"), "app", "api");
        assert_eq!(policy.object()["spec"]["ingress"], json!([]));
        assert_eq!(policy.target().to_string(), "NetworkPolicy a/b");
    }
}

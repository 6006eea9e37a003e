//! Pods as the stand-in for the kubelet of a light cluster understands them: what it listens on is an annotation.

use std::net::IpAddr;

use model::{Key, Protocol};
use netlab::Listen;
use serde_json::{Map, Value, json};

use super::Labels;
use crate::light::{LISTEN, STATUS};

/// A pod with one container, ready. It listens on the ports it declares until told otherwise, and declares none.
#[derive(Clone, Debug)]
pub struct Pod {
    key: Key,
    node: Option<String>,
    labels: Labels,
    listeners: Option<Vec<String>>,
    ports: Vec<Value>,
    host_network: bool,
    status: Map<String, Value>,
}

impl Pod {
    /// A pod without ports. Without a node the scheduler chooses one.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            key: Key::new(namespace.into(), name.into()),
            node: None,
            labels: Labels::new(),
            listeners: None,
            ports: Vec::new(),
            host_network: false,
            status: Map::new(),
        }
    }

    /// Namespace and name.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// On this node, past the scheduler.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Listening here, and not on the declared ports: port, address, family, queue, protocol, all as `Listen` has them. It
    /// answers with the pod's name.
    #[must_use]
    pub fn listen(mut self, listen: &Listen) -> Self {
        self.listeners.get_or_insert_default().push(listen.to_string());
        self
    }

    /// Listening on nothing, whatever was said before; declared ports stay declared.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.listeners = Some(Vec::new());
        self
    }

    /// Declares a TCP port without a name.
    #[must_use]
    pub fn serve(self, port: u16) -> Self {
        self.declare(None, Protocol::Tcp, port)
    }

    /// Declares a port of the container.
    #[must_use]
    pub fn declare(mut self, name: Option<&str>, protocol: Protocol, port: u16) -> Self {
        let mut declared = json!({ "containerPort": port, "protocol": protocol.upper() });
        if let Some(name) = name {
            declared["name"] = name.into();
        }
        self.ports.push(declared);
        self
    }

    /// Declares a port that the pod wants on its node's address too. Nothing serves it in a light cluster; the scheduler
    /// heeds it.
    #[must_use]
    pub fn host_port(mut self, port: u16) -> Self {
        self.ports.push(json!({ "containerPort": port, "hostPort": port, "protocol": "TCP" }));
        self
    }

    /// In the node's network namespace.
    #[must_use]
    pub const fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// With this address instead of one of the node's range.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        self.status("podIP", json!(address)).status("podIPs", json!([{ "ip": address }]))
    }

    /// Running, but its readiness probe fails.
    #[must_use]
    pub fn not_ready(self) -> Self {
        self.status("conditions", unready())
    }

    /// With a field of the status that differs from a healthy pod's.
    #[must_use]
    pub fn status(mut self, field: &str, value: Value) -> Self {
        self.status.insert(field.to_owned(), value);
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        let mut annotations = Map::new();
        if let Some(listeners) = &self.listeners {
            let text = if listeners.is_empty() { "none".to_owned() } else { listeners.join(" ") };
            annotations.insert(LISTEN.to_owned(), text.into());
        }
        if !self.status.is_empty() {
            annotations.insert(STATUS.to_owned(), Value::Object(self.status.clone()).to_string().into());
        }
        let mut spec = json!({
            "containers": [{ "name": "main", "image": "lab", "ports": self.ports }],
            // Nothing runs that could end in its own time.
            "terminationGracePeriodSeconds": 0,
        });
        if let Some(node) = &self.node {
            spec["nodeName"] = node.as_str().into();
        }
        if self.host_network {
            spec["hostNetwork"] = true.into();
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

/// What makes a running pod of a light cluster ready, or not: a patch of the pod.
pub fn ready(ready: bool) -> Value {
    let status = if ready { Value::Null } else { json!({ "conditions": unready() }).to_string().into() };
    json!({ "metadata": { "annotations": { STATUS: status } } })
}

/// The conditions that a kubelet writes when a readiness probe fails.
fn unready() -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "False", "reason": "ContainersNotReady",
            "message": "containers with unready status: [main]", "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    ["Ready", "ContainersReady"].into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_status_become_annotations() {
        let queue = Listen { backlog: 1, accept: false, ..Listen::on_all(9090, "") };
        let pod = Pod::new("shop", "api").serve(8080);
        assert_eq!(pod.object()["metadata"]["annotations"], json!({}));
        let pod = pod.listen(&Listen::on_loopback(8080, "")).listen(&queue).not_ready();
        let object = pod.object();
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations[LISTEN], "tcp:127.0.0.1:8080 tcp:9090,backlog=1,deaf");
        let status: Value = serde_json::from_str(annotations[STATUS].as_str().unwrap()).unwrap();
        assert_eq!(status["conditions"][0]["type"], "Ready");
        assert_eq!(object["spec"]["containers"][0]["ports"][0]["containerPort"], 8080);
        assert_eq!(pod.silent().object()["metadata"]["annotations"][LISTEN], "none");
    }
}

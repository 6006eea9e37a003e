//! NetworkPolicies: which pods, which directions, which peers, which ports.

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::{Labels, labels};
use crate::api::Target;

/// A NetworkPolicy. It isolates in the directions it says anything about.
#[derive(Clone, Debug)]
pub struct Policy {
    namespace: String,
    name: String,
    pods: Labels,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

/// What a policy admits: any of its peers, at any of its ports.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    peers: Vec<Peer>,
    ports: Vec<Value>,
}

/// The other side of what is admitted.
#[derive(Clone, Debug)]
pub struct Peer(Map<String, Value>);

impl Policy {
    /// About all pods of the namespace, in no direction yet.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            pods: Labels::new(),
            ingress: None,
            egress: None,
        }
    }

    /// Only about pods with this label.
    #[must_use]
    pub fn select(mut self, key: &str, value: &str) -> Self {
        self.pods.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Isolates its pods for incoming connections; rules say what is admitted nevertheless.
    #[must_use]
    pub fn deny_ingress(mut self) -> Self {
        self.ingress.get_or_insert_default();
        self
    }

    /// Isolates its pods for outgoing connections; rules say what is admitted nevertheless.
    #[must_use]
    pub fn deny_egress(mut self) -> Self {
        self.egress.get_or_insert_default();
        self
    }

    /// Isolates for incoming connections and admits these.
    #[must_use]
    pub fn ingress(mut self, rule: Rule) -> Self {
        self.ingress.get_or_insert_default().push(rule);
        self
    }

    /// Isolates for outgoing connections and admits these.
    #[must_use]
    pub fn egress(mut self, rule: Rule) -> Self {
        self.egress.get_or_insert_default().push(rule);
        self
    }

    /// For its removal.
    pub fn target(&self) -> Target {
        Target::new("networking.k8s.io/v1", "NetworkPolicy", Some(&self.namespace), &self.name)
    }

    /// The object.
    pub fn object(&self) -> Value {
        let mut spec = json!({ "podSelector": { "matchLabels": self.pods } });
        let mut types = Vec::new();
        for (direction, field, peers, rules) in
            [("Ingress", "ingress", "from", &self.ingress), ("Egress", "egress", "to", &self.egress)]
        {
            if let Some(rules) = rules {
                types.push(direction);
                spec[field] = rules.iter().map(|rule| rule.value(peers)).collect();
            }
        }
        spec["policyTypes"] = json!(types);
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "namespace": self.namespace, "name": self.name },
            "spec": spec,
        })
    }
}

impl Rule {
    /// Every peer, every port.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a peer; the first one shuts all others out.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peers.push(peer);
        self
    }

    /// With a TCP port; the first port shuts all others out.
    #[must_use]
    pub fn tcp(self, port: u16) -> Self {
        self.port(json!({ "protocol": "TCP", "port": port }))
    }

    /// With a UDP port.
    #[must_use]
    pub fn udp(self, port: u16) -> Self {
        self.port(json!({ "protocol": "UDP", "port": port }))
    }

    /// With the TCP port that the destination declares by this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.port(json!({ "protocol": "TCP", "port": name }))
    }

    /// With TCP ports from `first` to `last`.
    #[must_use]
    pub fn tcp_range(self, first: u16, last: u16) -> Self {
        self.port(json!({ "protocol": "TCP", "port": first, "endPort": last }))
    }

    /// With an entry of `ports` as it is.
    #[must_use]
    pub fn port(mut self, port: Value) -> Self {
        self.ports.push(port);
        self
    }

    fn value(&self, field: &str) -> Value {
        let mut value = json!({});
        if !self.peers.is_empty() {
            value[field] = self.peers.iter().map(|peer| Value::Object(peer.0.clone())).collect();
        }
        if !self.ports.is_empty() {
            value["ports"] = json!(self.ports);
        }
        value
    }
}

impl Peer {
    /// Pods with these labels in the policy's namespace.
    pub fn pods<'a>(of: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::default_with("podSelector", json!({ "matchLabels": labels(of) }))
    }

    /// All pods of the namespaces with these labels.
    pub fn namespace<'a>(of: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::default_with("namespaceSelector", json!({ "matchLabels": labels(of) }))
    }

    /// The same pods in the namespaces with these labels instead of the policy's.
    #[must_use]
    pub fn in_namespace<'a>(mut self, of: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.0.insert("namespaceSelector".to_owned(), json!({ "matchLabels": labels(of) }));
        self
    }

    /// Addresses, whoever has them, without those of `except`.
    pub fn block(cidr: IpNet, except: &[IpNet]) -> Self {
        Self::default_with("ipBlock", json!({ "cidr": cidr, "except": except }))
    }

    fn default_with(field: &str, value: Value) -> Self {
        Self(Map::from_iter([(field.to_owned(), value)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_isolated_if_anything_is_said_of_it() {
        let policy = Policy::new("shop", "deny").deny_ingress();
        assert_eq!(
            policy.object()["spec"],
            json!({ "podSelector": { "matchLabels": {} }, "policyTypes": ["Ingress"], "ingress": [] })
        );
        let peer = Peer::pods([("role", "client")]).in_namespace([("name", "web")]);
        let both = policy.ingress(Rule::new().peer(peer).tcp(8080)).egress(Rule::new());
        assert_eq!(
            both.object()["spec"],
            json!({
                "podSelector": { "matchLabels": {} },
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{
                    "from": [{
                        "podSelector": { "matchLabels": { "role": "client" } },
                        "namespaceSelector": { "matchLabels": { "name": "web" } },
                    }],
                    "ports": [{ "protocol": "TCP", "port": 8080 }],
                }],
                "egress": [{}],
            })
        );
    }
}

//! Services and EndpointSlices made by hand.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Labels;

/// A Service. Of type ClusterIP unless something below says otherwise.
#[derive(Clone, Debug)]
pub struct Service {
    namespace: String,
    name: String,
    labels: Labels,
    ports: Vec<Port>,
    spec: Map<String, Value>,
}

/// A port of a Service.
#[derive(Clone, Debug)]
pub struct Port(Map<String, Value>);

impl Service {
    /// A Service without selector and ports.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            labels: Labels::new(),
            ports: Vec::new(),
            spec: Map::new(),
        }
    }

    /// With a label of its own.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With a label that its pods have.
    #[must_use]
    pub fn select(mut self, key: &str, value: &str) -> Self {
        let selector = self.spec.entry("selector").or_insert_with(|| json!({}));
        selector[key] = value.into();
        self
    }

    /// With a port.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.ports.push(port);
        self
    }

    /// At this ClusterIP.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        self.field("clusterIP", json!(address)).field("clusterIPs", json!([address]))
    }

    /// Without a ClusterIP.
    #[must_use]
    pub fn headless(self) -> Self {
        self.field("clusterIP", "None".into())
    }

    /// Of type NodePort.
    #[must_use]
    pub fn node_port(self) -> Self {
        self.field("type", "NodePort".into())
    }

    /// Of type LoadBalancer. Who assigns its address is another matter.
    #[must_use]
    pub fn load_balancer(self) -> Self {
        self.field("type", "LoadBalancer".into())
    }

    /// `externalTrafficPolicy: Local`.
    #[must_use]
    pub fn external_local(self) -> Self {
        self.field("externalTrafficPolicy", "Local".into())
    }

    /// `internalTrafficPolicy: Local`.
    #[must_use]
    pub fn internal_local(self) -> Self {
        self.field("internalTrafficPolicy", "Local".into())
    }

    /// `sessionAffinity: ClientIP`.
    #[must_use]
    pub fn affinity(self) -> Self {
        self.field("sessionAffinity", "ClientIP".into())
    }

    /// Only these may use the load balancer's address.
    #[must_use]
    pub fn source_ranges(self, ranges: &[&str]) -> Self {
        self.field("loadBalancerSourceRanges", json!(ranges))
    }

    /// With an address of each family that the cluster has.
    #[must_use]
    pub fn all_families(self) -> Self {
        self.field("ipFamilyPolicy", "PreferDualStack".into())
    }

    /// With any other field of the specification.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.spec.insert(name.to_owned(), value);
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        let mut spec = self.spec.clone();
        let ports = self.ports.iter().map(|port| Value::Object(port.0.clone())).collect();
        spec.insert("ports".to_owned(), Value::Array(ports));
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": self.namespace, "name": self.name, "labels": self.labels },
            "spec": spec,
        })
    }
}

impl Port {
    /// A TCP port, named after its number so that a Service may have several.
    pub fn tcp(port: u16) -> Self {
        Self::of("TCP", port)
    }

    /// A UDP port.
    pub fn udp(port: u16) -> Self {
        Self::of("UDP", port)
    }

    fn of(protocol: &str, port: u16) -> Self {
        let name = format!("{}-{port}", protocol.to_ascii_lowercase());
        let fields =
            [("name", Value::from(name)), ("protocol", Value::from(protocol)), ("port", Value::from(port))];
        Self(fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    /// Carried to this port of the pods; to the same number without it.
    #[must_use]
    pub fn to(self, port: u16) -> Self {
        self.field("targetPort", port.into())
    }

    /// Carried to the port that the pods declare by this name.
    #[must_use]
    pub fn to_named(self, name: &str) -> Self {
        self.field("targetPort", name.into())
    }

    /// Served at this port of the nodes, for types that have it.
    #[must_use]
    pub fn node_port(self, port: u16) -> Self {
        self.field("nodePort", port.into())
    }

    fn field(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }
}

/// An EndpointSlice made by hand, as for a Service without a selector.
#[derive(Clone, Debug)]
pub struct Slice {
    namespace: String,
    name: String,
    labels: Labels,
    addresses: Vec<IpAddr>,
    ports: Vec<Value>,
}

impl Slice {
    /// Of no Service, without addresses and ports.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            labels: Labels::new(),
            addresses: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Of this Service: nothing but a label says so.
    #[must_use]
    pub fn of(mut self, service: &str) -> Self {
        self.labels.insert("kubernetes.io/service-name".to_owned(), service.to_owned());
        self
    }

    /// With a ready endpoint.
    #[must_use]
    pub fn endpoint(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// With a TCP port. `name` is the name of the Service's port that it is for.
    #[must_use]
    pub fn tcp(mut self, name: &str, port: u16) -> Self {
        self.ports.push(json!({ "name": name, "protocol": "TCP", "port": port }));
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        let v6 = self.addresses.first().is_some_and(IpAddr::is_ipv6);
        let endpoints: Vec<Value> = self
            .addresses
            .iter()
            .map(|address| json!({ "addresses": [address], "conditions": { "ready": true } }))
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": { "namespace": self.namespace, "name": self.name, "labels": self.labels },
            "addressType": if v6 { "IPv6" } else { "IPv4" },
            "endpoints": endpoints,
            "ports": self.ports,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_in_the_object_and_nothing_else() {
        let service = Service::new("shop", "api").select("app", "api").port(Port::tcp(80).to_named("http"));
        assert_eq!(
            service.object()["spec"],
            json!({
                "selector": { "app": "api" },
                "ports": [{ "name": "tcp-80", "protocol": "TCP", "port": 80, "targetPort": "http" }],
            })
        );
        assert_eq!(service.headless().object()["spec"]["clusterIP"], "None");
    }

    #[test]
    fn a_slice_is_of_its_addresses_family() {
        let slice = Slice::new("shop", "hand").of("api").endpoint("fd00::1".parse().unwrap()).tcp("http", 80);
        let object = slice.object();
        assert_eq!(object["addressType"], "IPv6");
        assert_eq!(object["metadata"]["labels"]["kubernetes.io/service-name"], "api");
    }
}

//! Typed builders of the objects that tests and faults need: namespaces, pods with chosen listeners, Deployments,
//! Services, slices made by hand, policies.
//!
//! Each gives the JSON that [`Cluster::apply`](crate::Cluster::apply) takes. They know the fields that decide about
//! connections and no others, and they check nothing: whether an object can be is the API server's to say.
//!
//! ```
//! use kubelab::manifest::{Peer, Pod, Policy, Port, Rule, Service};
//!
//! let api = Pod::new("shop", "api").node("node-2").label("app", "api").serve(8080);
//! let service = Service::new("shop", "api").select("app", "api").port(Port::tcp(80).to(8080));
//! let policy = Policy::new("shop", "allow-web")
//!     .select("app", "api")
//!     .ingress(Rule::new().peer(Peer::namespace([("name", "web")])).tcp(8080));
//! assert_eq!(service.object()["spec"]["ports"][0]["targetPort"], 8080);
//! # let _ = (api.object(), policy.object());
//! ```

mod pod;
mod policy;
mod service;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use pod::{Pod, ready};
pub use policy::{Peer, Policy, Rule};
pub use service::{Port, Service, Slice};

/// Labels of an object or of a selector.
type Labels = BTreeMap<String, String>;

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    labels: Labels,
}

impl Namespace {
    /// Without labels; the API server adds `kubernetes.io/metadata.name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: Labels::new() }
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": self.name, "labels": self.labels },
        })
    }
}

/// A Deployment whose pods have the label `app` with its name, and one declared TCP port.
pub fn deployment(namespace: &str, name: &str, replicas: u32, port: u16) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "lab", "ports": [{ "containerPort": port }] }] },
            },
        },
    })
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

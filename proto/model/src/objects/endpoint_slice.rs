//! EndpointSlices.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::reference::{Key, Meta};
use crate::flow::{Family, Protocol};

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Addresses; they are interchangeable, consumers use the first.
    pub addresses: Vec<IpAddr>,
    /// Gets traffic; an absent condition means true.
    pub ready: bool,
    /// Answers its readiness probe, terminating or not.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// The pod behind it, if a pod is.
    pub pod: Option<Key>,
    /// Its node.
    pub node: Option<String>,
    /// Whether it is meant for some zones or nodes above others (`hints`); a proxy may then leave it out.
    #[serde(default)]
    pub hinted: bool,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// Name; equals the Service port's name.
    pub name: String,
    /// Number on the endpoints; absent means all ports.
    pub port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Metadata.
    pub meta: Meta,
    /// The Service of its `kubernetes.io/service-name` label.
    pub service: Option<String>,
    /// Address family; `None` for FQDN slices, which no proxy uses.
    pub family: Option<Family>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ports.
    pub ports: Vec<SlicePort>,
}

impl EndpointSlice {
    /// Namespace and name.
    pub const fn key(&self) -> &Key {
        &self.meta.key
    }
}

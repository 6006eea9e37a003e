//! Nodes and Namespaces.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::pod::Condition;
use super::reference::Meta;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Metadata.
    pub meta: Meta,
    /// `InternalIP` addresses first, then `ExternalIP`.
    pub addresses: Vec<IpAddr>,
    /// Pod address ranges assigned to it.
    pub pod_cidrs: Vec<IpNet>,
    /// Status conditions.
    pub conditions: Vec<Condition>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Metadata; the label `kubernetes.io/metadata.name` is always there.
    pub meta: Meta,
}

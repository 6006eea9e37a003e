//! Where on the path something happens.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::objects::Key;

/// A stage of a connection attempt, in the order the first packet passes them. The order ranks findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The name or object is turned into an address.
    Name,
    /// Inside the source pod: its own rules and routes.
    Source,
    /// The Service's endpoints are chosen from (intent: selector, readiness, ports).
    Endpoints,
    /// The source's node: its rules and routes.
    SourceNode,
    /// Between the nodes.
    Underlay,
    /// The destination's node: its rules and routes.
    DestinationNode,
    /// Inside the destination pod: rules, listener.
    Destination,
    /// The way back.
    Reply,
}

impl Stage {
    /// The word used in answers, lower case.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Source => "source",
            Self::Endpoints => "endpoints",
            Self::SourceNode => "source node",
            Self::Underlay => "underlay",
            Self::DestinationNode => "destination node",
            Self::Destination => "destination",
            Self::Reply => "reply",
        }
    }
}

/// Whose namespace a place lies in, with names put to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// The node's own namespace.
    Node,
    /// A pod's.
    Pod(Key),
}

/// A place on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The node, if the place lies on one.
    pub node: Option<String>,
    /// Whose network namespace, if it lies in one.
    pub owner: Option<Owner>,
    /// The stage.
    pub stage: Stage,
}

impl Place {
    /// A place in the objects rather than on a node.
    pub const fn intent(stage: Stage) -> Self {
        Self { node: None, owner: None, stage }
    }

    /// A place in a node's own namespace.
    pub fn node(node: impl Into<String>, stage: Stage) -> Self {
        Self { node: Some(node.into()), owner: Some(Owner::Node), stage }
    }

    /// A place in a pod's namespace.
    pub fn pod(node: Option<String>, pod: Key, stage: Stage) -> Self {
        Self { node, owner: Some(Owner::Pod(pod)), stage }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.owner, &self.node) {
            (Some(Owner::Pod(pod)), _) => write!(f, "{pod}"),
            (_, Some(node)) => f.write_str(node),
            _ => f.write_str(self.stage.word()),
        }
    }
}

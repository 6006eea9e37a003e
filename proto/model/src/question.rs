//! The question as understood: names put to objects, but nothing judged yet.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::flow::Protocol;
use crate::objects::Key;
use crate::time::Timestamp;

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A pod that exists in the objects.
    Pod(Key),
    /// The node itself.
    Node(String),
    /// An address no object owns: an external client, entering at the named node if that is known.
    External {
        /// The client's address.
        address: IpAddr,
        /// The node it enters by (`--via`).
        via: Option<String>,
    },
    /// An unlabelled pod in the destination's namespace.
    Any {
        /// That namespace.
        namespace: String,
    },
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// A Service that exists.
    Service(Key),
    /// A pod that exists.
    Pod(Key),
    /// A node that exists.
    Node(String),
    /// An address that no object at hand owns.
    Address(IpAddr),
    /// Named as an object, and there is no such Service (nor pod).
    NoService(Key),
    /// A DNS name that the source's resolver turns into nothing.
    NoName {
        /// The name as typed.
        name: String,
        /// The Services its search list stands for, in the order tried.
        tried: Vec<Key>,
    },
}

/// The port asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortAsk {
    /// A number, typed or looked up by name.
    Number(u16),
    /// A name that the Service does not have.
    UnknownName(String),
}

/// The question as understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// SRC as typed.
    pub source_text: String,
    /// DST as typed.
    pub destination_text: String,
    /// Who connects.
    pub source: Source,
    /// To what.
    pub destination: Destination,
    /// To which port.
    pub port: PortAsk,
    /// With which protocol.
    pub protocol: Protocol,
    /// Oldest evidence of interest.
    pub since: Timestamp,
    /// What was decided while understanding: "both a Service and a pod are called shop/api; the Service was taken".
    pub notes: Vec<String>,
}

impl Question {
    /// The port as a number, if it is one.
    pub const fn port_number(&self) -> Option<u16> {
        match self.port {
            PortAsk::Number(port) => Some(port),
            PortAsk::UnknownName(_) => None,
        }
    }

    /// The source pod's key, if the source is a pod.
    pub const fn source_pod(&self) -> Option<&Key> {
        match &self.source {
            Source::Pod(key) => Some(key),
            _ => None,
        }
    }
}

//! What is connected to, and at which addresses.
//!
//! Which endpoints stand behind it is in `ways`.

use std::net::IpAddr;

use model::Case;
use model::objects::{Node, Pod, Service, ServicePort, ServiceType};
use model::question::Destination;

/// A Service as the question names it.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// The Service.
    pub service: &'a Service,
    /// The port asked for, if the Service lists it.
    pub port: Option<&'a ServicePort>,
    /// The number asked for, if it was one.
    pub number: Option<u16>,
}

impl Named<'_> {
    /// `shop/api`.
    pub fn name(&self) -> String {
        self.service.key().to_string()
    }

    /// `shop/api:80`, or `shop/api` without a port.
    pub fn name_and_port(&self) -> String {
        match self.number {
            Some(number) => format!("{}:{number}", self.service.key()),
            None => self.name(),
        }
    }

    /// Whether endpoints come from a selector.
    pub fn selects(&self) -> bool {
        !self.service.selector.is_empty()
    }

    /// Whether connections go through rules that translate an address: not headless, not an alias.
    pub fn translated(&self) -> bool {
        !self.service.headless && self.service.kind != ServiceType::ExternalName
    }
}

/// What is connected to.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// A Service that is there.
    Service(Named<'a>),
    /// A pod that is there.
    Pod(&'a Pod),
    /// A node that is there.
    Node(&'a Node),
    /// An address no object owns.
    Address(IpAddr),
    /// Nothing: the name leads nowhere, or the object went away since.
    Missing,
}

impl<'a> Target<'a> {
    pub(super) fn of(case: &'a Case) -> Self {
        let question = &case.question;
        match &question.destination {
            Destination::Service(key) => case.objects.services.get(key).map_or(Self::Missing, |service| {
                let number = question.port_number();
                let port = number.and_then(|number| service.port(number, question.protocol));
                Self::Service(Named { service, port, number })
            }),
            Destination::Pod(key) => case.objects.pods.get(key).map_or(Self::Missing, Self::Pod),
            Destination::Node(name) => case.objects.nodes.get(name).map_or(Self::Missing, Self::Node),
            Destination::Address(address) => Self::Address(*address),
            Destination::NoService(_) | Destination::NoName { .. } => Self::Missing,
        }
    }

    /// The Service, if it is one.
    pub const fn service(&self) -> Option<&Named<'a>> {
        match self {
            Self::Service(named) => Some(named),
            _ => None,
        }
    }

    /// The addresses a client connects to. For a headless Service they are those of its endpoints, not listed here.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Service(named) if named.translated() => named.service.cluster_ips.clone(),
            Self::Service(_) | Self::Missing => Vec::new(),
            Self::Pod(pod) => pod.addresses.clone(),
            Self::Node(node) => node.addresses.clone(),
            Self::Address(address) => vec![*address],
        }
    }

    /// As answers call it.
    pub fn name(&self, case: &Case) -> String {
        match self {
            Self::Service(named) => named.name(),
            Self::Pod(pod) => pod.key().to_string(),
            Self::Node(node) => format!("node {}", node.meta.key.name),
            Self::Address(address) => address.to_string(),
            Self::Missing => match &case.question.destination {
                Destination::NoService(key) | Destination::Service(key) | Destination::Pod(key) => {
                    key.to_string()
                }
                Destination::NoName { name, .. } | Destination::Node(name) => name.clone(),
                Destination::Address(address) => address.to_string(),
            },
        }
    }
}

/// An address and port in words; one that only a manifest stands for has none yet.
pub fn shown(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("port {}", address.port()) } else { address.to_string() }
}

//! Whether one peer or one port entry admits one end, in three values.
//!
//! It says yes, no or cannot tell; what is missing in the case of no is worked out apart, only when asked.

use ipnet::IpNet;
use model::Protocol;
use model::objects::{IpBlock, Key, Peer, PolicyPort, PolicyPortSpec, PolicyRule, Selector};

use crate::connection::View;
use crate::detail::{Doubt, Note};
use crate::index::PolicyIndex;

/// A label every namespace has (API server, since 1.22).
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A truth with room for doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    No,
    Unknown(Doubt),
    Yes,
}

impl Truth {
    /// Both must hold: one no decides.
    pub(crate) fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes => other(),
            Self::Unknown(doubt) => match other() {
                Self::No => Self::No,
                Self::Yes | Self::Unknown(_) => Self::Unknown(doubt),
            },
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// Which way the packet goes, seen from the isolated pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

/// One direction of one connection.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a, 'i> {
    pub(crate) index: &'i PolicyIndex<'a>,
    pub(crate) direction: Direction,
    /// The isolated pod.
    pub(crate) subject: View<'a>,
    /// The other end.
    pub(crate) peer: View<'a>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl<'a> Question<'a, '_> {
    /// The end whose ports are meant.
    pub(crate) const fn destination(&self) -> View<'a> {
        match self.direction {
            Direction::Ingress => self.subject,
            Direction::Egress => self.peer,
        }
    }

    /// Whether a rule admits: any of its peers on any of its ports. Without peers everybody is meant, without ports
    /// every port.
    pub(crate) fn rule(&self, policy: &Key, rule: &PolicyRule) -> Truth {
        self.ports(&rule.ports).and(|| self.peers(policy, &rule.peers))
    }

    /// Whether any peer admits the other end.
    pub(crate) fn peers(&self, policy: &Key, peers: &[Peer]) -> Truth {
        if peers.is_empty() {
            return Truth::Yes;
        }
        any(peers.iter().map(|peer| self.peer(policy, peer)))
    }

    /// Whether any entry admits the port.
    pub(crate) fn ports(&self, ports: &[PolicyPort]) -> Truth {
        if ports.is_empty() {
            return Truth::Yes;
        }
        any(ports.iter().map(|port| self.port(port)))
    }

    fn peer(&self, policy: &Key, peer: &Peer) -> Truth {
        match peer {
            Peer::Pods { namespaces, pods } => {
                self.selectors(&policy.namespace, namespaces.as_ref(), pods.as_ref())
            }
            Peer::Block(block) => self.block(block),
        }
    }

    fn selectors(&self, own: &str, namespaces: Option<&Selector>, pods: Option<&Selector>) -> Truth {
        let Some(namespace) = self.peer.namespace() else {
            // Behind a Service's address are pods; which, the caller must say.
            return match self.peer {
                View::ServiceAddress(address) => Truth::Unknown(Doubt::ServiceAddress(*address)),
                _ => Truth::No,
            };
        };
        let by_pod = Truth::from(pods.is_none_or(|selector| selector.matches(self.peer.labels())));
        let by_labels = by_pod.and(|| match namespaces {
            None => Truth::from(namespace == own),
            Some(selector) => self.namespace(namespace, selector),
        });
        by_labels.and(|| match self.peer.pod() {
            // To the network it has the node's address, which is no pod's; some plugins select it all the same.
            Some(pod) if pod.host_network => Truth::Unknown(Doubt::HostNetwork(pod.meta.key.clone())),
            _ => Truth::Yes,
        })
    }

    fn namespace(&self, name: &str, selector: &Selector) -> Truth {
        let object = self.index.set().namespaces.get(name);
        let mut doubt = false;
        for requirement in &selector.requirements {
            // The name label is there even if the object is not at hand.
            let met = if requirement.key == NAME_LABEL {
                Some(requirement.meets(Some(name)))
            } else {
                object.map(|found| requirement.matches(&found.meta.labels))
            };
            match met {
                Some(true) => {}
                Some(false) => return Truth::No,
                None => doubt = true,
            }
        }
        if doubt { Truth::Unknown(Doubt::NoSuchNamespace(name.to_owned())) } else { Truth::Yes }
    }

    fn block(&self, block: &IpBlock) -> Truth {
        if let View::ServiceAddress(address) = self.peer {
            return Truth::Unknown(Doubt::ServiceAddress(*address));
        }
        let (mut inside, mut outside) = (false, false);
        for address in self.peer.usable(&self.subject) {
            let held =
                block.cidr.contains(&address) && !block.except.iter().any(|hole| hole.contains(&address));
            if held {
                inside = true;
            } else {
                outside = true;
            }
        }
        match (inside, outside) {
            (true, false) => Truth::Yes,
            (true, true) => Truth::Unknown(Doubt::EitherFamily(self.peer.word())),
            (false, false) => Truth::Unknown(Doubt::NoAddress(self.peer.word())),
            (false, true) => self.outside(block),
        }
    }

    /// What it means that the address known is not in the block: not always that the one seen is not.
    fn outside(&self, block: &IpBlock) -> Truth {
        match (self.peer, self.direction) {
            (View::Address(address), Direction::Ingress) => Truth::Unknown(Doubt::MaybeTranslated(*address)),
            (View::Node { name, node: Some(node) }, Direction::Ingress)
                if node.pod_cidrs.iter().any(|range| overlap(range, &block.cidr)) =>
            {
                Truth::Unknown(Doubt::NodeAddress(name.to_owned()))
            }
            _ => Truth::No,
        }
    }

    fn port(&self, entry: &PolicyPort) -> Truth {
        if entry.protocol != self.protocol {
            return Truth::No;
        }
        match &entry.ports {
            PolicyPortSpec::All => Truth::Yes,
            PolicyPortSpec::Range(range) => Truth::from(range.contains(self.port)),
            PolicyPortSpec::Name(name) => match self.destination() {
                View::Pod(pod) => Truth::from(pod.named_port(name, self.protocol) == Some(self.port)),
                View::Unlabelled { .. } => Truth::Unknown(Doubt::NoAddress(self.destination().word())),
                View::ServiceAddress(address) => Truth::Unknown(Doubt::ServiceAddress(*address)),
                View::Node { .. } | View::Address(_) => Truth::No,
            },
        }
    }

    /// What an admitting rule takes for granted: only if no other of its peers admits without.
    pub(crate) fn note(&self, policy: &Key, rule: &PolicyRule) -> Option<Note> {
        let admitting = || rule.peers.iter().filter(|peer| self.peer(policy, peer) == Truth::Yes);
        if admitting().any(|peer| matches!(peer, Peer::Pods { .. })) {
            return None;
        }
        let cidr = admitting().find_map(|peer| match peer {
            Peer::Block(block) => Some(block.cidr),
            Peer::Pods { .. } => None,
        })?;
        let policy = policy.clone();
        match (self.peer, self.direction) {
            (View::Pod(_), _) => Some(Note::BlockMatchesPod { policy, cidr, pod: self.peer.word() }),
            (View::Node { name, .. }, _) => {
                Some(Note::BlockMatchesNode { policy, cidr, node: name.to_owned() })
            }
            (View::Address(address), Direction::Ingress) => {
                Some(Note::BlockMatchesClient { policy, cidr, address: *address })
            }
            _ => None,
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn any(truths: impl Iterator<Item = Truth>) -> Truth {
    let mut doubt = None;
    for truth in truths {
        match truth {
            Truth::Yes => return Truth::Yes,
            Truth::Unknown(reason) => doubt = doubt.or(Some(reason)),
            Truth::No => {}
        }
    }
    doubt.map_or(Truth::No, Truth::Unknown)
}

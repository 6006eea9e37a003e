//! Whether one peer or one port entry matches one end, in three values.
//!
//! It says yes, no or cannot tell; what is missing in the case of no is worked out apart, only when asked.

use std::net::IpAddr;

use ipnet::IpNet;
use model::objects::{Key, ObjectSet, PolicyPortSpec, Selector};
use model::{Family, Protocol};

use crate::connection::View;
use crate::detail::{Doubt, Note};
use crate::index::PolicyIndex;
use crate::names;
use crate::rule::{AnyPeer, AnyPort, Rule, Spaces};

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
    pub(crate) subject: View<'i>,
    /// The other end.
    pub(crate) peer: View<'i>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// Whether a Service led there.
    pub(crate) by_service: bool,
    /// The family the connection uses, where both ends have both and one of them is looked at.
    pub(crate) family: Option<Family>,
}

impl<'i> Question<'_, 'i> {
    /// The end whose ports are meant.
    pub(crate) const fn destination(&self) -> View<'i> {
        match self.direction {
            Direction::Ingress => self.subject,
            Direction::Egress => self.peer,
        }
    }

    /// The peer's addresses that the connection may use: those of families the subject has too.
    pub(crate) fn usable(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.subject.addresses();
        let family = self.family;
        self.peer.addresses().iter().copied().filter(move |their| {
            let of = Family::of(*their);
            family.is_none_or(|family| of == family)
                && (own.is_empty() || own.iter().any(|address| Family::of(*address) == of))
        })
    }

    /// Whether a rule matches: any of its peers on any of its ports. Without peers everybody is meant, without ports
    /// every port.
    pub(crate) fn rule(&self, rule: Rule<'_>) -> Truth {
        self.ports(rule).and(|| self.peers(rule))
    }

    /// Whether any peer matches the other end.
    pub(crate) fn peers(&self, rule: Rule<'_>) -> Truth {
        if rule.peer_count() == 0 {
            return Truth::Yes;
        }
        any(rule.peers().map(|peer| self.peer(peer)))
    }

    /// Whether any entry matches the port.
    pub(crate) fn ports(&self, rule: Rule<'_>) -> Truth {
        if rule.port_count() == 0 {
            return Truth::Yes;
        }
        any(rule.ports().map(|port| self.port(port)))
    }

    pub(crate) fn peer(&self, peer: AnyPeer<'_>) -> Truth {
        match peer {
            AnyPeer::Pods { spaces, pods, never_host } => self.pods(spaces, pods, never_host),
            AnyPeer::Block { cidr, except } => self.block(cidr, except),
            AnyPeer::Networks(networks) => any(networks.iter().map(|network| self.block(network, &[]))),
            AnyPeer::Nodes(selector) => self.node(selector),
            AnyPeer::Names(names) => self.named(names),
        }
    }

    fn pods(&self, spaces: Spaces<'_>, pods: Option<&Selector>, never_host: bool) -> Truth {
        let Some(namespace) = self.peer.namespace() else {
            // Behind a Service's address are pods; which, the caller must say.
            return match self.peer {
                View::ServiceAddress(address) => Truth::Unknown(Doubt::ServiceAddress(*address)),
                _ => Truth::No,
            };
        };
        let by_pod = Truth::from(pods.is_none_or(|selector| selector.matches(self.peer.labels())));
        by_pod.and(|| self.space(namespace, spaces)).and(|| match self.peer.host_pod() {
            Some(_) if never_host => Truth::No,
            // To the network it has the node's address, which is no pod's; some plugins select it all the same.
            Some(pod) => Truth::Unknown(Doubt::HostNetwork(pod.meta.key.clone())),
            None => Truth::Yes,
        })
    }

    fn space(&self, namespace: &str, spaces: Spaces<'_>) -> Truth {
        let set = self.index.set();
        let own = || self.subject.namespace().unwrap_or_default();
        match spaces {
            Spaces::Own(own) => Truth::from(namespace == own),
            Spaces::Selected(selector) => namespace_meets(set, namespace, selector),
            Spaces::Same(keys) => same_labels(set, own(), namespace, keys),
            Spaces::NotSame(keys) => not_same_labels(set, own(), namespace, keys),
        }
    }

    fn block(&self, cidr: &IpNet, except: &[IpNet]) -> Truth {
        if let View::ServiceAddress(address) = self.peer {
            return Truth::Unknown(Doubt::ServiceAddress(*address));
        }
        let (mut inside, mut outside) = (false, false);
        for address in self.usable() {
            let held = cidr.contains(&address) && !except.iter().any(|hole| hole.contains(&address));
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
            (false, true) => self.outside(cidr),
        }
    }

    /// What it means that the address known is not in the block: not always that the one seen is not.
    fn outside(&self, cidr: &IpNet) -> Truth {
        match (self.peer, self.direction) {
            (View::Address(address), Direction::Ingress) => Truth::Unknown(Doubt::MaybeTranslated(*address)),
            (View::Node { name, node: Some(node) }, Direction::Ingress)
                if node.pod_cidrs.iter().any(|range| overlap(range, cidr)) =>
            {
                Truth::Unknown(Doubt::NodeAddress(name.to_owned()))
            }
            _ => Truth::No,
        }
    }

    /// Nodes are matched by the addresses of their status (`ClusterNetworkPolicyEgressPeer.nodes`), and so is a pod that
    /// has its node's address.
    fn node(&self, selector: &Selector) -> Truth {
        let set = self.index.set();
        let name = match self.peer {
            View::Node { name, .. } => name,
            View::Pod(pod) if pod.host_network => match pod.node.as_deref() {
                Some(name) => name,
                None => return Truth::Unknown(Doubt::NoNode(pod.meta.key.to_string())),
            },
            View::ServiceAddress(address) => return Truth::Unknown(Doubt::ServiceAddress(*address)),
            // It may be a node's that the objects do not hold.
            View::Address(_) if !set.coverage.nodes => return Truth::Unknown(Doubt::NodesNotRead),
            View::Address(_) | View::Pod(_) | View::Unlabelled { .. } => return Truth::No,
        };
        match set.nodes.get(name) {
            Some(node) => Truth::from(selector.matches(&node.meta.labels)),
            None if selector.requirements.is_empty() => Truth::Yes,
            None => Truth::Unknown(Doubt::NoSuchNode(name.to_owned())),
        }
    }

    /// What a name resolves to is not asked. Of pods it is known that they have names of the cluster's own domain only.
    fn named(&self, wanted: &[String]) -> Truth {
        match self.peer {
            View::ServiceAddress(address) => Truth::Unknown(Doubt::ServiceAddress(*address)),
            View::Pod(pod) if !pod.host_network && !names::may_be_a_pods(wanted) => Truth::No,
            View::Unlabelled { .. } if !names::may_be_a_pods(wanted) => Truth::No,
            _ => Truth::Unknown(Doubt::DomainNames { names: wanted.to_vec(), end: self.peer.word() }),
        }
    }

    fn port(&self, entry: AnyPort<'_>) -> Truth {
        if entry.protocol.is_some_and(|protocol| protocol != self.protocol) {
            return Truth::No;
        }
        match entry.ports {
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

    /// What an admitting rule of a NetworkPolicy takes for granted: only if no other of its peers admits without.
    pub(crate) fn note(&self, policy: &Key, rule: Rule<'_>) -> Option<Note> {
        let admitting = || rule.peers().filter(|peer| self.peer(*peer) == Truth::Yes);
        if admitting().any(|peer| matches!(peer, AnyPeer::Pods { .. })) {
            return None;
        }
        let cidr = admitting().find_map(|peer| match peer {
            AnyPeer::Block { cidr, .. } => Some(*cidr),
            _ => None,
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

/// Whether a namespace's labels meet a selector.
pub(crate) fn namespace_meets(set: &ObjectSet, name: &str, selector: &Selector) -> Truth {
    let mut object = None;
    let mut doubt = false;
    for requirement in &selector.requirements {
        // The name label is there even if the object is not at hand.
        let met = if requirement.key == NAME_LABEL {
            Some(requirement.meets(Some(name)))
        } else {
            let found = object.get_or_insert_with(|| set.namespaces.get(name));
            found.map(|found| requirement.matches(&found.meta.labels))
        };
        match met {
            Some(true) => {}
            Some(false) => return Truth::No,
            None => doubt = true,
        }
    }
    if doubt { Truth::Unknown(Doubt::NoSuchNamespace(name.to_owned())) } else { Truth::Yes }
}

/// A namespace's value of a label; `Err` if its labels are not known.
pub(crate) fn space_label<'s>(
    set: &'s ObjectSet,
    name: &'s str,
    key: &str,
) -> Result<Option<&'s str>, Doubt> {
    if key == NAME_LABEL {
        return Ok(Some(name));
    }
    match set.namespaces.get(name) {
        Some(namespace) => Ok(namespace.meta.labels.get(key).map(String::as_str)),
        None => Err(Doubt::NoSuchNamespace(name.to_owned())),
    }
}

/// "All of the labels defined in SameLabels, and all the same value as the subject. If empty then nothing is selected"
/// (network-policy-api 0.1.1, `NamespacedPeer`).
fn same_labels(set: &ObjectSet, own: &str, other: &str, keys: &[String]) -> Truth {
    let same = |key: &String| match (space_label(set, own, key), space_label(set, other, key)) {
        (Ok(own), Ok(other)) => Truth::from(other.is_some() && own == other),
        (Err(doubt), _) | (_, Err(doubt)) => Truth::Unknown(doubt),
    };
    keys.iter().fold(Truth::from(!keys.is_empty()), |all, key| all.and(|| same(key)))
}

/// "All of the labels defined in NotSameLabels, and at least one of them must have different values than the subject. If
/// empty then nothing is selected" (the same). Whether a label that the subject lacks is a different value, it does not
/// say.
fn not_same_labels(set: &ObjectSet, own: &str, other: &str, keys: &[String]) -> Truth {
    let mut differs = Truth::No;
    for key in keys {
        let theirs = match space_label(set, other, key) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return Truth::No,
            Err(doubt) => return Truth::Unknown(doubt),
        };
        let this = match space_label(set, own, key) {
            Ok(Some(ours)) => Truth::from(ours != theirs),
            Ok(None) => Truth::Unknown(Doubt::LabelOfSubject { namespace: own.to_owned(), key: key.clone() }),
            Err(doubt) => Truth::Unknown(doubt),
        };
        differs = match (differs, this) {
            (Truth::Yes, _) | (_, Truth::Yes) => Truth::Yes,
            (Truth::Unknown(doubt), _) | (_, Truth::Unknown(doubt)) => Truth::Unknown(doubt),
            (Truth::No, Truth::No) => Truth::No,
        };
    }
    differs
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

//! Who can reach whom, by namespace, workload or pod.
//!
//! Pods that no policy can tell apart are asked about once. Rows are worked out one by one, so that a caller can show how
//! far it is and use more than one thread.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use model::objects::{ClusterPeer, ClusterPolicy, Key, NetworkPolicy, Peer, Pod, PolicyPortSpec, Selector};

use super::{PortSet, Reach, between};
use crate::index::PolicyIndex;

/// What the rows and columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Namespaces.
    Namespace,
    /// Controllers of pods; a pod without one stands for itself.
    Workload,
    /// Pods.
    Pod,
}

/// What a row or column is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupName {
    /// A namespace.
    Namespace(String),
    /// A controller.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Its kind, as objects write it.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A pod.
    Pod(Key),
}

impl GroupName {
    fn of(pod: &Pod, by: By) -> Self {
        let key = &pod.meta.key;
        match (by, &pod.workload) {
            (By::Namespace, _) => Self::Namespace(key.namespace.clone()),
            (By::Workload, Some(workload)) => Self::Workload {
                namespace: key.namespace.clone(),
                kind: workload.kind.clone(),
                name: workload.name.clone(),
            },
            (By::Workload, None) | (By::Pod, _) => Self::Pod(key.clone()),
        }
    }
}

impl fmt::Display for GroupName {
    /// As SRC and DST name things: `shop/deploy/api`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => f.write_str(name),
            Self::Workload { namespace, kind, name } => {
                let kind = match kind.as_str() {
                    "Deployment" => "deploy",
                    "StatefulSet" => "sts",
                    "DaemonSet" => "ds",
                    "Job" => "job",
                    other => other,
                };
                write!(f, "{namespace}/{kind}/{name}")
            }
            Self::Pod(key) => write!(f, "{key}"),
        }
    }
}

/// One row or column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// How many pods it is.
    pub pods: usize,
    /// The classes of its pods, each with how many of them are of it.
    classes: Vec<(usize, usize)>,
}

/// On which ports a group reaches another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cell {
    /// Every pod of the one reaches every pod of the other.
    pub every: PortSet,
    /// Some pod of the one reaches some pod of the other.
    pub some: PortSet,
    /// It cannot be told of some.
    pub unknown: PortSet,
}

/// Pods that no policy can tell apart.
#[derive(Debug)]
struct Class<'a> {
    pods: Vec<&'a Pod>,
}

/// Who can reach whom.
#[derive(Debug)]
pub struct Matrix<'i, 'a> {
    index: &'i PolicyIndex<'a>,
    classes: Vec<Class<'a>>,
    groups: Vec<Group>,
    /// For each class, what it reaches; worked out when first asked for.
    rows: Vec<OnceLock<Vec<Arc<Cell>>>>,
}

impl<'i, 'a> Matrix<'i, 'a> {
    /// Sorts the pods. Those that have ended are left out.
    pub fn new(index: &'i PolicyIndex<'a>, by: By) -> Self {
        let seen = Visible::of(index);
        let mut numbers: HashMap<Looks<'a>, usize> = HashMap::new();
        let mut classes: Vec<Class<'a>> = Vec::new();
        let mut groups: BTreeMap<GroupName, BTreeMap<usize, usize>> = BTreeMap::new();
        for pod in index.set().pods.values().filter(|pod| !pod.finished()) {
            let number = *numbers.entry(seen.looks(pod)).or_insert(classes.len());
            match classes.get_mut(number) {
                Some(class) => class.pods.push(pod),
                None => classes.push(Class { pods: vec![pod] }),
            }
            *groups.entry(GroupName::of(pod, by)).or_default().entry(number).or_default() += 1;
        }
        let groups = groups
            .into_iter()
            .map(|(name, classes)| Group {
                name,
                pods: classes.values().sum(),
                classes: classes.into_iter().collect(),
            })
            .collect();
        let rows = std::iter::repeat_with(OnceLock::new).take(classes.len()).collect();
        Self { index, classes, groups, rows }
    }

    /// The rows and columns, by name.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many kinds of pods policies can tell apart.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// What one group reaches, in the order of [`Self::groups`]. `None` for a group with itself where it is one pod.
    pub fn row(&self, from: usize) -> Vec<Option<Cell>> {
        let Some(group) = self.groups.get(from) else { return Vec::new() };
        let rows: Vec<Row<'_>> = group
            .classes
            .iter()
            .map(|(class, pods)| Row { class: *class, pods: *pods, cells: self.class_row(*class) })
            .collect();
        let cell = |(at, to): (usize, &Group)| match self.single_with_node(group, to) {
            Some(reach) if at != from => Some(reach.into()),
            _ => cell(&rows, to, at == from),
        };
        self.groups.iter().enumerate().map(cell).collect()
    }

    /// Two single pods of which one has its node's network: whether the other is on that node matters, and no class
    /// tells.
    fn single_with_node(&self, from: &Group, to: &Group) -> Option<Reach> {
        let pods = &self.index.set().pods;
        let (GroupName::Pod(from), GroupName::Pod(to)) = (&from.name, &to.name) else { return None };
        let (from, to) = (pods.get(from)?, pods.get(to)?);
        (from.host_network || to.host_network).then(|| self.ask(from, to))
    }

    fn ask(&self, src: &'a Pod, dst: &'a Pod) -> Reach {
        between(self.index, self.index.seen(src), self.index.seen(dst))
    }

    fn class_row(&self, from: usize) -> &[Arc<Cell>] {
        let Some(row) = self.rows.get(from) else { return &[] };
        row.get_or_init(|| {
            // Most of a row is the same: nothing, or everything.
            let mut known: HashMap<Cell, Arc<Cell>> = HashMap::new();
            (0..self.classes.len())
                .map(|to| {
                    let cell = self.class_cell(from, to);
                    Arc::clone(known.entry(cell).or_insert_with_key(|cell| Arc::new(cell.clone())))
                })
                .collect()
        })
    }

    fn class_cell(&self, from: usize, to: usize) -> Cell {
        let (Some(src), Some(dst)) = (self.classes.get(from), self.classes.get(to)) else {
            return Cell::default();
        };
        let first = src.pods.first().copied();
        let other = dst.pods.iter().copied().find(|pod| !same(pod, first));
        let Some((first, other)) = first.zip(other) else {
            // A class that is one pod, with itself: nobody asks.
            return Cell::default();
        };
        let found = Cell::from(self.ask(first, other));
        if !src.pods.iter().chain(&dst.pods).any(|pod| pod.host_network) {
            return found;
        }
        // A node and its own pods are a case of their own, so that both have to be asked.
        let pair = |near: bool| {
            src.pods.iter().copied().find_map(|src| {
                let fits = |dst: &&Pod| (src.node == dst.node) == near && !same(dst, Some(src));
                Some(self.ask(src, dst.pods.iter().copied().find(fits)?))
            })
        };
        [pair(true), pair(false)].into_iter().flatten().fold(found, |cell, reach| cell.and(&reach.into()))
    }
}

/// What one class of a group reaches.
struct Row<'r> {
    class: usize,
    /// How many pods of the group are of it.
    pods: usize,
    cells: &'r [Arc<Cell>],
}

impl Cell {
    /// The same with more pairs.
    fn and(&self, other: &Self) -> Self {
        Self {
            every: self.every.intersection(&other.every),
            some: self.some.union(&other.some),
            unknown: self.unknown.union(&other.unknown),
        }
    }
}

impl From<Reach> for Cell {
    fn from(Reach { allowed, unknown }: Reach) -> Self {
        Self { every: allowed.clone(), some: allowed, unknown }
    }
}

fn same(pod: &Pod, other: Option<&Pod>) -> bool {
    other.is_some_and(|other| other.meta.key == pod.meta.key)
}

/// One cell; `itself` if the group is that of the rows.
fn cell(rows: &[Row<'_>], to: &Group, itself: bool) -> Option<Cell> {
    let mut found: Option<Cell> = None;
    let mut last: Option<&Arc<Cell>> = None;
    for row in rows {
        for (class, _) in &to.classes {
            // One pod with itself is no pair.
            if itself && row.class == *class && row.pods == 1 {
                continue;
            }
            let Some(cell) = row.cells.get(*class) else { continue };
            if last.is_some_and(|last| Arc::ptr_eq(last, cell) || last == cell) {
                continue;
            }
            last = Some(cell);
            found = Some(match found {
                None => Cell::clone(cell),
                Some(found) => found.and(cell),
            });
        }
    }
    found
}

/// What policies look at.
struct Visible<'a> {
    /// Keys of pod labels that some selector asks for.
    keys: Vec<&'a str>,
    /// Names of ports that some rule asks for.
    ports: Vec<&'a str>,
    blocks: Vec<IpNet>,
}

/// What policies see of a pod.
#[derive(PartialEq, Eq, Hash)]
struct Looks<'a> {
    namespace: &'a str,
    labels: Vec<Option<&'a str>>,
    ports: Vec<[Option<u16>; 3]>,
    blocks: Vec<[bool; 2]>,
    families: [bool; 2],
    /// The node of a pod that shares its network.
    node: Option<&'a str>,
    host_network: bool,
    waiting: bool,
}

impl<'a> Visible<'a> {
    fn of(index: &PolicyIndex<'a>) -> Self {
        let set = index.set();
        let mut found = Self { keys: Vec::new(), ports: Vec::new(), blocks: Vec::new() };
        set.policies.values().for_each(|policy| found.network(policy));
        set.cluster_policies.values().for_each(|policy| found.cluster(policy));
        for policy in set.other_policies.values() {
            found.selector(policy.pods.as_ref());
        }
        found.keys.sort_unstable();
        found.keys.dedup();
        found.ports.sort_unstable();
        found.ports.dedup();
        found.blocks.sort_unstable();
        found.blocks.dedup();
        found
    }

    fn selector(&mut self, selector: Option<&'a Selector>) {
        self.keys.extend(
            selector.into_iter().flat_map(|selector| &selector.requirements).map(|asked| asked.key.as_str()),
        );
    }

    fn port(&mut self, spec: &'a PolicyPortSpec) {
        if let PolicyPortSpec::Name(name) = spec {
            self.ports.push(name);
        }
    }

    fn network(&mut self, policy: &'a NetworkPolicy) {
        self.selector(Some(&policy.pod_selector));
        for rule in policy.ingress.iter().chain(&policy.egress) {
            rule.ports.iter().for_each(|port| self.port(&port.ports));
            for peer in &rule.peers {
                match peer {
                    Peer::Pods { pods, .. } => self.selector(pods.as_ref()),
                    Peer::Block(block) => {
                        self.blocks.push(block.cidr);
                        self.blocks.extend(&block.except);
                    }
                }
            }
        }
    }

    fn cluster(&mut self, policy: &'a ClusterPolicy) {
        self.selector(policy.subject.pods.as_ref());
        for rule in policy.ingress.iter().chain(&policy.egress) {
            rule.ports.iter().for_each(|port| self.port(&port.ports));
            for peer in &rule.peers {
                match peer {
                    ClusterPeer::Pods { pods, .. } => self.selector(pods.as_ref()),
                    ClusterPeer::Networks(networks) => self.blocks.extend(networks),
                    // Nodes are told apart as they are.
                    ClusterPeer::Nodes(_) | ClusterPeer::DomainNames(_) => {}
                }
            }
        }
    }

    fn looks(&self, pod: &'a Pod) -> Looks<'a> {
        let port = |name: &&str| {
            [model::Protocol::Tcp, model::Protocol::Udp, model::Protocol::Sctp]
                .map(|protocol| pod.named_port(name, protocol))
        };
        let of_family = |ipv6: bool| pod.addresses.iter().filter(move |address| address.is_ipv6() == ipv6);
        Looks {
            namespace: &pod.meta.key.namespace,
            labels: self.keys.iter().map(|key| pod.meta.labels.get(*key).map(String::as_str)).collect(),
            ports: self.ports.iter().map(port).collect(),
            blocks: self
                .blocks
                .iter()
                .map(|block| [false, true].map(|ipv6| of_family(ipv6).any(|address| block.contains(address))))
                .collect(),
            families: [false, true].map(|ipv6| of_family(ipv6).next().is_some()),
            node: pod.node.as_deref().filter(|_| pod.host_network),
            host_network: pod.host_network,
            waiting: !pod.phase.is_empty() && pod.addresses.is_empty(),
        }
    }
}

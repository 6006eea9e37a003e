//! The network namespaces of this node at one moment, and whose a drop was. Finding them is `kernel`'s work.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use kernel::{Known, Namespaces};
use model::NetnsOwner;

use crate::walks::PodAddresses;

/// A frozen view of the namespaces, shared with everybody who works on what was seen through it.
#[derive(Debug)]
pub struct Places {
    own: u64,
    known: HashMap<u64, Arc<Known>>,
    pod_addresses: HashSet<IpAddr>,
}

impl Places {
    /// As they are known now.
    pub fn of(namespaces: &Namespaces) -> Self {
        let known = namespaces.all().map(|known| (known.netns.cookie, Arc::new(known.clone()))).collect();
        let pod_addresses = namespaces
            .all()
            .filter_map(|known| match &known.netns.owner {
                NetnsOwner::Pod { addresses, .. } => Some(addresses),
                NetnsOwner::Node | NetnsOwner::Unknown => None,
            })
            .flatten()
            .copied()
            .collect();
        Self { own: namespaces.own().netns.cookie, known, pod_addresses }
    }

    /// The node's own.
    pub fn own(&self) -> Option<&Arc<Known>> {
        self.known.get(&self.own)
    }

    /// One by its net cookie.
    pub fn get(&self, cookie: u64) -> Option<&Arc<Known>> {
        self.known.get(&cookie)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Net cookies of the node's own and its pods' namespaces.
    pub fn in_scope(&self) -> impl Iterator<Item = u64> {
        self.known
            .values()
            .filter(|known| known.netns.owner != NetnsOwner::Unknown)
            .map(|known| known.netns.cookie)
    }
}

impl PodAddresses for Places {
    fn contains(&self, address: IpAddr) -> bool {
        self.pod_addresses.contains(&address)
    }
}

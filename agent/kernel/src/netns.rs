//! Which network namespaces this machine has, and whose they are.
//!
//! Not the place that reads rules or sockets inside them, and it knows no pod names: the collector puts those to uids
//! and addresses.

mod cgroup;
mod discover;
mod owner;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use model::node_state::{InterfaceAddress, Link};
use model::probe::PodTarget;
use model::{Family, Gap, Netns, NetnsOwner};

use crate::addresses;
use crate::enter::{NetnsHandle, discarded_thread, enter_path, own_cookie};
use crate::error::Error;
use crate::links::{self, NamedLink};
use crate::nl::{self, Netlink};
use crate::routes;
use discover::Candidate;
use owner::OwnNamespace;

/// A network namespace that can be read.
#[derive(Clone, Debug)]
pub struct Known {
    /// Identity and owner.
    pub netns: Netns,
    /// The way in.
    pub handle: NetnsHandle,
    /// Its interfaces when it was found.
    pub links: Vec<Link>,
    /// Its addresses when it was found.
    pub addresses: Vec<InterfaceAddress>,
}

/// All network namespaces that can be reached from here, as of the last refresh.
#[derive(Debug)]
pub struct Namespaces {
    own: Known,
    initial: bool,
    others: BTreeMap<u64, Known>,
    gaps: Vec<Gap>,
}

impl Namespaces {
    /// Finds them for the first time. Fails only if the own namespace cannot be read; others become gaps.
    pub fn open() -> Result<Self, Error> {
        let survey = discarded_thread("of this process", survey)??;
        Ok(Self { own: survey.own, initial: survey.initial, others: survey.others, gaps: survey.gaps })
    }

    /// Finds them anew.
    pub fn refresh(&mut self) -> Result<(), Error> {
        *self = Self::open()?;
        Ok(())
    }

    /// The namespace this process runs in: the node's.
    pub const fn own(&self) -> &Known {
        &self.own
    }

    /// All of them, the own one first.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        std::iter::once(&self.own).chain(self.others.values())
    }

    /// One by its net cookie.
    pub fn by_cookie(&self, cookie: u64) -> Option<&Known> {
        if self.own.netns.cookie == cookie { Some(&self.own) } else { self.others.get(&cookie) }
    }

    /// The namespace of a pod of this node: by uid where its processes' cgroup told it, else by an address.
    pub fn find_pod(&self, target: &PodTarget) -> Option<&Known> {
        let pods = || {
            self.others.values().filter_map(|known| match &known.netns.owner {
                NetnsOwner::Pod { uid, addresses } => Some((known, uid.as_deref(), addresses)),
                NetnsOwner::Node | NetnsOwner::Unknown => None,
            })
        };
        let by_uid = pods().find(|(_, uid, _)| !target.uid.is_empty() && *uid == Some(target.uid.as_str()));
        let found = by_uid.or_else(|| {
            pods().find(|(_, uid, addresses)| {
                // A namespace that tells another uid is another pod, whatever address it was given since.
                (uid.is_none() || target.uid.is_empty())
                    && target.addresses.iter().any(|address| addresses.contains(address))
            })
        });
        found.map(|(known, _, _)| known)
    }

    /// Whether this process runs in the machine's initial network namespace, from which all others are in scope.
    pub const fn is_initial(&self) -> bool {
        self.initial
    }

    /// Namespaces that were seen and could not be read.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

struct Survey {
    own: Known,
    initial: bool,
    others: BTreeMap<u64, Known>,
    gaps: Vec<Gap>,
}

/// Runs on a thread of its own: it visits one namespace after the other and never comes back to its own.
fn survey() -> Result<Survey, Error> {
    let cookie = own_cookie()?;
    let inode = inode_of("/proc/thread-self/ns/net")?;
    let initial = is_initial(cookie, inode);
    // This socket stays in the own namespace wherever the thread goes.
    let mut home = Netlink::open(nl::ROUTE)?;
    let named = links::read(&mut home)?;
    let own_links: Vec<Link> = named.iter().map(|entry| entry.link.clone()).collect();
    let own_addresses = addresses::read(&mut home, &own_links)?;
    let own_routes = routes::read(&mut home, Family::Ipv4, &own_links)?;
    let place = OwnNamespace::new(initial, &named, &own_addresses, &own_routes);

    let mut others = BTreeMap::new();
    let mut gaps = Vec::new();
    for candidate in discover::candidates(inode, &mut gaps) {
        match visit(&candidate, &mut home, &place) {
            Ok(Some(known)) if known.netns.cookie != cookie => {
                others.insert(known.netns.cookie, known);
            }
            // It is the own one under another path, or it ended between being listed and being visited.
            Ok(_) => {}
            Err(error) => {
                gaps.push(Gap::new(format!("network namespace {}", candidate.inode), error.in_words()));
            }
        }
    }
    let own = Known {
        netns: Netns { cookie, inode, owner: NetnsOwner::Node },
        handle: NetnsHandle::own(cookie, inode),
        links: own_links,
        addresses: own_addresses,
    };
    Ok(Survey { own, initial, others, gaps })
}

/// Enters a candidate by the first path that still leads there. `None` if none does.
fn visit(candidate: &Candidate, home: &mut Netlink, place: &OwnNamespace) -> Result<Option<Known>, Error> {
    for path in &candidate.paths {
        let id = match owner::netns_id(home, path) {
            Ok(id) => id,
            Err(Error::Read { .. }) => continue,
            Err(error) => return Err(error),
        };
        let cookie = match enter_path(path) {
            Ok(cookie) => cookie,
            Err(Error::Read { .. }) => continue,
            Err(error) => return Err(error),
        };
        let mut netlink = Netlink::open(nl::ROUTE)?;
        let links: Vec<Link> =
            links::read(&mut netlink)?.into_iter().map(|NamedLink { link, .. }| link).collect();
        let found = addresses::read(&mut netlink, &links)?;
        let owner = place.owner_of(candidate.pod_uid.as_deref(), id, &found);
        return Ok(Some(Known {
            netns: Netns { cookie, inode: candidate.inode, owner },
            handle: NetnsHandle::other(cookie, candidate.inode, candidate.paths.clone()),
            links,
            addresses: found,
        }));
    }
    Ok(None)
}

/// kthreadd never leaves the initial namespace. Where it cannot be seen (no host pid namespace), the cookie tells: the
/// first namespace gets number 1 (`gen_cookie_next` in include/linux/cookie.h, init_net is set up first).
fn is_initial(cookie: u64, inode: u32) -> bool {
    let kthreadd = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd");
    match (kthreadd, inode_of("/proc/2/ns/net")) {
        (true, Ok(initial)) => initial == inode,
        _ => cookie == 1,
    }
}

fn inode_of(path: &str) -> Result<u32, Error> {
    let path = PathBuf::from(path);
    let meta = fs::metadata(&path).map_err(|source| Error::Read { path, source })?;
    // Namespace inode numbers are 32 bits (`struct ns_common`).
    Ok(u32::try_from(meta.ino()).unwrap_or(0))
}

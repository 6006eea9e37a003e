//! Whether a namespace is a pod of this node.
//!
//! By the pod uid in its processes' cgroups; where pods have no cgroup of their own, by a veth whose other end lives in
//! the agent's own namespace. A hint from interface names is never used: every CNI has its own.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use model::NetnsOwner;
use model::node_state::{InterfaceAddress, Route};

use crate::addresses;
use crate::error::Error;
use crate::links::NamedLink;
use crate::nl::{Netlink, attribute, attributes, u32_at};

const RTM_GETNSID: u16 = 90;
/// `struct rtgenmsg`, padded.
const RTGENMSG: usize = 4;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// What ownership needs to know of the agent's own namespace.
#[derive(Debug)]
pub struct OwnNamespace {
    initial: bool,
    /// Namespaces at the other end of any veth.
    joined: Vec<i32>,
    /// Namespaces at the other end of a veth that leads to a pod and not out of the node.
    pods: Vec<i32>,
}

impl OwnNamespace {
    /// Sorts the own veths. One that carries the default route or an address of the node leads out of it; pods' host
    /// ends carry none, except those of the ptp plugin, whose pods have cgroups.
    pub fn new(initial: bool, links: &[NamedLink], addresses: &[InterfaceAddress], routes: &[Route]) -> Self {
        let leads_out = |name: &str| {
            let default = routes
                .iter()
                .any(|route| route.destination.prefix_len() == 0 && route.device.as_deref() == Some(name));
            let on_it: Vec<_> = addresses.iter().filter(|entry| entry.interface == name).cloned().collect();
            default || !addresses::global(&on_it).is_empty()
        };
        let joined = links.iter().filter_map(|entry| entry.peer_netns).collect();
        let pods = links
            .iter()
            .filter(|entry| !leads_out(&entry.link.name))
            .filter_map(|entry| entry.peer_netns)
            .collect();
        Self { initial, joined, pods }
    }

    /// The owner of a namespace known here as `id`, whose processes belong to `pod_uid`.
    pub fn owner_of(&self, pod_uid: Option<&str>, id: Option<i32>, found: &[InterfaceAddress]) -> NetnsOwner {
        let addresses = addresses::global(found);
        let within = |ids: &[i32]| id.is_some_and(|id| ids.contains(&id));
        match pod_uid {
            // Below the initial namespace several nodes share the machine: a pod is ours if it is joined to us.
            Some(uid) if self.initial || within(&self.joined) => {
                NetnsOwner::Pod { uid: Some(uid.to_owned()), addresses }
            }
            None if within(&self.pods) => NetnsOwner::Pod { uid: None, addresses },
            _ => NetnsOwner::Unknown,
        }
    }
}

/// The id by which the socket's namespace knows the one behind a path; `None` if it has never met it.
pub fn netns_id(home: &mut Netlink, path: &Path) -> Result<Option<i32>, Error> {
    let request = "ask for a namespace's id";
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut body = vec![0; RTGENMSG];
    body.extend_from_slice(&attribute(NETNSA_FD, &file.as_raw_fd().to_ne_bytes()));
    let message = match home.get(request, RTM_GETNSID, &body) {
        Ok(message) => message,
        // The path leads to no namespace any more.
        Err(Error::NetlinkRefused { source, .. }) => {
            return Err(Error::Read { path: path.to_owned(), source });
        }
        Err(error) => return Err(error),
    };
    let id = attributes(&message.payload, RTGENMSG)
        .find(|(kind, _)| *kind == NETNSA_NSID)
        .and_then(|(_, value)| u32_at(value, 0))
        .ok_or(Error::NetlinkMalformed { request })?
        .cast_signed();
    // NETNSA_NSID_NOT_ASSIGNED is -1.
    Ok((id >= 0).then_some(id))
}

#[cfg(test)]
mod tests {
    use model::node_state::{Link, RouteKind};

    use super::*;

    fn veth(name: &str, peer_netns: i32) -> NamedLink {
        NamedLink {
            link: Link {
                index: 2,
                name: name.into(),
                up: true,
                master: None,
                peer_index: Some(2),
                kind: "veth".into(),
                mtu: 1500,
            },
            peer_netns: Some(peer_netns),
        }
    }

    fn own(initial: bool) -> OwnNamespace {
        let default = Route {
            table: 254,
            destination: "0.0.0.0/0".parse().expect("prefix"),
            kind: RouteKind::Unicast,
            gateway: None,
            device: Some("eth0".into()),
            prefer_src: None,
            metric: 0,
        };
        OwnNamespace::new(initial, &[veth("eth0", 0), veth("veth1", 1)], &[], &[default])
    }

    #[test]
    fn the_uplink_leads_to_no_pod() {
        assert_eq!(own(false).owner_of(None, Some(0), &[]), NetnsOwner::Unknown);
        assert_eq!(own(false).owner_of(None, Some(1), &[]), NetnsOwner::Pod { uid: None, addresses: vec![] });
        assert_eq!(own(false).owner_of(None, None, &[]), NetnsOwner::Unknown);
    }

    #[test]
    fn a_uid_counts_everywhere_only_in_the_initial_namespace() {
        let pod = NetnsOwner::Pod { uid: Some("u".into()), addresses: vec![] };
        assert_eq!(own(true).owner_of(Some("u"), None, &[]), pod);
        assert_eq!(own(false).owner_of(Some("u"), None, &[]), NetnsOwner::Unknown);
        assert_eq!(own(false).owner_of(Some("u"), Some(1), &[]), pod);
    }
}

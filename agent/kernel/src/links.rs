//! Interfaces of the calling thread's namespace (RTM_GETLINK). Not for addresses on them.

use model::node_state::Link;

use crate::error::Error;
use crate::nl::{Attributes, Netlink, attributes, text, u32_at};

/// `struct ifinfomsg` (`linux/rtnetlink.h`): family, type, index, flags, change mask.
const IFINFOMSG: usize = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;

/// An interface and what only ownership needs.
#[derive(Clone, Debug)]
pub struct NamedLink {
    /// As the model has it.
    pub link: Link,
    /// The id by which this namespace knows the one where the veth peer lives, if that is another one.
    pub peer_netns: Option<i32>,
}

/// All interfaces.
pub fn read(netlink: &mut Netlink) -> Result<Vec<NamedLink>, Error> {
    let request = "dump links";
    netlink
        .dump(request, RTM_GETLINK, &[0; IFINFOMSG])?
        .iter()
        .map(|message| link(&message.payload).ok_or(Error::NetlinkMalformed { request }))
        .collect()
}

fn link(payload: &[u8]) -> Option<NamedLink> {
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        up: u32_at(payload, 8)? & IFF_UP != 0,
        master: None,
        peer_index: None,
        kind: String::new(),
        mtu: 0,
    };
    let mut lower = None;
    let mut peer_netns = None;
    for (kind, value) in attributes(payload, IFINFOMSG) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINK => lower = u32_at(value, 0),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINKINFO => link.kind = info_kind(attributes(value, 0)),
            IFLA_LINK_NETNSID => peer_netns = u32_at(value, 0).map(u32::cast_signed),
            _ => {}
        }
    }
    // For other kinds IFLA_LINK is the device below (vlan, macvlan), in this namespace or not.
    if link.kind == "veth" {
        link.peer_index = lower;
    } else {
        peer_netns = None;
    }
    Some(NamedLink { link, peer_netns })
}

fn info_kind(mut info: Attributes<'_>) -> String {
    info.find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, value)| text(value)).unwrap_or_default()
}

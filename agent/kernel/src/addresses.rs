//! Interface addresses of the calling thread's namespace (RTM_GETADDR), both families.

use std::net::IpAddr;

use ipnet::IpNet;
use model::node_state::{InterfaceAddress, Link};

use crate::error::Error;
use crate::nl::{Netlink, address, attributes, u32_at};

/// `struct ifaddrmsg` (`linux/if_addr.h`): family, prefix length, flags, scope, index.
const IFADDRMSG: usize = 8;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// All addresses; `links` gives the names.
pub fn read(netlink: &mut Netlink, links: &[Link]) -> Result<Vec<InterfaceAddress>, Error> {
    let request = "dump addresses";
    netlink
        .dump(request, RTM_GETADDR, &[0; IFADDRMSG])?
        .iter()
        .map(|message| interface_address(&message.payload, links).ok_or(Error::NetlinkMalformed { request }))
        .collect()
}

/// What a pod or node is known by: not loopback, not link-local.
pub fn global(addresses: &[InterfaceAddress]) -> Vec<IpAddr> {
    addresses.iter().map(|entry| entry.address.addr()).filter(|address| is_global(*address)).collect()
}

fn is_global(address: IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        }
}

fn interface_address(payload: &[u8], links: &[Link]) -> Option<InterfaceAddress> {
    let prefix = *payload.get(1)?;
    let index = u32_at(payload, 4)?;
    let mut peer = None;
    let mut local = None;
    for (kind, value) in attributes(payload, IFADDRMSG) {
        match kind {
            IFA_ADDRESS => peer = address(value),
            // With a point-to-point peer IFA_ADDRESS is the peer's; the own one is always IFA_LOCAL in IPv4.
            IFA_LOCAL => local = address(value),
            _ => {}
        }
    }
    let interface = links
        .iter()
        .find(|link| link.index == index)
        .map_or_else(|| format!("#{index}"), |link| link.name.clone());
    Some(InterfaceAddress { interface, address: IpNet::new(local.or(peer)?, prefix).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_name_nobody() {
        let entries: Vec<_> =
            ["127.0.0.1/8", "10.244.1.5/24", "fe80::1/64", "fd00::5/64", "::1/128", "169.254.1.1/32"]
                .iter()
                .map(|text| InterfaceAddress {
                    interface: "eth0".into(),
                    address: text.parse().expect("a prefix"),
                })
                .collect();
        let expected: Vec<IpAddr> = vec!["10.244.1.5".parse().expect("v4"), "fd00::5".parse().expect("v6")];
        assert_eq!(global(&entries), expected);
    }
}

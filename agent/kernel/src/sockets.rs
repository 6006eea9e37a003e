//! Listening sockets of a network namespace (sock_diag), with the processes that hold them where /proc tells.
//!
//! Not for connections; those are the business of a later reader.

mod process;

use std::net::SocketAddr;

use model::node_state::Listener;
use model::probe::ListenerReport;
use model::{Gap, Protocol};

use crate::enter::in_netns;
use crate::error::Error;
use crate::machine::now;
use crate::netns::Known;
use crate::nl::{self, Netlink, address, attributes, u32_at};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2` and `struct inet_diag_msg` (`linux/inet_diag.h`).
const REQUEST: usize = 56;
const ANSWER: usize = 72;
const INET_DIAG_SKV6ONLY: u16 = 11;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// A listener and the number its processes know it by.
#[derive(Debug)]
struct Found {
    listener: Listener,
    inode: u32,
}

/// All listeners of a protocol in the namespace. For UDP: sockets bound and not connected.
pub fn read_listeners(netns: &Known, protocol: Protocol) -> Result<ListenerReport, Gap> {
    let what = || format!("{} listeners in network namespace {}", protocol.upper(), netns.netns.inode);
    let read_at = now();
    let found = in_netns(&netns.handle, || dump(protocol))
        .and_then(|result| result)
        .map_err(|error| Gap::new(what(), error.in_words()))?;
    let inodes: Vec<u32> = found.iter().map(|entry| entry.inode).collect();
    let processes = process::holders(netns.netns.inode, &inodes);
    let mut listeners: Vec<Listener> = found
        .into_iter()
        .map(|Found { mut listener, inode }| {
            if let Some(process) = processes.get(&inode) {
                listener.pid = Some(process.pid);
                listener.process.clone_from(&process.name);
            }
            listener
        })
        .collect();
    listeners.sort();
    Ok(ListenerReport { listeners, read_at })
}

/// Whether sock_diag answers in this namespace, for the preflight.
pub(crate) fn probe() -> Result<(), Error> {
    dump(Protocol::Tcp).map(drop)
}

fn dump(protocol: Protocol) -> Result<Vec<Found>, Error> {
    let mut netlink = Netlink::open(nl::SOCK_DIAG)?;
    let request = match protocol {
        Protocol::Tcp => "dump TCP sockets",
        Protocol::Udp => "dump UDP sockets",
        Protocol::Sctp => "dump SCTP sockets",
    };
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for message in netlink.dump(request, SOCK_DIAG_BY_FAMILY, &diag_request(family, protocol))? {
            let entry = listener(&message.payload, protocol).ok_or(Error::NetlinkMalformed { request })?;
            // A UDP socket that is bound to no port receives nothing.
            if entry.listener.local.port() != 0 {
                found.push(entry);
            }
        }
    }
    Ok(found)
}

fn diag_request(family: u8, protocol: Protocol) -> [u8; REQUEST] {
    // An unconnected UDP socket is in the state that TCP calls CLOSE (udp_diag_dump in net/ipv4/udp_diag.c).
    let states: u32 = 1 << if protocol == Protocol::Udp { TCP_CLOSE } else { TCP_LISTEN };
    let mut request = [0; REQUEST];
    request[0] = family;
    request[1] = protocol.number();
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// `None` if malformed.
fn listener(payload: &[u8], protocol: Protocol) -> Option<Found> {
    let family = *payload.first()?;
    let port = u16::from_be_bytes(payload.get(4..6)?.try_into().ok()?);
    let local = match family {
        AF_INET => address(payload.get(8..12)?)?,
        _ => address(payload.get(8..24)?)?,
    };
    let queued = u32_at(payload, 56)?;
    let backlog = u32_at(payload, 60)?;
    let inode = u32_at(payload, 68)?;
    let v6only = attributes(payload, ANSWER)
        .find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY)
        .and_then(|(_, value)| value.first().map(|only| *only != 0));
    // For UDP the two numbers are bytes in the buffers, not connections.
    let (queued, backlog) = if protocol == Protocol::Udp { (0, 0) } else { (queued, backlog) };
    let listener = Listener {
        protocol,
        local: SocketAddr::new(local, port),
        v6only: if family == AF_INET6 { v6only } else { None },
        queued,
        backlog,
        process: None,
        pid: None,
    };
    Some(Found { listener, inode })
}

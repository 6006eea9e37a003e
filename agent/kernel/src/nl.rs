//! The one netlink request and dump loop: torn dumps retried, the kernel's own error text kept, buffers that fit.
//!
//! It knows headers and attributes only; what a message means is decided beside each source.
//! Attributes are read one by one instead of through ready-made types, so that what is not modelled is seen as such.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::error::Error;

/// Routing, links, addresses (`linux/netlink.h`).
pub const ROUTE: isize = 0;
/// Socket diagnostics.
pub const SOCK_DIAG: isize = 4;
/// Netfilter.
pub const NETFILTER: isize = 12;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The types below are netlink's own.
const NLMSG_MIN_TYPE: u16 = 16;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER: usize = 16;
/// Rule sets under constant change (kube-proxy syncing every second) settle within one retry; three is generous.
const ATTEMPTS: u32 = 3;
/// The kernel answers from memory; only a dead machine takes longer.
const TIMEOUT_SECONDS: i64 = 5;
/// Twice what the kernel puts into one datagram of a dump at most (`netlink_recvmsg` in net/netlink/af_netlink.c), and
/// it fills as much as it saw asked for.
const DATAGRAM: usize = 64 << 10;

/// One message of an answer.
#[derive(Debug)]
pub struct Message {
    /// Everything behind the netlink header.
    pub payload: Vec<u8>,
}

/// A netlink socket of the calling thread's network namespace. It lives for one read.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    /// Room for a datagram, kept from one dump to the next.
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of one netlink family.
    pub fn open(family: isize) -> Result<Self, Error> {
        let failed = |source| Error::NetlinkSocket { operation: "open", source };
        let mut socket = Socket::new(family).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        // Older kernels refuse these; the answers are then only less detailed.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_rx_buf_sz(1_u32 << 20);
        // SAFETY: the descriptor is open for as long as `socket` lives, which outlasts this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(TIMEOUT_SECONDS, 0))
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// Sends a dump request and collects the whole answer; a dump that changed under way is read again.
    pub fn dump(&mut self, request: &'static str, kind: u16, body: &[u8]) -> Result<Vec<Message>, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(messages) = self.dump_once(request, kind, body)? {
                return Ok(messages);
            }
        }
        Err(Error::Torn { request, attempts: ATTEMPTS })
    }

    /// Sends a request that is answered by one message.
    pub fn get(&mut self, request: &'static str, kind: u16, body: &[u8]) -> Result<Message, Error> {
        self.send(kind, NLM_F_REQUEST, body)?;
        loop {
            for part in split(&self.receive()?) {
                let part = part.ok_or(Error::NetlinkMalformed { request })?;
                if part.sequence != self.sequence {
                    continue;
                }
                if part.kind == NLMSG_ERROR {
                    check(request, &part)?;
                    return Err(Error::NetlinkMalformed { request });
                }
                return Ok(Message { payload: part.payload.to_vec() });
            }
        }
    }

    /// `None` if the dump was interrupted by a change.
    fn dump_once(
        &mut self,
        request: &'static str,
        kind: u16,
        body: &[u8],
    ) -> Result<Option<Vec<Message>>, Error> {
        let mut messages = Vec::new();
        let whole = self.dump_each(request, kind, body, &mut |datagram| {
            for part in split(datagram).flatten().filter(|part| part.kind >= NLMSG_MIN_TYPE) {
                messages.push(Message { payload: part.payload.to_vec() });
            }
        })?;
        Ok(whole.then_some(messages))
    }

    /// Sends a dump request and hands on every datagram of the answer, headers and all; a well-formed datagram is of this
    /// dump alone. Says whether nothing changed under way.
    pub fn dump_each(
        &mut self,
        request: &'static str,
        kind: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Error> {
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)?;
        let mut torn = false;
        let mut datagram = std::mem::take(&mut self.buffer);
        loop {
            self.receive_into(request, &mut datagram)?;
            let (mut ours, mut done) = (true, false);
            for part in split(&datagram) {
                let part = part.ok_or(Error::NetlinkMalformed { request })?;
                ours &= part.sequence == self.sequence;
                if !ours {
                    continue;
                }
                torn |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    NLMSG_DONE => {
                        check(request, &part)?;
                        done = true;
                    }
                    NLMSG_ERROR => {
                        check(request, &part)?;
                        return Err(Error::NetlinkMalformed { request });
                    }
                    _ => {}
                }
            }
            if ours {
                take(&datagram);
            }
            if done {
                self.buffer = datagram;
                return Ok(!torn);
            }
        }
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Error::NetlinkSocket {
            operation: "send",
            source: io::ErrorKind::InvalidInput.into(),
        })?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(body);
        match self.socket.send(&message, 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::NetlinkSocket { operation: "send", source }),
        }
    }

    fn receive_into(&self, request: &'static str, datagram: &mut Vec<u8>) -> Result<(), Error> {
        datagram.clear();
        datagram.reserve(DATAGRAM);
        loop {
            match self.socket.recv(datagram, libc::MSG_TRUNC) {
                Ok(length) if length == datagram.len() => return Ok(()),
                Ok(_) => return Err(Error::NetlinkMalformed { request }),
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::NetlinkSocket { operation: "receive", source }),
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>, Error> {
        loop {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => return Ok(bytes),
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::NetlinkSocket { operation: "receive", source }),
            }
        }
    }
}

/// The attributes behind a fixed part of `skip` bytes, as type (flag bits removed) and value.
pub fn attributes(payload: &[u8], skip: usize) -> Attributes<'_> {
    Attributes { rest: payload.get(align(skip)..).unwrap_or_default() }
}

/// Iterator over attributes; it ends at the first malformed one.
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)?;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        // The two upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        Some((kind & 0x3fff, value))
    }
}

/// One attribute, ready to be sent.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(align(4 + value.len()));
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(align(4 + value.len()), 0);
    bytes
}

/// A host-order 16-bit number at an offset.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A host-order 32-bit number at an offset.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A network-order 32-bit number, as nfnetlink sends them.
pub fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// A NUL-terminated text.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An address of four or sixteen bytes.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// The messages of a datagram, each as a whole and without its header; netlink's own are left out.
pub fn parts(datagram: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let parts = split(datagram).flatten().filter(|part| part.kind >= NLMSG_MIN_TYPE);
    parts.map(|part| (part.whole, part.payload))
}

struct Part<'a> {
    /// With its header, padded as in the datagram.
    whole: &'a [u8],
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of one datagram; a `None` item means that the rest is malformed.
fn split(datagram: &[u8]) -> impl Iterator<Item = Option<Part<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = (|| {
            let length = u32_at(rest, 0)? as usize;
            Some((
                Part {
                    whole: rest.get(..align(length)).unwrap_or(rest),
                    kind: u16_at(rest, 4)?,
                    flags: u16_at(rest, 6)?,
                    sequence: u32_at(rest, 8)?,
                    payload: rest.get(HEADER..length)?,
                },
                align(length),
            ))
        })();
        let Some((part, consumed)) = part else {
            rest = &[];
            return Some(None);
        };
        rest = rest.get(consumed..).unwrap_or_default();
        Some(Some(part))
    })
}

/// Turns an error message, or a dump's final status, into an error.
fn check(request: &'static str, part: &Part<'_>) -> Result<(), Error> {
    let status = u32_at(part.payload, 0).map_or(0, u32::cast_signed);
    if status >= 0 {
        return Ok(());
    }
    Err(Error::NetlinkRefused {
        request,
        text: extended_text(part),
        source: io::Error::from_raw_os_error(status.saturating_neg()),
    })
}

/// NLMSGERR_ATTR_MSG, which follows the request that the kernel echoes unless it is capped.
fn extended_text(part: &Part<'_>) -> String {
    if part.flags & NLM_F_ACK_TLVS == 0 {
        return String::new();
    }
    let skip = match part.kind {
        NLMSG_DONE => 4,
        _ if part.flags & NLM_F_CAPPED != 0 => 4 + HEADER,
        _ => 4 + u32_at(part.payload, 4).map_or(HEADER, |length| length as usize),
    };
    attributes(part.payload, skip)
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, value)| text(value))
        .unwrap_or_default()
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_at_the_first_malformed_one() {
        let mut bytes = attribute(3, b"eth0\0");
        bytes.extend_from_slice(&attribute(0x8001, &[1, 2, 3, 4]));
        bytes.extend_from_slice(&[200, 0, 9, 0]);
        let found: Vec<_> = attributes(&bytes, 0).collect();
        assert_eq!(found, vec![(3, &b"eth0\0"[..]), (1, &[1_u8, 2, 3, 4][..])]);
    }

    #[test]
    fn a_short_datagram_is_malformed_and_not_a_panic() {
        for length in 1..HEADER {
            let bytes = vec![0xff; length];
            assert!(split(&bytes).next().expect("one item").is_none());
        }
    }

    #[test]
    fn a_refusal_carries_the_kernels_text() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER]);
        payload.extend_from_slice(&attribute(NLMSGERR_ATTR_MSG, b"Invalid header\0"));
        let part = Part {
            whole: &[],
            kind: NLMSG_ERROR,
            flags: NLM_F_CAPPED | NLM_F_ACK_TLVS,
            sequence: 1,
            payload: &payload,
        };
        let error = check("dump links", &part).expect_err("refused");
        assert_eq!(error.to_string(), "dump links (Invalid header)");
        assert_eq!(error.errno(), Some(22));
    }
}

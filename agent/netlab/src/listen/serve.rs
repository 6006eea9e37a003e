//! What listeners do: take connections or datagrams, note who came, answer.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};

use super::Listen;

/// A connection that was answered and waits for the other side's end, so that unread input does not turn into a RST.
struct Answered {
    stream: TcpStream,
    since: Instant,
}

/// Clients of the lab close at once; whoever does not has been answered long ago.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes connections and answers each until it is to stop.
pub fn connections(listener: &TcpListener, wanted: &Listen, stopped: &OwnedFd, log: &Mutex<Vec<SocketAddr>>) {
    let mut answered: Vec<Answered> = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        if wanted.accept {
            fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(answered.iter().map(|entry| PollFd::new(entry.stream.as_fd(), PollFlags::POLLIN)));
        let timeout = if answered.is_empty() { PollTimeout::NONE } else { PollTimeout::from(500_u16) };
        if poll(&mut fds, timeout).is_err_and(|errno| errno != Errno::EINTR) {
            return;
        }
        let stop = fds.first().is_some_and(|fd| fd.any().unwrap_or(true));
        drop(fds);
        if stop {
            return;
        }
        answered.retain_mut(|entry| entry.since.elapsed() < PATIENCE && !ended(&mut entry.stream));
        if !wanted.accept {
            continue;
        }
        while let Ok((mut stream, peer)) = listener.accept() {
            note(log, peer);
            // A client that is gone already misses its answer; the log has it.
            let _ = stream.write_all(&wanted.answer).and_then(|()| stream.shutdown(Shutdown::Write));
            if stream.set_nonblocking(true).is_ok() {
                answered.push(Answered { stream, since: Instant::now() });
            }
        }
    }
}

/// Answers datagrams, each from the address it came to, until it is to stop.
pub fn datagrams(socket: &UdpSocket, wanted: &Listen, stopped: &OwnedFd, log: &Mutex<Vec<SocketAddr>>) {
    loop {
        let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        if wanted.accept {
            fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        }
        if poll(&mut fds, PollTimeout::NONE).is_err_and(|errno| errno != Errno::EINTR) {
            return;
        }
        if fds.first().is_some_and(|fd| fd.any().unwrap_or(true)) {
            return;
        }
        if wanted.accept {
            while let Ok((peer, to)) = receive(socket) {
                note(log, peer);
                // Rules may forbid it and the peer may be gone; the log has it either way.
                let _ = reply(socket, &wanted.answer, peer, to);
            }
        }
    }
}

/// To which address of its own a socket got a datagram. A socket bound to all addresses would answer from the one that
/// the route back prefers, and the peer would take that for somebody else's.
#[derive(Clone, Copy)]
enum Own {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
    Unknown,
}

fn receive(socket: &UdpSocket) -> nix::Result<(SocketAddr, Own)> {
    // What is asked does not matter, so the rest of a longer datagram is cut without harm.
    let mut question = [0; 1];
    let mut parts = [IoSliceMut::new(&mut question)];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let got =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let own = got.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Own::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Own::V6(info)),
        _ => None,
    });
    let peer = got.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    });
    Ok((peer.ok_or(Errno::EAFNOSUPPORT)?, own.unwrap_or(Own::Unknown)))
}

fn reply(socket: &UdpSocket, answer: &[u8], peer: SocketAddr, own: Own) -> nix::Result<usize> {
    let part = [IoSlice::new(answer)];
    let to = SockaddrStorage::from(peer);
    let send = |messages: &[ControlMessage]| {
        sendmsg(socket.as_raw_fd(), &part, messages, MsgFlags::MSG_DONTWAIT, Some(&to))
    };
    // The way out is the routes' choice, as for a server that knows nothing of interfaces.
    match own {
        Own::V4(info) => {
            send(&[ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo { ipi_ifindex: 0, ..info })])
        }
        Own::V6(info) => {
            send(&[ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_ifindex: 0, ..info })])
        }
        Own::Unknown => send(&[]),
    }
}

fn note(log: &Mutex<Vec<SocketAddr>>, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    log.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
}

/// Reads what is there; whether the other side has ended.
fn ended(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match io::Read::read(stream, &mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

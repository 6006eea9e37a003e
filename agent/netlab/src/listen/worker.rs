//! The thread that holds a socket inside a namespace. What it does with the socket is its caller's business.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use model::Protocol;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};
use nix::unistd::pipe2;

use super::Listen;
use crate::error::Error;
use crate::netns::Netns;

/// An open socket, bound and not blocking.
#[derive(Debug)]
pub enum Socket {
    /// Listening.
    Tcp(TcpListener),
    /// Telling for each datagram to which address it came.
    Udp(UdpSocket),
}

/// A thread that holds a listening socket inside a namespace until it is told to stop.
#[derive(Debug)]
pub struct Worker {
    /// Closed, it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Opens the socket on a new thread inside and lets `run` work with it until the descriptor it gets is closed.
    pub fn start(
        netns: &Netns,
        listen: Listen,
        run: impl FnOnce(Socket, &OwnedFd) + Send + 'static,
    ) -> Result<Self, Error> {
        if listen.protocol == Protocol::Sctp {
            return Err(Error::Unsupported { object: format!("listener {listen}"), what: "SCTP".into() });
        }
        let text = listen.to_string();
        let failed = |source| Error::Listen { netns: netns.name().to_owned(), listen: text.clone(), source };
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let (sender, receiver) = mpsc::channel();
        let inside = netns.clone();
        let thread = thread::Builder::new()
            .name(format!("listen-{}", listen.address.port()))
            .spawn(move || {
                let opened = inside.enter_this_thread().and_then(|()| {
                    open(&listen).map_err(|source| Error::Listen {
                        netns: inside.name().to_owned(),
                        listen: listen.to_string(),
                        source,
                    })
                });
                match opened {
                    Ok(socket) => {
                        // The receiver waits for exactly this.
                        let _ = sender.send(Ok(()));
                        run(socket, &stopped);
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error));
                    }
                }
            })
            .map_err(failed)?;
        receiver.recv().map_err(|_| Error::Thread { netns: netns.name().to_owned() })??;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and the socket is closed either way.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until a connection waits; `false` once the worker is to stop.
pub fn connection_waits(listener: &TcpListener, stop: &OwnedFd) -> bool {
    let mut fds =
        [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return !fds[0].any().unwrap_or(true),
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

fn open(wanted: &Listen) -> io::Result<Socket> {
    let family = if wanted.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let tcp = wanted.protocol == Protocol::Tcp;
    let fd = socket(family, if tcp { SockType::Stream } else { SockType::Datagram }, flags, None)?;
    if tcp {
        // Connections of a listener before it may linger in TIME_WAIT. With UDP it would let two sockets share a port.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    } else if wanted.address.is_ipv4() {
        setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    match wanted.address {
        SocketAddr::V4(address) => bind(fd.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => {
            setsockopt(&fd, sockopt::Ipv6V6Only, &wanted.v6only)?;
            bind(fd.as_raw_fd(), &SockaddrIn6::from(address))?;
        }
    }
    if tcp {
        listen(&fd, Backlog::new(wanted.backlog)?)?;
        return Ok(Socket::Tcp(TcpListener::from(fd)));
    }
    Ok(Socket::Udp(UdpSocket::from(fd)))
}

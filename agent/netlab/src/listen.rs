//! Real listeners in a namespace, each held by a thread of this process that entered it.
//!
//! Threads and not processes: they need no binary of their own, end with the owner however it ends, and hold nothing
//! but their sockets. The price is that the namespace has no process, so nobody can name one as the holder.

mod serve;
mod text;
mod worker;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use model::Protocol;

use crate::error::Error;
use crate::netns::Netns;

pub(crate) use worker::{Socket, Worker, connection_waits};

/// What to listen on and how to behave. Its text form, which `parse` takes and `Display` gives, is all but the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP or UDP. SCTP is refused: few kernels have it, and nothing here could test it.
    pub protocol: Protocol,
    /// Address and port.
    pub address: SocketAddr,
    /// For an IPv6 address: whether to shut IPv4 out.
    pub v6only: bool,
    /// How many connections may wait; of no meaning for UDP.
    pub backlog: i32,
    /// Whether waiting connections are ever taken; without it the queue fills and stays full. With UDP: whether
    /// datagrams are read and answered.
    pub accept: bool,
    /// What each connection is told before it is closed, and what each datagram is answered with.
    pub answer: Vec<u8>,
}

impl Listen {
    /// How many connections may wait unless said otherwise.
    pub const BACKLOG: i32 = 128;

    /// TCP on all IPv4 addresses, accepting, and answering with a name.
    pub fn on(port: u16, answer: impl Into<Vec<u8>>) -> Self {
        Self {
            protocol: Protocol::Tcp,
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            v6only: false,
            backlog: Self::BACKLOG,
            accept: true,
            answer: answer.into(),
        }
    }

    /// The same on loopback alone.
    pub fn on_loopback(port: u16, answer: impl Into<Vec<u8>>) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..Self::on(port, answer) }
    }

    /// The same on all addresses of both families, as most servers listen.
    pub fn on_all(port: u16, answer: impl Into<Vec<u8>>) -> Self {
        Self { address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), ..Self::on(port, answer) }
    }

    /// The same by UDP.
    #[must_use]
    pub const fn udp(mut self) -> Self {
        self.protocol = Protocol::Udp;
        self
    }
}

/// A listener at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Listening {
    worker: Worker,
    accepted: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Listening {
    /// Where the connections taken, or datagrams read, so far came from, as the listener saw it: after any source
    /// translation. IPv4 peers are IPv4 addresses whatever the socket's family.
    pub fn accepted(&self) -> Vec<SocketAddr> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the listener and waits until its socket is closed.
    pub fn stop(&mut self) {
        self.worker.stop();
    }
}

impl Netns {
    /// Opens a listener inside.
    pub fn listen(&self, listen: Listen) -> Result<Listening, Error> {
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&accepted);
        let wanted = listen.clone();
        let worker = Worker::start(self, listen, move |socket, stop| match socket {
            Socket::Tcp(listener) => serve::connections(&listener, &wanted, stop, &log),
            Socket::Udp(socket) => serve::datagrams(&socket, &wanted, stop, &log),
        })?;
        Ok(Listening { worker, accepted })
    }
}

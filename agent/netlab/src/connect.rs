//! One real TCP connection attempt, or one UDP question, from inside a namespace, and how it ended.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::error::Error;
use crate::netns::Netns;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The handshake was completed, or the datagram was answered.
    Connected,
    /// A RST or an ICMP port unreachable came back.
    Refused,
    /// Nothing came back in the time given.
    TimedOut,
    /// Another error, by errno: EHOSTUNREACH, ENETUNREACH, EPERM …
    Unreachable(i32),
}

/// An attempt's outcome, what the other side said, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResult {
    /// How it ended.
    pub outcome: ConnectOutcome,
    /// What the listener answered, which tells the listeners apart; empty unless connected.
    pub answer: Vec<u8>,
    /// From the first packet to the outcome.
    pub took: Duration,
}

/// A listener's answer is a name; more is not read.
const ANSWER_LIMIT: u16 = 4096;

impl Netns {
    /// Connects once from inside.
    pub fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<ConnectResult, Error> {
        self.enter(|| attempt(address, timeout))?.map_err(|source| Error::Connect {
            netns: self.name().to_owned(),
            address,
            source,
        })
    }

    /// Sends one datagram from inside and waits for an answer to it. Unlike TCP nothing is sent again, so a datagram lost
    /// on the way is `TimedOut`.
    pub fn exchange_udp(&self, address: SocketAddr, timeout: Duration) -> Result<ConnectResult, Error> {
        self.enter(|| exchange(address, timeout))?.map_err(|source| Error::Connect {
            netns: self.name().to_owned(),
            address,
            source,
        })
    }
}

/// Listeners do not look at it.
const QUESTION: &[u8] = b"?";

fn exchange(address: SocketAddr, timeout: Duration) -> io::Result<ConnectResult> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    // Without it only a port unreachable is told; host and net unreachable pass for silence (`__udp4_lib_err` in
    // net/ipv4/udp.c).
    match address {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    socket.set_read_timeout(Some(timeout))?;
    let mut answer = vec![0; ANSWER_LIMIT.into()];
    let start = Instant::now();
    let answered =
        socket.connect(address).and_then(|()| socket.send(QUESTION)).and_then(|_| socket.recv(&mut answer));
    let took = start.elapsed();
    answer.truncate(answered.as_ref().copied().unwrap_or(0));
    let outcome = match answered {
        Ok(_) => ConnectOutcome::Connected,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ConnectOutcome::TimedOut,
        Err(error) => outcome(&error)?,
    };
    Ok(ConnectResult { outcome, answer, took })
}

fn attempt(address: SocketAddr, timeout: Duration) -> io::Result<ConnectResult> {
    let start = Instant::now();
    let tried = TcpStream::connect_timeout(&address, timeout);
    let took = start.elapsed();
    let (outcome, answer) = match tried {
        Ok(stream) => (ConnectOutcome::Connected, answer(stream, timeout)?),
        Err(error) => (outcome(&error)?, Vec::new()),
    };
    Ok(ConnectResult { outcome, answer, took })
}

fn outcome(error: &io::Error) -> io::Result<ConnectOutcome> {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => Ok(ConnectOutcome::Refused),
        (io::ErrorKind::TimedOut, _) => Ok(ConnectOutcome::TimedOut),
        (_, Some(errno)) => Ok(ConnectOutcome::Unreachable(errno)),
        (kind, None) => Err(kind.into()),
    }
}

/// A listener that never accepts completes handshakes and says nothing: that is no answer, not an error.
fn answer(stream: TcpStream, timeout: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout.min(Duration::from_secs(1))))?;
    let mut answer = Vec::new();
    let _ = stream.take(ANSWER_LIMIT.into()).read_to_end(&mut answer);
    Ok(answer)
}

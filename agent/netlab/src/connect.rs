//! One real TCP connection attempt from inside a namespace, and how it ended.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::netns::Netns;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The handshake was completed.
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
    /// From the SYN to the outcome.
    pub took: Duration,
}

/// A listener's answer is a name; more is not read.
const ANSWER_LIMIT: u64 = 4096;

impl Netns {
    /// Connects once from inside.
    pub fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<ConnectResult, Error> {
        self.enter(|| attempt(address, timeout))?.map_err(|source| Error::Connect {
            netns: self.name().to_owned(),
            address,
            source,
        })
    }
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
    let _ = stream.take(ANSWER_LIMIT).read_to_end(&mut answer);
    Ok(answer)
}

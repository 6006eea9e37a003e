//! What can go wrong while building or using a lab.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::Key;

/// A step of the lab that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tool could not be started.
    #[error("start `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A tool failed.
    #[error("`{command}`: {status}: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Exit status.
        status: String,
        /// What it complained of.
        stderr: String,
    },
    /// A file could not be used.
    #[error("{operation} {}", path.display())]
    File {
        /// `open`, `write`, `lock` …
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A network namespace could not be entered.
    #[error("enter network namespace {netns}")]
    Enter {
        /// Its name.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// A thread of the lab ended early.
    #[error("a thread in network namespace {netns} ended early")]
    Thread {
        /// Its name.
        netns: String,
    },
    /// A socket could not be opened.
    #[error("listen on {listen} in network namespace {netns}")]
    Listen {
        /// Its name.
        netns: String,
        /// What was wanted.
        listen: String,
        /// Why.
        source: io::Error,
    },
    /// A text that describes no listener.
    #[error(
        "listener `{text}`: {what}; allowed is tcp or udp, `:`, a port or ADDRESS:PORT or [ADDRESS]:PORT, then any of \
         `,backlog=N` (tcp), `,v6only` (an IPv6 address) and `,deaf`"
    )]
    ListenText {
        /// The text.
        text: String,
        /// What is wrong about it.
        what: String,
    },
    /// A connection attempt could not be made at all.
    #[error("connect to {address} from network namespace {netns}")]
    Connect {
        /// Its name.
        netns: String,
        /// Wanted address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Something that the kernel does by itself was not done in time.
    #[error("after {} s it is still not so that {what}; last seen: {seen}", after.as_secs())]
    NotReady {
        /// What was waited for, as a sentence.
        what: String,
        /// For how long.
        after: Duration,
        /// Its last state.
        seen: String,
    },
    /// No such node.
    #[error("the lab has no node {0}")]
    NoNode(String),
    /// No such pod.
    #[error("the lab has no pod {0}")]
    NoPod(Key),
    /// The name or address is taken.
    #[error("{0} exists already in the lab")]
    Taken(String),
    /// The nodes' addresses cannot share one network.
    #[error("node addresses {first} and {other} share no network of at least 8 bits prefix")]
    NoCommonNetwork {
        /// One of them.
        first: IpAddr,
        /// The one that does not fit.
        other: IpAddr,
    },
    /// Something the lab does not build.
    #[error("{object}: {what} is not supported by the lab")]
    Unsupported {
        /// Which object.
        object: String,
        /// Which field or value.
        what: String,
    },
    /// An object lacks what the lab needs.
    #[error("{object}: {what} is missing")]
    Missing {
        /// Which object.
        object: String,
        /// Which field.
        what: &'static str,
    },
}

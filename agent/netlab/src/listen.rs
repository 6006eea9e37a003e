//! Real listeners in a namespace, each held by a thread of this process that entered it.
//!
//! Threads and not processes: they need no binary of their own, end with the owner however it ends, and hold nothing
//! but their sockets. The price is that the namespace has no process, so nobody can name one as the holder.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};
use nix::unistd::pipe2;

use crate::error::Error;
use crate::netns::Netns;

/// What to listen on and how to behave.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// For an IPv6 address: whether to shut IPv4 out.
    pub v6only: bool,
    /// How many connections may wait.
    pub backlog: i32,
    /// Whether waiting connections are ever taken; without it the queue fills and stays full.
    pub accept: bool,
    /// What each connection is told before it is closed.
    pub answer: Vec<u8>,
}

impl Listen {
    /// All IPv4 addresses, accepting, and answering with a name.
    pub fn on(port: u16, answer: impl Into<Vec<u8>>) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            v6only: false,
            backlog: 128,
            accept: true,
            answer: answer.into(),
        }
    }

    /// The same on loopback alone.
    pub fn on_loopback(port: u16, answer: impl Into<Vec<u8>>) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..Self::on(port, answer) }
    }
}

/// A listener at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Listening {
    worker: Worker,
    accepted: Arc<Mutex<Vec<SocketAddr>>>,
}

/// A thread that holds a listening socket inside a namespace until it is told to stop.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Closed, it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Where the connections taken so far came from, as the listener saw it: after any source translation.
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
        let worker = Worker::start(self, listen, move |listener, stop| serve(listener, &wanted, stop, &log))?;
        Ok(Listening { worker, accepted })
    }
}

impl Worker {
    /// Opens the socket on a new thread inside and lets `run` work with it until the descriptor it gets is closed.
    pub(crate) fn start(
        netns: &Netns,
        listen: Listen,
        run: impl FnOnce(&TcpListener, &OwnedFd) + Send + 'static,
    ) -> Result<Self, Error> {
        let address = listen.address;
        let failed = |source| Error::Listen { netns: netns.name().to_owned(), address, source };
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let (sender, receiver) = mpsc::channel();
        let inside = netns.clone();
        let thread = thread::Builder::new()
            .name(format!("listen-{}", address.port()))
            .spawn(move || {
                let opened = inside.enter_this_thread().and_then(|()| {
                    open(&listen).map_err(|source| Error::Listen {
                        netns: inside.name().to_owned(),
                        address,
                        source,
                    })
                });
                match opened {
                    Ok(listener) => {
                        // The receiver waits for exactly this.
                        let _ = sender.send(Ok(()));
                        run(&listener, &stopped);
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

    fn stop(&mut self) {
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
pub(crate) fn connection_waits(listener: &TcpListener, stop: &OwnedFd) -> bool {
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

fn open(wanted: &Listen) -> io::Result<TcpListener> {
    let family = if wanted.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    match wanted.address {
        SocketAddr::V4(address) => bind(fd.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => {
            setsockopt(&fd, sockopt::Ipv6V6Only, &wanted.v6only)?;
            bind(fd.as_raw_fd(), &SockaddrIn6::from(address))?;
        }
    }
    listen(&fd, Backlog::new(wanted.backlog)?)?;
    Ok(TcpListener::from(fd))
}

/// A connection that was answered and waits for the other side's end, so that unread input does not turn into a RST.
struct Answered {
    stream: TcpStream,
    since: Instant,
}

/// Clients of the lab close at once; whoever does not has been answered long ago.
const PATIENCE: Duration = Duration::from_secs(2);

fn serve(listener: &TcpListener, wanted: &Listen, stopped: &OwnedFd, log: &Mutex<Vec<SocketAddr>>) {
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
            log.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
            // A client that is gone already misses its answer; the log has it.
            let _ = stream.write_all(&wanted.answer).and_then(|()| stream.shutdown(Shutdown::Write));
            if stream.set_nonblocking(true).is_ok() {
                answered.push(Answered { stream, since: Instant::now() });
            }
        }
    }
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

//! Entering another network namespace: always on a thread made for it, which ends instead of coming back.
//!
//! Not the place that knows which namespaces exist or whose they are.
//!
//! A handle holds paths, not descriptors, so that nothing keeps a pod's namespace alive between two reads. A path can
//! lead elsewhere by the next read (process ids and inode numbers are reused at once), so the net cookie is compared
//! after entering; the cookie is never reused while the machine is up.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// A way into one network namespace.
#[derive(Clone, Debug)]
pub struct NetnsHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cookie: u64,
    inode: u32,
    /// Empty for the agent's own namespace, which needs no entering.
    paths: Vec<PathBuf>,
}

impl NetnsHandle {
    /// The namespace that the process runs in.
    pub(crate) fn own(cookie: u64, inode: u32) -> Self {
        Self(Arc::new(Inner { cookie, inode, paths: Vec::new() }))
    }

    /// Another namespace, reachable by any of the paths.
    pub(crate) fn other(cookie: u64, inode: u32, paths: Vec<PathBuf>) -> Self {
        Self(Arc::new(Inner { cookie, inode, paths }))
    }

    /// The namespace's net cookie.
    pub fn cookie(&self) -> u64 {
        self.0.cookie
    }

    /// Its inode number.
    pub fn inode(&self) -> u32 {
        self.0.inode
    }

    /// The paths that led to it when it was found; empty for the process's own namespace.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0.paths
    }

    fn in_words(&self) -> String {
        self.0.inode.to_string()
    }

    fn enter(&self) -> Result<(), Error> {
        let mut last = Error::Gone { netns: self.in_words() };
        for path in &self.0.paths {
            match enter_path(path) {
                Ok(cookie) if cookie == self.0.cookie => return Ok(()),
                // The path leads elsewhere by now, or nowhere.
                Ok(_) | Err(Error::Read { .. }) => {}
                Err(error) => last = error,
            }
        }
        if self.0.paths.is_empty() && own_cookie()? == self.0.cookie {
            return Ok(());
        }
        Err(last)
    }
}

/// Runs `read` on a new thread inside the namespace and waits for it. Sockets opened in `read` belong to the namespace
/// and must be closed in it; programs started in `read` run in the namespace.
pub fn in_netns<T, F>(handle: &NetnsHandle, read: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    discarded_thread(&handle.in_words(), || {
        handle.enter()?;
        Ok(read())
    })?
}

/// Runs code on a thread that ends afterwards, so that it may change its namespace freely.
pub(crate) fn discarded_thread<T, F>(netns: &str, run: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, run)
            .map_err(|source| Error::Thread { netns: netns.to_owned(), source })?
            .join()
            .map_err(|_| Error::Panicked { netns: netns.to_owned() })
    })
}

/// Moves the calling thread into the namespace behind a path and returns its cookie. Only for discarded threads.
pub(crate) fn enter_path(path: &Path) -> Result<u64, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Enter {
        netns: path.display().to_string(),
        path: path.to_owned(),
        source: errno.into(),
    })?;
    own_cookie()
}

/// The net cookie of the calling thread's namespace (`SO_NETNS_COOKIE`, Linux 5.14: `net/core/sock.c`).
pub(crate) fn own_cookie() -> Result<u64, Error> {
    let failed = |source| Error::Cookie { netns: "of this thread".to_owned(), source };
    // A unix socket: it is of no use to anybody, and it works in a namespace whose loopback is down.
    let socket = UnixDatagram::unbound().map_err(failed)?;
    let mut cookie: u64 = 0;
    let mut length = libc::socklen_t::try_from(size_of::<u64>())
        .map_err(|_| failed(std::io::ErrorKind::InvalidInput.into()))?;
    // SAFETY: `cookie` is a valid, writable u64 and `length` tells its size; the kernel writes at most that many bytes.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(cookie) } else { Err(failed(std::io::Error::last_os_error())) }
}

/// `include/uapi/asm-generic/socket.h`.
const SO_NETNS_COOKIE: libc::c_int = 71;

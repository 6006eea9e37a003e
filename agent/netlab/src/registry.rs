//! Which labs exist and whether their owners live, so that what a killed test left behind is found and removed.
//!
//! Each lab holds a lock on a file of its own for as long as its process lives: the kernel drops the lock with the
//! process, whatever ends it, and unlike a process id a lock cannot be reused by somebody else.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Error;
use crate::netns::{DIRECTORY as NETNS_DIRECTORY, run};

const DIRECTORY: &str = "/run/why-dropped-netlab";
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A registered lab; its namespaces' names begin with the prefix.
#[derive(Debug)]
pub struct Registration {
    /// `wd<pid>-<number>-`.
    pub prefix: String,
    path: PathBuf,
    lock: Option<Flock<File>>,
}

impl Registration {
    /// Registers a lab of this process.
    pub fn new() -> Result<Self, Error> {
        fs::create_dir_all(DIRECTORY).map_err(file("create", Path::new(DIRECTORY)))?;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("wd{}-{number}", std::process::id());
            let path = Path::new(DIRECTORY).join(&name);
            let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
            let opened = opened.map_err(file("open", &path))?;
            let Ok(lock) = Flock::lock(opened, FlockArg::LockExclusiveNonblock) else { continue };
            // A sweep may have removed the file between the opening and the locking.
            if still_there(&path, &lock) {
                return Ok(Self { prefix: format!("{name}-"), path, lock: Some(lock) });
            }
        }
    }

    /// Forgets the lab; only after its namespaces are gone.
    pub fn remove(&mut self) {
        if self.lock.take().is_some() {
            // Whoever finds it later finds no namespaces and removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the namespaces of labs whose process is gone, and returns their names.
pub fn sweep() -> Result<Vec<String>, Error> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let opened = match OpenOptions::new().write(true).open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::File { operation: "open", path, source }),
        };
        let lock = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => continue,
            Err((_, errno)) => {
                return Err(Error::File { operation: "lock", path, source: errno.into() });
            }
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for netns in namespaces_of(&format!("{name}-"))? {
            run(&["ip", "netns", "del", &netns], None)?;
            removed.push(netns);
        }
        fs::remove_file(&path).map_err(file("remove", &path))?;
        drop(lock);
    }
    Ok(removed)
}

/// The namespaces whose names begin with a lab's prefix.
pub fn namespaces_of(prefix: &str) -> Result<Vec<String>, Error> {
    let directory = Path::new(NETNS_DIRECTORY);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::File { operation: "list", path: directory.to_owned(), source }),
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect())
}

fn still_there(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(at_path), Ok(open)) => at_path.ino() == open.ino(),
        _ => false,
    }
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { operation, path, source }
}

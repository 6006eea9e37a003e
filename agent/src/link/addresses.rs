//! The addresses that last led to the collector, kept in a small file, so that a node without working DNS or Service
//! rules still finds it. It resolves and dials nothing.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::CollectorUrl;

/// File in the state directory: one `URL ADDRESS` a line.
const FILE: &str = "collector-addresses";
/// More than any real list; what lies beyond is not ours.
const MOST_BYTES: u64 = 64 * 1024;
/// Addresses kept for each URL: a collector has few replicas, and each costs a connect time-out when all are gone.
const PER_URL: usize = 4;

/// Addresses that worked, the latest first.
#[derive(Debug, Default)]
pub struct KnownAddresses {
    file: Option<PathBuf>,
    entries: Vec<(String, SocketAddr)>,
}

impl KnownAddresses {
    /// Reads what an earlier run left in `state_dir`. Without a directory the memory lasts as long as the process.
    pub fn load(state_dir: Option<&Path>) -> Self {
        let file = state_dir.map(|directory| directory.join(FILE));
        let entries = file.as_deref().map(read).unwrap_or_default();
        Self { file, entries }
    }

    /// Addresses that worked for this URL, the latest first.
    pub fn of(&self, url: &CollectorUrl) -> Vec<SocketAddr> {
        self.entries.iter().filter(|(text, _)| *text == url.text).map(|(_, address)| *address).collect()
    }

    /// Notes that `address` led to the collector; writes the file if that is news.
    pub fn remember(&mut self, url: &CollectorUrl, address: SocketAddr) -> io::Result<()> {
        let entry = (url.text.clone(), address);
        if self.of(url).first() == Some(&address) {
            return Ok(());
        }
        self.entries.retain(|known| *known != entry);
        self.entries.insert(0, entry);
        let mut seen = 0;
        self.entries.retain(|(text, _)| {
            seen += usize::from(*text == url.text);
            *text != url.text || seen <= PER_URL
        });
        let Some(file) = &self.file else { return Ok(()) };
        let lines: Vec<String> =
            self.entries.iter().map(|(url, address)| format!("{url} {address}\n")).collect();
        replace(file, lines.concat().as_bytes())
    }
}

/// What can be read of the file; anything unreadable in it counts as absent, since it is only a memory.
fn read(file: &Path) -> Vec<(String, SocketAddr)> {
    let small = fs::metadata(file).is_ok_and(|data| data.is_file() && data.len() <= MOST_BYTES);
    if !small {
        return Vec::new();
    }
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (url, address) = line.split_once(' ')?;
            Some((url.to_owned(), address.parse().ok()?))
        })
        .collect()
}

/// Writes beside the file and renames, so that a crash leaves the old or the new text and nothing between.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let written = fs::File::create(&beside).and_then(|mut new| {
        new.write_all(bytes)?;
        new.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&beside, file));
    if replaced.is_err() {
        // The error already tells what went wrong; a left-over file would only confuse.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CollectorUrl {
        CollectorUrl::parse(text).expect("a valid URL")
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7443))
    }

    #[test]
    fn a_restart_remembers_the_latest_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let collector = url("http://collector:7443");
        let mut known = KnownAddresses::load(Some(directory.path()));
        for last in [1, 2, 1] {
            known.remember(&collector, address(last)).expect("writes");
        }
        let again = KnownAddresses::load(Some(directory.path()));
        assert_eq!(again.of(&collector), [address(1), address(2)]);
        assert_eq!(again.of(&url("http://other:7443")), []);
        let files = fs::read_dir(directory.path()).expect("lists").count();
        assert_eq!(files, 1, "only the file itself stays");
    }

    #[test]
    fn the_memory_is_bounded() {
        let collector = url("http://collector:7443");
        let mut known = KnownAddresses::default();
        for last in 0..50 {
            known.remember(&collector, address(last)).expect("no file, no error");
        }
        assert_eq!(known.of(&collector), [address(49), address(48), address(47), address(46)]);
    }

    #[test]
    fn a_spoilt_file_is_no_memory() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), b"\xff\xfe no\nhttp://collector:7443 nonsense\n")
            .expect("writes");
        assert_eq!(KnownAddresses::load(Some(directory.path())).of(&url("http://collector:7443")), []);
    }
}

//! How far long work is, on standard error: one line that is written over, on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Work that is done sooner shows nothing.
const QUIET: Duration = Duration::from_millis(500);
/// How often the line is written over.
const EVERY: Duration = Duration::from_millis(200);

/// Does `count` pieces of work on every core, in any order, and returns them in theirs.
pub fn each<T: Send>(what: &str, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count).max(1);
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let run = || {
        let mut own = Vec::new();
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                return own;
            }
            own.push((piece, work(piece)));
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        if io::stderr().is_terminal() {
            show(what, count, &done);
        }
        // A panic has been reported where it was made.
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    all.sort_unstable_by_key(|(piece, _)| *piece);
    all.into_iter().map(|(_, found)| found).collect()
}

fn show(what: &str, count: usize, done: &AtomicUsize) {
    let began = Instant::now();
    let mut shown = false;
    while done.load(Ordering::Relaxed) < count {
        thread::park_timeout(EVERY);
        let now = done.load(Ordering::Relaxed);
        if began.elapsed() >= QUIET && now < count {
            shown = true;
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r{what}: {} % ({now} of {count})", now * 100 / count.max(1));
            let _ = err.flush();
        }
    }
    if shown {
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\u{1b}[K");
        let _ = err.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_in_order() {
        assert_eq!(each("squares", 100, |piece| piece * piece), (0..100).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(each("nothing", 0, |piece| piece), Vec::<usize>::new());
    }
}

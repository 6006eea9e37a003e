//! Drops that wait for their namespace to become known, for a while and not without bound. Whether it is known, the
//! caller says.

use std::time::{Duration, Instant};

/// How long one may wait. A new pod's first SYNs come before its cgroup and addresses can be seen; five seconds is what
/// a slow container start needs between the two.
const AT_MOST: Duration = Duration::from_secs(5);
/// How many may wait; with more, all are let go at once, as unknown if need be.
const MOST: usize = 4096;

/// The waiting drops, in the order they came.
#[derive(Debug)]
pub(super) struct Unknown<D> {
    waiting: Vec<(Instant, D)>,
}

impl<D> Default for Unknown<D> {
    fn default() -> Self {
        Self { waiting: Vec::new() }
    }
}

impl<D> Unknown<D> {
    /// More drops, drained at `now`.
    pub(super) fn add(&mut self, drops: impl IntoIterator<Item = D>, now: Instant) {
        self.waiting.extend(drops.into_iter().map(|drop| (now, drop)));
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether such a drop waits.
    pub(super) fn any(&self, such: impl Fn(&D) -> bool) -> bool {
        self.waiting.iter().any(|(_, drop)| such(drop))
    }

    /// Those that need not wait any more: `settled`, or too long here, or too many.
    pub(super) fn settle(&mut self, now: Instant, settled: impl Fn(&D) -> bool) -> Vec<D> {
        let crowded = self.waiting.iter().filter(|(_, drop)| !settled(drop)).count() > MOST;
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(since, drop)| crowded || settled(drop) || now.duration_since(*since) >= AT_MOST);
        self.waiting = waiting;
        ready.into_iter().map(|(_, drop)| drop).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ones_go_at_once_and_others_when_they_become_known() {
        let start = Instant::now();
        let mut unknown = Unknown::default();
        unknown.add([1, 2, 1], start);
        assert_eq!(unknown.settle(start, |drop| *drop == 1), [1, 1]);
        assert!(unknown.any(|drop| *drop == 2));
        let later = start + AT_MOST / 2;
        assert_eq!(unknown.settle(later, |_| false), Vec::<i32>::new());
        assert_eq!(unknown.settle(later, |_| true), [2]);
        assert!(unknown.is_empty());
    }

    #[test]
    fn after_five_seconds_it_stays_unknown() {
        let start = Instant::now();
        let mut unknown = Unknown::default();
        unknown.add([1], start);
        unknown.add([2], start + Duration::from_secs(1));
        assert_eq!(unknown.settle(start + AT_MOST, |_| false), [1]);
        assert_eq!(unknown.settle(start + AT_MOST + Duration::from_secs(1), |_| false), [2]);
    }

    #[test]
    fn a_crowd_is_let_go() {
        let start = Instant::now();
        let mut unknown = Unknown::default();
        unknown.add(0..=MOST, start);
        assert_eq!(unknown.settle(start, |_| false).len(), MOST + 1);
    }
}

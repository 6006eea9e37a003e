//! How long to wait before the next attempt: exponential with full jitter. It waits for nothing itself.

use std::time::Duration;

/// Ceiling of the first wait. Short: most reconnects follow a collector's restart, which takes seconds, not minutes.
const FIRST: Duration = Duration::from_millis(100);
/// Ceiling of every later wait. An answer without this node is the cost of waiting longer, 5,000 dials a second spread
/// over it the cost of waiting shorter.
const LAST: Duration = Duration::from_secs(10);

/// The state between attempts.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Forgets all failures, after a connection that was accepted.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt. `random` maps a ceiling in milliseconds to a uniform value not above it.
    pub fn next(&mut self, random: impl FnOnce(u64) -> u64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random(millis).min(millis))
    }

    fn ceiling(&self) -> Duration {
        // Seven doublings pass LAST already; the bound only keeps the shift defined.
        FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST)
    }
}

/// Full jitter: any value from 0 to the ceiling, each as likely.
pub fn full_jitter(ceiling: u64) -> u64 {
    fastrand::u64(0..=ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.next(|ceiling| ceiling).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..40 {
            backoff.next(|ceiling| ceiling);
        }
        backoff.reset();
        assert_eq!(backoff.next(|ceiling| ceiling).as_millis(), 100);
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let mut low = false;
        let mut high = false;
        for _ in 0..1000 {
            let wait = full_jitter(1000);
            assert!(wait <= 1000);
            low |= wait < 250;
            high |= wait > 750;
        }
        assert!(low && high, "a thousand draws stayed on one side");
    }
}

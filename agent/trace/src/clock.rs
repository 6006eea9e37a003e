//! Puts wall-clock times to the kernel's monotonic ones.
//!
//! It corrects nothing: if the node's clock is wrong, so is the result, as in every log of that node.

use model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// The distance between the two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds to add to `CLOCK_MONOTONIC`, which is what `bpf_ktime_get_ns` reads.
    offset_ns: i128,
    now_ns: i128,
}

impl Clock {
    /// Compares the clocks now. The wall clock may be set at any time, so this is done at each drain.
    pub fn read() -> Result<Self, nix::Error> {
        let before = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
        let now_ns = nanoseconds(ClockId::CLOCK_REALTIME)?;
        let after = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
        Ok(Self { offset_ns: now_ns - i128::midpoint(before, after), now_ns })
    }

    /// The time of a monotonic reading.
    pub fn wall(&self, monotonic_ns: u64) -> Timestamp {
        to_timestamp(i128::from(monotonic_ns) + self.offset_ns)
    }

    /// The moment of the comparison.
    pub fn now(&self) -> Timestamp {
        to_timestamp(self.now_ns)
    }
}

fn to_timestamp(ns: i128) -> Timestamp {
    Timestamp(u64::try_from(ns / 1_000_000).unwrap_or(0))
}

fn nanoseconds(clock: ClockId) -> Result<i128, nix::Error> {
    let time = clock_gettime(clock)?;
    Ok(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_reading_of_now_is_now() {
        let clock = Clock::read().expect("clocks");
        let monotonic =
            u64::try_from(nanoseconds(ClockId::CLOCK_MONOTONIC).expect("clock")).expect("positive");
        assert!(clock.now().age_ms(clock.wall(monotonic)) < 1000, "{clock:?}");
    }

    #[test]
    fn before_the_epoch_is_the_epoch() {
        let clock = Clock { offset_ns: -5_000_000, now_ns: 0 };
        assert_eq!(clock.wall(1_000_000), Timestamp(0));
        assert_eq!(clock.wall(7_000_000), Timestamp(2));
    }
}

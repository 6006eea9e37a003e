//! Which dropped flows to walk: each when first seen, again when the rules changed or time passed, and never more than
//! a few in a second. It walks nothing itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::Tuple;
use model::evidence::Location;

/// A flood of distinct flows must not become a flood of walks. Twenty are enough that every flow a person could have
/// meant is walked within the second, and cost at most half a millisecond of it.
const PER_SECOND: u32 = 20;
/// A flow that goes on being dropped is walked again after this long, so that a question about the last ten minutes
/// finds a walk among them.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Flows remembered in each of two generations; about 2 MB in all.
const GENERATION: usize = 8192;

/// What makes two drops the same flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Net cookie of the namespace.
    pub cookie: u64,
    /// Protocol, addresses and destination port.
    pub tuple: Tuple,
    /// Why it was dropped.
    pub reason: String,
    /// Where.
    pub location: Location,
}

/// Whether to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Walk it and tell [`Flows::walked`].
    Walk,
    /// It was walked lately and the rules are the same.
    Known,
    /// This second's walks are used up.
    OverRate,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    fingerprint: u64,
    at: Instant,
}

/// The memory of walked flows and the rate.
#[derive(Debug)]
pub struct Flows {
    young: HashMap<FlowKey, Seen>,
    old: HashMap<FlowKey, Seen>,
    second: Instant,
    walks: u32,
}

impl Flows {
    /// Nothing seen.
    pub fn new(now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), second: now, walks: 0 }
    }

    /// Whether another walk is allowed in this second. Asked before the rules are looked at, which costs too.
    pub fn any_left(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.walks = 0;
        }
        self.walks < PER_SECOND
    }

    /// Whether to walk this flow under the rules with this fingerprint.
    pub fn decide(&mut self, key: &FlowKey, fingerprint: u64, now: Instant) -> Decision {
        let seen = self.young.get(key).or_else(|| self.old.get(key));
        let known = seen
            .is_some_and(|seen| seen.fingerprint == fingerprint && now.duration_since(seen.at) < AGAIN_AFTER);
        if known {
            Decision::Known
        } else if self.any_left(now) {
            Decision::Walk
        } else {
            Decision::OverRate
        }
    }

    /// The flow was walked.
    pub fn walked(&mut self, key: FlowKey, fingerprint: u64, now: Instant) {
        self.walks += 1;
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, Seen { fingerprint, at: now });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use model::Protocol;

    use super::*;

    fn key(number: u32) -> FlowKey {
        let src = IpAddr::V4(Ipv4Addr::from(number));
        FlowKey {
            cookie: 1,
            tuple: Tuple { protocol: Protocol::Tcp, src, dst: SocketAddr::from(([10, 0, 0, 1], 80)) },
            reason: "NETFILTER_DROP".to_owned(),
            location: Location { symbol: "nf_hook_slow".to_owned(), offset: 1 },
        }
    }

    fn step(flows: &mut Flows, number: u32, fingerprint: u64, now: Instant) -> Decision {
        let decision = flows.decide(&key(number), fingerprint, now);
        if decision == Decision::Walk {
            flows.walked(key(number), fingerprint, now);
        }
        decision
    }

    #[test]
    fn once_until_the_rules_change_or_time_passes() {
        let start = Instant::now();
        let mut flows = Flows::new(start);
        assert_eq!(step(&mut flows, 1, 7, start), Decision::Walk);
        assert_eq!(step(&mut flows, 1, 7, start), Decision::Known);
        assert_eq!(step(&mut flows, 1, 8, start), Decision::Walk);
        assert_eq!(step(&mut flows, 1, 8, start + AGAIN_AFTER), Decision::Walk);
    }

    #[test]
    fn twenty_in_a_second_and_twenty_in_the_next() {
        let start = Instant::now();
        let mut flows = Flows::new(start);
        let walked = |flows: &mut Flows, from: u32, now| {
            (from..from + 100).filter(|number| step(flows, *number, 7, now) == Decision::Walk).count()
        };
        assert_eq!(walked(&mut flows, 0, start), 20);
        assert_eq!(walked(&mut flows, 100, start + Duration::from_millis(900)), 0);
        assert_eq!(walked(&mut flows, 200, start + Duration::from_secs(1)), 20);
    }

    #[test]
    fn the_memory_is_bounded() {
        let start = Instant::now();
        let mut flows = Flows::new(start);
        for number in 0..100_000 {
            flows.walked(key(number), 7, start);
        }
        assert!(flows.young.len() + flows.old.len() <= 2 * GENERATION);
        assert_eq!(flows.decide(&key(99_999), 7, start), Decision::Known);
    }
}

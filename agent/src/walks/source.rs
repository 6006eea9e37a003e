//! Rules from the running kernel, and a sign of change that covers nearly everything a walk uses, not the rules alone.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::io::Read as _;

use kernel::{Known, RulesToken, StampedState, StateReader, in_netns, now, rules_changed};
use model::{NetnsOwner, NodeState, Timestamp};
use rules::nft::Listing;

use super::{Change, RuleSource};

/// The kernel under this process.
#[derive(Debug, Default)]
pub struct KernelSource {
    reader: StateReader,
}

/// What the state read had.
#[derive(Debug)]
pub struct Token {
    rules: Option<RulesToken>,
    surroundings: Option<u64>,
}

/// Texts that change when addresses, routes or forwarding do, as the thread's own network namespace shows them
/// (net/ipv4/fib_trie.c, net/ipv6/route.c, net/ipv6/addrconf.c). No such text has policy routing rules, or the gateways
/// of IPv4 tables other than the main one.
const SURROUNDINGS: [&str; 8] = [
    "/proc/thread-self/net/route",
    "/proc/thread-self/net/fib_trie",
    "/proc/thread-self/net/ipv6_route",
    "/proc/thread-self/net/if_inet6",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/rp_filter",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
];
/// Beyond this (some 50,000 routes) comparing costs more than it saves, and reading again is the honest way.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

impl RuleSource for KernelSource {
    type Space = Known;
    type Token = Token;

    fn cookie(&self, space: &Known) -> u64 {
        space.netns.cookie
    }

    fn is_node(&self, space: &Known) -> bool {
        space.netns.owner == NetnsOwner::Node
    }

    fn read(&self, space: &Known) -> (NodeState, Option<Listing>, Token) {
        // Before the state: a change while reading makes the next look differ.
        let surroundings = in_netns(&space.handle, surroundings).ok().flatten();
        let StampedState { state, nftables, token } = self.reader.read(space);
        (state, nftables, Token { rules: token, surroundings })
    }

    fn retain(&self, alive: &dyn Fn(u64) -> bool) {
        self.reader.retain(alive);
    }

    fn change(&self, space: &Known, token: &Token) -> Change {
        let (Some(rules), Some(before)) = (&token.rules, token.surroundings) else { return Change::Changed };
        match in_netns(&space.handle, surroundings) {
            Ok(Some(after)) if after == before => {}
            Ok(_) | Err(_) => return Change::Changed,
        }
        match rules_changed(space, rules) {
            Ok(kernel::Change::Unchanged) => Change::Unchanged,
            Ok(kernel::Change::CannotTell) => Change::CannotTell,
            Ok(kernel::Change::Changed) | Err(_) => Change::Changed,
        }
    }

    fn now(&self) -> Timestamp {
        now()
    }
}

/// A hash of the surroundings; `None` where they are too large to compare. Absent files count as empty.
fn surroundings() -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let mut text = Vec::new();
    for path in SURROUNDINGS {
        text.clear();
        if let Ok(file) = File::open(path) {
            // A read error leaves what came before it, which compares as well.
            let _ = file.take(MOST_BYTES).read_to_end(&mut text);
        }
        if text.len() as u64 >= MOST_BYTES {
            return None;
        }
        if path.ends_with("ipv6_route") {
            without_use_counts(&mut text);
        }
        text.hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// ipv6_route's lines carry a reference and a use count (fields 7 and 8 of 10) that move with traffic.
fn without_use_counts(text: &mut Vec<u8>) {
    let kept: Vec<u8> = String::from_utf8_lossy(text)
        .lines()
        .flat_map(|line| {
            let fields = line.split_ascii_whitespace().enumerate();
            let kept = fields.filter(|(index, _)| !matches!(index, 6 | 7)).map(|(_, field)| field);
            kept.collect::<Vec<_>>().join(" ").into_bytes()
        })
        .collect();
    *text = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_twice_sees_the_same() {
        assert_eq!(surroundings(), surroundings());
    }

    #[test]
    fn use_counts_do_not_count() {
        let line = |counts: &str| {
            let mut text = format!("fe80 40 00 00 :: 00000100 {counts} 00000001 eth0\n").into_bytes();
            without_use_counts(&mut text);
            text
        };
        assert_eq!(line("00000001 00000000"), line("00000002 0000000f"));
        let mut other = b"fe80 40 00 00 :: 00000200 00000001 00000000 00000001 eth0\n".to_vec();
        without_use_counts(&mut other);
        assert_ne!(line("00000001 00000000"), other);
    }
}

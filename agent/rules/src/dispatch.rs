//! Finds in a long chain the next rule that can match a destination, without trying those that cannot.
//!
//! It is literal: a rule is passed over only if one of its conditions is a single destination address or port and the
//! packet has another, which is what evaluating it would find. Everything else about a rule is left to the walker.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use model::flow::PortRange;

use crate::ir::{Chain, ChainId, Rule, RuleSet, Test};

/// Rules in a row below which trying them one by one is as quick.
const LONG: usize = 16;

/// A chain by position: rule set, table, chain.
type Place = (usize, usize, ChainId);

/// The long runs of all chains that have some.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    runs: HashMap<Place, Box<[Run]>>,
}

/// Neighbouring rules that each want a single destination.
#[derive(Debug)]
struct Run {
    /// Index of its first rule in the chain.
    first: usize,
    /// One past its last.
    end: usize,
    keys: Keys,
}

/// What each rule of a run wants and its index, in order.
#[derive(Debug)]
enum Keys {
    Addresses(Box<[(IpAddr, usize)]>),
    Ports(Box<[(u16, usize)]>),
}

impl Dispatch {
    pub(crate) fn new(sets: &[RuleSet]) -> Self {
        let mut runs = HashMap::new();
        for (set, rules) in sets.iter().enumerate() {
            for (table, content) in rules.tables.iter().enumerate() {
                for (id, chain) in (0..).zip(&content.chains) {
                    let found =
                        if chain.len() < LONG { Vec::new() } else { find(rules, content.rules_of(chain)) };
                    if !found.is_empty() {
                        runs.insert((set, table, id), found.into());
                    }
                }
            }
        }
        Self { runs }
    }

    /// The first rule of a chain, from `next` on, that can match the destination or wants no single one.
    pub(crate) fn next(
        &self,
        place: Place,
        chain: &Chain,
        mut next: usize,
        destination: SocketAddr,
    ) -> usize {
        if chain.len() < LONG {
            return next;
        }
        let Some(runs) = self.runs.get(&place) else { return next };
        let from = runs.partition_point(|run| run.end <= next);
        for run in runs.get(from..).unwrap_or_default() {
            if next < run.first {
                break;
            }
            let found = match &run.keys {
                Keys::Addresses(keys) => at_or_after(keys, destination.ip(), next),
                Keys::Ports(keys) => at_or_after(keys, destination.port(), next),
            };
            match found {
                Some(found) => return found,
                None => next = run.end,
            }
        }
        next
    }
}

fn find(set: &RuleSet, rules: &[Rule]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut first = 0;
    while first < rules.len() {
        let rest = rules.get(first..).unwrap_or_default();
        let addresses = keys(rest, first, |rule| address(set, rule));
        let (length, keys) = if addresses.len() >= LONG {
            (addresses.len(), Keys::Addresses(addresses))
        } else {
            let ports = keys(rest, first, |rule| port(set, rule));
            (ports.len(), Keys::Ports(ports))
        };
        if length >= LONG {
            runs.push(Run { first, end: first + length, keys });
        }
        first += if length >= LONG { length } else { 1 };
    }
    runs
}

/// The keys of the rules at the beginning that have one, sorted.
fn keys<K: Ord>(rules: &[Rule], first: usize, key: impl Fn(&Rule) -> Option<K>) -> Box<[(K, usize)]> {
    let mut keys: Box<[(K, usize)]> =
        (first..).zip(rules).map_while(|(index, rule)| Some((key(rule)?, index))).collect();
    keys.sort_unstable();
    keys
}

fn at_or_after<K: Ord + Copy>(keys: &[(K, usize)], wanted: K, next: usize) -> Option<usize> {
    let (key, index) = keys.get(keys.partition_point(|key| *key < (wanted, next)))?;
    (*key == wanted).then_some(*index)
}

/// The only destination address a rule can match.
fn address(set: &RuleSet, rule: &Rule) -> Option<IpAddr> {
    set.matches_of(rule).iter().find_map(|item| match item.test {
        Test::Destination(net) if !item.negate && net.prefix_len() == net.max_prefix_len() => {
            Some(net.addr())
        }
        _ => None,
    })
}

/// The only destination port a rule can match.
fn port(set: &RuleSet, rule: &Rule) -> Option<u16> {
    set.matches_of(rule).iter().find_map(|item| match item.test {
        Test::DestinationPort(PortRange { first, last }) if !item.negate && first == last => Some(first),
        _ => None,
    })
}

#[cfg(test)]
mod tests;

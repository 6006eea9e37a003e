//! One number for a namespace's programmed state, to notice that it changed.
//!
//! It is no checksum against tampering, and it says nothing about what changed.

use model::node_state::NodeState;

use crate::ipset::Sets;
use crate::ir::RuleSet;
use crate::ir::lookup::{Element, Mapped};

/// Multiplier of the mixing step (the golden ratio in 64 bits).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of rules, chains and policies without counters, of sets, routes, addresses and sysctls.
pub(crate) fn of(state: &NodeState, sets: &[RuleSet], ipsets: &Sets) -> u64 {
    let mut hash = Hash(MIX);
    for set in sets {
        hash.text(set.backend.word());
        hash.text(&format!("{:?} {}", set.backend, set.family));
        for table in &set.tables {
            hash.text(&table.name);
            for chain in &table.chains {
                hash.text(set.text(chain.name));
                hash.text(if chain.base.is_some() { chain.policy.word() } else { "-" });
                for rule in table.rules_of(chain) {
                    hash.text(set.text(rule.text));
                }
            }
        }
    }
    for set in sets {
        for (name, elements) in
            set.sets.iter().filter(|held| !held.changing).map(|held| (set.text(held.name), held.elements()))
        {
            hash.text(name);
            // What packets add to a set is no change of the rules.
            for element in elements {
                hash.element(element);
            }
        }
    }
    for name in &state.foreign_nft_tables {
        hash.text(name);
    }
    hash.word(of_sets(state.ipsets.as_deref().unwrap_or_default(), ipsets));
    for route in &state.routes {
        hash.text(&format!("{route:?}"));
    }
    for rule in &state.routing_rules {
        hash.text(&format!("{rule:?}"));
    }
    for address in &state.addresses {
        hash.text(&format!("{address:?}"));
    }
    for (name, value) in &state.sysctls {
        hash.text(name);
        hash.text(value);
    }
    hash.0
}

/// Sets and their members, in whatever order the kernel's hashes have them, without counters, timeouts and remarks. What
/// rules add to a set is no change of the rules.
fn of_sets(saved: &str, ipsets: &Sets) -> u64 {
    let mut sum = 0_u64;
    for line in saved.lines() {
        let mut hash = Hash(MIX);
        let mut name = "";
        for (at, word) in line.split_ascii_whitespace().take(3).enumerate() {
            if at == 1 {
                name = word;
            }
            hash.text(word);
        }
        if !ipsets.is_changing(name) {
            hash.word(line.contains(" nomatch").into());
            sum = sum.wrapping_add(hash.0);
        }
    }
    sum
}

struct Hash(u64);

impl Hash {
    /// Takes in a text and its length, so that moving a border between two texts changes the hash.
    fn text(&mut self, text: &str) {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.word(u64::from_le_bytes(last));
        self.word(text.len() as u64);
    }

    fn element(&mut self, element: &Element) {
        for value in element.low.iter().chain(&element.high) {
            for half in value.to_le_bytes().as_chunks::<8>().0 {
                self.word(u64::from_le_bytes(*half));
            }
        }
        match &element.mapped {
            Mapped::Nothing => self.word(0),
            Mapped::Unknown => self.word(1),
            Mapped::Verdict(verdict) => self.text(&format!("{verdict:?}")),
            Mapped::Values(values) => {
                for value in values {
                    self.text(&value.to_string());
                }
            }
        }
    }

    const fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MIX);
        self.0 = mixed ^ (mixed >> 29);
    }
}

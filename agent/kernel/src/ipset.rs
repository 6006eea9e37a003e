//! Sets of the kernel's ipset in the calling thread's namespace, as `ipset save` prints them.
//!
//! Text and not netlink: it is what a person would save by hand, and the tool knows the revisions of all types.
//! Understanding it is the business of `rules`.
//!
//! The kernel keeps no generation of sets. That they are the same is told by a digest of the text, which costs a run of
//! the tool; what moves by itself (counters, timeouts) does not count.

use model::Gap;
use model::node_state::SavedRules;

use crate::iptables::{self, Failure};

/// Whether some rule asks a set: without one no set is read.
pub fn named_by(rules: &[SavedRules]) -> bool {
    rules.iter().any(|saved| saved.text.contains(" --match-set "))
}

/// All sets.
pub fn save() -> Result<String, Gap> {
    let saved = iptables::run("ipset", ["save"]);
    saved.map(|output| output.text).map_err(|failure| {
        let gap = Gap { what: "ipset".to_owned(), ..failure.gap("ipset") };
        match failure {
            Failure::Missing => gap.with_remedy("install the ipset package where the agent runs"),
            _ => gap,
        }
    })
}

/// The tool's version, for the preflight.
pub fn tool_version() -> Result<String, String> {
    let version = iptables::run("ipset", ["--version"]).map(|output| output.text.trim().to_owned());
    version.map_err(|failure| failure.gap("ipset").why)
}

/// A number that stays the same while sets and members do, in whatever order they are printed.
pub fn digest(saved: &str) -> u64 {
    crate::digest::of_lines(saved.lines().map(|line| {
        // `add NAME MEMBER [timeout N] [packets N bytes N] [comment …] [nomatch]`; a set's own options do not move.
        let words = if line.starts_with("add ") { 3 } else { usize::MAX };
        let exception = if line.contains(" nomatch") { "nomatch" } else { "" };
        (exception, line.split_ascii_whitespace().take(words))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_that_ask_a_set_need_sets() {
        let saved = |text: &str| {
            [SavedRules {
                backend: model::walk::Backend::IptablesNft,
                family: model::Family::Ipv4,
                text: text.to_owned(),
            }]
        };
        assert!(named_by(&saved("-A INPUT -m set --match-set a src -j DROP")));
        assert!(!named_by(&saved("-A INPUT -j SET --add-set a src")));
    }

    #[test]
    fn what_moves_by_itself_does_not_count() {
        let before = "create a hash:ip family inet timeout 9\nadd a 10.0.0.1 timeout 8 packets 1 bytes 2\nadd a 10.0.0.2\n";
        let after = "create a hash:ip family inet timeout 9\nadd a 10.0.0.2\nadd a 10.0.0.1 timeout 7 packets 2 bytes 9\n";
        assert_eq!(digest(before), digest(after));
        for other in [
            before.replace("10.0.0.2", "10.0.0.3"),
            before.replace("add a 10.0.0.2\n", ""),
            before.replace("10.0.0.2", "10.0.0.2 nomatch"),
            before.replace("timeout 9", "timeout 10"),
        ] {
            assert_ne!(digest(before), digest(&other), "{other}");
        }
    }
}

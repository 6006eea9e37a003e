//! IP sets of an engine: filled anew and swapped in, the stale ones destroyed once no rule holds them.
//!
//! Sets are known by their names' prefixes. Both families live in one name space, so one run serves both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use model::Family;

use crate::error::Error;
use crate::kube_proxy::hash;
use crate::netns::Netns;

/// How long a set may stay in use after the rules that held it were replaced: nf_tables destroys the matches of removed
/// rules in a work item (`nf_tables_trans_destroy_work` in net/netfilter/nf_tables_api.c).
const RELEASED: Duration = Duration::from_secs(10);
/// Between two looks, so that a program is not started as often as the machine can.
const LOOK: Duration = Duration::from_millis(5);

/// One set.
#[derive(Debug, PartialEq, Eq)]
pub struct IpSet {
    /// `hash:ip`, `hash:net` …
    pub kind: &'static str,
    pub family: Family,
    /// Options at creation, after kind and family.
    pub options: &'static str,
    /// Each as `ipset add` takes it, with its options.
    pub members: Vec<String>,
}

/// The sets of an engine on a node, by name.
#[derive(Debug, Default)]
pub struct Sets {
    sets: BTreeMap<String, IpSet>,
}

impl Sets {
    /// Adds a set and returns its name.
    pub fn add(&mut self, name: String, set: IpSet) -> String {
        self.sets.insert(name.clone(), set);
        name
    }

    /// Fills all of them; a set that is there gets its new members in one step. Its kind and family must be as before,
    /// which names see to that are made from both.
    pub fn write(&self, node: &Netns) -> Result<(), Error> {
        if self.sets.is_empty() {
            return Ok(());
        }
        node.feed(&["ipset", "restore", "-exist"], &self.text()).map(drop)
    }

    /// Destroys sets with one of the prefixes that are not among these.
    pub fn sweep(&self, node: &Netns, prefixes: &[&str]) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let listed = node.run(&["ipset", "list", "-name"])?;
            let stale: Vec<_> = listed
                .lines()
                .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
                .filter(|name| !self.sets.contains_key(*name))
                .collect();
            if stale.is_empty() {
                return Ok(());
            }
            let text = format!("destroy {}\n", stale.join("\ndestroy "));
            match node.feed(&["ipset", "restore"], &text) {
                Ok(_) => return Ok(()),
                Err(Error::Command { stderr, .. }) if stderr.contains("in use") => {
                    if start.elapsed() > RELEASED {
                        return Err(Error::NotReady {
                            what: format!(
                                "no rule in network namespace {} uses {}",
                                node.name(),
                                stale.join(", ")
                            ),
                            after: RELEASED,
                            seen: stderr,
                        });
                    }
                    thread::sleep(LOOK);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, set) in &self.sets {
            let family = match set.family {
                Family::Ipv4 => "inet",
                Family::Ipv6 => "inet6",
            };
            let made = format!("{} family {family} {}", set.kind, set.options);
            // Kind and family are part of its name, so that one left by a killed run fits.
            let filled = format!("TMP-{}", hash(&format!("{name}{made}")));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "create {name} {made}\ncreate {filled} {made}\nflush {filled}");
            for member in &set.members {
                let _ = writeln!(text, "add {filled} {member}");
            }
            let _ = writeln!(text, "swap {filled} {name}\ndestroy {filled}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{IpSet, Sets};
    use model::Family;

    #[test]
    fn a_set_is_filled_beside_the_old_one_and_swapped() {
        let mut sets = Sets::default();
        let set = IpSet {
            kind: "hash:net",
            family: Family::Ipv6,
            options: "maxelem 9",
            members: vec!["fd00::/8".into(), "fd01::/16 nomatch".into()],
        };
        sets.add("OURS-1".into(), set);
        let text = sets.text();
        let lines: Vec<_> = text.lines().collect();
        let [made, copy, flush, first, second, swap, destroy] = lines[..] else { panic!("{text}") };
        assert_eq!(made, "create OURS-1 hash:net family inet6 maxelem 9");
        let filled = copy.split(' ').nth(1).expect("name");
        assert!(filled.len() <= 31, "the kernel takes 31 characters");
        assert_eq!(flush, format!("flush {filled}"));
        assert_eq!(first, format!("add {filled} fd00::/8"));
        assert_eq!(second, format!("add {filled} fd01::/16 nomatch"));
        assert_eq!(swap, format!("swap {filled} OURS-1"));
        assert_eq!(destroy, format!("destroy {filled}"));
    }
}

//! The text of a filter table for `iptables-restore --noflush`: chains of one engine replaced, all others left alone.
//!
//! The engine's chains are known by their prefixes and its jumps by the chain they lead to, in what the save tool
//! printed. What the rules say is the styles' business.

use std::collections::BTreeSet;
use std::fmt::Write;

use model::Family;
use model::walk::Backend;

use crate::kube_proxy::{restore_tool, save_tool};

/// The longest comment the match takes, its end not counted (`XT_MAX_COMMENT_LEN` in
/// include/uapi/linux/netfilter/xt_comment.h). Longer ones, which take names of over a hundred characters, are cut.
const COMMENT_LIMIT: usize = 255;

/// How an engine's part of the table is recognised.
#[derive(Debug)]
pub struct Layout {
    /// Prefixes of the names of its chains.
    pub prefixes: &'static [&'static str],
    /// Its jumps, each in the first place of a built-in chain.
    pub jumps: &'static [Jump],
}

#[derive(Debug)]
pub struct Jump {
    pub base: &'static str,
    pub chain: &'static str,
    pub comment: &'static str,
}

/// An engine's chains and rules.
#[derive(Debug, Default)]
pub struct Filter {
    chains: BTreeSet<String>,
    rules: String,
}

impl Filter {
    /// Adds a chain, which may stay empty.
    pub fn chain(&mut self, name: impl Into<String>) {
        self.chains.insert(name.into());
    }

    /// Whether the chain is there already.
    pub fn has(&self, name: &str) -> bool {
        self.chains.contains(name)
    }

    /// Appends a rule. Its chain must be added too.
    pub fn add(&mut self, chain: &str, rule: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.rules, "-A {chain} {rule}");
    }

    /// The text that puts this in the place of what is saved of the engine.
    pub fn replacing(&self, layout: &Layout, saved: &str) -> String {
        let mut text = String::from("*filter\n");
        for chain in &self.chains {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        text.push_str(&self.rules);
        text.push_str(&remove_chains(layout, saved, &self.chains));
        for jump in layout.jumps {
            // Kept in the first place: taken out and put in again.
            if jump.is_in(saved) {
                let _ = writeln!(text, "-D {} {}", jump.base, jump.rule());
            }
            let _ = writeln!(text, "-I {} 1 {}", jump.base, jump.rule());
        }
        text.push_str("COMMIT\n");
        text
    }
}

impl Jump {
    fn rule(&self) -> String {
        format!("{} -j {}", comment(self.comment), self.chain)
    }

    fn is_in(&self, saved: &str) -> bool {
        saved.contains(&format!("-j {}\n", self.chain))
    }
}

/// The text that removes everything of the engine; `None` if nothing of it is saved.
pub fn removal(layout: &Layout, saved: &str) -> Option<String> {
    let mut text = String::new();
    for jump in layout.jumps.iter().filter(|jump| jump.is_in(saved)) {
        let _ = writeln!(text, "-D {} {}", jump.base, jump.rule());
    }
    text.push_str(&remove_chains(layout, saved, &BTreeSet::new()));
    (!text.is_empty()).then(|| format!("*filter\n{text}COMMIT\n"))
}

/// The comment match. What would end the quoted text, or the line, is replaced.
pub fn comment(text: &str) -> String {
    let mut text: String =
        text.chars().map(|c| if c.is_control() || c == '"' || c == '\\' { '_' } else { c }).collect();
    while text.len() > COMMENT_LIMIT {
        text.pop();
    }
    format!("-m comment --comment \"{text}\"")
}

/// The save tool of a back-end and family.
pub fn save(backend: Backend, family: Family) -> String {
    of_family(save_tool(backend), family)
}

/// The restore tool of a back-end and family.
pub fn restore(backend: Backend, family: Family) -> String {
    of_family(restore_tool(backend), family)
}

fn of_family(tool: &str, family: Family) -> String {
    match family {
        Family::Ipv4 => tool.to_owned(),
        Family::Ipv6 => tool.replacen("iptables", "ip6tables", 1),
    }
}

fn remove_chains(layout: &Layout, saved: &str, keep: &BTreeSet<String>) -> String {
    let stale: Vec<_> = saved
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
        .filter(|chain| {
            layout.prefixes.iter().any(|prefix| chain.starts_with(prefix)) && !keep.contains(*chain)
        })
        .collect();
    let flushed = stale.iter().map(|chain| format!("-F {chain}\n"));
    let removed = stale.iter().map(|chain| format!("-X {chain}\n"));
    flushed.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::{Filter, Jump, Layout, comment, removal};

    const LAYOUT: Layout = Layout {
        prefixes: &["OURS-"],
        jumps: &[Jump { base: "FORWARD", chain: "OURS-FORWARD", comment: "ours" }],
    };

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let saved = "*filter\n:FORWARD ACCEPT [0:0]\n:OURS-FORWARD - [0:0]\n:OURS-OLD - [0:0]\n:THEIRS - [0:0]\n\
                     -A FORWARD -j THEIRS\n-A FORWARD -m comment --comment ours -j OURS-FORWARD\nCOMMIT\n";
        let mut filter = Filter::default();
        filter.chain("OURS-FORWARD");
        filter.add("OURS-FORWARD", "-j DROP");
        assert_eq!(
            filter.replacing(&LAYOUT, saved),
            "*filter\n:OURS-FORWARD - [0:0]\n-A OURS-FORWARD -j DROP\n-F OURS-OLD\n-X OURS-OLD\n\
             -D FORWARD -m comment --comment \"ours\" -j OURS-FORWARD\n\
             -I FORWARD 1 -m comment --comment \"ours\" -j OURS-FORWARD\nCOMMIT\n"
        );
        assert_eq!(
            removal(&LAYOUT, saved).as_deref(),
            Some(
                "*filter\n-D FORWARD -m comment --comment \"ours\" -j OURS-FORWARD\n\
                 -F OURS-FORWARD\n-F OURS-OLD\n-X OURS-FORWARD\n-X OURS-OLD\nCOMMIT\n"
            )
        );
        assert_eq!(removal(&LAYOUT, "*filter\n:THEIRS - [0:0]\nCOMMIT\n"), None);
    }

    #[test]
    fn a_comment_stays_inside_its_quotes_and_its_limit() {
        assert_eq!(comment("a\"b\nc"), "-m comment --comment \"a_b_c\"");
        assert_eq!(comment(&"x".repeat(300)).len(), "-m comment --comment \"\"".len() + 255);
    }
}

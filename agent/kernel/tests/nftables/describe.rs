//! Rule sets as lines that can be compared: every span by its text, every set by what it holds.

use std::collections::HashSet;
use std::fmt::{Debug, Write as _};

use rules::ir::lookup::Set;
use rules::ir::{RuleSet, Span};
use rules::nft::Listing;

/// Everything a rule set says, a line each.
pub fn all(set: &RuleSet) -> Vec<String> {
    let mut lines = Vec::new();
    for table in &set.tables {
        lines.push(format!("table {}", table.name));
        let mut handles = table.handles.iter();
        for chain in &table.chains {
            lines.push(format!("  chain {} {:?} {:?}", set.text(chain.name), chain.base, chain.policy));
            for rule in table.rules_of(chain) {
                let handle = handles.next().expect("a handle for each rule");
                lines.push(format!("    {handle}: {}", set.text(rule.text)));
                for item in set.matches_of(rule) {
                    lines.push(format!("      if {}", resolved(set, item)));
                }
                lines.push(format!("      then {}", resolved(set, &rule.target)));
            }
        }
    }
    for (number, held) in set.sets.iter().enumerate() {
        lines.push(format!(
            "set {number} {:?} changing {} incomplete {}",
            set.text(held.name),
            held.changing,
            held.incomplete
        ));
        lines.extend(elements(set, held));
    }
    lines
}

/// The rules as printed.
pub fn texts(set: &RuleSet) -> Vec<String> {
    let rules = set.tables.iter().flat_map(|table| &table.rules);
    // A choice among several ways is one rule for each, with the same text.
    let mut texts: Vec<String> = rules.map(|rule| set.text(rule.text).to_owned()).collect();
    texts.dedup();
    texts
}

/// What could not be read.
pub fn problems(listing: &Listing) -> Vec<String> {
    listing.sets.iter().flat_map(|set| &set.problems).map(|problem| problem.what.clone()).collect()
}

/// The lines of a listing of nft, without counters of rules.
pub fn listed(text: &str) -> HashSet<String> {
    text.lines()
        .map(|line| {
            let mut words: Vec<&str> = line.trim().split(' ').collect();
            while let Some(at) = words.windows(2).position(|pair| pair == ["counter", "packets"]) {
                words.drain(at..words.len().min(at + 5));
            }
            words.join(" ")
        })
        .collect()
}

/// Panics at the first lines that differ.
pub fn compare(what: &str, other: &str, ours: &[String], theirs: &[String]) {
    let differ = ours.iter().zip(theirs).position(|(one, two)| one != two);
    let differ = differ.or_else(|| (ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())));
    if let Some(at) = differ {
        let near = |lines: &[String]| {
            lines[at.saturating_sub(4).min(lines.len())..lines.len().min(at + 3)].join("\n")
        };
        panic!(
            "{what}: not what {other} says\n--- read over netlink\n{}\n--- {other}\n{}",
            near(ours),
            near(theirs)
        );
    }
}

fn elements(set: &RuleSet, held: &Set) -> Vec<String> {
    held.elements().iter().map(|element| format!("  {}", resolved(set, element))).collect()
}

/// The debug form with spans as the texts they stand for.
fn resolved(set: &RuleSet, value: &impl Debug) -> String {
    const OPEN: &str = "Span { start: ";
    let text = format!("{value:?}");
    let mut parts = text.split(OPEN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (numbers, rest) = part.split_once(" }").expect("a span");
        let (start, end) = numbers.split_once(", end: ").expect("a span");
        let span = Span { start: start.parse().expect("a number"), end: end.parse().expect("a number") };
        let _ = write!(out, "{:?}{rest}", set.text(span));
    }
    out
}

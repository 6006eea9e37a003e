//! A rule as people read it: where it stands, what it says without what only machines need, and whose it is.
//!
//! It leaves out, never in: `-o json` has the rule word for word.

use proto::v1;

use super::Look;
use super::layout::{self, escape};

/// Matches that iptables writes out although `-p` has said so.
const IMPLIED: [&str; 2] = ["tcp", "udp"];

/// Appends a rule behind `indent` spaces. What `said` has told of its owner is not said again.
pub fn rule(out: &mut String, look: Look, indent: usize, rule: &v1::Rule, said: &str) {
    let pad = " ".repeat(indent);
    let text = if rule.backend.starts_with("iptables") {
        shortened(&rule.rule, &rule.chain, look.verbose)
    } else {
        rule.rule.clone()
    };
    // Two spaces: where it stands, then what it says.
    let line = escape(&format!("{} {}  {text}", rule.table, rule.chain));
    layout::item(out, look, &pad, indent, &line);
    let whose: Vec<&str> = [rule.owner.as_str(), rule.object.as_str()]
        .into_iter()
        .filter(|word| !word.is_empty() && !said.contains(word))
        .collect();
    if !whose.is_empty() {
        layout::item(out, look, &pad, indent, &escape(&format!("({})", whose.join(", "))));
    }
}

/// What `iptables-save` prints without the chain, and unless everything is wanted without comments and implied matches.
fn shortened(rule: &str, chain: &str, verbose: bool) -> String {
    let words = words(rule);
    let mut rest = match words.as_slice() {
        ["-A", found, rest @ ..] if *found == chain => rest,
        all => all,
    };
    let mut kept = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [] => return joined(&kept),
            ["-m", "comment", after @ ..] | ["--comment", _, after @ ..] if !verbose => after,
            ["-m", name, after @ ..] if !verbose && IMPLIED.contains(name) => after,
            [word, after @ ..] => {
                kept.push(*word);
                after
            }
        };
    }
}

/// Words with spaces between them that do not break between an option and its value.
fn joined(words: &[&str]) -> String {
    let mut text = String::new();
    let mut before = "";
    for word in words {
        let value = before.starts_with('-') && !word.starts_with(['-', '!']);
        if !text.is_empty() {
            text.push(if value || before == "!" { '\u{a0}' } else { ' ' });
        }
        text.push_str(word);
        before = word;
    }
    text
}

/// Words between spaces; what stands in double quotes is one word, with `\` before a quote inside
/// (`xtables_save_string`).
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted, mut escaped) = (None, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                words.extend(start.take().and_then(|start| text.get(start..at)));
                continue;
            }
            _ => {}
        }
        start.get_or_insert(at);
    }
    words.extend(start.and_then(|start| text.get(start..)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECT: &str = r#"-A KUBE-SERVICES -d 10.96.12.7/32 -p tcp -m comment --comment "shop/api:http has \"no\" -m tcp endpoints" -m tcp --dport 80 -j REJECT"#;

    fn shortened(rule: &str, chain: &str, verbose: bool) -> String {
        super::shortened(rule, chain, verbose).replace('\u{a0}', " ")
    }

    #[test]
    fn options_keep_their_values() {
        assert_eq!(joined(&["!", "-d", "a", "b", "-j", "DROP"]), "!\u{a0}-d\u{a0}a b -j\u{a0}DROP");
    }

    #[test]
    fn only_noise_is_left_out() {
        assert_eq!(shortened(REJECT, "KUBE-SERVICES", false), "-d 10.96.12.7/32 -p tcp --dport 80 -j REJECT");
        assert_eq!(
            shortened("-A F -m comment --comment bare -m mark ! --mark 0x1/0x1 -m set -j DROP", "F", false),
            "-m mark ! --mark 0x1/0x1 -m set -j DROP"
        );
    }

    #[test]
    fn everything_is_there_when_wanted() {
        let (_, all) = REJECT.split_once("-A KUBE-SERVICES ").expect("it begins so");
        assert_eq!(shortened(REJECT, "KUBE-SERVICES", true), all);
    }

    #[test]
    fn what_is_no_such_rule_stays() {
        for text in ["policy DROP", "", "-A OTHER -j DROP", "-m", "--comment", "-j \"open"] {
            assert_eq!(shortened(text, "FORWARD", false), text);
        }
    }
}

//! Rules as `nft` prints them, so that a quoted rule can be found in its listing.
//!
//! Held to `nft list ruleset` by tests; a statement or an expression that it has no words for is printed as it is in JSON.

mod expressions;
mod statements;
mod style;

use super::tree::Value;

/// A rule of a table of this family (`ip`, `inet`, …) without counters, with its comment.
pub(super) fn rule(family: &str, statements: &[Value<'_>], comment: Option<&str>) -> String {
    let mut text = String::new();
    for item in statements.iter().filter(|item| !counts(item)) {
        if !text.is_empty() {
            text.push(' ');
        }
        statements::print(&mut text, family, item);
    }
    if let Some(comment) = comment {
        text.push_str(if text.is_empty() { "comment \"" } else { " comment \"" });
        word_to(&mut text, comment);
        text.push('"');
    }
    text
}

/// One statement.
pub(super) fn statement(family: &str, item: &Value<'_>) -> String {
    let mut text = String::new();
    statements::print(&mut text, family, item);
    text
}

/// The comment at the end of a rule's text, as printed between its quotes.
pub(crate) fn comment(rule: &str) -> Option<&str> {
    const START: &str = "comment \"";
    let inner = rule.strip_suffix('"')?;
    let at = inner.rfind(START)?;
    let begins = at == 0 || inner.get(..at).is_some_and(|before| before.ends_with(' '));
    begins.then(|| inner.get(at + START.len()..)).flatten()
}

/// Whether a statement is a counter of the rule's own, whose numbers change under way.
fn counts(item: &Value<'_>) -> bool {
    item.get("counter").is_some_and(|counter| counter.get("map").is_none() && counter.as_str().is_none())
}

/// A word or number without quotes.
fn bare(value: &Value<'_>) -> String {
    match value {
        Value::String(word) => {
            let mut text = String::new();
            word_to(&mut text, word);
            text
        }
        other => other.to_string(),
    }
}

/// A name or comment, which comes from outside: what is no printable ASCII is escaped.
fn word_to(text: &mut String, word: &str) {
    if word.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        text.push_str(word);
    } else {
        text.extend(word.chars().flat_map(char::escape_debug));
    }
}

fn quoted_to(text: &mut String, word: &str) {
    text.push('"');
    word_to(text, word);
    text.push('"');
}

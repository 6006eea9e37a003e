//! The catalogue of causes.

use diagnose::catalogue::Entry;
use serde_json::{Value, json};

use super::Look;
use super::layout::{self, Paint, READABLE, columns};

/// One line a cause.
pub fn causes(entries: &[Entry], look: Look) -> String {
    let width = entries.iter().map(|entry| columns(entry.id)).max().unwrap_or(0);
    let mut out = String::new();
    for entry in entries {
        let id = look.paint(Paint::Heading, entry.id);
        let first = format!("{id}{}", " ".repeat(width - columns(entry.id) + 2));
        layout::item(&mut out, look, &first, width + 2, &format!("{}: {}", entry.slug, entry.title));
    }
    layout::item(&mut out, look, "", 0, "`why-dropped explain ID` says how each looks and what proves it.");
    out
}

/// Everything written about one cause.
pub fn cause(entry: &Entry, look: Look) -> String {
    let look = Look { width: look.width.min(READABLE), ..look };
    let mut out = String::new();
    let title = look.paint(Paint::Heading, &format!("{}: {}", entry.id, entry.title));
    out.push_str(&title);
    layout::item(&mut out, look, "\n", 0, &format!("{}, stage: {}", entry.slug, entry.stage.word()));
    markdown(&mut out, &entry.doc, look);
    out
}

/// The little Markdown that cause files use: paragraphs, `**Heading.**` at the head of one, items behind `- `.
fn markdown(out: &mut String, text: &str, look: Look) {
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        out.push('\n');
        let (indent, body) = match paragraph.strip_prefix("**").and_then(|rest| rest.split_once("**")) {
            Some((heading, body)) => {
                out.push_str(&look.paint(Paint::Heading, heading.trim_end_matches(['.', ':'])));
                out.push('\n');
                (2, body.trim_start())
            }
            None => (0, paragraph),
        };
        let mut items: Vec<(bool, String)> = Vec::new();
        for line in body.lines().map(str::trim) {
            match (line.strip_prefix("- "), items.last_mut()) {
                (Some(item), _) => items.push((true, item.to_owned())),
                (None, Some((_, text))) => {
                    text.push(' ');
                    text.push_str(line);
                }
                (None, None) => items.push((false, line.to_owned())),
            }
        }
        for (item, text) in items {
            let first = format!("{}{}", " ".repeat(indent), if item { "- " } else { "" });
            layout::item(out, look, &first, columns(&first), &text);
        }
    }
}

/// The catalogue for programs.
pub fn causes_json(entries: &[Entry]) -> String {
    let entries: Vec<Value> = entries.iter().map(value).collect();
    format!("{:#}\n", json!({ "causes": entries }))
}

/// One cause for programs.
pub fn cause_json(entry: &Entry) -> String {
    format!("{:#}\n", value(entry))
}

fn value(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "cause": entry.slug,
        "title": entry.title,
        "stage": entry.stage.word(),
        "doc": entry.doc,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_paragraphs() {
        let mut out = String::new();
        let text = "One\ntwo.\n\n**Proof.** Three `four`:\n- a\n  b\n- c\n";
        markdown(&mut out, text, Look { width: 80, colour: false, unicode: true, verbose: false });
        assert_eq!(out, "\nOne two.\n\nProof\n  Three `four`:\n  - a b\n  - c\n");
    }

    #[test]
    fn every_cause_reads_well_on_a_narrow_terminal() {
        let look = Look { width: 80, colour: false, unicode: true, verbose: false };
        for entry in diagnose::catalogue() {
            for line in cause(entry, look).lines() {
                assert!(columns(line) <= 80 && !line.contains("**"), "{}: {line}", entry.id);
            }
        }
        for line in causes(diagnose::catalogue(), look).lines() {
            assert!(columns(line) <= 80, "{line}");
        }
    }
}

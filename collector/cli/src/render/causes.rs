//! The catalogue of causes.

use diagnose::catalogue::Entry;
use serde_json::{Value, json};

use super::Look;
use super::layout::{self, Paint};

/// One line a cause.
pub fn causes(entries: &[Entry], look: Look) -> String {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| vec![entry.id.to_owned(), entry.slug.to_owned(), entry.title.to_owned()])
        .collect();
    let mut out = String::new();
    for line in layout::table(&rows) {
        out.push_str(&line);
        out.push('\n');
    }
    layout::item(&mut out, look, "", 0, "`why-dropped explain ID` says how each looks and what proves it.");
    out
}

/// Everything written about one cause.
pub fn cause(entry: &Entry, look: Look) -> String {
    let title = look.paint(Paint::Heading, &format!("{}: {}", entry.id, entry.title));
    format!("{title}\n{}, stage: {}\n\n{}\n", entry.slug, entry.stage.word(), entry.doc.trim_end())
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

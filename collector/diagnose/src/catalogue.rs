//! The causes as a catalogue: for `why-dropped causes` and `explain ID`, for the manual, and for a new cause's file.
//!
//! Everything is taken from the cause files themselves; nothing is written twice.

use std::fmt::Write as _;
use std::sync::LazyLock;

use model::Stage;

use crate::causes::ALL;

/// Ids that were given out once and are not used any more, one a line. They are never given out again.
const RETIRED: &str = include_str!("../retired.txt");

/// One cause of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Catalogue id: `S3`.
    pub id: &'static str,
    /// The id in words: `selector-matches-nothing`.
    pub slug: &'static str,
    /// One line.
    pub title: &'static str,
    /// What it is, how it looks, what proves it, what it is confused with: Markdown, from the head of its file.
    pub doc: String,
    /// Where on the path it acts.
    pub stage: Stage,
}

/// All causes, by letter and number.
pub fn catalogue() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let mut entries: Vec<Entry> = ALL
            .iter()
            .map(|cause| Entry {
                id: cause.meta.id,
                slug: cause.meta.slug,
                title: cause.meta.title,
                doc: head(cause.source),
                stage: cause.meta.stage,
            })
            .collect();
        entries.sort_by_key(|entry| order(entry.id));
        entries
    });
    &ENTRIES
}

/// Ids that are not used any more.
pub fn retired() -> impl Iterator<Item = &'static str> {
    RETIRED.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The pages of the manual: file name and text, the index last.
pub fn markdown() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = catalogue()
        .iter()
        .map(|entry| {
            let text = format!(
                "<!-- Written by `cargo xtask codegen` from collector/diagnose/src/causes/{}.rs. -->\n\n\
                 # {}: {}\n\n`{}`, stage: {}\n\n{}",
                entry.slug.replace('-', "_"),
                entry.id,
                entry.title,
                entry.slug,
                entry.stage.word(),
                entry.doc
            );
            (format!("{}.md", entry.id), text)
        })
        .collect();
    let mut rows = String::new();
    for Entry { id, slug, title, stage, .. } in catalogue() {
        let _ = writeln!(rows, "| [{id}]({id}.md) | `{slug}` | {} | {title} |", stage.word());
    }
    let index = format!(
        "<!-- Written by `cargo xtask codegen` from the cause files. -->\n\n# Causes\n\n\
         Why a connection fails, as far as why-dropped can tell. Letters: D DNS, S Service, E endpoints, N policy,\n\
         K kube-proxy, C conntrack, P pod and process, H host network, I IPVS.\n\n\
         | id | cause | stage | what |\n|---|---|---|---|\n{rows}"
    );
    pages.push(("README.md".into(), index));
    pages
}

/// The head of a cause file as Markdown: its `//!` lines.
fn head(source: &str) -> String {
    let mut doc = String::new();
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        doc.push_str(line.strip_prefix(' ').unwrap_or(line));
        doc.push('\n');
    }
    doc
}

/// Letter, then number.
fn order(id: &str) -> (&str, u32) {
    let (letter, number) = id.split_at(id.len().min(1));
    (letter, number.parse().unwrap_or(u32::MAX))
}

/// The next free id of a letter: one more than the highest of the published catalogue, the causes and the retired ids.
pub fn next_id(letter: char) -> String {
    // The published catalogue (docs/causes, "reserved") goes this far; its ids keep their meaning though not all are built.
    let reserved = match letter {
        'D' => 15,
        'S' => 25,
        'E' | 'C' => 9,
        'N' | 'K' => 20,
        'P' => 17,
        'H' => 26,
        'I' => 10,
        _ => 0,
    };
    let used = ALL.iter().map(|cause| cause.meta.id).chain(retired());
    let highest = used
        .map(order)
        .filter(|(found, _)| found.chars().eq([letter]))
        .map(|(_, number)| number)
        .fold(reserved, u32::max);
    format!("{letter}{}", highest + 1)
}

/// The file of a new cause, to be filled in. It compiles, and says "cannot tell" until it is.
pub fn skeleton(id: &str, slug: &str) -> String {
    include_str!("catalogue/skeleton.txt").replace("@ID@", id).replace("@SLUG@", slug)
}

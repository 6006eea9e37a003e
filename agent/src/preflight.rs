//! What can and cannot be seen from here, and why: for the start, for the status, and for a person at a shell.

use std::fmt::Write as _;

use model::{SourceHealth, SourceState};
use trace::Preflight;

/// The state of every source, without loading anything.
pub fn check() -> Vec<SourceState> {
    let mut sources = Preflight::check();
    sources.extend(kernel::preflight());
    sources
}

/// Whether anything at all can be seen.
pub fn anything(sources: &[SourceState]) -> bool {
    sources.iter().any(|source| source.health != SourceHealth::Unavailable)
}

/// One line for all sources.
pub fn summary(sources: &[SourceState]) -> String {
    let count = |health| sources.iter().filter(|source| source.health == health).count();
    let (ok, degraded) = (count(SourceHealth::Ok), count(SourceHealth::Degraded));
    let unavailable = count(SourceHealth::Unavailable);
    format!("probed: {ok} ok, {degraded} degraded, {unavailable} unavailable")
}

/// For people: one source a line, what is missing and what that costs behind it.
pub fn render_text(sources: &[SourceState]) -> String {
    let width = sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for source in sources {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<width$}  {:<11}  {}",
            source.name,
            word(source.health),
            printable(&source.detail)
        );
    }
    text
}

/// For programs: `{"sources":[{"name","state":"OK|DEGRADED|UNAVAILABLE","detail"}]}`, as `nodes -o json` has them.
pub fn render_json(sources: &[SourceState]) -> String {
    let sources: Vec<serde_json::Value> = sources
        .iter()
        .map(|source| {
            let state = word(source.health).to_uppercase();
            serde_json::json!({ "name": source.name, "state": state, "detail": source.detail })
        })
        .collect();
    format!("{:#}\n", serde_json::json!({ "sources": sources }))
}

/// The text with its control characters escaped: some of it comes from the kernel or from tools.
fn printable(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            kept.extend(character.escape_default());
        } else {
            kept.push(character);
        }
    }
    kept
}

const fn word(health: SourceHealth) -> &'static str {
    match health {
        SourceHealth::Ok => "ok",
        SourceHealth::Degraded => "degraded",
        SourceHealth::Unavailable => "unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<SourceState> {
        let source = |name: &str, health, detail: &str| SourceState {
            name: name.to_owned(),
            health,
            detail: detail.to_owned(),
        };
        vec![
            source("drops", SourceHealth::Unavailable, "no BTF\u{1b}[31m"),
            source("routes", SourceHealth::Ok, "3 IPv4 routes"),
        ]
    }

    #[test]
    fn text_has_a_line_for_each_and_no_control_characters() {
        let text = render_text(&sources());
        assert_eq!(text, "drops   unavailable  no BTF\\u{1b}[31m\nroutes  ok           3 IPv4 routes\n");
    }

    #[test]
    fn json_speaks_the_schema_s_words() {
        let parsed: serde_json::Value = serde_json::from_str(&render_json(&sources())).expect("JSON");
        assert_eq!(parsed["sources"][0]["state"], "UNAVAILABLE");
        assert_eq!(parsed["sources"][1]["name"], "routes");
    }

    #[test]
    fn one_working_source_is_something() {
        let mut sources = sources();
        assert!(anything(&sources));
        assert_eq!(summary(&sources), "probed: 1 ok, 0 degraded, 1 unavailable");
        sources.pop();
        assert!(!anything(&sources));
    }
}

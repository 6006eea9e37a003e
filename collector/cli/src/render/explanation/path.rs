//! The paths of an answer, hop by hop; what they have in common is shown once.

use proto::v1;

use super::super::layout::{self, Paint, columns, escape};
use super::super::rule;
use super::{Page, explains, paint_of};

/// Backends named in the head of a path; the rest is counted.
const BACKENDS_SHOWN: usize = 4;

/// Names wider than this have their line to themselves, so that the details keep room.
const LABEL_COLUMNS: usize = 24;

impl Page<'_> {
    pub(super) fn paths(&mut self) {
        let mut paths: Vec<&v1::Path> =
            self.answer.paths.iter().filter(|path| !path.hops.is_empty()).collect();
        // Trouble first.
        paths.sort_by_key(|path| trouble(path.verdict()));
        let Some((&first, others)) = paths.split_first() else { return };
        let width = paths
            .iter()
            .flat_map(|path| path.hops.iter().map(|hop| columns(&self.label(hop, path))))
            .filter(|width| *width <= LABEL_COLUMNS)
            .max()
            .unwrap_or(0);
        let common = if others.is_empty() { first.hops.len() } else { common(first, others) };
        if common > 0 {
            self.heading("path");
        }
        for hop in first.hops.iter().take(common) {
            self.hop(hop, first, width);
        }
        if others.is_empty() {
            return;
        }
        for path in paths {
            self.path_head(path);
            for hop in path.hops.iter().skip(common) {
                self.hop(hop, path, width);
            }
        }
    }

    fn path_head(&mut self, path: &v1::Path) {
        let mut names: Vec<String> =
            path.backends.iter().take(BACKENDS_SHOWN).map(|name| escape(name)).collect();
        let named = u32::try_from(names.len()).unwrap_or(u32::MAX);
        if path.backend_count > named {
            names.push(format!("{} more", path.backend_count - named));
        }
        let mut which = String::new();
        if !names.is_empty() {
            which = format!(" to {}", names.join(", "));
        }
        if path.family() == v1::family::Value::Ipv6 {
            which.push_str(" by IPv6");
        }
        let verdict = path.verdict();
        let word = self.look.paint(paint_of(verdict), verdict.as_str_name());
        let heading = self.look.paint(Paint::Heading, "path");
        layout::item(&mut self.out, self.look, "", 5, &format!("{heading}{which}: {word}"));
    }

    /// Who or what a hop is: names rather than stages where there are names.
    pub(super) fn label(&self, hop: &v1::Hop, path: &v1::Path) -> String {
        let source = self.answer.question.as_ref().map(|question| name_of(&question.source));
        match (hop.stage(), source) {
            (v1::stage::Value::Source, Some(source)) if !source.is_empty() => escape(source),
            (v1::stage::Value::Destination, _) => match path.backends.as_slice() {
                [only] if path.backend_count == 1 => escape(only),
                _ => "destination".to_owned(),
            },
            (v1::stage::Value::SourceNode | v1::stage::Value::DestinationNode, _) if !hop.node.is_empty() => {
                escape(&hop.node)
            }
            (stage, _) => stage.as_str_name().to_ascii_lowercase().replace('_', " "),
        }
    }

    fn hop(&mut self, hop: &v1::Hop, path: &v1::Path, width: usize) {
        let (paint, fancy, plain) = match hop.state() {
            v1::hop_state::Value::Pass => (Paint::Good, "✓", "ok"),
            v1::hop_state::Value::Stop => (Paint::Bad, "✗", "X "),
            v1::hop_state::Value::Unknown | v1::hop_state::Value::Unspecified => (Paint::Unsure, "?", "? "),
        };
        let mark = if self.look.unicode { fancy } else { plain };
        let indent = 2 + columns(mark) + 1 + width + 2;
        let label = self.label(hop, path);
        let mut detail = escape(&hop.detail);
        // A finding that shows no hop of its own lends its title, which the first line has said already.
        let says = |finding: &&v1::Finding| explains(finding) && finding.title == hop.detail;
        if indent + columns(&detail) > self.look.width
            && let Some(finding) = self.answer.findings.iter().find(says)
        {
            detail = format!("ends here ({})", escape(&finding.id));
        }
        let mut first = format!("  {} {label}", self.look.paint(paint, mark));
        if columns(&label) > width {
            self.line(&first);
            first = " ".repeat(indent);
        } else {
            first.push_str(&" ".repeat(width - columns(&label) + 2));
        }
        layout::item(&mut self.out, self.look, &first, indent, &detail);
        if let Some(rule) = &hop.rule {
            rule::rule(&mut self.out, self.look, indent, rule, &hop.detail);
        }
    }
}

/// How many hops all paths begin with alike; each keeps at least its last for itself.
fn common(first: &v1::Path, others: &[&v1::Path]) -> usize {
    let shortest = others.iter().map(|path| path.hops.len()).fold(first.hops.len(), usize::min);
    first
        .hops
        .iter()
        .enumerate()
        .take(shortest.saturating_sub(1))
        .take_while(|(at, hop)| others.iter().all(|path| path.hops.get(*at) == Some(*hop)))
        .count()
}

const fn trouble(verdict: v1::verdict::Value) -> u8 {
    match verdict {
        v1::verdict::Value::Dropped | v1::verdict::Value::Rejected | v1::verdict::Value::Unresolved => 0,
        v1::verdict::Value::Partial | v1::verdict::Value::Inconclusive | v1::verdict::Value::Unspecified => 1,
        v1::verdict::Value::Delivered => 2,
    }
}

/// `web/client` of `pod web/client`.
fn name_of(source: &str) -> &str {
    source.rsplit(' ').next().unwrap_or_default()
}

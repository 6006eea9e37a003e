//! One answer: the sentence, the path, because, fix, and what was not checked.

use proto::v1;

use super::Look;
use super::layout::{self, Paint, age, columns, escape};

/// Backends named in the head of a path; the rest is counted.
const BACKENDS_SHOWN: usize = 4;

/// An answer.
pub fn explanation(answer: &v1::Explanation, look: Look) -> String {
    let mut page = Page { out: String::new(), look, answer };
    page.sentence();
    page.notes();
    let head = page.out.len();
    page.paths();
    let mut findings = answer.findings.iter();
    if let Some(first) = findings.next() {
        page.because(first);
        page.fixes(first);
    }
    for other in findings {
        page.other(other);
    }
    if look.verbose {
        page.policy();
    }
    page.ruled_out();
    page.not_checked();
    if page.out.len() > head {
        page.out.insert(head, '\n');
    }
    page.out
}

struct Page<'a> {
    out: String,
    look: Look,
    answer: &'a v1::Explanation,
}

impl Page<'_> {
    fn sentence(&mut self) {
        let verdict = self.answer.verdict();
        let mut word = verdict.as_str_name().to_owned();
        if self.answer.basis() == v1::basis::Value::Objects {
            word.push_str(" (predicted)");
        }
        let word = self.look.paint(paint_of(verdict), &format!("{word}:"));
        let certainty = certainty(self.answer.certainty());
        let mark = match self.answer.findings.first() {
            Some(first) => format!("[{}, {certainty}]", escape(&first.id)),
            None => format!("[{certainty}]"),
        };
        // One line however long: the first line is the answer, for eyes and for `head -1`.
        self.line(&format!("{word} {}   {mark}", escape(&self.answer.summary)));
    }

    fn notes(&mut self) {
        for note in self.answer.question.iter().flat_map(|question| &question.notes) {
            layout::item(&mut self.out, self.look, "  note: ", 8, &escape(note));
        }
    }

    fn paths(&mut self) {
        let several = self.answer.paths.len() > 1;
        for path in self.answer.paths.iter().filter(|path| !path.hops.is_empty()) {
            if several {
                self.path_head(path);
            } else {
                self.heading("path");
            }
            let labels: Vec<String> = path.hops.iter().map(|hop| self.label(hop, path)).collect();
            let width = labels.iter().map(|label| columns(label)).max().unwrap_or(0);
            for (hop, label) in path.hops.iter().zip(&labels) {
                self.hop(hop, label, width);
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
        let to = if names.is_empty() { String::new() } else { format!("to {}", names.join(", ")) };
        let family = match path.family() {
            v1::family::Value::Ipv6 => " by IPv6",
            v1::family::Value::Ipv4 | v1::family::Value::Unspecified => "",
        };
        let verdict = path.verdict();
        let word = self.look.paint(paint_of(verdict), verdict.as_str_name());
        let heading = self.look.paint(Paint::Heading, "path");
        layout::item(&mut self.out, self.look, &format!("{heading} "), 5, &format!("{to}{family}: {word}"));
    }

    /// Who or what a hop is: names rather than stages where there are names.
    fn label(&self, hop: &v1::Hop, path: &v1::Path) -> String {
        let stage = hop.stage();
        let source = self.answer.question.as_ref().map(|question| name_of(&question.source));
        match (stage, source) {
            (v1::stage::Value::Source, Some(source)) if !source.is_empty() => escape(source),
            (v1::stage::Value::Destination, _) => match path.backends.as_slice() {
                [only] if path.backend_count == 1 => escape(only),
                _ => "destination".to_owned(),
            },
            (v1::stage::Value::SourceNode | v1::stage::Value::DestinationNode, _) if !hop.node.is_empty() => {
                escape(&hop.node)
            }
            _ => stage.as_str_name().to_ascii_lowercase().replace('_', " "),
        }
    }

    fn hop(&mut self, hop: &v1::Hop, label: &str, width: usize) {
        let (paint, fancy, plain) = match hop.state() {
            v1::hop_state::Value::Pass => (Paint::Good, "✓", "ok"),
            v1::hop_state::Value::Stop => (Paint::Bad, "✗", "X "),
            v1::hop_state::Value::Unknown | v1::hop_state::Value::Unspecified => (Paint::Unsure, "?", "? "),
        };
        let mark = if self.look.unicode { fancy } else { plain };
        let indent = 2 + columns(mark) + 1 + width + 2;
        let pad = " ".repeat(width - columns(label) + 2);
        let first = format!("  {} {label}{pad}", self.look.paint(paint, mark));
        layout::item(&mut self.out, self.look, &first, indent, &escape(&hop.detail));
        if let Some(rule) = &hop.rule {
            for line in rule_lines(rule) {
                layout::item(&mut self.out, self.look, &" ".repeat(indent), indent, &line);
            }
        }
    }

    fn because(&mut self, finding: &v1::Finding) {
        if finding.because.is_empty() {
            return;
        }
        self.heading("because");
        for reason in &finding.because {
            self.reason(reason, "  - ");
        }
        if self.look.verbose {
            self.objects(finding);
        }
    }

    fn reason(&mut self, reason: &v1::Reason, first: &str) {
        let mut right = escape(&reason.source);
        if !reason.observed_at.is_empty() {
            right = format!("{right}, {} ago", age(reason.age_ms));
        }
        layout::item_with(&mut self.out, self.look, first, &escape(&reason.text), &right);
    }

    fn objects(&mut self, finding: &v1::Finding) {
        for object in &finding.objects {
            let name = if object.namespace.is_empty() {
                object.name.clone()
            } else {
                format!("{}/{}", object.namespace, object.name)
            };
            let text = format!("{} {} {name} {}", object.api_version, object.kind, object.field);
            layout::item(&mut self.out, self.look, "    see ", 8, &escape(&text));
        }
    }

    fn fixes(&mut self, finding: &v1::Finding) {
        if finding.fixes.is_empty() {
            return;
        }
        self.heading("fix");
        for fix in &finding.fixes {
            layout::item(&mut self.out, self.look, "  ", 2, &escape(&fix.text));
            // Not wrapped: to be pasted.
            for line in fix.command.lines() {
                self.line(&format!("    {}", escape(line)));
            }
        }
    }

    /// A finding that does not explain the verdict.
    fn other(&mut self, finding: &v1::Finding) {
        let effect = match finding.effect() {
            v1::effect::Value::Stops | v1::effect::Value::Some => "also",
            v1::effect::Value::Later => "later",
            v1::effect::Value::Note | v1::effect::Value::Unspecified => "note",
        };
        let heading = self.look.paint(Paint::Heading, effect);
        let text = format!(
            "  {}   [{}, {}]",
            escape(&finding.title),
            escape(&finding.id),
            certainty(finding.certainty())
        );
        let indent = columns(effect) + 2;
        layout::item(&mut self.out, self.look, &format!("{heading}  "), indent, &text);
        if self.look.verbose {
            for reason in &finding.because {
                self.reason(reason, "  - ");
            }
            self.objects(finding);
        }
        if finding.effect() != v1::effect::Value::Note || self.look.verbose {
            for fix in &finding.fixes {
                layout::item(&mut self.out, self.look, "    ", 4, &escape(&fix.text));
                for line in fix.command.lines() {
                    self.line(&format!("      {}", escape(line)));
                }
            }
        }
    }

    fn policy(&mut self) {
        let Some(policy) = &self.answer.policy else { return };
        self.heading("policy");
        for (word, direction) in [("egress ", &policy.egress), ("ingress", &policy.ingress)] {
            let Some(direction) = direction else { continue };
            let isolated = if direction.isolated { "isolated" } else { "not isolated" };
            self.line(&format!("  {word}  {}, {isolated}", direction.effect().as_str_name()));
            for part in &direction.policies {
                let rule = part.rule.map(|rule| format!(" rule {rule}")).unwrap_or_default();
                let miss =
                    if part.near_miss.is_empty() { String::new() } else { format!(": {}", part.near_miss) };
                let text =
                    format!("{} {}{rule} {}{miss}", part.kind, part.policy, part.effect().as_str_name());
                layout::item(&mut self.out, self.look, "    - ", 6, &escape(&text));
            }
        }
    }

    fn ruled_out(&mut self) {
        let out = &self.answer.ruled_out;
        if out.is_empty() {
            return;
        }
        if self.look.verbose {
            self.heading("ruled out");
            for cause in out {
                let text = format!("{} {}: {}", cause.id, cause.cause, cause.why);
                layout::item(&mut self.out, self.look, "  - ", 4, &escape(&text));
            }
            return;
        }
        let causes: Vec<String> =
            out.iter().map(|cause| escape(&format!("{} {}", cause.id, cause.cause))).collect();
        let heading = self.look.paint(Paint::Heading, "ruled out");
        layout::item(&mut self.out, self.look, &format!("{heading}  "), 11, &causes.join(", "));
    }

    fn not_checked(&mut self) {
        if self.answer.not_checked.is_empty() {
            return;
        }
        self.heading("not checked");
        for gap in &self.answer.not_checked {
            let text = escape(&format!("{}: {}", gap.what, gap.why));
            layout::item(&mut self.out, self.look, "  - ", 4, &text);
            if !gap.remedy.is_empty() {
                layout::item(&mut self.out, self.look, "    ", 4, &escape(&gap.remedy));
            }
        }
    }

    fn heading(&mut self, text: &str) {
        let heading = self.look.paint(Paint::Heading, text);
        self.line(&heading);
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// A rule: where it stands and what it says, then whose it is.
pub fn rule_lines(rule: &v1::Rule) -> Vec<String> {
    let mut lines = vec![escape(&format!("{} {} {}", rule.table, rule.chain, rule.rule))];
    let whose: Vec<&str> =
        [rule.owner.as_str(), rule.object.as_str()].into_iter().filter(|word| !word.is_empty()).collect();
    if !whose.is_empty() {
        lines.push(escape(&format!("({})", whose.join(", "))));
    }
    lines
}

/// `web/client` of `pod web/client`.
fn name_of(source: &str) -> &str {
    source.rsplit(' ').next().unwrap_or_default()
}

const fn certainty(certainty: v1::certainty::Value) -> &'static str {
    match certainty {
        v1::certainty::Value::Proven => "proven",
        v1::certainty::Value::Likely => "likely",
        v1::certainty::Value::Possible => "possible",
        v1::certainty::Value::Unspecified => "unknown",
    }
}

const fn paint_of(verdict: v1::verdict::Value) -> Paint {
    match verdict {
        v1::verdict::Value::Delivered => Paint::Good,
        v1::verdict::Value::Partial | v1::verdict::Value::Inconclusive | v1::verdict::Value::Unspecified => {
            Paint::Unsure
        }
        v1::verdict::Value::Dropped | v1::verdict::Value::Rejected | v1::verdict::Value::Unresolved => {
            Paint::Bad
        }
    }
}

//! One answer: the sentence, the path, because, fix, and what was not checked.

mod path;
mod unknown;

use proto::v1;

use super::layout::{self, Paint, age, columns, escape};
use super::{Look, gaps, ruled_out};

/// Sources wider than this are shown by the last part of their path.
const SOURCE_COLUMNS: usize = 32;

/// What a reason begins with that says what was nearly right: it goes below the reason before it.
const NEAREST: &str = "nearest: ";

/// What the sentence of an answer from objects alone begins with; here the word before it says so.
const PREDICTED: &str = "predicted: ";

/// An answer.
pub fn explanation(answer: &v1::Explanation, look: Look) -> String {
    let mut page = Page { out: String::new(), look, answer };
    page.sentence();
    page.notes();
    let head = page.out.len();
    let unknown = answer.verdict() == v1::verdict::Value::Inconclusive;
    if unknown {
        page.unknown();
    } else {
        page.paths();
    }
    let mut findings = answer.findings.as_slice();
    if let [first, rest @ ..] = findings
        && explains(first)
    {
        page.because(first);
        page.fixes(first);
        findings = rest;
    }
    for other in findings {
        page.other(other);
    }
    if look.verbose {
        page.policy();
    }
    page.ruled_out();
    if !unknown {
        page.not_checked();
    }
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
        let unknown = verdict == v1::verdict::Value::Inconclusive;
        if self.answer.basis() == v1::basis::Value::Objects && !unknown {
            word.push_str(" (predicted)");
        }
        let word = self.look.paint(paint_of(verdict), &format!("{word}:"));
        let certainty = certainty(self.answer.certainty());
        let mark = match self.answer.findings.first() {
            // How sure one is of not knowing says nothing.
            _ if unknown => String::new(),
            Some(first) if explains(first) => format!("   [{}, {certainty}]", escape(&first.id)),
            _ => format!("   [{certainty}]"),
        };
        let summary = self.answer.summary.as_str();
        let summary = summary.strip_prefix(PREDICTED).unwrap_or(summary);
        // One line however long: the first line is the answer, for eyes and for `head -1`.
        self.line(&format!("{word} {}{mark}", escape(summary)));
    }

    fn notes(&mut self) {
        for note in self.answer.question.iter().flat_map(|question| &question.notes) {
            layout::item(&mut self.out, self.look, "  note: ", 8, &escape(note));
        }
    }

    fn because(&mut self, finding: &v1::Finding) {
        if finding.because.is_empty() {
            return;
        }
        self.heading("because");
        for reason in &finding.because {
            self.reason(reason);
        }
        if self.look.verbose {
            self.objects(finding);
        }
    }

    fn reason(&mut self, reason: &v1::Reason) {
        let first = if reason.text.starts_with(NEAREST) { "    " } else { "  - " };
        let mut right = escape(source(&reason.source));
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
            self.fix(fix, 2);
        }
    }

    fn fix(&mut self, fix: &v1::Fix, indent: usize) {
        let mut text = fix.text.as_str();
        let mut end = "";
        if !fix.command.is_empty() && !text.ends_with(':') {
            text = text.trim_end_matches('.');
            end = ":";
        }
        layout::item(
            &mut self.out,
            self.look,
            &" ".repeat(indent),
            indent,
            &format!("{}{end}", escape(text)),
        );
        // Not wrapped: to be pasted.
        for line in fix.command.lines() {
            self.line(&format!("{}{}", " ".repeat(indent + 2), escape(line)));
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
            // The mark stays in one piece.
            "{}   [{},\u{a0}{}]",
            escape(&finding.title),
            escape(&finding.id),
            certainty(finding.certainty())
        );
        let indent = columns(effect) + 2;
        layout::item(&mut self.out, self.look, &format!("{heading}  "), indent, &text);
        if self.look.verbose {
            for reason in &finding.because {
                self.reason(reason);
            }
            self.objects(finding);
        }
        if finding.effect() != v1::effect::Value::Note || self.look.verbose {
            for fix in &finding.fixes {
                self.fix(fix, 4);
            }
        }
    }

    fn policy(&mut self) {
        let Some(policy) = &self.answer.policy else { return };
        self.heading("policy");
        for (word, direction) in [("egress ", &policy.egress), ("ingress", &policy.ingress)] {
            let Some(direction) = direction else { continue };
            let isolated = if direction.isolated { "isolated" } else { "not isolated" };
            self.line(&format!("  {word}  {}, {isolated}", words(direction.effect().as_str_name())));
            for part in &direction.policies {
                let mut text =
                    format!("{} {}: {}", part.kind, part.policy, words(part.effect().as_str_name()));
                if !part.near_miss.is_empty() {
                    // It names the rule.
                    text = format!("{text}; {}", part.near_miss);
                } else if let Some(rule) = part.rule {
                    text = format!("{text}, rule {rule}");
                }
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
        let groups = ruled_out::groups(self.answer);
        if !groups.is_empty() {
            self.labelled("ruled out", &[groups.join(", ")]);
        }
    }

    fn not_checked(&mut self) {
        if self.answer.not_checked.is_empty() {
            return;
        }
        self.heading("not checked");
        for unseen in gaps::unseen(&self.answer.not_checked) {
            layout::item(&mut self.out, self.look, "  - ", 4, &unseen.text);
            if gaps::is_command(&unseen.remedy) {
                self.line(&format!("    {}", escape(&unseen.remedy)));
            } else if !unseen.remedy.is_empty() {
                layout::item(&mut self.out, self.look, "    ", 4, &escape(&unseen.remedy));
            }
        }
    }

    /// Items behind a word in the margin.
    fn labelled(&mut self, label: &str, items: &[String]) {
        const MARGIN: usize = 11;
        let word = self.look.paint(Paint::Heading, label);
        let mut first = format!("{word}{}", " ".repeat(MARGIN.saturating_sub(columns(label))));
        for item in items {
            layout::item(&mut self.out, self.look, &first, MARGIN, item);
            first = " ".repeat(MARGIN);
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

/// `PEER_MISMATCH` as words.
fn words(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', " ")
}

/// Whether a finding is why the verdict is what it is.
fn explains(finding: &v1::Finding) -> bool {
    !matches!(finding.effect(), v1::effect::Value::Later | v1::effect::Value::Note)
}

/// Who saw it; of a long path to a file the file's name.
fn source(source: &str) -> &str {
    match source.rsplit_once('/') {
        Some((_, name)) if columns(source) > SOURCE_COLUMNS && !name.is_empty() => name,
        _ => source,
    }
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

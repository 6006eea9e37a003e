//! Splits a saved rule into words: blanks separate, double quotes join, a backslash keeps the next character.
//!
//! Words are handed out as positions; nothing is copied and no escape is undone.

use crate::ir::Span;

/// The words of one line.
#[derive(Clone)]
pub(super) struct Words<'t> {
    text: &'t str,
    at: usize,
    end: usize,
}

impl<'t> Words<'t> {
    /// The words of `text[start..end]`.
    pub(super) const fn new(text: &'t str, start: usize, end: usize) -> Self {
        Self { text, at: start, end }
    }

    /// A word's text, without its quotes.
    pub(super) fn text(&self, span: Span) -> &'t str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The next two words without moving on.
    pub(super) fn peek_two(&self) -> (Option<&'t str>, Option<&'t str>) {
        let mut ahead = self.clone();
        let first = ahead.next().map(|span| self.text(span));
        (first, ahead.next().map(|span| self.text(span)))
    }

    /// Where the next word begins, quotes included.
    pub(super) fn upcoming(&self) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while at < self.end && bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    }

    /// Where the last word handed out ended.
    pub(super) const fn offset(&self) -> usize {
        self.at
    }
}

impl Iterator for Words<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let bytes = self.text.as_bytes().get(..self.end)?;
        let mut at = self.upcoming();
        let (start, end) = if bytes.get(at)? == &b'"' {
            at += 1;
            let start = at;
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => break,
                    b'\\' => at += 2,
                    _ => at += 1,
                }
            }
            let end = at.min(bytes.len());
            at = (end + 1).min(bytes.len());
            (start, end)
        } else {
            let start = at;
            at += bytes.get(at..)?.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len() - at);
            (start, at)
        };
        self.at = at;
        Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let words = Words::new(line, 0, line.len());
        let found: Vec<_> = words.clone().map(|span| words.text(span)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn quotes_join_and_blanks_separate() {
        check(
            r#"-A X  -m comment --comment "a b" -j Y"#,
            &["-A", "X", "-m", "comment", "--comment", "a b", "-j", "Y"],
        );
        check(r#"--comment "say \"hi\"" x"#, &["--comment", r#"say \"hi\""#, "x"]);
        check(r#"--comment """#, &["--comment", ""]);
        check("", &[]);
    }

    #[test]
    fn unfinished_quotes_end_with_the_line() {
        check(r#"--comment "never ends"#, &["--comment", "never ends"]);
        check(r#""a\"#, &[r"a\"]);
    }
}

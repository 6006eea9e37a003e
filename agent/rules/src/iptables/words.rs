//! Splits a saved rule into words: blanks separate, double quotes join, a backslash keeps the next character.
//!
//! Words are handed out as positions; nothing is copied and no escape is undone.

use crate::span::Span;

/// The words of one line.
#[derive(Clone)]
pub(crate) struct Words<'t> {
    text: &'t str,
    /// Where the line ends in the text.
    end: usize,
    /// The line after the last word handed out, whose closing quote is left out.
    rest: &'t [u8],
    /// The next word, once looked at, and what follows it.
    ahead: Option<(Span, &'t [u8])>,
}

impl<'t> Words<'t> {
    /// The words of `text[start..end]`.
    pub(crate) fn new(text: &'t str, start: usize, end: usize) -> Self {
        let rest = text.as_bytes().get(start..end).unwrap_or_default();
        Self { text, end, rest, ahead: None }
    }

    /// A word's text, without its quotes.
    pub(super) fn text(&self, span: Span) -> &'t str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The next word's text.
    pub(crate) fn word(&mut self) -> Option<&'t str> {
        self.next().map(|span| self.text(span))
    }

    /// The next word's text without moving on.
    pub(super) fn peek(&mut self) -> Option<&'t str> {
        if self.ahead.is_none() {
            self.ahead = self.read();
        }
        self.ahead.map(|(span, _)| self.text(span))
    }

    /// Where the next word begins, quotes included.
    pub(super) const fn upcoming(&self) -> usize {
        self.end - after_blanks(self.rest).len()
    }

    /// Where the last word handed out ended, its quote included.
    pub(super) const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Where the line ends.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// The next word and what follows it.
    fn read(&self) -> Option<(Span, &'t [u8])> {
        let (word, length, quote) = match after_blanks(self.rest) {
            [b'"', word @ ..] => (word, quoted(word), 1),
            [] => return None,
            word => (word, unquoted(word), 0),
        };
        let start = self.end - word.len();
        let span = Span { start: u32::try_from(start).ok()?, end: u32::try_from(start + length).ok()? };
        Some((span, word.get(length + quote..).unwrap_or_default()))
    }
}

impl Iterator for Words<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let (span, rest) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.read()?,
        };
        self.rest = rest;
        Some(span)
    }
}

const fn after_blanks(mut text: &[u8]) -> &[u8] {
    while let [byte, rest @ ..] = text
        && is_blank(*byte)
    {
        text = rest;
    }
    text
}

/// What parts words in a line (`add_param_to_argv`, iptables/xshared.c).
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Length of a text up to its closing quote, or to the end of the line.
fn quoted(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// Length of a text up to the first blank, or to the end of the line; eight bytes at a time.
fn unquoted(text: &[u8]) -> usize {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    const TABS: u64 = u64::from_le_bytes([b'\t'; 8]);
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let blanks = zeros(word ^ SPACES) | zeros(word ^ TABS);
        if blanks != 0 {
            return index * 8 + blanks.trailing_zeros() as usize / 8;
        }
    }
    let length = rest.iter().position(|byte| is_blank(*byte));
    words.len() * 8 + length.unwrap_or(rest.len())
}

/// The high bit of each byte that is zero; above the lowest such byte others may be set too.
const fn zeros(word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    word.wrapping_sub(LOW) & !word & HIGH
}

/// The comments in a rule's text, as printed between their quotes.
pub(crate) fn comments(rule: &str) -> impl Iterator<Item = &str> {
    let mut words = Words::new(rule, 0, rule.len());
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            match words.text(word) {
                "--comment" => return words.next().map(|comment| words.text(comment)),
                // What follows belongs to the target.
                "-j" | "--jump" | "-g" | "--goto" => return None,
                _ => {}
            }
        }
    })
}

/// The packets of `[packets:bytes]`.
pub(crate) fn packets(text: &str) -> Option<u64> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.split_once(':')?.0.parse().ok()
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

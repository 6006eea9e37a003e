//! Lines: escaping, wrapping, putting words at the right edge, columns, colours, ages.

use std::fmt::Write as _;
use std::time::Duration;

use unicode_width::UnicodeWidthStr as _;

use super::Look;

/// Prose goes no further than this, nor does what stands at its right edge: an eye must get from one to the other.
pub const READABLE: usize = 100;

/// What a piece of text is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Bad,
    Unsure,
    Heading,
    Faint,
}

impl Look {
    /// Text in its colour, if there are colours.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => "1;32",
            Paint::Bad => "1;31",
            Paint::Unsure => "1;33",
            Paint::Heading => "1",
            Paint::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Outside text, with everything that a terminal would act on instead of show written out: control characters, and the
/// invisible ones that turn the direction of what follows.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || invisible(character) {
            // Writing to a string does not fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Zero-width and bidirectional controls (Unicode TR36, TR39), and line separators.
const fn invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Columns a text takes. Colours take none; an escape character is always one of ours, see [`escape`].
pub fn columns(text: &str) -> usize {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().width();
    first + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, shown)| shown.width())).sum::<usize>()
}

/// Text broken at spaces into lines of at most `width` columns. Words longer than that keep their line to themselves:
/// addresses and rules are for pasting. Several spaces stay several inside a line; no-break spaces become spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut used, mut spaces) = (0, 0);
    for word in text.split(' ') {
        if word.is_empty() {
            spaces += 1;
            continue;
        }
        let needed = columns(word);
        if used > 0 && used + spaces + needed > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push_str(&" ".repeat(spaces));
                used += spaces;
            }
            line.push_str(&word.replace('\u{a0}', " "));
            used += needed;
        }
        spaces = 1;
    }
    lines
}

/// Appends text wrapped behind `first`, further lines behind as many spaces.
pub fn item(out: &mut String, look: Look, first: &str, first_columns: usize, text: &str) {
    let room = look.width.saturating_sub(first_columns).max(20);
    for (number, line) in wrap(text, room).iter().enumerate() {
        if number == 0 {
            out.push_str(first);
        } else {
            out.push_str(&" ".repeat(first_columns));
        }
        out.push_str(line);
        out.push('\n');
    }
}

/// Appends text like [`item`], and `right` at the right edge: on the last line if it fits there, else on one of its own.
pub fn item_with(out: &mut String, look: Look, first: &str, text: &str, right: &str) {
    item(out, Look { width: look.width.min(READABLE), ..look }, first, columns(first), text);
    if right.is_empty() {
        return;
    }
    out.pop();
    let edge = look.width.min(READABLE);
    let last = columns(out.rsplit('\n').next().unwrap_or_default());
    let used = if last + 2 + columns(right) <= edge {
        last
    } else {
        out.push('\n');
        0
    };
    let gap = edge.saturating_sub(used + columns(right));
    out.push_str(&" ".repeat(gap));
    out.push_str(&look.paint(Paint::Faint, right));
    out.push('\n');
}

/// Rows in columns as wide as their widest cell, two spaces apart, nothing after the last.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(columns(cell)) + 2));
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// How long ago, in the unit a person would take.
pub fn age(ms: u32) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("0.{} s", (ms / 100).max(1)),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long a span is, in the unit a person would take.
pub fn span(span: Duration) -> String {
    age(u32::try_from(span.as_millis()).unwrap_or(u32::MAX))
}

/// A number with its noun.
pub fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_written_out() {
        assert_eq!(
            escape("a\u{1b}[31mb\r\n\u{202e}c\u{7}\u{9b}"),
            "a\\u{1b}[31mb\\r\\n\\u{202e}c\\u{7}\\u{9b}"
        );
        assert_eq!(escape("shop/api … ✓ 日本"), "shop/api … ✓ 日本");
    }

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-word-that-is-too-long b", 5), ["a-word-that-is-too-long", "b"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("a  b  c [d,\u{a0}e]", 6), ["a  b", "c", "[d, e]"]);
        assert_eq!(wrap("日本 日本", 6), ["日本", "日本"]);
    }

    #[test]
    fn colours_take_no_room() {
        let look = Look { width: 80, colour: true, unicode: true, verbose: false };
        assert_eq!(columns(&format!("a{}m", look.paint(Paint::Good, "mm"))), 4);
    }

    #[test]
    fn ages_take_the_unit_of_people() {
        for (ms, text) in [
            (0, "0.1 s"),
            (450, "0.4 s"),
            (4_500, "4 s"),
            (119_000, "119 s"),
            (180_000, "3 min"),
            (7_200_000, "2 h"),
            (u32::MAX, "49 d"),
        ] {
            assert_eq!(age(ms), text);
        }
    }
}

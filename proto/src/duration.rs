//! Spans of time as people write them: `10m`, `90s`, `1h30m`, `500ms`. Wire and command line share them.

use std::time::Duration;

use thiserror::Error;

/// The longest span taken: a year. Longer ones are typing mistakes.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Why a text is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("empty duration; write it like `10m`, `90s`, `1h30m` or `500ms`")]
    Empty,
    /// A number is missing where one is needed.
    #[error("`{}`: a number is missing before `{}`; write it like `10m`, `90s`, `1h30m` or `500ms`", .text.escape_debug(), .rest.escape_debug())]
    NoNumber {
        /// The whole text.
        text: String,
        /// From where it is not understood.
        rest: String,
    },
    /// A unit is missing or not known.
    #[error("`{}`: {}; units are d, h, m, s and ms", .text.escape_debug(), unit_words(.unit))]
    Unit {
        /// The whole text.
        text: String,
        /// What stands where the unit should be.
        unit: String,
    },
    /// Longer than a year.
    #[error("`{}`: longer than a year", .text.escape_debug())]
    TooLong {
        /// The whole text.
        text: String,
    },
}

/// Reads a span of time.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let too_long = || DurationError::TooLong { text: text.to_owned() };
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(DurationError::NoNumber { text: text.to_owned(), rest: rest.to_owned() });
        }
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let milliseconds: u64 = match unit {
            "d" => 24 * 3_600_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return Err(DurationError::Unit { text: text.to_owned(), unit: unit.to_owned() }),
        };
        let number: u64 = number.parse().map_err(|_| too_long())?;
        let part = number.checked_mul(milliseconds).ok_or_else(too_long)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(too_long)?;
        rest = next;
    }
    if total > LONGEST { Err(too_long()) } else { Ok(total) }
}

fn unit_words(unit: &str) -> String {
    if unit.is_empty() {
        "the unit is missing".to_owned()
    } else {
        format!("unknown unit `{}`", unit.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [
            ("10m", 600_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m500ms", 60_500),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "empty duration"),
            ("10", "the unit is missing"),
            ("m", "a number is missing before `m`"),
            ("10 m", "unknown unit ` m`"),
            ("-5s", "a number is missing before `-5s`"),
            ("5y", "unknown unit `y`"),
            ("1.5h", "unknown unit `.`"),
            ("400d", "longer than a year"),
            ("99999999999999999999s", "longer than a year"),
            ("18446744073709551615h", "longer than a year"),
            ("5\u{1b}", "unknown unit `\\u{1b}`"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

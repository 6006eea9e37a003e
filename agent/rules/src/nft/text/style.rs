//! How constants are written, which what they are compared with decides.

use super::super::object::single;
use super::super::tree::Value;

/// A way to write a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Names of interfaces, times, helpers.
    Quoted,
    /// Names of interfaces that may be numbers where nobody has the name.
    Named,
    /// Marks.
    Hex,
    /// Bits of packets without a name.
    ShortHex,
    /// Code points.
    Byte,
    /// Seconds.
    Duration,
    /// Flags, a number where they have no name.
    Flags,
}

/// How constants that meet an expression are written.
pub(super) fn of(expression: &Value<'_>) -> Style {
    let Some((word, body)) = single(expression) else { return Style::Plain };
    let key = body.get("key").and_then(Value::as_str).unwrap_or_default();
    match (word, key) {
        ("meta" | "ct" | "socket", "mark") => Style::Hex,
        ("meta", "iif" | "oif" | "sdif") => Style::Named,
        (
            "meta",
            "iifname" | "oifname" | "ibrname" | "obrname" | "sdifname" | "iifkind" | "oifkind" | "iifgroup"
            | "oifgroup" | "time" | "day" | "hour",
        )
        | ("ct", "helper")
        | ("osf", _) => Style::Quoted,
        ("ct", "expiration") => Style::Duration,
        ("ct", "state" | "status") => Style::Flags,
        ("fib", _) => match body.get("result").and_then(Value::as_str) {
            Some("oif" | "oifname") => Style::Named,
            _ => Style::Plain,
        },
        ("payload", _) => {
            let text = |key: &str| body.get(key).and_then(Value::as_str);
            match (text("protocol"), text("field")) {
                (_, Some("dscp")) => Style::Byte,
                (Some("tcp"), Some("flags")) => Style::Flags,
                (_, None | Some("flags")) => Style::ShortHex,
                _ => Style::Plain,
            }
        }
        ("&" | "|" | "^" | "<<" | ">>", _) => {
            body.as_array().and_then(|parts| parts.first()).map_or(Style::Plain, of)
        }
        _ => Style::Plain,
    }
}

/// Whether an expression is a set of flags, of which any one may be asked for.
pub(super) fn is_flags(expression: &Value<'_>) -> bool {
    of(expression) == Style::Flags
}

/// The parts of a joined expression, or the one that it is.
pub(super) fn parts<'v, 't>(expression: &'v Value<'t>) -> &'v [Value<'t>] {
    match single(expression) {
        Some(("concat", Value::Array(parts))) => parts,
        _ => std::slice::from_ref(expression),
    }
}

/// Seconds as nft writes them: `1d2h3m4s`.
pub(super) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    for (size, unit) in units {
        if rest >= size {
            text.push_str(&(rest / size).to_string());
            text.push_str(unit);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_largest_units() {
        assert_eq!(
            [0, 59, 3_780, 90_061].map(duration),
            ["0s", "59s", "1h3m", "1d1h1m1s"].map(str::to_owned)
        );
    }
}

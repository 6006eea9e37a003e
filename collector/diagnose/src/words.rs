//! Turning values into the words of an answer: lists, counts, ages, shell words and JSON strings.
//!
//! Nothing here knows about causes.

use std::fmt::Write as _;

use model::Timestamp;

/// `a`, `a and b`, `a, b and c`; past `limit` items the rest becomes a count.
pub(crate) fn list<T: AsRef<str>>(items: &[T], limit: usize) -> String {
    let shown = &items[..items.len().min(limit)];
    let rest = items.len() - shown.len();
    let mut words: Vec<String> = shown.iter().map(|item| item.as_ref().to_owned()).collect();
    if rest > 0 {
        words.push(format!("{rest} more"));
    }
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// `1 pod`, `3 pods`: a count with its noun.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with(['s', 'x']) => "es",
        _ => "s",
    };
    match (number, noun.strip_suffix('y')) {
        (1, _) | (_, None) => format!("{number} {noun}{ending}"),
        (_, Some(stem)) if stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {noun}s"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
    }
}

/// How long ago, in the largest unit that is at least one: `4 s`, `3 min`, `2 h`, `5 d`.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.age_ms(now) / 1000;
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", (seconds + 30) / 60),
        5400..=172_799 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// One word for a POSIX shell, quoted only where it must be.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A JSON string with its quotes (RFC 8259, section 7).
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A `kubectl patch` command with a merge of the given JSON.
pub(crate) fn patch(namespace: &str, kind: &str, name: &str, patch: &str) -> String {
    format!("kubectl -n {} patch {kind} {} -p {}", shell(namespace), shell(name), shell(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_english() {
        assert_eq!(list::<&str>(&[], 3), "");
        assert_eq!(list(&["a"], 3), "a");
        assert_eq!(list(&["a", "b"], 3), "a and b");
        assert_eq!(list(&["a", "b", "c", "d", "e"], 3), "a, b, c and 2 more");
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1, "policy"), "1 policy");
        assert_eq!(count(2, "policy"), "2 policies");
        assert_eq!(count(0, "address"), "0 addresses");
        assert_eq!(count(3, "pod"), "3 pods");
        assert_eq!(count(2, "way"), "2 ways");
    }

    #[test]
    fn ages_use_the_largest_fitting_unit() {
        let now = Timestamp(1_000_000_000);
        assert_eq!(age(now.minus_ms(4_200), now), "4 s");
        assert_eq!(age(now.minus_ms(180_000), now), "3 min");
        assert_eq!(age(now.minus_ms(7_200_000), now), "2 h");
        assert_eq!(age(now.minus_ms(259_200_000), now), "3 d");
        assert_eq!(age(Timestamp(2_000_000_000), now), "0 s");
    }

    #[test]
    fn commands_survive_hostile_names() {
        assert_eq!(shell("api"), "api");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("a'; rm -rf /"), r"'a'\''; rm -rf /'");
        assert_eq!(json("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
        assert_eq!(
            patch("shop", "service", "api", r#"{"spec":{"selector":{"app":"x"}}}"#),
            r#"kubectl -n shop patch service api -p '{"spec":{"selector":{"app":"x"}}}'"#
        );
    }
}

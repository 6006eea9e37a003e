//! Takes out of an answer what differs from run to run, so that the rest can be compared word for word.

use serde_json::Value;

/// JSON fields that hold a moment or an age.
const MOMENTS: &[&str] = &["observedAt", "ageMs", "now"];
/// Numbers that count what a kernel or a cluster has ever made.
const COUNTED: &[&str] = &["handle"];

/// Replaces moments and ages in a JSON answer.
pub fn json(mut answer: Value) -> Value {
    walk(&mut answer);
    answer
}

fn walk(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if MOMENTS.contains(&name.as_str()) {
                    *value = match value {
                        Value::String(text) if text.is_empty() => Value::String(String::new()),
                        Value::String(_) => Value::String("[moment]".into()),
                        _ => Value::String("[age]".into()),
                    };
                } else if COUNTED.contains(&name.as_str()) && value.is_number() {
                    *value = Value::String("[number]".into());
                } else if let Value::String(text) = value {
                    *text = counts(&paths(text));
                } else {
                    walk(value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if let Value::String(text) = item {
                    *text = counts(&paths(text));
                } else {
                    walk(item);
                }
            }
        }
        _ => {}
    }
}

/// Replaces the directory that a stage made for its files.
fn paths(text: &str) -> String {
    let Some((head, tail)) = text.split_once("/tmp/why-dropped-") else { return text.to_owned() };
    let rest = tail.split_once('/').map_or("", |(_, rest)| rest);
    format!("{head}[dir]/{}", paths(rest))
}

/// Replaces ages (`4 s ago`) and counts of packets (`3 SYN`) in a text answer.
///
/// How many digits an age has decides whether it fits behind its text or stands below it; it always comes behind here.
pub fn text(answer: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in answer.lines() {
        let line = counts(&ages(&paths(line)));
        match lines.last_mut() {
            Some(last)
                if line.ends_with(" ago") && !line.contains(" - ") && line.matches(' ').count() == 4 =>
            {
                last.push_str(&line);
            }
            _ => lines.push(line),
        }
    }
    lines.join("\n")
}

/// `, 4 s ago`, right-aligned: the digits change the padding, so runs of blanks before an age become one.
fn ages(line: &str) -> String {
    let Some(end) = line.rfind(" ago") else { return line.to_owned() };
    let before = line.get(..end).unwrap_or_default();
    let Some(comma) = before.rfind(", ") else { return line.to_owned() };
    let (head, _) = before.split_at(comma);
    let head = match head.rfind("  ") {
        Some(gap) => format!(
            "{}  {}",
            head.get(..gap).unwrap_or_default().trim_end(),
            head.get(gap..).unwrap_or_default().trim_start()
        ),
        None => head.to_owned(),
    };
    format!("{head}, [age] ago")
}

/// `dropped 3 SYN`: how often the kernel retried before the question came is chance.
fn counts(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for index in 1..words.len() {
        let is_syn = words.get(index).is_some_and(|word| word.starts_with("SYN"));
        if is_syn
            && let Some(count) = words.get_mut(index - 1)
            && !count.is_empty()
            && count.chars().all(|c| c.is_ascii_digit())
        {
            "[n]".clone_into(count);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_counts_are_replaced_and_nothing_else() {
        let line = "  - node-1 dropped 3 SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT)   node-1, 2 s ago";
        assert_eq!(
            text(line),
            "  - node-1 dropped [n] SYN 10.244.1.9 -> 10.96.12.7:80 (REJECT)  node-1, [age] ago"
        );
        assert_eq!(text("2 of 5 backends"), "2 of 5 backends");
        let below = "  - shop/api lists port 80\n                           API, 12 s ago\nfix";
        assert_eq!(text(below), "  - shop/api lists port 80  API, [age] ago\nfix");
    }
}

//! Expressions as `nft` prints them, so that a quoted rule can be found in its listing.
//!
//! Held to `nft list ruleset` by a test; an expression it has no words for is printed as it is in JSON.

use std::fmt::Write as _;

use super::tree::Value;

use super::object::single;

/// A rule without counters, with its comment.
pub(super) fn rule(statements: &[Value<'_>], comment: Option<&str>) -> String {
    let mut text = String::new();
    for item in statements.iter().filter(|item| item.get("counter").is_none()) {
        if !text.is_empty() {
            text.push(' ');
        }
        statement_to(&mut text, item);
    }
    if let Some(comment) = comment {
        text.push_str(" comment \"");
        word_to(&mut text, comment);
        text.push('"');
    }
    text
}

/// One statement.
pub(super) fn statement(item: &Value<'_>) -> String {
    let mut text = String::new();
    statement_to(&mut text, item);
    text
}

/// The comment at the end of a rule's text, as printed between its quotes.
pub(crate) fn comment(rule: &str) -> Option<&str> {
    const START: &str = " comment \"";
    let inner = rule.strip_suffix('"')?;
    inner.rfind(START).and_then(|at| inner.get(at + START.len()..))
}

fn statement_to(text: &mut String, item: &Value<'_>) {
    let written = match single(item) {
        Some((word, body)) => known(text, word, body),
        None => false,
    };
    if !written {
        match item {
            Value::String(word) => word_to(text, word),
            other => {
                let _ = write!(text, "{other}");
            }
        }
    }
}

fn known(text: &mut String, word: &str, body: &Value<'_>) -> bool {
    let get = |key: &str| body.get(key);
    match word {
        "accept" | "drop" | "return" | "continue" | "notrack" => text.push_str(word),
        "jump" | "goto" => {
            let target = get("target").and_then(Value::as_str).unwrap_or_default();
            text.push_str(word);
            text.push(' ');
            word_to(text, target);
        }
        "match" => {
            let (Some(left), Some(right)) = (get("left"), get("right")) else { return false };
            relation(text, left, get("op").and_then(Value::as_str).unwrap_or_default(), right);
        }
        "vmap" => {
            let (Some(key), Some(data)) = (get("key"), get("data")) else { return false };
            mapping(text, key, "vmap", data);
        }
        "mangle" => {
            let (Some(key), Some(value)) = (get("key"), get("value")) else { return false };
            expression(text, key, Style::Plain);
            text.push_str(" set ");
            expression(text, value, style(key));
        }
        "dnat" | "snat" | "redirect" | "masquerade" => nat(text, word, body),
        "reject" => reject(text, body),
        "log" => {
            text.push_str("log");
            if let Some(prefix) = get("prefix").and_then(Value::as_str) {
                text.push_str(" prefix \"");
                word_to(text, prefix);
                text.push('"');
            }
            for key in ["group", "snaplen", "queue-threshold", "level"] {
                if let Some(value) = get(key) {
                    let _ = write!(text, " {key} {}", bare(value));
                }
            }
        }
        "limit" => {
            let inverted = get("inv").and_then(Value::as_bool).unwrap_or_default();
            let over = if inverted { "over " } else { "" };
            let unit = get("rate_unit").map(bare).filter(|unit| unit != "packets");
            let unit = unit.map(|unit| [" ", &unit].concat()).unwrap_or_default();
            let _ = write!(
                text,
                "limit rate {over}{}{unit}/{}",
                get("rate").map(bare).unwrap_or_default(),
                get("per").map(bare).unwrap_or_default()
            );
        }
        "quota" | "ct count" if body.as_object().is_some() => {
            let inverted = get("inv").and_then(Value::as_bool).unwrap_or_default();
            let _ = write!(
                text,
                "{word} {}{}",
                if inverted { "over " } else { "" },
                get("val").map(bare).unwrap_or_default()
            );
            if let Some(unit) = get("val_unit") {
                let _ = write!(text, " {}", bare(unit));
            }
        }
        "set" => {
            let (Some(op), Some(elem), Some(set)) = (get("op"), get("elem"), get("set")) else {
                return false;
            };
            let _ = write!(text, "{} {} {{ ", bare(op), bare(set));
            expression(text, elem, Style::Plain);
            text.push_str(" }");
        }
        _ => return false,
    }
    true
}

fn relation(text: &mut String, left: &Value<'_>, op: &str, right: &Value<'_>) {
    // `tcp flags syn / fin,syn,rst,ack`
    if let Some(("&", body)) = single(left)
        && let Some([flags, mask @ Value::Array(_)]) = body.as_array().map(Vec::as_slice)
        && matches!(op, "==" | "!=")
    {
        expression(text, flags, Style::Plain);
        text.push_str(if op == "!=" { " != " } else { " " });
        expression(text, right, Style::Plain);
        text.push_str(" / ");
        expression(text, mask, Style::Plain);
        return;
    }
    expression(text, left, Style::Plain);
    let explicit = matches!(single(left), Some(("&" | "|" | "^" | "<<" | ">>", _)));
    match op {
        "in" => {}
        "==" if !explicit => {}
        op => {
            text.push(' ');
            text.push_str(op);
        }
    }
    text.push(' ');
    if let (Value::Bool(found), Some(("fib" | "exthdr" | "tcp option", _))) = (right, single(left)) {
        text.push_str(if *found { "exists" } else { "missing" });
        return;
    }
    expression(text, right, style(left));
}

fn mapping(text: &mut String, key: &Value<'_>, word: &str, data: &Value<'_>) {
    expression(text, key, Style::Plain);
    let _ = write!(text, " {word} ");
    expression(text, data, style(key));
}

fn nat(text: &mut String, word: &str, body: &Value<'_>) {
    text.push_str(word);
    let map = body.get("addr").and_then(single).is_some_and(|(word, _)| word == "map");
    let family = body.get("family").and_then(Value::as_str);
    // A map of addresses and ports says its family in tables of one family, too.
    let family = family.or_else(|| map.then_some("ip"));
    let (address, port) = (body.get("addr"), body.get("port"));
    if let (Some(family), Some(_)) = (family, address) {
        let _ = write!(text, " {family}");
    }
    if address.is_some() || port.is_some() {
        text.push_str(" to ");
    }
    if let Some(address) = address {
        let six = address.as_str().is_some_and(|address| address.contains(':')) && port.is_some();
        text.push_str(if six { "[" } else { "" });
        expression(text, address, Style::Plain);
        text.push_str(if six { "]" } else { "" });
    }
    if let Some(port) = port {
        text.push(':');
        expression(text, port, Style::Plain);
    }
    if let Some(flags) = body.get("flags") {
        text.push(' ');
        expression(text, flags, Style::Plain);
    }
}

fn reject(text: &mut String, body: &Value<'_>) {
    text.push_str("reject");
    let kind = body.get("type").map(bare).unwrap_or_default();
    let code = body.get("expr").map(bare).unwrap_or_default();
    match (kind.as_str(), code.as_str()) {
        ("", _) | ("icmp" | "icmpv6" | "icmpx", "port-unreachable") => {}
        (kind, "") => {
            let _ = write!(text, " with {kind}");
        }
        (kind, code) => {
            let _ = write!(text, " with {kind} {code}");
        }
    }
}

/// How constants are written, which what they are compared with decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    /// Interface names and times.
    Quoted,
    /// Marks.
    Hex,
}

fn style(of: &Value<'_>) -> Style {
    match single(of) {
        Some(("meta", body)) => match body.get("key").and_then(Value::as_str) {
            Some("mark") => Style::Hex,
            Some("iif" | "oif" | "iifname" | "oifname" | "ibrname" | "obrname" | "time" | "day" | "hour") => {
                Style::Quoted
            }
            _ => Style::Plain,
        },
        Some(("ct", body)) if body.get("key").and_then(Value::as_str) == Some("mark") => Style::Hex,
        Some(("&" | "|" | "^" | "<<" | ">>", body)) => {
            body.as_array().and_then(|parts| parts.first()).map_or(Style::Plain, style)
        }
        _ => Style::Plain,
    }
}

fn expression(text: &mut String, value: &Value<'_>, as_: Style) {
    match value {
        Value::String(word) if word.starts_with('@') || as_ != Style::Quoted => word_to(text, word),
        Value::String(word) => {
            text.push('"');
            word_to(text, word);
            text.push('"');
        }
        Value::Number(number) => match (as_, number.as_u64()) {
            (Style::Hex, Some(number)) => {
                let _ = write!(text, "0x{number:08x}");
            }
            _ => {
                let _ = write!(text, "{number}");
            }
        },
        Value::Array(list) => joined(text, list, ",", as_),
        Value::Object(_) => compound(text, value, as_),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn compound(text: &mut String, value: &Value<'_>, as_: Style) {
    let Some((word, body)) = single(value) else {
        let _ = write!(text, "{value}");
        return;
    };
    let get = |key: &str| body.get(key).map(bare).unwrap_or_default();
    match (word, body) {
        ("payload", _) if body.get("field").is_some() => {
            let _ = write!(text, "{} {}", get("protocol"), get("field"));
        }
        ("payload", _) => {
            let _ = write!(text, "@{},{},{}", get("base"), get("offset"), get("len"));
        }
        ("meta", _) => {
            let key = get("key");
            let bare = matches!(key.as_str(), "iif" | "oif" | "iifname" | "oifname" | "ibrname" | "obrname");
            let _ = write!(text, "{}{key}", if bare { "" } else { "meta " });
        }
        ("ct", _) => {
            let direction = get("dir");
            let _ =
                write!(text, "ct {direction}{}{}", if direction.is_empty() { "" } else { " " }, get("key"));
        }
        ("fib", _) => {
            text.push_str("fib ");
            match body.get("flags") {
                Some(Value::Array(flags)) => joined(text, flags, " . ", Style::Plain),
                Some(flag) => expression(text, flag, Style::Plain),
                None => {}
            }
            let _ = write!(text, " {}", get("result"));
        }
        ("numgen", _) => {
            let _ = write!(text, "numgen {} mod {}", get("mode"), get("mod"));
            offset(text, body);
        }
        ("jhash", _) => {
            text.push_str("jhash ");
            expression(text, body.get("expr").unwrap_or(&Value::Null), Style::Plain);
            let _ = write!(text, " mod {}", get("mod"));
            if let Some(seed) = body.get("seed").and_then(Value::as_u64) {
                let _ = write!(text, " seed 0x{seed:x}");
            }
            offset(text, body);
        }
        ("map", _) => {
            let null = Value::Null;
            mapping(text, body.get("key").unwrap_or(&null), "map", body.get("data").unwrap_or(&null));
        }
        ("concat", Value::Array(parts)) => joined(text, parts, " . ", as_),
        ("prefix", _) => {
            let _ = write!(text, "{}/{}", get("addr"), get("len"));
        }
        ("range", Value::Array(ends)) => joined(text, ends, "-", as_),
        ("set", Value::Array(elements)) => {
            text.push_str("{ ");
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                match element.as_array().map(Vec::as_slice) {
                    Some([key, data]) => {
                        expression(text, key, as_);
                        text.push_str(" : ");
                        let verdict = single(data).is_some_and(|(word, data)| known(text, word, data));
                        if !verdict {
                            expression(text, data, Style::Plain);
                        }
                    }
                    _ => expression(text, element, as_),
                }
            }
            text.push_str(" }");
        }
        ("elem", _) => expression(text, body.get("val").unwrap_or(&Value::Null), as_),
        ("&" | "|" | "^" | "<<" | ">>", Value::Array(parts)) => {
            let as_ = style(value);
            joined(text, parts, &format!(" {word} "), as_);
        }
        _ => {
            let _ = write!(text, "{value}");
        }
    }
}

fn offset(text: &mut String, body: &Value<'_>) {
    if let Some(offset) = body.get("offset").and_then(Value::as_u64).filter(|offset| *offset != 0) {
        let _ = write!(text, " offset {offset}");
    }
}

fn joined(text: &mut String, parts: &[Value<'_>], by: &str, as_: Style) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push_str(by);
        }
        expression(text, part, as_);
    }
}

/// A word or number without quotes.
fn bare(value: &Value<'_>) -> String {
    match value {
        Value::String(word) => {
            let mut text = String::new();
            word_to(&mut text, word);
            text
        }
        other => other.to_string(),
    }
}

/// A name or comment, which comes from outside: what is no printable ASCII is escaped.
fn word_to(text: &mut String, word: &str) {
    if word.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        text.push_str(word);
    } else {
        text.extend(word.chars().flat_map(char::escape_debug));
    }
}

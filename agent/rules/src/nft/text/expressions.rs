//! Expressions and constants.

use std::fmt::Write as _;

use super::super::object::single;
use super::super::tree::Value;
use super::style::{self, Style, duration, parts};
use super::{bare, quoted_to, statements, word_to};

/// An expression that no other one says how to write.
pub(super) fn plain(text: &mut String, value: &Value<'_>) {
    print(text, value, Style::Plain);
}

/// A constant, range or set that an expression is compared with.
pub(super) fn against(text: &mut String, left: &Value<'_>, value: &Value<'_>) {
    let lefts = parts(left);
    let values = parts(value);
    if lefts.len() > 1 && lefts.len() == values.len() {
        for (index, (left, value)) in lefts.iter().zip(values).enumerate() {
            text.push_str(if index == 0 { "" } else { " . " });
            print(text, value, style::of(left));
        }
        return;
    }
    match single(value) {
        Some(("set", Value::Array(elements))) => set(text, left, elements, Style::Plain),
        Some(("elem", body)) => against(text, left, body.get("val").unwrap_or(&Value::Null)),
        _ => print(text, value, style::of(left)),
    }
}

/// `KEY map DATA`, `KEY vmap DATA`; the values are written in this style.
pub(super) fn mapping(text: &mut String, key: &Value<'_>, word: &str, data: &Value<'_>, values: Style) {
    plain(text, key);
    let _ = write!(text, " {word} ");
    match single(data) {
        Some(("set", Value::Array(elements))) => set(text, key, elements, values),
        _ => plain(text, data),
    }
}

/// Any expression or constant.
pub(super) fn print(text: &mut String, value: &Value<'_>, as_: Style) {
    match value {
        Value::String(word) if word.starts_with('@') => word_to(text, word),
        Value::String(word) => match as_ {
            Style::Quoted => quoted_to(text, word),
            Style::Named if !word.bytes().all(|byte| byte.is_ascii_digit()) => quoted_to(text, word),
            _ => word_to(text, word),
        },
        Value::Number(number) => {
            let _ = match (as_, number.as_u64()) {
                (Style::Hex, Some(number)) => write!(text, "0x{number:08x}"),
                (Style::ShortHex | Style::Flags, Some(number)) => write!(text, "0x{number:x}"),
                (Style::Byte, Some(number)) => write!(text, "0x{number:02x}"),
                (Style::Duration, Some(number)) => write!(text, "{}", duration(number)),
                _ => write!(text, "{number}"),
            };
        }
        Value::Bool(found) => text.push_str(if *found { "exists" } else { "missing" }),
        Value::Array(list) => joined(text, list, ",", as_),
        Value::Object(_) => {
            if !compound(text, value, as_) {
                let _ = write!(text, "{value}");
            }
        }
        Value::Null => text.push_str("null"),
    }
}

/// The elements of a set or map, whose keys are compared with an expression.
fn set(text: &mut String, key: &Value<'_>, elements: &[Value<'_>], values: Style) {
    text.push_str("{ ");
    for (index, element) in elements.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        match element.as_array().map(Vec::as_slice) {
            Some([element, data]) => {
                against(text, key, element);
                text.push_str(" : ");
                if !single(data).is_some_and(|(word, body)| statements::verdict(text, word, body)) {
                    print(text, data, values);
                }
            }
            _ => against(text, key, element),
        }
    }
    text.push_str(" }");
}

/// An object; says whether there are words for it.
fn compound(text: &mut String, value: &Value<'_>, as_: Style) -> bool {
    let Some((word, body)) = single(value) else { return false };
    let has = |key: &str| body.get(key).is_some();
    let get = |key: &str| body.get(key).map(bare).unwrap_or_default();
    let mut put = |parts: &[&str]| {
        let mut first = true;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            text.push_str(if first { "" } else { " " });
            text.push_str(part);
            first = false;
        }
    };
    match (word, body) {
        ("payload", _) if has("field") => put(&[&get("protocol"), &get("field")]),
        ("payload", _) => put(&[&format!("@{},{},{}", get("base"), get("offset"), get("len"))]),
        ("meta", _) => {
            let key = get("key");
            let alone = matches!(
                key.as_str(),
                "iif" | "oif" | "iifname" | "oifname" | "ibrname" | "obrname" | "iifgroup" | "oifgroup"
            );
            put(&[if alone { "" } else { "meta" }, &key]);
        }
        ("ct", _) => put(&["ct", &get("dir"), &get("key")]),
        ("rt", _) => put(&["rt", &get("family"), &get("key")]),
        ("socket", _) => put(&["socket", &get("key")]),
        ("osf", _) if has("ttl") => put(&["osf", "ttl", &get("ttl"), &get("key")]),
        ("osf", _) => put(&["osf", &get("key")]),
        ("ipsec", _) => {
            let number = get("spnum");
            let number = if number == "0" { String::new() } else { format!("spnum {number}") };
            put(&["ipsec", &get("dir"), &number, &get("family"), &get("key")]);
        }
        ("exthdr", _) if has("field") => put(&[&get("name"), &get("field")]),
        ("exthdr", _) => put(&["exthdr", &get("name")]),
        ("tcp option", _) if has("base") => {
            let whole = get("offset") == "0" && get("len") == "8";
            let raw = if whole {
                get("base")
            } else {
                format!("@{},{},{}", get("base"), get("offset"), get("len"))
            };
            put(&["tcp option", &raw]);
        }
        ("tcp option" | "ip option" | "sctp chunk", _) => put(&[word, &get("name"), &get("field")]),
        ("fib", _) => {
            put(&["fib", ""]);
            text.push(' ');
            match body.get("flags") {
                Some(Value::Array(flags)) => joined(text, flags, " . ", Style::Plain),
                Some(flag) => plain(text, flag),
                None => {}
            }
            let _ = write!(text, " {}", get("result"));
        }
        ("numgen", _) => {
            put(&["numgen", &get("mode"), "mod", &get("mod")]);
            offset(text, body);
        }
        ("symhash", _) => {
            put(&["symhash", "mod", &get("mod")]);
            offset(text, body);
        }
        ("jhash", _) => {
            text.push_str("jhash ");
            plain(text, body.get("expr").unwrap_or(&Value::Null));
            let _ = write!(text, " mod {}", get("mod"));
            if let Some(seed) = body.get("seed").and_then(Value::as_u64) {
                let _ = write!(text, " seed 0x{seed:x}");
            }
            offset(text, body);
        }
        ("map", _) => {
            let null = Value::Null;
            mapping(text, body.get("key").unwrap_or(&null), "map", body.get("data").unwrap_or(&null), as_);
        }
        ("concat", Value::Array(parts)) => joined(text, parts, " . ", as_),
        ("prefix", _) => {
            print(text, body.get("addr").unwrap_or(&Value::Null), as_);
            let _ = write!(text, "/{}", get("len"));
        }
        ("range", Value::Array(ends)) => joined(text, ends, "-", as_),
        ("set", Value::Array(elements)) => set(text, &Value::Null, elements, as_),
        ("elem", _) => print(text, body.get("val").unwrap_or(&Value::Null), as_),
        ("<<" | ">>", Value::Array(parts)) => joined(text, parts, &format!(" {word} "), Style::Plain),
        ("&" | "|" | "^", Value::Array(parts)) => {
            // What stands first says what the constants are, unless there are but constants.
            let style =
                if single(parts.first().unwrap_or(&Value::Null)).is_some() { style::of(value) } else { as_ };
            joined(text, parts, &format!(" {word} "), style);
        }
        _ => return false,
    }
    true
}

fn offset(text: &mut String, body: &Value<'_>) {
    if let Some(offset) = body.get("offset").and_then(Value::as_u64).filter(|offset| *offset != 0) {
        let _ = write!(text, " offset {offset}");
    }
}

pub(super) fn joined(text: &mut String, parts: &[Value<'_>], by: &str, as_: Style) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push_str(by);
        }
        print(text, part, as_);
    }
}

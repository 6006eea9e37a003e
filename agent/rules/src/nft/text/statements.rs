//! Statements.

use std::fmt::Write as _;

use super::super::object::single;
use super::super::tree::Value;
use super::expressions::{against, mapping, plain, print as expression};
use super::style::{self, Style, duration};
use super::{bare, quoted_to, word_to};

/// Packets of a limit's burst that nft does not write.
const DEFAULT_BURST: u64 = 5;

/// A statement of a rule in a table of this family.
pub(super) fn print(text: &mut String, family: &str, item: &Value<'_>) {
    let written = match single(item) {
        Some((word, body)) => verdict(text, word, body) || known(text, family, word, body),
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

/// A verdict; says whether it is one.
pub(super) fn verdict(text: &mut String, word: &str, body: &Value<'_>) -> bool {
    match word {
        "accept" | "drop" | "return" | "continue" => text.push_str(word),
        "jump" | "goto" => {
            let target = body.get("target").and_then(Value::as_str).unwrap_or_default();
            let _ = write!(text, "{word} ");
            word_to(text, target);
        }
        _ => return false,
    }
    true
}

fn known(text: &mut String, family: &str, word: &str, body: &Value<'_>) -> bool {
    let get = |key: &str| body.get(key);
    match word {
        "notrack" => text.push_str(word),
        "match" => {
            let (Some(left), Some(right)) = (get("left"), get("right")) else { return false };
            relation(text, left, get("op").and_then(Value::as_str).unwrap_or_default(), right);
        }
        "vmap" => {
            let (Some(key), Some(data)) = (get("key"), get("data")) else { return false };
            mapping(text, key, "vmap", data, Style::Plain);
        }
        "mangle" => {
            let (Some(key), Some(value)) = (get("key"), get("value")) else { return false };
            plain(text, key);
            text.push_str(" set ");
            expression(text, value, style::of(key));
        }
        "dnat" | "snat" | "redirect" | "masquerade" | "tproxy" => translation(text, word, body),
        "reject" => reject(text, family, body),
        "log" => log(text, body),
        "limit" | "quota" | "counter" if body.as_object().is_none() || get("map").is_some() => {
            named(text, word, "name", body);
        }
        "ct helper" | "ct timeout" | "ct expectation" | "secmark" => {
            named(text, if word == "secmark" { "meta secmark" } else { word }, "set", body);
        }
        "synproxy" if body.as_str().is_some() => named(text, word, "name", body),
        "limit" | "quota" | "ct count" | "counter" | "last" => kept(text, word, body),
        "set" | "map" => return added(text, word, body),
        "dup" | "fwd" => forward(text, word, body),
        "queue" => queue(text, body),
        "synproxy" => {
            text.push_str(word);
            for key in ["mss", "wscale"] {
                if let Some(value) = get(key) {
                    let _ = write!(text, " {key} {}", bare(value));
                }
            }
            // nft writes the time stamps first.
            let flags = get("flags").map(bare).unwrap_or_default();
            for flag in ["timestamp", "sack-perm"].iter().filter(|flag| flags.contains(**flag)) {
                let _ = write!(text, " {flag}");
            }
        }
        "reset" => {
            text.push_str("reset ");
            plain(text, body);
        }
        "flow" => {
            let _ = write!(text, "flow add {}", get("flowtable").map(bare).unwrap_or_default());
        }
        "xt" => {
            let _ = write!(text, "xt {} ", get("type").map(bare).unwrap_or_default());
            quoted_to(text, get("name").and_then(Value::as_str).unwrap_or_default());
        }
        "unknown" => {
            text.push_str("unknown expression ");
            quoted_to(text, body.as_str().unwrap_or_default());
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
        plain(text, flags);
        text.push_str(if op == "!=" { " != " } else { " " });
        expression(text, right, style::of(flags));
        text.push_str(" / ");
        expression(text, mask, style::of(flags));
        return;
    }
    plain(text, left);
    let single_value = match single(right) {
        Some(("set" | "range" | "|", _)) => false,
        _ => !right.as_str().is_some_and(|word| word.starts_with('@')),
    };
    // Where nft would take a plain value for something else.
    let explicit = single_value
        && (matches!(single(left), Some(("&" | "|" | "^" | "<<" | ">>", _))) || style::is_flags(left));
    match op {
        "in" => {}
        "==" if !explicit => {}
        op => {
            text.push(' ');
            text.push_str(op);
        }
    }
    text.push(' ');
    against(text, left, right);
}

fn translation(text: &mut String, word: &str, body: &Value<'_>) {
    text.push_str(word);
    let (address, port) = (body.get("addr"), body.get("port"));
    if let (Some(family), Some(_)) = (body.get("family").and_then(Value::as_str), address) {
        let _ = write!(text, " {family}");
    }
    if body.get("type_flags").and_then(Value::as_str) == Some("prefix") {
        text.push_str(" prefix");
    }
    if address.is_some() || port.is_some() {
        text.push_str(" to ");
    }
    if let Some(address) = address {
        bracketed(text, address, port.is_some());
    }
    if let Some(port) = port {
        text.push(':');
        plain(text, port);
    }
    let flags = match body.get("flags") {
        Some(Value::Array(flags)) => flags.as_slice(),
        Some(flag) => std::slice::from_ref(flag),
        None => &[],
    };
    // That it is a prefix was said.
    let flags = flags.iter().filter(|flag| flag.as_str() != Some("netmap"));
    for (index, flag) in flags.enumerate() {
        text.push_str(if index == 0 { " " } else { "," });
        plain(text, flag);
    }
}

/// An address, in brackets if it is of IPv6 and a port follows.
fn bracketed(text: &mut String, address: &Value<'_>, port: bool) {
    match (single(address), address.as_str()) {
        (Some(("range", Value::Array(ends))), _) => {
            for (index, end) in ends.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "-" });
                bracketed(text, end, port);
            }
        }
        (_, Some(word)) if port && word.contains(':') => {
            let _ = write!(text, "[{}]", bare(address));
        }
        _ => plain(text, address),
    }
}

fn reject(text: &mut String, family: &str, body: &Value<'_>) {
    text.push_str("reject");
    let kind = body.get("type").map(bare).unwrap_or_default();
    let code = body.get("expr").map(bare).unwrap_or_default();
    match (kind.as_str(), code.as_str()) {
        // What nft does where nothing is said.
        ("", _) | ("icmpx", "port-unreachable") => {}
        ("icmp" | "icmpv6", "port-unreachable") if matches!(family, "ip" | "ip6") => {}
        (kind, "") => {
            let _ = write!(text, " with {kind}");
        }
        (kind, code) => {
            let _ = write!(text, " with {kind} {code}");
        }
    }
}

fn log(text: &mut String, body: &Value<'_>) {
    text.push_str("log");
    if let Some(prefix) = body.get("prefix").and_then(Value::as_str) {
        text.push_str(" prefix ");
        quoted_to(text, prefix);
    }
    for key in ["group", "snaplen", "queue-threshold", "level"] {
        if let Some(value) = body.get(key) {
            let _ = write!(text, " {key} {}", bare(value));
        }
    }
    let flags: Vec<String> = match body.get("flags") {
        Some(Value::Array(flags)) => flags.iter().map(bare).collect(),
        Some(flag) => vec![bare(flag)],
        None => Vec::new(),
    };
    let mut tcp = false;
    for flag in &flags {
        match flag.strip_prefix("tcp ") {
            // Both of TCP's share a word.
            Some(part) if tcp => {
                let _ = write!(text, ",{part}");
            }
            part => {
                tcp |= part.is_some();
                let _ = write!(text, " flags {flag}");
            }
        }
    }
}

/// Something that has a name, or that a map names.
fn named(text: &mut String, word: &str, link: &str, body: &Value<'_>) {
    let _ = write!(text, "{word} {link} ");
    match body.as_str() {
        Some(name) => quoted_to(text, name),
        None => expression(text, body, Style::Quoted),
    }
}

/// Limits, quotas and counts.
fn kept(text: &mut String, word: &str, body: &Value<'_>) {
    let get = |key: &str| body.get(key).map(bare).unwrap_or_default();
    let over = if body.get("inv").and_then(Value::as_bool).unwrap_or_default() { "over " } else { "" };
    match word {
        "limit" => {
            let unit = get("rate_unit");
            let spaced =
                if unit.is_empty() || unit == "packets" { String::new() } else { format!(" {unit}") };
            let _ = write!(text, "limit rate {over}{}{spaced}/{}", get("rate"), get("per"));
            let burst = body.get("burst").and_then(Value::as_u64);
            match burst {
                Some(burst) if !spaced.is_empty() && burst != 0 => {
                    let _ = write!(text, " burst {burst} {}", get("burst_unit"));
                }
                Some(burst) if spaced.is_empty() && burst != 0 && burst != DEFAULT_BURST => {
                    let _ = write!(text, " burst {burst} packets");
                }
                _ => {}
            }
        }
        "quota" => {
            let _ = write!(text, "quota {over}{} {}", get("val"), get("val_unit"));
            if body.get("used").and_then(Value::as_u64).is_some_and(|used| used != 0) {
                let _ = write!(text, " used {} {}", get("used"), get("used_unit"));
            }
        }
        "ct count" => {
            let _ = write!(text, "ct count {over}{}", get("val"));
        }
        "last" => match body.get("used").and_then(Value::as_u64) {
            Some(used) => {
                let _ = write!(text, "last used {}", duration(used / 1000));
            }
            None => text.push_str("last used never"),
        },
        // Without its numbers, which change.
        _ => text.push_str(word),
    }
}

/// `add @set { ip saddr timeout 1m limit rate 3/second }`, `add @map { ip saddr : 0x1 }`.
fn added(text: &mut String, word: &str, body: &Value<'_>) -> bool {
    let (Some(op), Some(element), Some(set)) = (body.get("op"), body.get("elem"), body.get(word)) else {
        return false;
    };
    let _ = write!(text, "{} {} {{ ", bare(op), bare(set));
    let timed = single(element).filter(|(word, _)| *word == "elem").map(|(_, body)| body);
    plain(text, timed.and_then(|body| body.get("val")).unwrap_or(element));
    if let Some(time) = timed.and_then(|body| body.get("timeout")).and_then(Value::as_u64) {
        let _ = write!(text, " timeout {}", duration(time));
    }
    for statement in body.get("stmt").and_then(Value::as_array).into_iter().flatten() {
        if let Some((word, body)) = single(statement) {
            text.push(' ');
            kept(text, word, body);
        }
    }
    if let Some(data) = body.get("data") {
        text.push_str(" : ");
        plain(text, data);
    }
    text.push_str(" }");
    true
}

fn forward(text: &mut String, word: &str, body: &Value<'_>) {
    let _ = write!(text, "{word} ");
    if let (Some(family), Some(_)) = (body.get("family"), body.get("addr")) {
        let _ = write!(text, "{} ", bare(family));
    }
    text.push_str("to ");
    let device = body.get("dev");
    match body.get("addr") {
        Some(address) => {
            plain(text, address);
            if let Some(device) = device {
                text.push_str(" device ");
                expression(text, device, Style::Named);
            }
        }
        None => expression(text, device.unwrap_or(&Value::Null), Style::Named),
    }
}

fn queue(text: &mut String, body: &Value<'_>) {
    text.push_str("queue");
    if let Some(flags) = body.get("flags") {
        text.push_str(" flags ");
        plain(text, flags);
    }
    if let Some(number) = body.get("num") {
        text.push_str(" to ");
        plain(text, number);
    }
}

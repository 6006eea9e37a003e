//! Lists of drops.

use proto::v1;

use super::Look;
use super::explanation::rule_lines;
use super::layout::{self, Paint, age, counted, escape};

/// Drops in a table, what each rests on below it.
pub fn drops(list: &v1::ListDropsResponse, look: Look) -> String {
    let mut out = String::new();
    if list.drops.is_empty() {
        out.push_str("no drops\n");
    } else {
        let head = ["AGE", "COUNT", "NODE", "FLOW", "REASON", "CAUSE"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(list.drops.iter().map(cells)).collect();
        let lines = layout::table(&rows);
        let mut lines = lines.iter();
        if let Some(head) = lines.next() {
            out.push_str(&look.paint(Paint::Heading, head));
            out.push('\n');
        }
        for (line, drop) in lines.zip(&list.drops) {
            out.push_str(line);
            out.push('\n');
            details(&mut out, drop, look);
        }
    }
    if list.omitted > 0 {
        let text = format!(
            "{} not shown; narrow it with --since, --node, --pod …",
            counted(list.omitted, "more is", "more are")
        );
        layout::item(&mut out, look, "", 0, &text);
    }
    for gap in &list.not_checked {
        layout::item(&mut out, look, "not checked: ", 13, &escape(&format!("{}: {}", gap.what, gap.why)));
    }
    out
}

/// One drop as it comes.
pub fn watched_drop(drop: &v1::Drop, look: Look) -> String {
    let mut out = format!("{}  {}\n", escape(&drop.last_at), cells(drop).split_off(1).join("  ").trim_end());
    details(&mut out, drop, look);
    out
}

fn cells(drop: &v1::Drop) -> Vec<String> {
    let place = match drop.netns_owner.as_str() {
        "" | "node" => drop.node.clone(),
        owner => format!("{} ({owner})", drop.node),
    };
    let source = named(&drop.source, &drop.source_address);
    let receiver = if drop.service.is_empty() { &drop.destination } else { &drop.service };
    let destination = named(receiver, &socket(drop));
    let reply = if drop.reply { " (reply)" } else { "" };
    let cause = match (drop.cause_id.is_empty(), drop.cause.is_empty()) {
        (false, false) => format!("{} {}", drop.cause_id, drop.cause),
        _ => format!("{}{}", drop.cause_id, drop.cause),
    };
    [
        age(drop.age_ms),
        drop.count.to_string(),
        place,
        format!("{} {source} -> {destination}{reply}", drop.protocol),
        drop.reason.clone(),
        cause,
    ]
    .iter()
    .map(|cell| escape(cell))
    .collect()
}

fn details(out: &mut String, drop: &v1::Drop, look: Look) {
    if let Some(rule) = &drop.rule {
        for line in rule_lines(rule) {
            layout::item(out, look, "    ", 4, &line);
        }
    }
    if look.verbose {
        let interface = if drop.in_interface.is_empty() {
            String::new()
        } else {
            format!(", from {}", drop.in_interface)
        };
        let text = format!("at {}{interface}, {} to {}", drop.location, drop.first_at, drop.last_at);
        layout::item(out, look, "    ", 4, &escape(&text));
    }
}

/// A name with its address; the address alone where nobody is known to own it.
fn named(name: &str, address: &str) -> String {
    if name.is_empty() { address.to_owned() } else { format!("{name} ({address})") }
}

fn socket(drop: &v1::Drop) -> String {
    if drop.destination_address.contains(':') {
        format!("[{}]:{}", drop.destination_address, drop.destination_port)
    } else {
        format!("{}:{}", drop.destination_address, drop.destination_port)
    }
}

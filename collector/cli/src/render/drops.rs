//! Lists of drops.

use proto::v1;

use super::layout::{self, Paint, age, counted, escape};
use super::{Look, rule};

/// Drops in a table, what each rests on below it; where there are none, `nothing` in their place.
pub fn drops(list: &v1::ListDropsResponse, nothing: &str, look: Look) -> String {
    let mut out = String::new();
    if list.drops.is_empty() {
        layout::item(&mut out, look, "", 0, nothing);
    } else {
        let drops = gathered(&list.drops);
        let head = ["AGE", "COUNT", "NODE", "FLOW"].map(str::to_owned);
        let rows: Vec<Vec<String>> =
            std::iter::once(head).chain(drops.iter().map(cells)).map(Vec::from).collect();
        let lines = layout::table(&rows);
        let mut lines = lines.iter();
        if let Some(head) = lines.next() {
            out.push_str(&look.paint(Paint::Heading, head));
            out.push('\n');
        }
        for (line, drop) in lines.zip(&drops) {
            out.push_str(line);
            out.push('\n');
            details(&mut out, drop, look);
        }
    }
    if list.omitted > 0 {
        let text = format!(
            "{} not shown; narrow it with --since, --node or --pod",
            counted(list.omitted, "more is", "more are")
        );
        layout::item(&mut out, look, "", 0, &text);
    }
    for gap in &list.not_checked {
        layout::item(&mut out, look, "not checked: ", 13, &escape(&format!("{}: {}", gap.what, gap.why)));
        if !gap.remedy.is_empty() {
            layout::item(&mut out, look, &" ".repeat(13), 13, &escape(&gap.remedy));
        }
    }
    out
}

/// One drop as it comes: the time of day in UTC, for whoever watches knows the day.
pub fn watched_drop(drop: &v1::Drop, look: Look) -> String {
    let time = drop.last_at.split_once('T').map_or(drop.last_at.as_str(), |(_, time)| time);
    let [_, count, node, flow] = cells(drop);
    let mut out = format!("{}  {count}  {node}  {flow}\n", escape(time));
    details(&mut out, drop, look);
    out
}

/// Records of one flow put together: agents report a flow again for each interval in which it was dropped.
fn gathered(drops: &[v1::Drop]) -> Vec<v1::Drop> {
    let mut all: Vec<v1::Drop> = Vec::new();
    for drop in drops {
        let Some(same) = all.iter_mut().find(|other| alike(other, drop)) else {
            all.push(drop.clone());
            continue;
        };
        same.count = same.count.saturating_add(drop.count);
        same.age_ms = same.age_ms.min(drop.age_ms);
        // RFC 3339 in UTC with milliseconds: the order of texts is the order of times.
        if drop.first_at < same.first_at {
            same.first_at.clone_from(&drop.first_at);
        }
        if drop.last_at > same.last_at {
            same.last_at.clone_from(&drop.last_at);
        }
        // The rule is read when a flow is first dropped only.
        if same.rule.is_none() {
            same.rule.clone_from(&drop.rule);
        }
    }
    all
}

/// Whether two records speak of the same flow, dropped in the same way.
fn alike(a: &v1::Drop, b: &v1::Drop) -> bool {
    let same_rule = a.rule.is_none() || b.rule.is_none() || a.rule == b.rule;
    // What may differ, taken from one of them: everything else must be equal.
    let b = v1::Drop {
        count: a.count,
        age_ms: a.age_ms,
        first_at: a.first_at.clone(),
        last_at: a.last_at.clone(),
        rule: a.rule.clone(),
        ..b.clone()
    };
    same_rule && *a == b
}

fn cells(drop: &v1::Drop) -> [String; 4] {
    let source = named(&drop.source, &drop.source_address);
    let receiver = if drop.service.is_empty() { &drop.destination } else { &drop.service };
    let destination = named(receiver, &socket(drop));
    let protocol = if drop.protocol == "TCP" { String::new() } else { format!("{} ", drop.protocol) };
    let reply = if drop.reply { " (reply)" } else { "" };
    [
        age(drop.age_ms),
        drop.count.to_string(),
        drop.node.clone(),
        format!("{protocol}{source} -> {destination}{reply}"),
    ]
    .map(|cell| escape(&cell))
}

fn details(out: &mut String, drop: &v1::Drop, look: Look) {
    let mut words = vec![drop.reason.clone()];
    if !matches!(drop.netns_owner.as_str(), "" | "node") {
        words.push(format!("in {}", drop.netns_owner));
    }
    let mut text = words.join(" ").trim().to_owned();
    let cause = format!("{} {}", drop.cause_id, drop.cause);
    if !cause.trim().is_empty() {
        text = format!("{text}, likely {}", cause.trim());
    }
    if !text.is_empty() {
        layout::item(out, look, "    ", 4, &escape(&text));
    }
    if let Some(rule) = &drop.rule {
        rule::rule(out, look, 4, rule, "");
    }
    if look.verbose {
        let interface = if drop.in_interface.is_empty() {
            String::new()
        } else {
            format!(", from {}", drop.in_interface)
        };
        let times = if drop.first_at == drop.last_at {
            drop.last_at.clone()
        } else {
            format!("{} to {}", drop.first_at, drop.last_at)
        };
        let text = format!("at {}{interface}, {times}", drop.location);
        layout::item(out, look, "    ", 4, &escape(&text));
    }
}

/// A name with its address; the address alone where nobody is known to own it.
fn named(name: &str, address: &str) -> String {
    // `pod web/client`: the kind goes without saying here.
    match name.rsplit(' ').next() {
        None | Some("") => address.to_owned(),
        Some(name) => format!("{name} ({address})"),
    }
}

fn socket(drop: &v1::Drop) -> String {
    if drop.destination_address.contains(':') {
        format!("[{}]:{}", drop.destination_address, drop.destination_port)
    } else {
        format!("{}:{}", drop.destination_address, drop.destination_port)
    }
}

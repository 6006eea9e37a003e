//! A walk as lines: plain, unwrapped, for a terminal on a node or a paste into a ticket.

use std::fmt::Write as _;

use model::walk::{Branch, Step, Walk};
use proto::lines::walk::outcome;

/// Prints every way the packet can go, step by step.
pub fn render(walk: &Walk) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} -> {}/{}", walk.packet.src, walk.packet.dst, walk.packet.protocol.lower());
    for branch in &walk.branches {
        way(&mut text, branch);
    }
    for gap in &walk.gaps {
        let _ = writeln!(text, "not checked: {}: {}", printable(&gap.what), printable(&gap.why));
    }
    text
}

fn way(text: &mut String, branch: &Branch) {
    let told = branch.reject_with.as_ref().map(|with| format!(" with {}", printable(with)));
    let _ = writeln!(
        text,
        "\nto {}: {}{}",
        branch.destination,
        outcome(branch.outcome),
        told.unwrap_or_default()
    );
    for step in &branch.steps {
        take(text, step);
    }
}

fn take(text: &mut String, step: &Step) {
    let does = step.action.to_string();
    let _ = write!(text, "  {:<11}  {}", step.hook, printable(&does));
    if let Some(packets) = step.packets {
        let _ = write!(text, ", {packets} packets so far");
    }
    text.push('\n');
    if let Some(rule) = &step.rule {
        let whose = [&rule.owner, &rule.object].map(String::as_str).join(" ");
        let whose = if whose.trim().is_empty() { String::new() } else { format!("   ({})", whose.trim()) };
        let _ = writeln!(text, "               {}{}", printable(&rule.to_string()), printable(&whose));
    }
}

/// The text with its control characters escaped: comments in rules are written by anybody.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

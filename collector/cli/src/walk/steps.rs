//! A walk for people: every step, in the order in which the kernel would take it.

use std::fmt::Write as _;

use model::flow::Origin;
use model::walk::{Branch, Masquerade, Outcome, Step, Walk};
use proto::convert;
use proto::lines::walk::outcome;

use crate::render::{self, Look, Paint};

/// The longest name of a hook, POSTROUTING, and two spaces on either side.
const HOOK: usize = 15;

/// Prints a walk.
pub fn render(walk: &Walk, look: Look) -> String {
    let packet = &walk.packet;
    let from = match packet.origin {
        Origin::Pod => "from a pod of this node",
        Origin::Node => "from this node itself",
        Origin::External => "from another machine",
    };
    let mut out = String::new();
    let asked = format!("{} -> {}/{}, {from}", packet.src, packet.dst, packet.protocol.lower());
    render::item(&mut out, look, "", 0, &asked);
    for branch in &walk.branches {
        out.push('\n');
        way(&mut out, branch, look);
    }
    if !walk.gaps.is_empty() {
        out.push('\n');
        out.push_str(&look.paint(Paint::Heading, "not checked"));
        out.push('\n');
        for gap in &walk.gaps {
            render::item(&mut out, look, "  - ", 4, &render::escape(&format!("{}: {}", gap.what, gap.why)));
        }
    }
    out
}

fn way(out: &mut String, branch: &Branch, look: Look) {
    let paint = match branch.outcome {
        Outcome::Forwarded | Outcome::Local => Paint::Good,
        Outcome::Dropped | Outcome::Rejected => Paint::Bad,
        Outcome::Unknown => Paint::Unsure,
    };
    let mut heading = format!("{}: {}", branch.destination, look.paint(paint, outcome(branch.outcome)));
    if let Some(told) = &branch.reject_with {
        let _ = write!(heading, " with {}", render::escape(told));
    }
    if let Some(device) = &branch.out_interface {
        let gateway = branch.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        let _ = write!(heading, " by {}{gateway}", render::escape(device));
    }
    heading.push_str(match branch.masquerade {
        Masquerade::No => "",
        Masquerade::Yes => ", source becomes the node's",
        Masquerade::Maybe => ", source may become the node's",
    });
    render::item(out, look, "to ", 3, &heading);
    let mut hook = "";
    for step in &branch.steps {
        let named = if step.hook == hook { "" } else { &step.hook };
        hook = &step.hook;
        take(out, step, named, look);
    }
    if let Some(rule) = branch
        .terminal_rule
        .as_ref()
        .filter(|_| !matches!(branch.outcome, Outcome::Forwarded | Outcome::Local))
    {
        out.push_str("  decided by\n");
        render::rule(out, look, 4, &convert::rule(rule), "");
    }
}

fn take(out: &mut String, step: &Step, hook: &str, look: Look) {
    let first = format!("  {:<width$}", render::escape(hook), width = HOOK - 2);
    let does = step.action.to_string();
    let Some(rule) = &step.rule else {
        render::item(out, look, &first, HOOK, &render::escape(&does));
        return;
    };
    let packets = step.packets.map(|packets| format!(", {packets} packets so far")).unwrap_or_default();
    render::item(out, look, &first, HOOK, &format!("{}{packets}", render::escape(&does)));
    render::rule(out, look, HOOK + 2, &convert::rule(rule), &does);
}

//! The list of agents.

use proto::v1;

use super::Look;
use super::layout::{self, Paint, age, escape};

/// Agents in a table, what each cannot see below it.
pub fn nodes(list: &v1::ListNodesResponse, look: Look) -> String {
    if list.nodes.is_empty() {
        return "no nodes\n".to_owned();
    }
    let head = ["NAME", "STATE", "AGENT", "KERNEL", "SERVICES", "LOST"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(list.nodes.iter().map(cells)).collect();
    let lines = layout::table(&rows);
    let mut lines = lines.iter();
    let mut out = String::new();
    if let Some(head) = lines.next() {
        out.push_str(&look.paint(Paint::Heading, head));
        out.push('\n');
    }
    for (line, node) in lines.zip(&list.nodes) {
        out.push_str(line);
        out.push('\n');
        for source in &node.sources {
            let state = source.state();
            if state == v1::source_health::Value::Ok && !look.verbose {
                continue;
            }
            let word = state.as_str_name().to_ascii_lowercase();
            let detail =
                if source.detail.is_empty() { String::new() } else { format!(": {}", source.detail) };
            layout::item(&mut out, look, "    ", 4, &escape(&format!("{} {word}{detail}", source.name)));
        }
    }
    out
}

fn cells(node: &v1::Node) -> Vec<String> {
    let state = match (node.connected, node.last_seen_age_ms) {
        (true, _) => "connected".to_owned(),
        (false, Some(ms)) => format!("gone for {}", age(ms)),
        (false, None) => "never heard of".to_owned(),
    };
    let proxy = match node.service_proxy.map(v1::service_proxy::Value::try_from) {
        None | Some(Err(_) | Ok(v1::service_proxy::Value::Unspecified)) => "unknown".to_owned(),
        Some(Ok(proxy)) => proxy.as_str_name().to_ascii_lowercase().replace('_', "-"),
    };
    [node.name.clone(), state, dash(&node.agent_version), dash(&node.kernel), proxy, node.lost.to_string()]
        .iter()
        .map(|cell| escape(cell))
        .collect()
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

//! What was not seen, each reason and each remedy once.

use proto::v1;

use super::layout::escape;

/// Words that begin a remedy which is a command: to be pasted, so never wrapped.
const COMMANDS: [&str; 2] = ["kubectl ", "why-dropped "];

/// Things not seen for one reason, with one remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Unseen {
    /// `rules of node-2, listeners of shop/api-0: the agent on node-2 has not reported for 3 min`.
    pub text: String,
    /// What to do about it; empty where nothing can be done, or where it has been said.
    pub remedy: String,
}

/// Gaps in their order, those of one reason put together.
pub fn unseen<'a>(gaps: impl IntoIterator<Item = &'a v1::NotChecked>) -> Vec<Unseen> {
    let mut groups: Vec<(Vec<&str>, &str, &str)> = Vec::new();
    for gap in gaps {
        match groups.iter_mut().find(|(_, why, remedy)| *why == gap.why && *remedy == gap.remedy) {
            Some((whats, ..)) if whats.contains(&gap.what.as_str()) => {}
            Some((whats, ..)) => whats.push(&gap.what),
            None => groups.push((vec![&gap.what], &gap.why, &gap.remedy)),
        }
    }
    let mut told: Vec<&str> = Vec::new();
    groups
        .into_iter()
        .map(|(whats, why, remedy)| {
            let remedy = if told.contains(&remedy) { "" } else { remedy };
            told.push(remedy);
            Unseen { text: escape(&format!("{}: {why}", together(&whats))), remedy: remedy.to_owned() }
        })
        .collect()
}

/// `listeners of a, listeners of b` as `listeners of a, b`.
fn together(whats: &[&str]) -> String {
    let mut text = String::new();
    let mut before = None;
    for what in whats {
        let kind = what.split_once(" of ");
        if !text.is_empty() {
            text.push_str(", ");
        }
        match (kind, before) {
            (Some((kind, whose)), Some(before)) if kind == before => text.push_str(whose),
            _ => text.push_str(what),
        }
        before = kind.map(|(kind, _)| kind);
    }
    text
}

/// Whether a remedy is for pasting.
pub fn is_command(remedy: &str) -> bool {
    COMMANDS.iter().any(|command| remedy.starts_with(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(what: &str, why: &str, remedy: &str) -> v1::NotChecked {
        v1::NotChecked { what: what.into(), why: why.into(), remedy: remedy.into() }
    }

    #[test]
    fn a_reason_and_a_remedy_are_said_once() {
        let gaps = [
            gap("rules of node-2", "it is silent", "kubectl get pods"),
            gap("IPv6", "no address", ""),
            gap("listeners of shop/api-0", "it is silent", "kubectl get pods"),
            gap("listeners of shop/api-2", "it is silent", "kubectl get pods"),
            gap("drops on node-2", "its agent does not report", "kubectl get pods"),
        ];
        let made = unseen(&gaps);
        let texts: Vec<(&str, &str)> =
            made.iter().map(|unseen| (unseen.text.as_str(), unseen.remedy.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("rules of node-2, listeners of shop/api-0, shop/api-2: it is silent", "kubectl get pods"),
                ("IPv6: no address", ""),
                ("drops on node-2: its agent does not report", ""),
            ]
        );
    }
}

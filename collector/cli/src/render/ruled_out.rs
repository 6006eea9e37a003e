//! Causes that are not it, gathered by what was looked at.

use proto::v1;

use super::layout::escape;

/// What the causes of a letter look at, in the order of the path: the letter, the word for it, and the word for one of
/// its causes where another one is found.
const LOOKED_AT: [(char, &str, &str); 9] = [
    ('D', "name", "name"),
    ('S', "Service", "Service"),
    ('E', "endpoints", "endpoint"),
    ('N', "policies", "policy"),
    ('K', "kube-proxy", "kube-proxy"),
    ('I', "IPVS", "IPVS"),
    ('C', "conntrack", "conntrack"),
    ('H', "node", "node"),
    ('P', "listener", "listener"),
];

/// Whether the Service exists is a question about its name.
const NAMES: [&str; 1] = ["S1"];

/// That policies are not the cause is good news: where it does not hold, nothing is cleared by it.
const GOOD_NEWS: [&str; 1] = ["N20"];

/// `name (D1 S1), Service (S2 S3), other policy causes (N1 N2)`.
pub fn groups(answer: &v1::Explanation) -> Vec<String> {
    let ids = || answer.ruled_out.iter().map(|cause| cause.id.as_str());
    let found = |letter| answer.findings.iter().any(|finding| letter_of(&finding.id) == Some(letter));
    let mut groups: Vec<String> = LOOKED_AT
        .into_iter()
        .filter_map(|(letter, word, one)| {
            let ids: Vec<&str> = ids().filter(|id| letter_of(id) == Some(letter)).collect();
            let word = if found(letter) { format!("other {one} causes") } else { word.to_owned() };
            (!ids.is_empty()).then(|| escape(&format!("{word} ({})", ids.join(" "))))
        })
        .collect();
    // A later collector may know letters that this program does not.
    let known = |letter| LOOKED_AT.iter().any(|(known, ..)| *known == letter);
    groups
        .extend(ids().filter(|id| !letter_of(id).is_some_and(known) && !GOOD_NEWS.contains(id)).map(escape));
    groups
}

fn letter_of(id: &str) -> Option<char> {
    match id {
        id if NAMES.contains(&id) => Some('D'),
        id if GOOD_NEWS.contains(&id) => None,
        id => id.chars().next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(found: &[&str], out: &[&str]) -> v1::Explanation {
        v1::Explanation {
            findings: found
                .iter()
                .map(|id| v1::Finding { id: (*id).to_owned(), ..Default::default() })
                .collect(),
            ruled_out: out
                .iter()
                .map(|id| v1::RuledOut { id: (*id).to_owned(), ..Default::default() })
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn causes_go_with_what_was_looked_at() {
        assert_eq!(
            groups(&answer(&["P1"], &["D1", "E1", "H2", "H27", "N1", "N20", "P2", "S1", "S2", "X1"])),
            [
                "name (D1 S1)",
                "Service (S2)",
                "endpoints (E1)",
                "policies (N1)",
                "node (H2 H27)",
                "other listener causes (P2)",
                "X1"
            ]
        );
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(groups(&answer(&["N20"], &[])), [""; 0]);
    }

    #[test]
    fn good_news_found_is_not_a_cause_found() {
        assert_eq!(groups(&answer(&["N20"], &["N1"])), ["policies (N1)"]);
    }
}

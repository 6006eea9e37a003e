//! The candidate a misspelt name was probably meant to be.
//!
//! It only measures; whether a near name is worth telling is the caller's decision.

/// Candidates near `name`, nearest first, ties in order of name. Near means: at most a third of the longer name has
/// to change, and at least one change is always forgiven; or one of the two contains the other.
pub fn ranked<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let distance = strsim::osa_distance(name, candidate);
            let longer = name.chars().count().max(candidate.chars().count());
            let contained = name.len() >= 3
                && candidate.len() >= 3
                && (candidate.contains(name) || name.contains(candidate));
            (distance <= (longer / 3).max(1) || contained).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The nearest candidate, if any is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(name, candidates).into_iter().next()
}

/// The candidate within two edits of a key, as the contract for misspelt keys has it.
pub(crate) fn within_two_edits<'a>(
    key: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        // Two edits turn any two-letter word into any other.
        .filter(|(distance, candidate)| {
            (1..=2).contains(distance) && *distance < candidate.len().min(key.len())
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour() {
        assert_eq!(nearest("clinet", ["client", "visitor"]), Some("client"));
        assert_eq!(nearest("apu", ["cart", "api"]), Some("api"));
        assert_eq!(nearest("my-app", ["my-application", "other"]), Some("my-application"));
        assert_eq!(nearest("database", ["client", "visitor"]), None);
        assert_eq!(nearest("api", ["api"]), None, "the name itself is no neighbour");
        assert_eq!(ranked("app", ["apq", "apr", "zzzzz"]), ["apq", "apr"]);
    }

    #[test]
    fn keys_are_forgiven_two_edits() {
        assert_eq!(within_two_edits("aapiVersion", ["apiVersion", "kind"]), Some("apiVersion"));
        assert_eq!(within_two_edits("kidn", ["apiVersion", "kind"]), Some("kind"));
        assert_eq!(within_two_edits("to", ["from"]), None);
        assert_eq!(within_two_edits("hello", ["kind"]), None);
    }
}

//! How near one name is to another: what a person may have meant.
//!
//! It compares words only; which words are worth comparing is for the causes to say.

/// How near two words are. Smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// The same word.
    Same,
    /// So many edits apart, few for the words' length.
    Edits(usize),
    /// One word holds the other: `api` and `api-v2`.
    Contains,
    /// Nothing in common worth mentioning.
    Far,
}

/// How near `other` is to `word`.
pub(crate) fn nearness(word: &str, other: &str) -> Nearness {
    if word == other {
        return Nearness::Same;
    }
    let shorter = word.chars().count().min(other.chars().count());
    // One edit in a word of three letters, two from six on: more would call any two short words alike.
    let allowed = match shorter {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let edits = strsim::osa_distance(word, other);
    if edits <= allowed {
        return Nearness::Edits(edits);
    }
    if shorter >= 3 && (word.contains(other) || other.contains(word)) {
        return Nearness::Contains;
    }
    Nearness::Far
}

/// The near ones among `candidates`, nearest first, at most `limit`.
pub(crate) fn nearest<'a, T>(
    word: &str,
    candidates: impl IntoIterator<Item = (&'a str, T)>,
    limit: usize,
) -> Vec<T> {
    let mut near: Vec<(Nearness, &str, T)> = candidates
        .into_iter()
        .map(|(name, item)| (nearness(word, name), name, item))
        .filter(|(how, _, _)| *how != Nearness::Far)
        .collect();
    near.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    near.into_iter().take(limit).map(|(_, _, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_and_longer_forms_are_near() {
        assert_eq!(nearness("api", "api"), Nearness::Same);
        assert_eq!(nearness("apu", "api"), Nearness::Edits(1));
        assert_eq!(nearness("my-app", "my-application"), Nearness::Contains);
        assert_eq!(nearness("chekcout", "checkout"), Nearness::Edits(1));
    }

    #[test]
    fn short_words_are_not_all_alike() {
        assert_eq!(nearness("db", "ui"), Nearness::Far);
        assert_eq!(nearness("api", "web"), Nearness::Far);
        assert_eq!(nearness("a", "api"), Nearness::Far);
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["cart", "api", "apis", "rapid"];
        assert_eq!(nearest("apu", names.map(|name| (name, name)), 5), ["api"]);
        assert_eq!(nearest("api", names.map(|name| (name, name)), 2), ["api", "apis"]);
    }
}

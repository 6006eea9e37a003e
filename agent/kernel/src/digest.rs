//! Digests of listings, to notice that something in them changed. No checksum against tampering.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

/// The digest of lines, each given as what it belongs to and the words that count. Their order does not matter: the
/// kernel lists what it keeps in hashes.
pub fn of_lines<'t, W: Iterator<Item = &'t str>>(lines: impl Iterator<Item = (&'t str, W)>) -> u64 {
    let mut sum = 0_u64;
    for (place, words) in lines {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        for word in words {
            word.hash(&mut hasher);
        }
        sum = sum.wrapping_add(hasher.finish());
    }
    sum
}

//! Reads the match that asks sets of the kernel's ipset. What they hold is `ipset`'s business.

use super::matches::{Refusal, ahead, skip_options, take, unknown, value};
use super::words::Words;
use crate::ipset::sides;
use crate::ir::{InSet, Match, Test};

/// `-m set`: options that belong together, told apart by the set they follow (`set_parse_v4`, extensions/libxt_set.c).
pub(super) fn in_set(words: &mut Words<'_>, start: usize, matches: &mut Vec<Match>) -> Result<(), Refusal> {
    let mut negate = false;
    let mut asked: Option<(bool, InSet)> = None;
    while let Some(next) = ahead(words) {
        words.next();
        match (next, &mut asked) {
            ("!", _) => {
                negate = true;
                continue;
            }
            ("--match-set", None) => {
                let name = value(words)?;
                let Some((dimensions, sources)) = sides(take(words)?) else {
                    skip_options(words);
                    matches.push(Match { negate: false, test: unknown(words, start) });
                    return Ok(());
                };
                let set = InSet { name, dimensions, sources, excepted: false, counted: false };
                asked = Some((negate, set));
            }
            ("--return-nomatch", Some((_, set))) => set.excepted = true,
            // Which counters move decides nothing.
            ("--update-counters" | "--update-subcounters", Some(_)) => {}
            (
                "--packets-eq" | "--packets-lt" | "--packets-gt" | "--bytes-eq" | "--bytes-lt" | "--bytes-gt",
                Some((_, set)),
            ) => {
                take(words)?;
                set.counted = true;
            }
            _ => {
                skip_options(words);
                matches.push(Match { negate: false, test: unknown(words, start) });
                return Ok(());
            }
        }
        negate = false;
    }
    let (negate, set) = asked.ok_or("a match of a set without a set")?;
    matches.push(Match { negate, test: Test::InSet(set) });
    Ok(())
}

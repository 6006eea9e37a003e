//! Our reader against the table of manifests. That the API server agrees is `cluster`'s test of the same table.

#[allow(dead_code, reason = "what only the test against the API server reads")]
mod manifests;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use manifests::{TABLES, ours};

#[test]
fn manifests_are_judged_as_the_table_says() {
    let mut wrong = String::new();
    let mut names = BTreeSet::new();
    for case in TABLES.iter().flat_map(manifests::Table::cases) {
        assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
        let ours = ours(&case.text);
        if ours.refused != case.refused || ours.warned != case.warned {
            let _ = writeln!(
                wrong,
                "{}\n{}refused: {:?}, warned: {:?}",
                case.name, case.text, ours.refused, ours.warned
            );
            for line in &ours.words {
                let _ = writeln!(wrong, "  {line}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{} manifests", names.len());
    assert!(names.len() >= MANIFESTS_AT_LEAST, "only {} manifests were found", names.len());
}

/// A table that lost its cases must not pass.
const MANIFESTS_AT_LEAST: usize = 150;

//! Starts a new cause: the file with its documentation, rule and tests to fill in, and its place in the registry.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, cargo, root};

/// Groups of the catalogue by letter.
const GROUPS: &[char] = &['D', 'S', 'E', 'N', 'K', 'C', 'P', 'H', 'I'];

/// Writes the skeleton through `diagnose`'s own example, which knows the free ids.
pub fn run(name: &str, group: char) -> Result<()> {
    let group = group.to_ascii_uppercase();
    if !GROUPS.contains(&group) {
        bail!("no group `{group}`; the groups are {}", GROUPS.iter().collect::<String>());
    }
    ensure!(
        name.split('-').all(
            |part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        ),
        "`{name}` is no slug: lower-case words joined by single hyphens"
    );
    let file = root().join("collector/diagnose/src/causes").join(format!("{}.rs", name.replace('-', "_")));
    ensure!(!file.exists(), "{} exists already", file.display());
    let skeleton = process::output(
        cargo()
            .args(["run", "--quiet", "--locked", "-p", "diagnose", "--example", "new_cause", "--"])
            .arg(group.to_string())
            .arg(name),
    )?;
    let list = root().join("collector/diagnose/src/causes.rs");
    let listed = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let module = name.replace('-', "_");
    let listed = insert_sorted(&listed, "mod ", &format!("mod {module};"))
        .and_then(|text| insert_sorted(&text, "    cause!(", &format!("    cause!({module}),")))
        .with_context(|| format!("{} has no list to add to", list.display()))?;
    fs::write(&file, skeleton).with_context(|| format!("write {}", file.display()))?;
    fs::write(&list, listed).with_context(|| format!("write {}", list.display()))?;
    println!("wrote {} and named it in {}", file.display(), list.display());
    println!("next: fill it in, then `cargo xtask codegen` for its page of the manual");
    Ok(())
}

/// Adds a line to the run of lines with this beginning, in their order.
fn insert_sorted(text: &str, beginning: &str, line: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|known| known.starts_with(beginning))?;
    let run = lines.get(first..)?.iter().take_while(|known| known.starts_with(beginning));
    let place = first + run.take_while(|known| **known < line).count();
    lines.insert(place, line);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::insert_sorted;

    #[test]
    fn a_line_finds_its_place_in_the_list() {
        let text = "//! Doc.\n\nmod a;\nmod c;\n\nuse x;\n";
        assert_eq!(
            insert_sorted(text, "mod ", "mod b;").unwrap(),
            "//! Doc.\n\nmod a;\nmod b;\nmod c;\n\nuse x;\n"
        );
        assert_eq!(
            insert_sorted(text, "mod ", "mod d;").unwrap(),
            "//! Doc.\n\nmod a;\nmod c;\nmod d;\n\nuse x;\n"
        );
        assert_eq!(insert_sorted(text, "static ", "static y;"), None);
    }
}

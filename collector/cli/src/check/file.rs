//! The file of expectations.
//!
//! It knows its form and no object; what `from` and `to` mean is found out where they are asked about.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::CliError;

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// Policies allow it.
    Allowed,
    /// Policies deny it.
    Denied,
}

/// One expectation of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What it is for, in the writer's words.
    pub name: Option<String>,
    /// SRC.
    pub from: String,
    /// DST.
    pub to: String,
    /// What is expected.
    pub expect: Expected,
}

/// One entry as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    from: Several,
    to: Several,
    expect: Expected,
}

/// One text or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    One(String),
    Many(Vec<String>),
}

impl Several {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Reads all of them, one for each pair; or everything that is wrong.
pub fn read(path: &Path, text: &str) -> Result<Vec<Expectation>, CliError> {
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let mut number = 0;
    for document in objects::documents(text) {
        for fault in document.faults {
            let field = if fault.field.is_empty() { String::new() } else { format!("{}: ", fault.field) };
            problems.push(format!("document {}: {field}{}", document.number, fault.reason));
        }
        let entries = match document.value {
            Value::Null => continue,
            Value::Array(entries) => entries,
            Value::Object(mut map) => match map.remove("expectations") {
                Some(Value::Array(entries)) if map.is_empty() => entries,
                _ => {
                    problems.push(format!(
                        "document {}: is neither a list nor has one under `expectations` and nothing else",
                        document.number
                    ));
                    continue;
                }
            },
            _ => {
                problems.push(format!("document {}: is no list of expectations", document.number));
                continue;
            }
        };
        for entry in entries {
            number += 1;
            match serde_json::from_value::<Entry>(entry) {
                Ok(entry) => found.extend(pairs(&entry)),
                Err(error) => problems.push(format!("expectation {number}: {error}")),
            }
        }
    }
    if problems.is_empty() && found.is_empty() {
        problems.push("holds no expectation".to_owned());
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(CliError::Expectations { path: path.to_owned(), problems })
    }
}

fn pairs(entry: &Entry) -> impl Iterator<Item = Expectation> {
    let Entry { name, from, to, expect } = entry;
    from.all().iter().flat_map(move |from| {
        to.all().iter().map(move |to| Expectation {
            name: name.clone(),
            from: from.clone(),
            to: to.clone(),
            expect: *expect,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Expectation>, String> {
        read(Path::new("e.yaml"), text).map_err(|error| error.report())
    }

    #[test]
    fn lists_in_both_forms() {
        let one = Expectation {
            name: None,
            from: "web/client".to_owned(),
            to: "shop/api:80".to_owned(),
            expect: Expected::Allowed,
        };
        for text in [
            "- {from: web/client, to: 'shop/api:80', expect: allowed}",
            "expectations:\n- from: web/client\n  to: shop/api:80\n  expect: allowed\n",
            r#"[{"from":"web/client","to":"shop/api:80","expect":"allowed"}]"#,
            "- {from: [web/client], to: ['shop/api:80'], expect: allowed}",
        ] {
            assert_eq!(of(text).expect(text), std::slice::from_ref(&one), "{text}");
        }
        assert_eq!(of("- {from: [a, b], to: [c, d, e], expect: denied}").expect("fine").len(), 6);
    }

    #[test]
    fn everything_wrong_is_told() {
        let told = of("- {from: a, expect: allowed}\n- {from: a, to: b, expect: perhaps}\n- {from: a, to: b, expect: denied, x: 1}\n")
            .unwrap_err();
        assert_eq!(told.lines().filter(|line| line.starts_with("error: e.yaml: ")).count(), 3, "{told}");
        assert!(told.contains("expectation 1: missing field `to`"), "{told}");
        for text in ["", "a: b", "- 1", "from: a"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}

//! Label selectors (`metav1.LabelSelector`) and their one evaluation.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The key exists and its value is listed.
    In,
    /// The key is absent, or its value is not listed.
    NotIn,
    /// The key exists.
    Exists,
    /// The key is absent.
    DoesNotExist,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// How to compare.
    pub operator: Operator,
    /// Values for `In` and `NotIn`.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether labels meet it. Absent keys meet `NotIn` and `DoesNotExist` (apimachinery `labels.Requirement.Matches`).
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.meets(labels.get(&self.key).map(String::as_str))
    }

    /// Whether the value of its label, if there is one, meets it.
    pub fn meets(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => value.is_none_or(|value| !listed(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// All requirements together; an empty selector matches everything. `matchLabels` are `In` with one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// Requirements, all of which must hold.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// A selector of equalities, as a Service has it.
    pub fn equalities<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self {
            requirements: labels
                .into_iter()
                .map(|(key, value)| Requirement {
                    key: key.clone(),
                    operator: Operator::In,
                    values: vec![value.clone()],
                })
                .collect(),
        }
    }

    /// Whether labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// The requirements that labels do not meet.
    pub fn unmet<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Requirement> {
        self.requirements.iter().filter(|requirement| !requirement.matches(labels))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || self.values.join(",");
        match (self.operator, self.values.as_slice()) {
            (Operator::In, [value]) => write!(f, "{}={value}", self.key),
            (Operator::In, _) => write!(f, "{} in ({})", self.key, values()),
            (Operator::NotIn, _) => write!(f, "{} notin ({})", self.key, values()),
            (Operator::Exists, _) => f.write_str(&self.key),
            (Operator::DoesNotExist, _) => write!(f, "!{}", self.key),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

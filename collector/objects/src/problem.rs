//! What can be wrong with objects given as files: refusals stop the reading, warnings do not.
//!
//! Objects that came from an API server never get here as refusals; theirs become gaps.

use std::cell::RefCell;
use std::fmt;

/// Why a file cannot be used. Its text reads `objects.yaml, document 3: spec.ports[0]: …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The file.
    pub source: String,
    /// The document in it, counted from 1.
    pub document: u32,
    /// Path of the field; empty for the whole document.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.source, self.document, &self.field)?;
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// Something odd that does not stop the reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The file.
    pub source: String,
    /// The document in it, counted from 1.
    pub document: u32,
    /// Path of the field; empty for the whole document.
    pub field: String,
    /// What is odd.
    pub reason: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.source, self.document, &self.field)?;
        f.write_str(&self.reason)
    }
}

fn place(f: &mut fmt::Formatter<'_>, source: &str, document: u32, field: &str) -> fmt::Result {
    write!(f, "{}, document {document}: ", source.escape_debug())?;
    if field.is_empty() { Ok(()) } else { write!(f, "{field}: ") }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The API server would refuse it.
    Refused,
    /// The API server keeps it, but nobody can use it: a warning in a file, a gap where it comes from the API.
    Unread,
    /// A key nobody knows.
    UnknownKey,
    /// Worth a word.
    Odd,
}

/// One thing wrong with one object, its file not yet named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

/// Collects everything wrong with one object while it is read.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(crate) fn refuse(&self, field: impl Into<String>, reason: impl Into<String>) {
        self.add(Problem {
            severity: Severity::Refused,
            field: field.into(),
            reason: reason.into(),
            hint: None,
        });
    }

    pub(crate) fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

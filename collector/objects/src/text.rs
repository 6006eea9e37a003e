//! Splits a file into documents and turns each into a JSON value, whether it is YAML or JSON.
//!
//! It knows nothing of Kubernetes beyond how kubectl separates documents and reads scalars.

mod json;
mod yaml;

use serde_json::{Number, Value};

/// More text than any real cluster's objects fill; beyond it a file is refused instead of read into memory.
const MAX_TEXT: usize = 512 << 20;
/// Deeper nesting than any Kubernetes object has (a CRD schema reaches about 40).
const MAX_DEPTH: usize = 100;

/// Something wrong with the text of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field; empty if it cannot be told.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

/// One document. A document with faults still carries what could be read, so that more can be said about it.
#[derive(Debug)]
pub struct Document {
    /// Counted from 1.
    pub number: u32,
    /// Null if nothing could be read.
    pub value: Value,
    /// What is wrong with the text itself.
    pub faults: Vec<Fault>,
}

/// All documents of a text.
pub fn documents(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_TEXT {
        let reason = format!("the file has {} MiB; at most {} are read", text.len() >> 20, MAX_TEXT >> 20);
        return vec![Document { number: 1, value: Value::Null, faults: vec![Fault::whole(reason)] }];
    }
    if !text.trim_start().starts_with(['{', '[']) {
        return yaml_documents(text);
    }
    // A text in braces is JSON, or YAML's flow style, which only the YAML reader understands.
    match json::values(text) {
        Ok(values) => {
            (1..).zip(values).map(|(number, (value, faults))| Document { number, value, faults }).collect()
        }
        Err(error) => {
            let documents = yaml_documents(text);
            if documents.iter().all(|document| document.faults.is_empty()) {
                return documents;
            }
            let fault = Fault::whole(format!("not valid JSON: {error}"));
            vec![Document { number: 1, value: Value::Null, faults: vec![fault] }]
        }
    }
}

impl Fault {
    fn whole(reason: String) -> Self {
        Self { field: String::new(), reason }
    }
}

/// A number with a fraction or an exponent. One without a rest is an integer to the API server, which gets it as Go
/// writes it: `80.0` and `8e1` are a port. `None` if it is not finite.
fn float(value: f64) -> Option<Value> {
    // 2^53: within this bound every whole `f64` is exactly one `i64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the bound")]
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

/// Cut at separator lines first, as kubectl does (apimachinery `yaml.YAMLReader`), so that a document that cannot be
/// read does not hide the ones after it.
fn yaml_documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut number = 0;
    for (line, chunk) in chunks(text) {
        for (value, faults) in yaml::values(chunk, line) {
            number += 1;
            documents.push(Document { number, value, faults });
        }
    }
    documents
}

/// The pieces between separator lines, each with the number of lines before it.
fn chunks(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut position) = (0, 0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            // The first separator of a file only opens it.
            if !text[..position].trim().is_empty() {
                pieces.push((start_line, &text[start..position]));
            }
            start = position + line.len();
            start_line = index + 1;
        }
        position += line.len();
    }
    pieces.push((start_line, &text[start..]));
    pieces
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim_end();
        rest.is_empty() || rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let documents = documents(text);
        for document in &documents {
            assert_eq!(document.faults, [], "{text}");
        }
        documents.into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn separators_count_documents_as_kubectl_does() {
        assert_eq!(values("---\na: 1\n---\nb: 2\n--- # last\nc: 3\n").len(), 3);
        assert_eq!(values("# only a comment\n"), [Value::Null]);
        assert_eq!(values("a: |\n  x\n  ---\n  y\n"), [json!({"a": "x\n---\ny\n"})]);
        assert_eq!(documents("a: 1\n---\n---\nb: 2\n")[2].number, 3);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let documents = documents("a: [\n---\nb: 2\n");
        assert_eq!(documents.len(), 2);
        assert!(documents[0].faults[0].reason.contains("line"), "{:?}", documents[0].faults);
        assert_eq!(documents[1].value, json!({"b": 2}));
    }

    #[test]
    fn json_in_all_its_shapes() {
        assert_eq!(values("{\"a\": 1}\n{\"b\": 2}"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values("{a: 1}"), [json!({"a": 1})]);
        let broken = documents("{\"a\": }{");
        assert!(broken[0].faults[0].reason.starts_with("not valid JSON"), "{broken:?}");
    }
}

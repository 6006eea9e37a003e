//! YAML events composed into JSON values, with duplicate keys, aliases, depth and size judged on the way.
//!
//! Scalars are read as kubectl reads them (`sigs.k8s.io/yaml`, the YAML 1.1 words of go-yaml v2), not as YAML 1.2
//! does: a plain `yes` is a boolean there, so a label `on: yes` is refused here as it is by the API server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::{Fault, MAX_DEPTH, float};

/// Values that aliases may add to one document. Kubernetes objects hardly use aliases; a bomb multiplies by them.
const MAX_ALIAS_VALUES: usize = 100_000;
/// Bytes of text that aliases may add to one document.
const MAX_ALIAS_BYTES: usize = 4 << 20;

/// The documents of one piece of text, each with its faults. `line` is the number of lines before the piece.
pub(super) fn values(text: &str, line: usize) -> Vec<(Value, Vec<Fault>)> {
    let mut documents = Vec::new();
    let mut composer = Composer::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let event = match event {
            Ok((event, _)) => event,
            Err(error) => {
                let place = error.marker();
                let reason = format!(
                    "not valid YAML at line {}, column {}: {}",
                    line + place.line(),
                    place.col() + 1,
                    error.info()
                );
                composer.fault(reason);
                documents.push(std::mem::take(&mut composer).finish());
                return documents;
            }
        };
        match event {
            Event::DocumentEnd => documents.push(std::mem::take(&mut composer).finish()),
            Event::StreamEnd => break,
            event => {
                if composer.take(event).is_err() {
                    documents.push(std::mem::take(&mut composer).finish());
                    return documents;
                }
            }
        }
    }
    if documents.is_empty() {
        documents.push((Value::Null, Vec::new()));
    }
    documents
}

/// The document cannot be read any further; the fault that says why is recorded.
struct Stop;

#[derive(Default)]
struct Composer {
    root: Option<Value>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Value>,
    faults: Vec<Fault>,
    alias_values: usize,
    alias_bytes: usize,
}

enum Frame {
    Sequence { anchor: usize, items: Vec<Value> },
    Mapping { anchor: usize, map: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
}

impl Composer {
    fn finish(self) -> (Value, Vec<Fault>) {
        (self.root.unwrap_or(Value::Null), self.faults)
    }

    fn fault(&mut self, reason: String) {
        let field = self.path();
        self.faults.push(Fault { field, reason });
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.stack {
            match frame {
                Frame::Sequence { items, .. } => {
                    let _ = write!(path, "[{}]", items.len());
                }
                Frame::Mapping { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.extend(key.escape_debug());
                }
                Frame::Mapping { .. } => {}
            }
        }
        path
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref()),
            Event::SequenceStart(anchor, _) => self.open(Frame::Sequence { anchor, items: Vec::new() }),
            Event::MappingStart(anchor, _) => {
                self.open(Frame::Mapping { anchor, map: Map::new(), key: None, merged: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, frame: Frame) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            self.fault(format!("nested more than {MAX_DEPTH} levels deep"));
            return Err(Stop);
        }
        if matches!(self.stack.last(), Some(Frame::Mapping { key: None, .. })) {
            self.fault("a list or mapping cannot be a key".to_owned());
            return Err(Stop);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        match self.stack.pop() {
            Some(Frame::Sequence { anchor, items }) => self.put(Value::Array(items), anchor),
            Some(Frame::Mapping { anchor, mut map, merged, .. }) => {
                for value in merged {
                    self.merge(&mut map, value);
                }
                self.put(Value::Object(map), anchor)
            }
            None => Ok(()),
        }
    }

    /// The `<<` key of YAML 1.1: keys that are not given are taken from the mapping named.
    fn merge(&mut self, map: &mut Map<String, Value>, value: Value) {
        match value {
            Value::Object(other) => {
                for (key, value) in other {
                    map.entry(key).or_insert(value);
                }
            }
            Value::Array(items) if items.iter().all(Value::is_object) => {
                for item in items {
                    self.merge(map, item);
                }
            }
            _ => self.fault("`<<` takes a mapping or a list of mappings".to_owned()),
        }
    }

    fn alias(&mut self, anchor: usize) -> Result<(), Stop> {
        let Some(value) = self.anchors.get(&anchor) else {
            self.fault("an alias stands inside the value it names".to_owned());
            return Err(Stop);
        };
        let size = Size::of(value);
        self.alias_values += size.values;
        self.alias_bytes += size.bytes;
        if self.alias_values > MAX_ALIAS_VALUES
            || self.alias_bytes > MAX_ALIAS_BYTES
            || self.stack.len() + size.depth > MAX_DEPTH
        {
            self.fault(format!("aliases expand to more than {MAX_ALIAS_VALUES} values"));
            return Err(Stop);
        }
        let value = value.clone();
        if let Some(Frame::Mapping { key: key @ None, .. }) = self.stack.last_mut() {
            if let Value::String(name) = value {
                *key = Some(name);
                return Ok(());
            }
            self.fault("a list or mapping cannot be a key".to_owned());
            return Err(Stop);
        }
        self.put(value, 0)
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Stop> {
        if let Some(Frame::Mapping { key: None, .. }) = self.stack.last() {
            let name =
                if style == ScalarStyle::Plain && tag.is_none() { plain_key(text) } else { Some(text) };
            let Some(name) = name.map(Cow::into_owned) else {
                self.fault("null cannot be a key".to_owned());
                return Err(Stop);
            };
            if anchor != 0 {
                self.anchors.insert(anchor, Value::String(name.clone()));
            }
            if let Some(Frame::Mapping { key, .. }) = self.stack.last_mut() {
                *key = Some(name);
            }
            return Ok(());
        }
        let value = match tag {
            None if style == ScalarStyle::Plain => plain(&text),
            None => Value::String(text.into_owned()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::String(text.into_owned()),
            Some(tag)
                if tag.is_yaml_core_schema()
                    && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") =>
            {
                plain(&text)
            }
            Some(tag) => {
                self.fault(format!("the tag `{}` is not understood", tag.suffix.escape_debug()));
                Value::String(text.into_owned())
            }
        };
        self.put(value, anchor)
    }

    fn put(&mut self, value: Value, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            // An anchored copy costs as much as an alias would.
            let size = Size::of(&value);
            self.alias_values += size.values;
            self.alias_bytes += size.bytes;
            if self.alias_values > MAX_ALIAS_VALUES || self.alias_bytes > MAX_ALIAS_BYTES {
                self.fault(format!("anchors hold more than {MAX_ALIAS_VALUES} values"));
                return Err(Stop);
            }
            self.anchors.insert(anchor, value.clone());
        }
        let mut twice = None;
        match self.stack.last_mut() {
            Some(Frame::Sequence { items, .. }) => items.push(value),
            Some(Frame::Mapping { map, key, merged, .. }) => match key.take() {
                Some(name) if name == "<<" => merged.push(value),
                Some(name) => {
                    if map.contains_key(&name) {
                        twice = Some(name.clone());
                    }
                    map.insert(name, value);
                }
                None => {}
            },
            None => self.root = Some(value),
        }
        if let Some(name) = twice {
            self.fault(format!("key `{}` is given twice", name.escape_debug()));
        }
        Ok(())
    }
}

struct Size {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::sum(items.iter(), 0),
            Value::Object(map) => Self::sum(map.values(), map.keys().map(String::len).sum()),
            Value::String(text) => Self { values: 1, bytes: text.len(), depth: 0 },
            _ => Self { values: 1, bytes: 0, depth: 0 },
        }
    }

    fn sum<'a>(children: impl Iterator<Item = &'a Value>, own: usize) -> Self {
        children.map(Self::of).fold(Self { values: 1, bytes: own, depth: 1 }, |sum, child| Self {
            values: sum.values + child.values,
            bytes: sum.bytes + child.bytes,
            depth: sum.depth.max(child.depth + 1),
        })
    }
}

/// A plain scalar as go-yaml v2 resolves it (`resolve.go`).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    number(&text.replace('_', "")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A plain scalar as a key: JSON knows only texts, so numbers and booleans are written out as `sigs.k8s.io/yaml` does
/// (`convertToJSONableObject`), `yes` as `true` and `010` as `8`. `None` for null, which it refuses.
fn plain_key(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match plain(&text) {
        Value::Null => None,
        Value::Bool(value) => Some(Cow::Owned(value.to_string())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => Some(text),
    }
}

fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let integer = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| digits.strip_prefix(prefix).map(|rest| (rest, radix)))
        .or_else(|| digits.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (rest, 8)))
        .or(Some((digits, 10)))
        .filter(|(rest, _)| rest.starts_with(|first: char| first.is_ascii_alphanumeric()))
        .and_then(|(rest, radix)| u64::from_str_radix(rest, radix).ok());
    match integer {
        Some(value) if negative => return i64::try_from(value).ok().map(|value| Value::from(-value)),
        Some(value) => return Some(Value::from(value)),
        None => {}
    }
    // Rust reads words as numbers that YAML does not ("infinity"); only digits, dot, sign and exponent are meant.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    text.parse::<f64>().ok().and_then(float)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> (Value, Vec<Fault>) {
        let mut documents = values(text, 0);
        assert_eq!(documents.len(), 1, "{documents:?}");
        documents.remove(0)
    }

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        let (value, faults) = one("a: yes\nb: \"yes\"\nc: 0644\nd: 1.5\ne: 10.0.0.1\nf: ~\ng: 0x1F\nh: -3\n\
             i: 2024-01-01\nj: 1e3\nk: !!str 80\nl: fd00::1\nm: .\nn1: 10.96.0.0/12\n");
        assert_eq!(faults, []);
        assert_eq!(
            value,
            json!({"a": true, "b": "yes", "c": 420, "d": 1.5, "e": "10.0.0.1", "f": null, "g": 31, "h": -3,
                   "i": "2024-01-01", "j": 1000, "k": "80", "l": "fd00::1", "m": ".", "n1": "10.96.0.0/12"})
        );
    }

    #[test]
    fn duplicate_keys_are_faults_with_their_path() {
        let (_, faults) = one("spec:\n  ports:\n  - port: 1\n    port: 2\n");
        assert_eq!(faults.len(), 1);
        assert_eq!(
            (faults[0].field.as_str(), faults[0].reason.as_str()),
            ("spec.ports[0]", "key `port` is given twice")
        );
    }

    #[test]
    fn anchors_aliases_and_merges_work() {
        let (value, faults) = one("base: &b {x: 1, y1: 2}\nother:\n  <<: *b\n  x: 3\nlist: [*b]\n");
        assert_eq!(faults, []);
        assert_eq!(value["other"], json!({"x": 3, "y1": 2}));
        assert_eq!(value["list"], json!([{"x": 1, "y1": 2}]));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 10].join(", ");
            let _ = writeln!(text, "a{level}: &a{level} [{items}]");
        }
        let (_, faults) = one(&text);
        assert!(faults[0].reason.contains("more than 100000 values"), "{faults:?}");
    }

    #[test]
    fn depth_is_bounded() {
        let (_, faults) = one(&"[".repeat(5000));
        assert!(!faults.is_empty());
    }
}

//! Lists of objects as iproute2 prints them with `-j`, read without insisting on more than is needed.
//!
//! It knows JSON, not networks.

use serde_json::{Map, Value};

use crate::error::{SnapshotError, Source, excerpt};

/// One entry of a list.
pub(crate) struct Entry<'v> {
    source: Source,
    index: usize,
    fields: &'v Map<String, Value>,
}

/// Reads a list and makes something of each entry. Entries without any field are passed over: iproute2 prints such for
/// whatever its filters leave out.
pub(crate) fn list<T>(
    source: Source,
    text: &str,
    mut read: impl FnMut(&Entry<'_>) -> Result<Vec<T>, SnapshotError>,
) -> Result<Vec<T>, SnapshotError> {
    // `ip` prints nothing at all when there is nothing to show.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let before = line.char_indices().map(|(at, _)| at).take_while(|at| *at < error.column()).count();
        let near: String = line.chars().skip(before.saturating_sub(40)).collect();
        SnapshotError::Json { from: source, what: error.to_string(), excerpt: excerpt(&near) }
    })?;
    let mut all = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let Value::Object(fields) = value else {
            return Err(SnapshotError::entry(source, index, "not an object", &value.to_string()));
        };
        if !fields.is_empty() {
            all.extend(read(&Entry { source, index, fields })?);
        }
    }
    Ok(all)
}

impl<'v> Entry<'v> {
    /// An error about this entry.
    pub(crate) fn error(&self, what: &'static str) -> SnapshotError {
        let text = Value::Object(self.fields.clone()).to_string();
        SnapshotError::entry(self.source, self.index, what, &text)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'v Value> {
        self.fields.get(key)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'v str, &'v Value)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'v str> {
        self.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        number(self.get(key)?)
    }

    /// The objects in a field that holds a list.
    pub(crate) fn entries(&self, key: &str) -> impl Iterator<Item = Entry<'v>> {
        let list = self.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let (source, index) = (self.source, self.index);
        list.iter().filter_map(Value::as_object).map(move |fields| Entry { source, index, fields })
    }
}

/// A number, printed as one or as text, also in hexadecimal.
pub(crate) fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// A routing table: the names of /etc/iproute2/rt_tables that every system has, or a number.
pub(crate) fn table(value: &Value) -> Option<u32> {
    match value.as_str() {
        Some("local") => Some(255),
        Some("main") => Some(254),
        Some("default") => Some(253),
        Some("unspec") => Some(0),
        _ => number(value),
    }
}

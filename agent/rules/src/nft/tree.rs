//! JSON that borrows the text it is read from.
//!
//! A listing is millions of small words; copies of them, and a search tree for each object, would be most of reading it
//! and leave the heap in pieces. Objects here are lists of pairs: those of nft have few keys.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// Elements that room is made for at first; longer lists grow.
const ROOM: usize = 4;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'t> {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text; owned if it has escapes.
    String(Cow<'t, str>),
    /// A list.
    Array(Vec<Self>),
    /// An object.
    Object(Map<'t>),
}

/// An object: its keys and values in the order they stand in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map<'t>(Vec<(Cow<'t, str>, Value<'t>)>);

impl<'t> Map<'t> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pairs.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'t>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The first value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The only key and its value.
    pub(super) fn single(&self) -> Option<(&str, &Value<'t>)> {
        let [(key, value)] = &*self.0 else { return None };
        Some((key, value))
    }
}

impl<'t> Value<'t> {
    /// An object of these pairs.
    pub(super) fn object<const N: usize>(pairs: [(&'static str, Self); N]) -> Self {
        Self::Object(Map(pairs.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect()))
    }

    /// An object of one pair.
    pub(super) fn under(key: &'static str, value: Self) -> Self {
        Self::Object(Map(vec![(Cow::Borrowed(key), value)]))
    }

    /// A text.
    pub(super) fn text(text: impl Into<Cow<'t, str>>) -> Self {
        Self::String(text.into())
    }

    /// A number.
    pub(super) fn number(number: impl Into<Number>) -> Self {
        Self::Number(number.into())
    }

    /// The same with one pair more; of no use on anything but an object.
    pub(super) fn with(mut self, key: &'static str, value: Self) -> Self {
        if let Self::Object(map) = &mut self {
            map.0.push((Cow::Borrowed(key), value));
        }
        self
    }

    /// The same with one pair more if there is a value.
    pub(super) fn with_some(self, key: &'static str, value: Option<Self>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// An object with the pairs of another one as well.
    pub(super) fn joined(mut self, other: Self) -> Self {
        if let (Self::Object(map), Self::Object(other)) = (&mut self, other) {
            map.0.extend(other.0);
        }
        self
    }

    /// What an object has under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    pub(super) fn as_object(&self) -> Option<&Map<'t>> {
        if let Self::Object(map) = self { Some(map) } else { None }
    }

    pub(super) const fn as_array(&self) -> Option<&Vec<Self>> {
        if let Self::Array(list) = self { Some(list) } else { None }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    pub(super) fn as_i64(&self) -> Option<i64> {
        if let Self::Number(number) = self { number.as_i64() } else { None }
    }

    pub(super) const fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }
}

/// As JSON on one line, for a reader's eye: what cannot be printed is escaped, which JSON would not do so.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::String(text) => write!(f, "\"{}\"", text.escape_debug()),
            Self::Array(list) => {
                f.write_str("[")?;
                for (index, value) in list.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(map) => {
                f.write_str("{")?;
                for (index, (key, value)) in map.0.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}\"{}\":{value}", key.escape_debug())?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(list) => serializer.collect_seq(list),
            Self::Object(map) => {
                let mut pairs = serializer.serialize_map(Some(map.0.len()))?;
                for (key, value) in &map.0 {
                    pairs.serialize_entry(key, value)?;
                }
                pairs.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::with_capacity(ROOM);
        while let Some(value) = items.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::with_capacity(1);
        while let Some(Key(key)) = pairs.next_key()? {
            list.push((key, pairs.next_value()?));
        }
        Ok(Value::Object(Map(list)))
    }
}

/// A key, borrowed where it has no escapes; `Cow` alone would be copied.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyReader)
    }
}

struct KeyReader;

impl<'de> Visitor<'de> for KeyReader {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_prints_as_it_was() {
        let text = r#"{"a":[1,-2,1.5,true,null,"b \" c"],"d":{},"e":[]}"#;
        let value: Value<'_> = serde_json::from_str(text).expect("JSON");
        assert_eq!(value.to_string(), text);
        assert!(matches!(
            value.get("a").and_then(|list| list.as_array()?.last()),
            Some(Value::String(Cow::Owned(_)))
        ));
    }
}

//! JSON with duplicate keys reported, which `serde_json` alone silently merges.
//!
//! It judges text only, never what the keys mean.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Fault, float};

/// One value after the other, each with its faults.
pub(super) fn values(text: &str) -> Result<Vec<(Value, Vec<Fault>)>, serde_json::Error> {
    let mut values = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    loop {
        let faults = RefCell::new(Vec::new());
        let value = Seed { faults: &faults, path: None }.deserialize(&mut deserializer)?;
        values.push((value, faults.into_inner()));
        if deserializer.end().is_ok() {
            return Ok(values);
        }
    }
}

/// Where in the value the reader is; linked through the stack, written out only for a fault.
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Key(key) if self.parent.is_some() => write!(f, ".{}", key.escape_debug()),
            Step::Key(key) => write!(f, "{}", key.escape_debug()),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'p> {
    faults: &'p RefCell<Vec<Fault>>,
    path: Option<&'p Path<'p>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(float(value).unwrap_or(Value::Null))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path { parent: self.path, step: Step::Index(items.len()) };
            match access.next_element_seed(Seed { faults: self.faults, path: Some(&path) })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = Path { parent: self.path, step: Step::Key(&key) };
            let value = access.next_value_seed(Seed { faults: self.faults, path: Some(&path) })?;
            if map.contains_key(&key) {
                let field = self.path.map(ToString::to_string).unwrap_or_default();
                let reason = format!("key `{}` is given twice", key.escape_debug());
                self.faults.borrow_mut().push(Fault { field, reason });
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_named_with_their_path() {
        let values = values(r#"{"spec": {"ports": [{"port": 1, "port": 2}]}}"#).unwrap();
        let (_, faults) = &values[0];
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].field, "spec.ports[0]");
        assert_eq!(faults[0].reason, "key `port` is given twice");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        assert!(values(&"[".repeat(200_000)).is_err());
    }
}

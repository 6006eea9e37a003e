//! Takes the objects of a listing out of its text one by one.
//!
//! It knows the frame, `{"nftables": [ … ]}`, not what objects say. Nesting is bounded by `serde_json` (128 levels).

use std::fmt;

use super::tree::Value;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::EXCERPT;
use crate::ir::Problem;

/// Hands every object to `take`. What came before an error has been handed over.
pub(super) fn read(text: &str, mut take: impl FnMut(Value<'_>)) -> Result<(), Problem> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut found = false;
    let result = Frame { take: &mut take, found: &mut found }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match result {
        Ok(()) if found => Ok(()),
        Ok(()) => Err(Problem {
            line: 1,
            excerpt: excerpt(text),
            what: "not a listing of nft: it has no \"nftables\"".to_owned(),
        }),
        Err(error) => {
            let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            // A listing is one long line: the words before the fault say where it is.
            let from = error.column().saturating_sub(EXCERPT / 2);
            let near: String = line.chars().skip(from).take(EXCERPT).collect();
            Err(Problem {
                line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                excerpt: excerpt(&near),
                what: error.to_string(),
            })
        }
    }
}

/// The beginning of a text, escaped.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).flat_map(char::escape_debug).collect()
}

struct Frame<'f, F> {
    take: &'f mut F,
    found: &'f mut bool,
}

impl<'de, F: FnMut(Value<'de>)> DeserializeSeed<'de> for Frame<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Value<'de>)> Visitor<'de> for Frame<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"nftables\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "nftables" {
                *self.found = true;
                map.next_value_seed(List(&mut *self.take))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct List<'f, F>(&'f mut F);

impl<'de, F: FnMut(Value<'de>)> DeserializeSeed<'de> for List<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Value<'de>)> Visitor<'de> for List<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(object) = list.next_element()? {
            (self.0)(object);
        }
        Ok(())
    }
}

//! The proto3 JSON mapping of a message, defaults included: as parsed JSON the same as `grpcurl -emit-defaults` prints.
//!
//! It writes only; nothing here reads JSON.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::DESCRIPTORS;

/// A message as indented JSON, its fields in the order of the schema.
pub fn pretty<M: Message + Name>(message: &M) -> String {
    to_text(message, |mapped| serde_json::to_string_pretty(mapped))
}

/// A message as JSON on one line, its fields in the order of the schema.
pub fn line<M: Message + Name>(message: &M) -> String {
    to_text(message, |mapped| serde_json::to_string(mapped))
}

#[allow(
    clippy::expect_used,
    reason = "the committed descriptors describe the committed types; tests go through here"
)]
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the committed descriptor set is whole"));

#[allow(clippy::expect_used, reason = "types and descriptors are generated together; tests go through here")]
fn to_text<M: Message + Name>(
    message: &M,
    write: impl FnOnce(&Mapped<'_>) -> serde_json::Result<String>,
) -> String {
    let descriptor = POOL.get_message_by_name(&M::full_name()).expect("every generated type is described");
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).expect("a generated type has the fields that describe it");
    write(&Mapped(&dynamic)).expect("keys are texts and writing to memory does not fail")
}

/// Serialises every field that has no presence, unset messages as null, and fields with presence only when set: what
/// both JSON encoders of Go do with defaults included (`jsonpb`, `protojson.MarshalOptions.EmitUnpopulated`).
struct Mapped<'a>(&'a DynamicMessage);

impl Serialize for Mapped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.0.descriptor().fields() {
            if self.0.has_field(&field) || !field.supports_presence() {
                let value = self.0.get_field(&field);
                map.serialize_entry(field.json_name(), &MappedValue { value: &value, field: &field })?;
            } else if field.containing_oneof().is_none() {
                map.serialize_entry(field.json_name(), &())?;
            }
        }
        map.end()
    }
}

struct MappedValue<'a> {
    value: &'a Value,
    field: &'a FieldDescriptor,
}

impl Serialize for MappedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Message(message) => Mapped(message).serialize(serializer),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    list.serialize_element(&Self { value, field: self.field })?;
                }
                list.end()
            }
            Value::EnumNumber(number) => match self.field.kind() {
                Kind::Enum(kind) => match kind.get_value(*number) {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_i32(*number),
                },
                _ => serializer.serialize_i32(*number),
            },
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            // The mapping writes 64-bit integers as texts.
            Value::U64(value) => serializer.collect_str(value),
            Value::I64(value) => serializer.collect_str(value),
            other => Err(serde::ser::Error::custom(format_args!(
                "{}: {other:?} has no place in an answer",
                self.field.full_name()
            ))),
        }
    }
}

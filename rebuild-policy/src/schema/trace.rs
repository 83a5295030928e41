//! A deserializer that has no data: it notes which types are asked for, and answers with anything of that type.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

/// Returns the schema of what `T` reads.
pub(super) fn schema<T: DeserializeOwned>() -> Value {
    let mut schema = Value::Null;
    // An answer that a type does not like ends the tracing of that part only; the tests see to it that there is none.
    let _ = T::deserialize(Tracer(&mut schema));
    schema
}

/// Writes what is asked for into the schema.
struct Tracer<'s>(&'s mut Value);

macro_rules! answer {
    ($($method:ident: $schema:tt, $visit:ident($($value:expr)?);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            *self.0 = json!($schema);
            visitor.$visit($($value)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Error;

    answer! {
        deserialize_any: {"x-kubernetes-preserve-unknown-fields": true}, visit_str("1");
        deserialize_bool: {"type": "boolean"}, visit_bool(false);
        deserialize_i8: {"type": "integer"}, visit_i64(1);
        deserialize_i16: {"type": "integer"}, visit_i64(1);
        deserialize_i32: {"type": "integer", "format": "int32"}, visit_i64(1);
        deserialize_i64: {"type": "integer", "format": "int64"}, visit_i64(1);
        deserialize_u8: {"type": "integer"}, visit_u64(1);
        deserialize_u16: {"type": "integer"}, visit_u64(1);
        deserialize_u32: {"type": "integer"}, visit_u64(1);
        deserialize_u64: {"type": "integer"}, visit_u64(1);
        deserialize_f32: {"type": "number"}, visit_f64(1.0);
        deserialize_f64: {"type": "number"}, visit_f64(1.0);
        deserialize_char: {"type": "string"}, visit_str("1");
        deserialize_str: {"type": "string"}, visit_str("1");
        deserialize_string: {"type": "string"}, visit_str("1");
        deserialize_bytes: {"type": "string"}, visit_str("1");
        deserialize_byte_buf: {"type": "string"}, visit_str("1");
        deserialize_unit: {"x-kubernetes-preserve-unknown-fields": true}, visit_unit();
        deserialize_ignored_any: {"x-kubernetes-preserve-unknown-fields": true}, visit_unit();
        deserialize_identifier: {"type": "string"}, visit_str("1");
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = Value::Null;
        let result = visitor.visit_seq(Once(Some(&mut items)));
        *self.0 = json!({"type": "array", "items": items});
        result
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut value = Value::Null;
        let result = visitor.visit_map(Once(Some(&mut value)));
        *self.0 = json!({"type": "object", "additionalProperties": value});
        result
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut properties = Map::new();
        let result = visitor.visit_map(Fields {
            left: fields,
            properties: &mut properties,
        });
        *self.0 = json!({"type": "object", "properties": properties});
        result
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = json!({"type": "string", "enum": variants});
        let first: StrDeserializer<'_, Error> = variants.first().copied().unwrap_or_default().into_deserializer();
        visitor.visit_enum(first)
    }
}

/// One element, or one entry with the key `key`.
struct Once<'s>(Option<&'s mut Value>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|schema| seed.deserialize(Tracer(schema))).transpose()
    }
}

impl<'de> MapAccess<'de> for Once<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.0.is_none() {
            return Ok(None);
        }
        let key: StrDeserializer<'_, Error> = "key".into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let mut unseen = Value::Null;
        seed.deserialize(Tracer(self.0.take().unwrap_or(&mut unseen)))
    }
}

/// Every field of a struct.
struct Fields<'s> {
    left: &'static [&'static str],
    properties: &'s mut Map<String, Value>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.left.first() else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Error> = (*name).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, left) = self.left.split_first().unwrap_or((&"", &[]));
        self.left = left;
        let schema = self.properties.entry(*name).or_insert(Value::Null);
        seed.deserialize(Tracer(schema))
    }
}

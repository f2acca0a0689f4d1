//! JSON in and out. Writing a [`Value`] writes origins in place of secrets; writing [`Exposed`] writes the texts.

use super::{Map, Number, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Secret(secret) => out.collect_str(secret.origin()),
            Value::Array(items) => out.collect_seq(items),
            Value::Object(members) => out.collect_map(members.iter()),
            scalar => Exposed(scalar).serialize(out),
        }
    }
}

/// A value as it is sent to a gateway: secrets as their texts. For request bodies and dumped files only.
pub struct Exposed<'a>(pub &'a Value);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0.exposed() {
            Value::Null | Value::Secret(_) => out.serialize_unit(),
            Value::Bool(b) => out.serialize_bool(*b),
            Value::Number(n) => n.serialize(out),
            Value::String(s) => out.serialize_str(s),
            Value::Array(items) => {
                let mut list = out.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Exposed(item))?;
                }
                list.end()
            }
            Value::Object(members) => {
                let mut map = out.serialize_map(Some(members.len()))?;
                for (key, member) in members {
                    map.serialize_entry(key, &Exposed(member))?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        Value::deserialize(input)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((key, member)) = map.next_entry::<Box<str>, Value>()? {
            members.insert(key, member);
        }
        // Bodies are read by the ten thousand and kept, so none keeps room to grow.
        let mut members = members.into_tuple_vec();
        members.shrink_to_fit();
        Ok(Value::Object(Map::from_sorted_store_unchecked(members)))
    }
}

//! Entities as rows: unique values, references and tags taken from a body.

use super::{Entities, Fault};
use crate::gateway::store::{Entry, Key, Row};
use crate::schema::{Field, Kind, Type};
use crate::value::{Exposed, Value};
use std::borrow::Cow;
use uuid::Uuid;

/// Reads a row's body.
pub(super) fn body(row: &Row) -> Result<Value, Fault> {
    serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))
}

/// Writes a body as it is stored and answered.
pub(super) fn text(body: &Value) -> Result<Box<str>, Fault> {
    match serde_json::to_string(&Exposed(body)) {
        Ok(text) => Ok(text.into()),
        Err(error) => Err(Fault::Internal(error.to_string())),
    }
}

/// An id in a body.
pub(super) fn id_in(body: &Value, field: &str) -> Option<Uuid> {
    body.get(field).and_then(Value::exposed_str).and_then(|text| Uuid::try_parse(text).ok())
}

/// The id that a foreign field points to.
pub(super) fn target_of(body: &Value, field: &str) -> Option<Uuid> {
    body.get(field).and_then(|target| id_in(target, "id"))
}

/// The value of a unique field as a key's text.
pub(super) fn key_text(value: &Value) -> Cow<'_, str> {
    match value.exposed() {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(serde_json::to_string(&Exposed(other)).unwrap_or_default()),
    }
}

/// The sets of fields that are unique together, the cache key among them; fields that the flavor lacks are left out.
pub(super) fn joint_fields(kind: &Kind) -> Vec<Vec<Box<str>>> {
    let mut sets: Vec<Vec<Box<str>>> = Vec::new();
    for fields in std::iter::once(&kind.cache_key).chain(&kind.unique_together) {
        let known: Vec<_> = fields.iter().filter(|name| kind.record.field(name).is_some()).cloned().collect();
        let new =
            !sets.iter().any(|set| set.len() == known.len() && set.iter().all(|name| known.contains(name)));
        if known.len() > 1 && new {
            sets.push(known);
        }
    }
    sets
}

impl Entities {
    /// The key of a unique field's value.
    pub(super) fn key_of(&self, kind: &Kind, field: &Field, value: &Value) -> Key {
        let plane = if field.unique_across_workspaces { self.shared } else { self.plane_of(kind) };
        Key { plane, name: field.name.clone(), value: key_text(value).into() }
    }

    /// The key of values that are unique together; `None` when all of them are absent.
    pub(super) fn joint_key(&self, fields: &[Box<str>], body: &Value) -> Option<Key> {
        let values: Vec<Value> = fields
            .iter()
            .map(|field| match body.get(field) {
                Some(Value::Object(target)) => target.get("id").cloned().unwrap_or_default(),
                other => other.cloned().unwrap_or_default(),
            })
            .collect();
        if values.iter().all(Value::is_null) {
            return None;
        }
        Some(Key {
            plane: self.plane,
            name: fields.join("+").into(),
            value: key_text(&Value::Array(values)).into(),
        })
    }

    /// The id under which the store keeps an entity that has none of its own: it follows from its unique values.
    fn made_id(&self, kind: &Kind, body: &Value) -> Option<Uuid> {
        let fields = joint_fields(kind).into_iter().next().filter(|_| kind.record.field("id").is_none())?;
        self.joint_key(&fields, body).map(|key| Uuid::new_v5(&Uuid::NAMESPACE_OID, key.value.as_bytes()))
    }

    /// A body as the store keeps it. `id` must be in it.
    pub(super) fn entry(&self, kind: &Kind, body: &Value, expires: Option<f64>) -> Result<Entry, Fault> {
        let id = id_in(body, "id").or_else(|| self.made_id(kind, body));
        let id = id.ok_or_else(|| Fault::Internal("an entity without an id".to_owned()))?;
        let joint = joint_fields(kind).into_iter().filter_map(|fields| self.joint_key(&fields, body));
        let single = kind.record.fields.iter().filter(|field| field.unique).filter_map(|field| {
            let value = body.get(&field.name).filter(|value| !value.is_null())?;
            Some(self.key_of(kind, field, value))
        });
        let references = kind.record.fields.iter().filter(|field| matches!(field.ty, Type::Foreign { .. }));
        let tags = body.get("tags").and_then(Value::as_array).unwrap_or_default();
        Ok(Entry {
            id,
            body: text(body)?,
            keys: joint.chain(single).collect(),
            references: references
                .filter_map(|field| Some((field.name.clone(), target_of(body, &field.name)?)))
                .collect(),
            tags: tags.iter().filter_map(|tag| tag.exposed_str().map(Into::into)).collect(),
            expires,
        })
    }

    /// The fields and values of the key at this index of an [`Entry`], as a conflict shows them.
    pub(super) fn shown_key(&self, kind: &Kind, body: &Value, index: usize) -> Value {
        let joint: Vec<_> =
            joint_fields(kind).into_iter().filter(|fields| self.joint_key(fields, body).is_some()).collect();
        let names = joint.get(index).cloned().unwrap_or_else(|| {
            let single =
                kind.record.fields.iter().filter(|field| {
                    field.unique && body.get(&field.name).is_some_and(|value| !value.is_null())
                });
            single.skip(index - joint.len().min(index)).take(1).map(|field| field.name.clone()).collect()
        });
        let shown = names.into_iter().map(|name| {
            let value = body.get(&name).cloned().unwrap_or_default();
            (name, value)
        });
        Value::Object(shown.collect())
    }
}

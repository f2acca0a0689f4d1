//! Kinds as JSON Schema with their defaults, as Konnect serves them to clients.

use super::words::Problem;
use crate::gateway::http::Reply;
use crate::schema::{Check, Field, Kind, Record, Schemas, Type};
use crate::value::Exposed;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// A kind by Konnect's word for one of it (`service`, `consumer-group`) or by its name.
pub(super) fn kind<'a>(schemas: &'a Schemas, name: &str) -> Option<&'a Arc<Kind>> {
    let word = name.replace('-', "_");
    let plural = |kind: &Kind| *kind.name == *format!("{word}s") || *kind.name == *word;
    schemas
        .kinds()
        .iter()
        .find(|kind| plural(kind) || *kind.konnect_path == *name || *kind.report.word == *name)
}

/// `v1/schemas/json/{name}`
pub(super) fn json(schemas: &Schemas, name: &str) -> Result<Reply, Problem> {
    let kind = kind(schemas, name).ok_or(Problem::Absent)?;
    Ok(Reply::json(StatusCode::OK, &record(&kind.record)))
}

/// Clients fill in the defaults of every object, but not of references: they tell these by `additionalProperties: false`.
fn record(record: &Record) -> Json {
    let properties: Map<String, Json> =
        record.fields.iter().map(|field| (field.name.to_string(), self::field(field))).collect();
    let required: Vec<&str> = record
        .fields
        .iter()
        .filter(|field| field.required && field.default.is_none() && !field.auto)
        .map(|field| &*field.name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn field(field: &Field) -> Json {
    let mut out = match &field.ty {
        Type::String | Type::Function => json!({"type": "string"}),
        Type::Integer => json!({"type": "integer"}),
        Type::Number => json!({"type": "number"}),
        Type::Boolean => json!({"type": "boolean"}),
        Type::Array(element) => json!({"type": "array", "items": self::field(element)}),
        Type::Set(element) => json!({"type": "array", "uniqueItems": true, "items": self::field(element)}),
        Type::Map { values, .. } => json!({"type": "object", "additionalProperties": self::field(values)}),
        Type::Record(inner) => record(inner),
        Type::Abstract => json!({"type": "object", "additionalProperties": true}),
        Type::Foreign { .. } => json!({
            "type": "object", "additionalProperties": false, "required": ["id"],
            "properties": {"id": {"type": "string", "format": "uuid"}},
        }),
        Type::Any => json!({}),
    };
    let Some(members) = out.as_object_mut() else { return out };
    if let Some(default) = field.default.as_ref().filter(|default| !default.is_null()) {
        members.insert("default".to_owned(), serde_json::to_value(Exposed(default)).unwrap_or_default());
    }
    for check in &field.checks {
        match check {
            Check::Between(low, high) => {
                members.insert("minimum".to_owned(), json!(*low as i64));
                members.insert("maximum".to_owned(), json!(*high as i64));
            }
            Check::OneOf(values) => {
                let values: Vec<Json> = values
                    .iter()
                    .map(|value| serde_json::to_value(Exposed(value)).unwrap_or_default())
                    .collect();
                members.insert("enum".to_owned(), Json::Array(values));
            }
            Check::Uuid => {
                members.insert("format".to_owned(), json!("uuid"));
            }
            _ => {}
        }
    }
    out
}

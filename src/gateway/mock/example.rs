//! Values that fit a JSON Schema, and embeddings: made up, but the same for the same request.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// How deep a value is nested at most.
const DEPTH: usize = 8;

/// A value that fits a schema. References go to the schema's own `$defs` or `definitions`.
pub(super) fn example(schema: &Json) -> Json {
    within(schema, schema, 0)
}

fn within(root: &Json, schema: &Json, depth: usize) -> Json {
    if depth > DEPTH {
        return Json::Null;
    }
    let first = |key: &str| schema.get(key).and_then(Json::as_array).and_then(|values| values.first());
    if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Json::Null, |found| within(root, found, depth + 1));
    }
    if let Some(value) = schema.get("default").or_else(|| schema.get("const")).or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(one) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return within(root, one, depth + 1);
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind.map(str::to_ascii_lowercase).as_deref() {
        Some("string") => text(schema.get("format").and_then(Json::as_str)).into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("null") => Json::Null,
        Some("array") => match schema.get("items") {
            Some(items) => json!([within(root, items, depth + 1)]),
            None => json!([]),
        },
        _ => {
            let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
            let members = properties.map(|(key, schema)| (key.clone(), within(root, schema, depth + 1)));
            Json::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn text(format: Option<&str>) -> &'static str {
    match format {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("email") => "mock@example.com",
        Some("uri") => "https://example.com/mock",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "mock",
    }
}

/// A vector of length one, the same for the same text.
pub(super) fn embedding(text: &str, dimensions: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(dimensions);
    let mut block = Sha256::digest(text.as_bytes());
    while values.len() < dimensions {
        values.extend(block.iter().map(|byte| (f32::from(*byte) - 127.5) / 127.5));
        block = Sha256::digest(block);
    }
    values.truncate(dimensions);
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_schema() {
        let schema = json!({"type": "object", "$defs": {"tag": {"type": "string"}}, "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]},
            "on": {"type": "string", "format": "date"}, "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}}});
        assert_eq!(
            example(&schema),
            json!({"city": "mock", "days": 1, "unit": "C", "on": "2026-01-01", "maybe": 1, "tags": ["mock"]})
        );
        assert_eq!(example(&json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})), Json::Null);
        assert_eq!(example(&Json::Null), json!({}));
    }

    #[test]
    fn embeddings_are_of_length_one_and_the_same_again() {
        let vector = embedding("a", 100);
        assert_eq!(vector.len(), 100);
        assert!((vector.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(vector, embedding("a", 100));
        assert_ne!(vector, embedding("b", 100));
    }
}

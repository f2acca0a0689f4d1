//! The words of a refusal, taken from the fields of the gateway's answer so that no secret is quoted.

use crate::schema::Kind;
use crate::value::{Path, Value};
use serde_json::{Map, Value as Json};

/// The code by which Kong names a broken uniqueness; its message quotes the values.
const UNIQUE_VIOLATION: i64 = 5;

/// What the gateway says is wrong with what was sent. Empty when it says nothing.
pub(super) fn message(kind: Option<&Kind>, sent: &Value, answer: &Json) -> String {
    let text = answer.get("message").and_then(Json::as_str).unwrap_or_default();
    let fields = answer.get("fields").and_then(Json::as_object);
    if let Some(fields) = fields
        && answer.get("code").and_then(Json::as_i64) == Some(UNIQUE_VIOLATION)
    {
        return unique(kind, sent, fields);
    }
    if let Some(details) =
        answer.get("details").and_then(Json::as_array).filter(|details| !details.is_empty())
    {
        return konnect(text, sent, details);
    }
    let quoted: Vec<Path> = fields.map(|fields| secret_leaves(sent, fields)).unwrap_or_default();
    if quoted.is_empty() {
        return text.to_owned();
    }
    let names: Vec<String> = quoted.iter().map(Path::to_string).collect();
    format!("schema violation (the value of {} is not accepted)", names.join(", "))
}

/// Kong's sentence, with the origins of secrets in place of their texts.
fn unique(kind: Option<&Kind>, sent: &Value, fields: &Map<String, Json>) -> String {
    let quote = |(name, value): (&String, &Json)| {
        let secret = sent.get(name).is_some_and(Value::has_secret)
            || kind.and_then(|kind| kind.record.field(name)).is_some_and(|field| field.secret);
        let shown = match sent.get(name) {
            Some(own @ Value::Secret(_)) => own.to_string(),
            _ if secret => "a secret".to_owned(),
            _ => value.to_string(),
        };
        format!("{name}={shown}")
    };
    let shown: Vec<String> = fields.iter().map(quote).collect();
    format!("UNIQUE violation detected on '{{{}}}'", shown.join(","))
}

/// Konnect's list of faulty fields in one line.
fn konnect(text: &str, sent: &Value, details: &[Json]) -> String {
    let one = |detail: &Json| {
        let field = detail.get("field").and_then(Json::as_str).unwrap_or_default();
        let secret = sent.at(&Path::dotted(field)).is_some_and(Value::has_secret);
        let messages: Vec<&str> = detail
            .get("messages")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        match (field.is_empty(), secret) {
            (false, true) => format!("{field}: the value is not accepted"),
            (false, false) => format!("{field}: {}", messages.join(", ")),
            (true, _) => messages.join(", "),
        }
    };
    let all: Vec<String> = details.iter().map(one).collect();
    format!("{text} ({})", all.join("; "))
}

/// The paths of faults at which a secret was sent.
fn secret_leaves(sent: &Value, fields: &Map<String, Json>) -> Vec<Path> {
    let mut found = Vec::new();
    walk(sent, &Path::root(), fields, &mut found);
    found
}

fn walk(sent: &Value, at: &Path, faults: &Map<String, Json>, found: &mut Vec<Path>) {
    for (key, fault) in faults {
        let path = at.key(key);
        match fault {
            Json::Object(inner) => walk(sent, &path, inner, found),
            // A list of faults belongs to a list of values; their indices need not match.
            _ if sent.at(&path).is_some_and(Value::has_secret) => found.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Origin;
    use serde_json::json;

    fn secret(text: &str) -> Value {
        let mut value = Value::from(text);
        value.conceal(&Origin::Variables(vec!["TOKEN".into()]));
        value
    }

    #[test]
    fn a_taken_key_is_named_by_its_origin() {
        let mut sent = Value::object();
        sent.set("key", secret("hush"));
        let answer = json!({"code": 5, "fields": {"key": "hush"},
            "message": "UNIQUE violation detected on '{key=\"hush\"}'"});
        let shown = message(None, &sent, &answer);
        assert!(!shown.contains("hush") && shown.contains("TOKEN"), "{shown}");
        let plain = json!({"code": 5, "fields": {"name": "svc"}});
        assert_eq!(message(None, &Value::object(), &plain), "UNIQUE violation detected on '{name=\"svc\"}'");
    }

    #[test]
    fn a_fault_of_a_secret_field_does_not_quote_it() {
        let mut config = Value::object();
        config.set("token", secret("hush"));
        let mut sent = Value::object();
        sent.set("config", config);
        let answer = json!({"code": 2, "fields": {"config": {"token": "bad value: hush"}},
            "message": "schema violation (config.token: bad value: hush)"});
        let shown = message(None, &sent, &answer);
        assert_eq!(shown, "schema violation (the value of config.token is not accepted)");
        let other = json!({"code": 2, "fields": {"port": "too large"}, "message": "schema violation (port: too large)"});
        assert_eq!(message(None, &sent, &other), "schema violation (port: too large)");
    }

    #[test]
    fn konnects_details_are_told_in_one_line() {
        let answer = json!({"code": 3, "message": "validation error",
            "details": [{"type": "ERROR_TYPE_FIELD", "field": "host", "messages": ["length must be >= 1"]}]});
        assert_eq!(message(None, &Value::object(), &answer), "validation error (host: length must be >= 1)");
    }
}

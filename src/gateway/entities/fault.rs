//! Why a request about entities fails, in Kong's codes, names and words.

use crate::gateway::store::StoreError;
use crate::schema::{Violation, ViolationKind, kong_error};
use crate::value::{Exposed, Path, Value};
use http::StatusCode;
use serde_json::{Value as Json, json};
use std::fmt::{self, Write as _};
use uuid::Uuid;

/// Why a request fails.
#[derive(Debug)]
pub(in crate::gateway) enum Fault {
    /// The body breaks its schema.
    Schema(Vec<Violation>),
    /// The id in the address is none, in Kong's words.
    InvalidId(String),
    /// The value in the address cannot be that of the field.
    InvalidUnique {
        /// The field.
        field: Box<str>,
        /// What is wrong with it.
        message: String,
    },
    /// The id is taken.
    IdTaken(Uuid),
    /// A reference leads nowhere.
    NoSuchReference {
        /// The field.
        field: Box<str>,
        /// Where it should lead.
        id: Uuid,
        /// The kind that it references.
        parent: Box<str>,
    },
    /// References by name or another unique field lead nowhere.
    Unresolved(Vec<Unresolved>),
    /// Something still references what is to be deleted.
    Restricted {
        /// What is to be deleted.
        parent: Box<str>,
        /// What references it.
        child: Box<str>,
    },
    /// Something that is no foreign field still references what is to be deleted.
    StillReferenced(String),
    /// Another entity has these values.
    Taken(Value),
    /// There is no entity with this id, or with this value of a field.
    NotFound(Value),
    /// There is nothing at this address.
    Absent,
    /// `size` is none.
    InvalidSize(String),
    /// `offset` is none.
    InvalidOffset {
        /// As given.
        offset: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// Options of a request that are not allowed: name and message.
    InvalidOptions(Vec<(&'static str, String)>),
    /// There is no such operation without a database.
    Unsupported(String),
    /// A status and a message of an endpoint's own.
    Refused(StatusCode, String),
    /// Nothing that the client did.
    Internal(String),
}

/// A reference by a unique field that leads nowhere.
#[derive(Debug)]
pub(in crate::gateway) struct Unresolved {
    /// The foreign field.
    pub field: Box<str>,
    /// The unique field of the referenced kind.
    pub unique: Box<str>,
    /// The value asked for.
    pub value: Value,
    /// The referenced kind.
    pub parent: Box<str>,
}

impl fmt::Display for Fault {
    /// The reason for operators; no secret's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Internal(reason) => f.write_str(reason),
            other => write!(f, "{}", other.answer().0),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Internal(error.to_string())
    }
}

impl Fault {
    /// One fault of one field.
    pub fn field(path: Path, message: impl Into<String>) -> Self {
        let message = message.into();
        Fault::Schema(vec![Violation { path, kind: ViolationKind::InvalidValue, message, help: None }])
    }

    /// The status and body that Kong answers with.
    pub fn answer(&self) -> (StatusCode, Json) {
        let body = |code: u8, name: &str, message: String, fields: Json| json!({"code": code, "name": name, "message": message, "fields": fields});
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Fault::Schema(violations) => {
                let (message, fields) = kong_error(violations);
                (bad, body(2, "schema violation", message, fields))
            }
            Fault::InvalidId(reason) => {
                let shown = pretty(&Value::from(json!({ "id": reason })));
                (
                    bad,
                    body(
                        1,
                        "invalid primary key",
                        format!("invalid primary key: '{shown}'"),
                        json!({"id": reason}),
                    ),
                )
            }
            Fault::InvalidUnique { field, message } => {
                (bad, json!({"code": 10, "name": format!("invalid unique {field}"), "message": message}))
            }
            Fault::IdTaken(id) => {
                let fields = json!({ "id": id });
                let message = format!("primary key violation on key '{}'", pretty(&fields.clone().into()));
                (bad, body(3, "primary key violation", message, fields))
            }
            Fault::NoSuchReference { field, id, parent } => {
                let key = json!({ "id": id });
                let message = format!(
                    "the foreign key '{}' does not reference an existing '{parent}' entity.",
                    pretty(&key.clone().into())
                );
                (bad, body(4, "foreign key violation", message, json!({ &**field: key })))
            }
            Fault::Restricted { parent, child } => {
                let message = format!("an existing '{child}' entity references this '{parent}' entity");
                (bad, body(4, "foreign key violation", message, json!({ "@referenced_by": child })))
            }
            Fault::Taken(fields) => {
                let message = format!("UNIQUE violation detected on '{}'", pretty(fields));
                (StatusCode::CONFLICT, body(5, "unique constraint violation", message, exposed(fields)))
            }
            Fault::NotFound(filter) => {
                let by = if filter.get("id").is_some() { "primary key " } else { "" };
                let message = format!("could not find the entity with {by}'{}'", pretty(filter));
                (StatusCode::NOT_FOUND, body(6, "not found", message, exposed(filter)))
            }
            Fault::InvalidOffset { offset, reason } => {
                let message = format!("'{offset}' is not a valid offset: {reason}");
                (bad, json!({"code": 7, "name": "invalid offset", "message": message}))
            }
            Fault::InvalidSize(message) => {
                (bad, json!({"code": 9, "name": "invalid size", "message": message}))
            }
            Fault::InvalidOptions(options) => {
                let parts: Vec<_> =
                    options.iter().map(|(name, message)| format!("{name}: {message}")).collect();
                let message = match parts.as_slice() {
                    [one] => format!("invalid option ({one})"),
                    many => format!("{} option violations ({})", many.len(), many.join("; ")),
                };
                let options: serde_json::Map<_, _> =
                    options.iter().map(|(name, message)| ((*name).to_owned(), json!(message))).collect();
                (bad, json!({"code": 11, "name": "invalid options", "message": message, "options": options}))
            }
            Fault::Unresolved(references) => {
                let mut fields = serde_json::Map::new();
                let mut parts = Vec::new();
                for Unresolved { field, unique, value, parent } in references {
                    let key = pretty(&Value::Object([(unique.clone(), value.clone())].into_iter().collect()));
                    let message = format!(
                        "the foreign key cannot be resolved with '{key}' for an existing '{parent}' entity"
                    );
                    parts.push(format!("{field}.{unique}: {message}"));
                    if let Some(inner) = fields.entry(&**field).or_insert_with(|| json!({})).as_object_mut() {
                        inner.insert(unique.to_string(), json!(message));
                    }
                }
                let message = match parts.as_slice() {
                    [one] => format!("foreign key unresolved ({one})"),
                    many => format!("{} foreign keys unresolved ({})", many.len(), many.join("; ")),
                };
                (bad, body(13, "foreign keys unresolved", message, Json::Object(fields)))
            }
            Fault::StillReferenced(message) => {
                (bad, json!({"code": 19, "name": "referenced by others", "message": message}))
            }
            Fault::Unsupported(message) => (
                StatusCode::METHOD_NOT_ALLOWED,
                json!({"code": 12, "name": "operation unsupported", "message": message}),
            ),
            Fault::Absent => (StatusCode::NOT_FOUND, json!({"message": "Not found"})),
            Fault::Refused(status, message) => (*status, json!({ "message": message })),
            Fault::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "An unexpected error occurred"}))
            }
        }
    }
}

fn exposed(value: &Value) -> Json {
    serde_json::to_value(Exposed(value)).unwrap_or_default()
}

/// A value as Lua's usual pretty printer writes it on one line: `{name="s1"}`.
pub(in crate::gateway) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    print(value, &mut out);
    out
}

fn print(value: &Value, out: &mut String) {
    match value.exposed() {
        Value::Null | Value::Secret(_) => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            out.push('{');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                print(item, out);
            }
            out.push('}');
        }
        Value::Object(members) => {
            out.push('{');
            for (n, (key, member)) in members.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if plain {
                    out.push_str(key);
                } else {
                    out.push('[');
                    quote(key, out);
                    out.push(']');
                }
                out.push('=');
                print(member, out);
            }
            out.push('}');
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_lua() {
        let value = Value::from(json!({"name": "a \"b\"", "upstream": {"id": "u"}, "x-y": null, "n": 5}));
        assert_eq!(pretty(&value), r#"{n=5,name="a \"b\"",upstream={id="u"},["x-y"]=null}"#);
    }

    #[test]
    fn a_missing_entity_is_named_by_what_was_asked() {
        let message = |filter: Json| Fault::NotFound(filter.into()).answer().1["message"].clone();
        assert_eq!(message(json!({"name": "s"})), r#"could not find the entity with '{name="s"}'"#);
        assert_eq!(message(json!({"id": "1"})), r#"could not find the entity with primary key '{id="1"}'"#);
    }
}

//! Konnect's answers to what goes wrong: those of its platform (`status`, `title`, `detail`) and those of its
//! entities (`code`, `message`, `details`).

use crate::gateway::entities::Fault;
use crate::gateway::http::Reply;
use crate::schema::{Violation, ViolationKind};
use crate::value::{Exposed, Step, Value};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// Why a request fails.
#[derive(Debug)]
pub(super) enum Problem {
    /// No token, or a wrong one.
    Unauthorized,
    /// More requests than are answered.
    TooMany,
    /// Nothing is there.
    Absent,
    /// Something is there, but not for this method.
    Method,
    /// The body has faults: field and reason.
    Invalid(Vec<(String, String)>),
    /// A value that something else has already: what is to be said.
    Conflict(String),
    /// What an entity's own way says.
    Entity(Fault),
}

impl From<crate::gateway::store::StoreError> for Problem {
    fn from(error: crate::gateway::store::StoreError) -> Self {
        Problem::Entity(error.into())
    }
}

impl Problem {
    /// The answer to a request for this path.
    pub fn reply(&self, path: &str) -> Reply {
        let plain = |status: StatusCode, detail: &str| {
            let title = status.canonical_reason().unwrap_or_default();
            let body = json!({
                "status": status.as_u16(), "title": title, "instance": format!("konnect:trace:{path}"), "detail": detail,
            });
            problem(status, &body)
        };
        match self {
            Problem::Unauthorized => plain(StatusCode::UNAUTHORIZED, "A valid token is required"),
            Problem::TooMany => plain(StatusCode::TOO_MANY_REQUESTS, "API rate limit exceeded"),
            Problem::Absent if path.contains("/core-entities/") => {
                Reply::json(StatusCode::NOT_FOUND, &json!({"code": 5, "message": "Not found", "details": []}))
            }
            Problem::Absent => plain(StatusCode::NOT_FOUND, "Not found"),
            Problem::Method => plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Problem::Conflict(detail) => plain(StatusCode::CONFLICT, detail),
            Problem::Invalid(faults) => {
                let parameters: Vec<Json> = faults
                    .iter()
                    .map(|(field, reason)| json!({"field": field, "reason": reason, "source": "body", "rule": null}))
                    .collect();
                let body = json!({
                    "status": 400, "title": "Bad Request", "instance": format!("konnect:trace:{path}"),
                    "detail": "Invalid Parameters", "invalid_parameters": parameters,
                });
                problem(StatusCode::BAD_REQUEST, &body)
            }
            Problem::Entity(fault) => entity(fault),
        }
    }
}

/// An answer of the platform that tells of a problem.
fn problem(status: StatusCode, body: &Json) -> Reply {
    Reply::json(status, body).with(CONTENT_TYPE, "application/problem+json")
}

/// The answer to a request about entities.
fn entity(fault: &Fault) -> Reply {
    let answer = |status: StatusCode, code: u8, message: &str, details: Vec<Json>| {
        Reply::json(status, &json!({"code": code, "message": message, "details": details}))
    };
    let reference = |field: &str, message: String| {
        vec![json!({
            "@type": DETAIL, "type": "ERROR_TYPE_REFERENCE", "field": field, "messages": [message],
        })]
    };
    let bad = StatusCode::BAD_REQUEST;
    match fault {
        Fault::Schema(violations) => answer(bad, 3, "validation error", details(violations)),
        Fault::Taken(fields) => {
            let names: Vec<&str> =
                fields.as_object().into_iter().flat_map(|m| m.iter()).map(|(n, _)| &**n).collect();
            let field = names.join(", ");
            let values: Vec<String> = fields
                .as_object()
                .into_iter()
                .flat_map(|members| members.iter())
                .map(|(_, value)| shown(value))
                .collect();
            let message =
                format!("{field} (type: unique) constraint failed for value '{}'", values.join(", "));
            answer(bad, 3, "data constraint error", reference(&field, message))
        }
        Fault::NoSuchReference { field, id, parent } => {
            let message = format!("(type: foreign) constraint failed: no '{parent}' with id '{id}'");
            answer(bad, 3, "data constraint error", reference(field, message))
        }
        Fault::Restricted { child, .. } => {
            let message = format!("(type: foreign) constraint failed: referenced by '{child}'");
            answer(bad, 3, "data constraint error", reference(child, message))
        }
        Fault::NotFound(_) => answer(StatusCode::NOT_FOUND, 5, "Not found", Vec::new()),
        Fault::Refused(status, message) => answer(*status, 3, message, Vec::new()),
        other => {
            let (status, body) = other.answer();
            let message = body.get("message").and_then(Json::as_str).unwrap_or_default();
            answer(status, if status.is_server_error() { 13 } else { 3 }, message, Vec::new())
        }
    }
}

const DETAIL: &str = "type.googleapis.com/kong.admin.model.v1.ErrorDetail";

fn shown(value: &Value) -> String {
    match value.exposed_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(&Exposed(value)).unwrap_or_default(),
    }
}

/// One detail a field, in order; rules together first.
fn details(violations: &[Violation]) -> Vec<Json> {
    let mut out: Vec<(String, Vec<&str>)> = Vec::new();
    for violation in violations {
        let mut field = String::new();
        for step in violation.path.steps() {
            let _ = match step {
                Step::Key(key) if field.is_empty() => write!(field, "{key}"),
                Step::Key(key) => write!(field, ".{key}"),
                Step::Index(index) => write!(field, "[{index}]"),
            };
        }
        if violation.kind == ViolationKind::Rule && violation.path.is_root() {
            field.clear();
        }
        match out.iter_mut().find(|(known, _)| *known == field) {
            Some((_, messages)) => messages.push(&violation.message),
            None => out.push((field, vec![&violation.message])),
        }
    }
    let detail = |(field, messages): (String, Vec<&str>)| {
        if field.is_empty() {
            json!({"@type": DETAIL, "type": "ERROR_TYPE_ENTITY", "messages": messages})
        } else {
            json!({"@type": DETAIL, "type": "ERROR_TYPE_FIELD", "field": field, "messages": messages})
        }
    };
    out.into_iter().map(detail).collect()
}

//! Batches: many requests at once, answered at once. And files, which hold them.

use super::api::{self, Found, Question};
use super::openai::CREATED;
use super::orders::Turns;
use super::reply::digest;
use super::stored::{BATCH, FILE, Kind, MESSAGE_BATCH, Store, Stored, file, refused};
use super::{Refused, hear};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value as Json, json};

/// The most requests of a batch.
const MOST: usize = 10_000;

/// When Anthropic's batches were made: [`CREATED`] in its words.
const MADE: &str = "2026-01-01T00:00:00Z";
const EXPIRES: &str = "2026-01-02T00:00:00Z";

/// Makes a file or a batch; `None` for what is made otherwise.
pub(super) fn create(store: &Store, kind: &'static Kind, question: &Question<'_>) -> Option<Found> {
    let made = if kind.is(&FILE) {
        upload(question)
    } else if kind.is(&BATCH) {
        from_file(store, question)
    } else if kind.is(&MESSAGE_BATCH) {
        of_messages(question)
    } else {
        return None;
    };
    Some(match made {
        Ok(made) => {
            let found = Found::json(kind.api, StatusCode::OK, &made.object);
            store.keep(made);
            found
        }
        Err(message) => refused(kind.api, question, StatusCode::BAD_REQUEST, &message),
    })
}

fn upload(question: &Question<'_>) -> Result<Stored, String> {
    let (name, content) = question.file.ok_or("'file' is a required property")?;
    let purpose = text(question.body, "purpose").ok_or("'purpose' is a required property")?;
    Ok(file(name, purpose, content.clone()))
}

fn text<'a>(body: &'a Json, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Json::as_str)
}

/// What one request of a batch gets: its answer, or an error of its API.
fn one(path: &str, body: &Json) -> (StatusCode, Json) {
    let (headers, id) = (HeaderMap::new(), digest(&body.to_string()));
    let question = Question { path, query: "", host: "", headers: &headers, body, file: None, id: &id };
    let Some(api) = api::of(&question) else {
        let missing = refused(BATCH.api, &question, StatusCode::NOT_FOUND, &format!("no batches of {path}"));
        return (missing.status, serde_json::from_slice(&missing.body).unwrap_or_default());
    };
    match hear(api, &question, &Turns::default()).1 {
        Ok(ask) => (StatusCode::OK, (api.whole)(&ask)),
        Err(Refused { status, message, .. }) => {
            let error = refused(api, &question, status, &message);
            (status, serde_json::from_slice(&error.body).unwrap_or_default())
        }
    }
}

/// OpenAI's: requests in a file, one a line, and their answers in another.
fn from_file(store: &Store, question: &Question<'_>) -> Result<Stored, String> {
    let body = question.body;
    let input = text(body, "input_file_id").ok_or("Missing required parameter: 'input_file_id'.")?;
    let endpoint = text(body, "endpoint").ok_or("Missing required parameter: 'endpoint'.")?;
    let source = store.find(&FILE, input).ok_or_else(|| format!("No such File object: {input}"))?;
    let lines = String::from_utf8_lossy(&source.content).into_owned();
    let mut output = String::new();
    let (mut total, mut failed) = (0, 0);
    for line in lines.lines().filter(|line| !line.trim().is_empty()).take(MOST) {
        let request: Json =
            serde_json::from_str(line).map_err(|_| "a line of the file is not JSON".to_owned())?;
        let nothing = Json::Null;
        let path = text(&request, "url").unwrap_or(endpoint);
        let (status, answer) = one(path, request.get("body").unwrap_or(&nothing));
        total += 1;
        failed += usize::from(!status.is_success());
        let id = digest(line);
        let line = json!({"id": format!("batch_req_{id}"), "custom_id": request.get("custom_id"), "error": null,
            "response": {"status_code": status.as_u16(), "request_id": format!("req_{id}"), "body": answer}});
        output.push_str(&format!("{line}\n"));
    }
    let output = file("output.jsonl", "batch_output", output.into());
    let object = json!({
        "id": format!("batch_{}", digest(&format!("{input}{endpoint}"))), "object": "batch", "endpoint": endpoint,
        "errors": null, "input_file_id": input, "completion_window": body.get("completion_window"),
        "status": "completed", "output_file_id": output.object.get("id"), "error_file_id": null,
        "created_at": CREATED, "in_progress_at": CREATED, "expires_at": CREATED + 86_400,
        "finalizing_at": CREATED, "completed_at": CREATED, "failed_at": null, "expired_at": null,
        "cancelling_at": null, "cancelled_at": null, "metadata": body.get("metadata"),
        "request_counts": {"total": total, "completed": total - failed, "failed": failed},
    });
    store.keep(output);
    Ok(Stored { kind: &BATCH, object, content: Bytes::new() })
}

/// Anthropic's: requests in the request, answers at an address of their own.
fn of_messages(question: &Question<'_>) -> Result<Stored, String> {
    let requests =
        question.body.get("requests").and_then(Json::as_array).ok_or("requests: Field required")?;
    let mut output = String::new();
    let mut failed = 0;
    for request in requests.iter().take(MOST) {
        let params = request.get("params").ok_or("requests.params: Field required")?;
        let (status, answer) = one("/v1/messages", params);
        let result = if status.is_success() {
            json!({"type": "succeeded", "message": answer})
        } else {
            failed += 1;
            json!({"type": "errored", "error": answer})
        };
        let line = json!({"custom_id": request.get("custom_id"), "result": result});
        output.push_str(&format!("{line}\n"));
    }
    let id = format!("msgbatch_{}", digest(&output));
    let object = json!({
        "id": id, "type": "message_batch", "processing_status": "ended", "created_at": MADE, "ended_at": MADE,
        "expires_at": EXPIRES, "archived_at": null, "cancel_initiated_at": null,
        "request_counts": {"processing": 0, "succeeded": requests.len() - failed, "errored": failed,
                           "canceled": 0, "expired": 0},
        "results_url": format!("http://{}/v1/messages/batches/{id}/results", question.host),
    });
    Ok(Stored { kind: &MESSAGE_BATCH, object, content: output.into() })
}

//! OpenAI's APIs: what they share, errors and models.

mod chat;
mod completions;
mod embeddings;
pub(super) mod media;
mod responses;

use super::api::{Api, Found, Problem, Question, texts};
use super::reply::{Ask, Choice, Tool, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// When every answer was made, in seconds since 1970: the same request gets the same answer.
pub(super) const CREATED: u64 = 1_767_225_600;
const MODELS: [&str; 8] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "o4-mini",
    "gpt-image-1",
    "tts-1",
    "whisper-1",
    "text-embedding-3-small",
];
/// The most answers to one request.
const MAX_CHOICES: u64 = 8;

/// What OpenAI's APIs have in common.
const BASE: Api = Api {
    name: "openai",
    id_header: "x-request-id",
    stream_type: "text/event-stream",
    ask: chat::ask,
    whole: chat::whole,
    pieces: chat::pieces,
    error,
    broken: sse,
};
pub(super) const CHAT: Api = BASE;
pub(super) const COMPLETIONS: Api =
    Api { ask: completions::ask, whole: completions::whole, pieces: completions::pieces, ..BASE };
pub(super) const EMBEDDINGS: Api = Api { ask: embeddings::ask, whole: embeddings::whole, ..BASE };
pub(super) const RESPONSES: Api = Api {
    ask: responses::ask,
    whole: responses::whole,
    pieces: responses::pieces,
    broken: |error| {
        let error = error.get("error").cloned().unwrap_or_default();
        let message = error.get("message").cloned().unwrap_or_default();
        let event = json!({"type": "error", "code": error.get("type"), "message": message, "param": null,
                           "sequence_number": 0});
        format!("event: error\ndata: {event}\n\n").into()
    },
    ..BASE
};

fn error(problem: &Problem<'_>) -> Json {
    let (kind, code) = match problem.status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("permission_error", None),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", problem.param.map(|_| "missing_required_parameter")),
    };
    json!({"error": {"message": problem.message, "type": kind, "param": problem.param, "code": code}})
}

/// `GET /v1/models` and `GET /v1/models/{id}`.
pub(super) fn models(question: &Question<'_>) -> Option<Found> {
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"});
    let (_, rest) = question.path.rsplit_once("/models").filter(|(before, _)| !before.contains("/models"))?;
    Some(match rest.trim_matches('/') {
        "" => Found::json(&CHAT, StatusCode::OK, &json!({"object": "list", "data": MODELS.map(model)})),
        id if MODELS.contains(&id) => Found::json(&CHAT, StatusCode::OK, &model(id)),
        id => {
            let missing = json!({"error": {"message": format!("The model '{id}' does not exist"),
                "type": "invalid_request_error", "param": "model", "code": "model_not_found"}});
            Found::json(&CHAT, StatusCode::NOT_FOUND, &missing)
        }
    })
}

/// What the requests of all these APIs say.
fn common(body: &Json) -> Ask {
    let count = |key: &str| body.get(key).and_then(Json::as_u64);
    Ask {
        model: body.get("model").and_then(Json::as_str).unwrap_or("gpt-4o").to_owned(),
        max_tokens: count("max_completion_tokens").or_else(|| count("max_tokens")),
        stop: texts(body.get("stop")),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        choices: count("n").unwrap_or(1).clamp(1, MAX_CHOICES) as usize,
        ..Ask::default()
    }
}

/// The schema that a `response_format` (or `text.format`) asks for; `null` for any JSON.
fn schema_of(format: Option<&Json>) -> Option<Json> {
    let format = format?;
    match format.get("type").and_then(Json::as_str) {
        Some("json_object") => Some(Json::Null),
        Some("json_schema") => {
            let schema = format.pointer("/json_schema/schema").or_else(|| format.get("schema"));
            Some(schema.cloned().unwrap_or_default())
        }
        _ => None,
    }
}

/// The tools of a request; `at` is where each has its name and parameters.
pub(super) fn tools_of(body: &Json, at: &str) -> Vec<Tool> {
    let tools = body.get("tools").and_then(Json::as_array).into_iter().flatten();
    tools
        .filter_map(|tool| {
            let name = tool.pointer(&format!("{at}/name"))?.as_str()?.to_owned();
            let parameters = tool.pointer(&format!("{at}/parameters")).cloned().unwrap_or_default();
            Some(Tool { name, parameters })
        })
        .collect()
}

/// Whether a request insists on a tool; `at` is where the choice names it.
pub(super) fn choice_of(body: &Json, at: &str) -> Choice {
    let Some(choice) = body.get("tool_choice") else { return Choice::Free };
    match choice.pointer(&format!("{at}/name")).and_then(Json::as_str) {
        Some(name) => Choice::Named(name.to_owned()),
        None if choice.as_str() == Some("required") => Choice::Any,
        None => Choice::Free,
    }
}

/// The tokens of a request's tools.
fn tool_tokens(body: &Json) -> u64 {
    body.get("tools").filter(|tools| tools.is_array()).map_or(0, |tools| tokens(&tools.to_string()))
}

fn finish(ask: &Ask) -> &'static str {
    ask.end.word(["tool_calls", "length", "stop", "stop"])
}

fn usage(ask: &Ask) -> Json {
    let output = ask.output_tokens() * ask.choices.max(1) as u64;
    json!({
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": ask.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

/// Whether the client wants the usage in a stream.
fn wants_usage(ask: &Ask) -> bool {
    ask.body.pointer("/stream_options/include_usage") == Some(&Json::Bool(true))
}

pub(super) fn set(value: &mut Json, key: &str, member: Json) {
    if let Some(members) = value.as_object_mut() {
        members.insert(key.to_owned(), member);
    }
}

fn sse(event: &Json) -> Bytes {
    format!("data: {event}\n\n").into()
}

//! Anthropic's Messages API, and its older text completions.

use super::api::{Api, Found, Problem, Question, Wrong};
use super::reply::{Ask, Choice, End, Tool, content_tokens, conversation, said, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

pub(super) const MESSAGES: Api = Api {
    name: "anthropic",
    id_header: "request-id",
    stream_type: "text/event-stream",
    ask,
    whole,
    pieces,
    error,
    broken,
};
pub(super) const COMPLETE: Api = Api {
    ask: ask_completion,
    whole: |ask| completion(ask, &ask.text, Some(stop_reason(ask))),
    pieces: pieces_completion,
    ..MESSAGES
};

const MODELS: [&str; 4] =
    ["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-haiku-20240307"];

fn error(problem: &Problem<'_>) -> Json {
    let kind = match problem.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": problem.message},
           "request_id": format!("req_{}", problem.id)})
}

fn broken(error: &Json) -> Bytes {
    format!("event: error\ndata: {error}\n\n").into()
}

/// `GET /v1/models` of clients that name Anthropic's version.
pub(super) fn models(question: &Question<'_>) -> Option<Found> {
    let (_, rest) = question
        .path
        .split_once("/v1/models")
        .filter(|_| question.headers.contains_key("anthropic-version"))?;
    let model = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"});
    Some(match rest.trim_matches('/') {
        "" => {
            let ends = json!({"data": MODELS.map(model), "has_more": false, "first_id": MODELS.first(),
                              "last_id": MODELS.last()});
            Found::json(&MESSAGES, StatusCode::OK, &ends)
        }
        id if MODELS.contains(&id) => Found::json(&MESSAGES, StatusCode::OK, &model(id)),
        id => {
            let missing =
                Problem { id: question.id, ..Problem::new(StatusCode::NOT_FOUND, &format!("model: {id}")) };
            Found::json(&MESSAGES, missing.status, &error(&missing))
        }
    })
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count(question: &Question<'_>) -> Option<Found> {
    let messages = question.body.get("messages").and_then(Json::as_array)?;
    question.path.ends_with("/v1/messages/count_tokens").then(|| {
        let counted = input_tokens(question.body, conversation(messages, "content").tokens);
        Found::json(&MESSAGES, StatusCode::OK, &json!({"input_tokens": counted}))
    })
}

fn input_tokens(body: &Json, messages: u64) -> u64 {
    let tools =
        body.get("tools").filter(|tools| tools.is_array()).map_or(0, |tools| tokens(&tools.to_string()));
    messages + content_tokens(body.get("system")) + tools
}

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("messages: Field required")?;
    let max_tokens = body.get("max_tokens").and_then(Json::as_u64).ok_or("max_tokens: Field required")?;
    let strange = messages
        .iter()
        .position(|m| !matches!(m.get("role").and_then(Json::as_str), Some("user" | "assistant")));
    if let Some(place) = strange {
        return Err(Wrong::from(&*format!("messages.{place}.role: Input should be 'user' or 'assistant'")));
    }
    let conversation = conversation(messages, "content");
    let text =
        |value: &Json, at: &str| value.pointer(at).and_then(Json::as_str).unwrap_or_default().to_owned();
    let tools = body.get("tools").and_then(Json::as_array).into_iter().flatten();
    let format = body.pointer("/output_config/format").or_else(|| body.get("output_format"));
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).ok_or("model: Field required")?.to_owned(),
        prompt: conversation.prompt,
        input_tokens: input_tokens(body, conversation.tokens),
        max_tokens: Some(max_tokens),
        stop: super::api::texts(body.get("stop_sequences")),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        tools: tools
            .map(|tool| Tool {
                name: text(tool, "/name"),
                parameters: tool.get("input_schema").cloned().unwrap_or_default(),
            })
            .collect(),
        choice: match &*text(body, "/tool_choice/type") {
            "any" => Choice::Any,
            "tool" => Choice::Named(text(body, "/tool_choice/name")),
            _ => Choice::Free,
        },
        answers_tool: conversation.answers_tool,
        schema: format.and_then(|format| format.get("schema")).cloned(),
        ..Ask::default()
    })
}

fn stop_reason(ask: &Ask) -> &'static str {
    ask.end.word(["tool_use", "max_tokens", "stop_sequence", "end_turn"])
}

fn stop_sequence(ask: &Ask) -> Option<&str> {
    match &ask.end {
        End::Sequence(stop) => Some(stop),
        _ => None,
    }
}

fn message(ask: &Ask, content: Json, ended: bool, output: u64) -> Json {
    let usage = json!({"input_tokens": ask.input_tokens, "output_tokens": output, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0, "service_tier": "standard"});
    json!({"id": ask.id("msg_"), "type": "message", "role": "assistant", "model": ask.model, "content": content,
           "stop_reason": ended.then(|| stop_reason(ask)), "stop_sequence": stop_sequence(ask).filter(|_| ended),
           "usage": usage})
}

/// What the model thinks, for requests that want to see it.
fn thought(ask: &Ask) -> Option<&'static str> {
    let kind = ask.body.pointer("/thinking/type").and_then(Json::as_str);
    matches!(kind, Some("enabled" | "adaptive")).then_some("The mock provider thinks before it answers.")
}

fn whole(ask: &Ask) -> Json {
    let thinking = thought(ask)
        .map(|thought| json!({"type": "thinking", "thinking": thought, "signature": ask.id("sig_")}));
    let answer = match &ask.call {
        Some(call) => {
            json!({"type": "tool_use", "id": ask.id("toolu_"), "name": call.name, "input": call.arguments})
        }
        None => json!({"type": "text", "text": ask.text}),
    };
    let content: Vec<Json> = thinking.into_iter().chain([answer]).collect();
    message(ask, content.into(), true, ask.output_tokens())
}

fn event(kind: &str, mut event: Json) -> Bytes {
    if let Some(members) = event.as_object_mut() {
        members.insert("type".into(), kind.into());
    }
    format!("event: {kind}\ndata: {event}\n\n").into()
}

/// The events of one content block.
fn block(index: usize, start: Json, deltas: Vec<Json>) -> impl Iterator<Item = Bytes> {
    let deltas = deltas
        .into_iter()
        .map(move |delta| event("content_block_delta", json!({"index": index, "delta": delta})));
    std::iter::once(event("content_block_start", json!({"index": index, "content_block": start})))
        .chain(deltas)
        .chain([event("content_block_stop", json!({"index": index}))])
}

fn pieces(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = vec![event("message_start", json!({"message": message(ask, json!([]), false, 1)}))];
    pieces.push(event("ping", json!({})));
    let thought = thought(ask);
    if let Some(thought) = thought {
        let deltas = vec![
            json!({"type": "thinking_delta", "thinking": thought}),
            json!({"type": "signature_delta", "signature": ask.id("sig_")}),
        ];
        pieces.extend(block(0, json!({"type": "thinking", "thinking": "", "signature": ""}), deltas));
    }
    let index = usize::from(thought.is_some());
    match &ask.call {
        Some(call) => {
            let start = json!({"type": "tool_use", "id": ask.id("toolu_"), "name": call.name, "input": {}});
            let arguments = call.arguments.to_string();
            let middle = arguments.char_indices().nth(arguments.chars().count() / 2).map_or(0, |(at, _)| at);
            let (first, second) = arguments.split_at(middle);
            let deltas = [first, second]
                .map(|part| json!({"type": "input_json_delta", "partial_json": part}))
                .to_vec();
            pieces.extend(block(index, start, deltas));
        }
        None => {
            let deltas = ask.words().map(|word| json!({"type": "text_delta", "text": word})).collect();
            pieces.extend(block(index, json!({"type": "text", "text": ""}), deltas));
        }
    }
    pieces.push(event(
        "message_delta",
        json!({"delta": {"stop_reason": stop_reason(ask), "stop_sequence": stop_sequence(ask)},
               "usage": {"output_tokens": ask.output_tokens()}}),
    ));
    pieces.push(event("message_stop", json!({})));
    pieces
}

fn ask_completion(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let prompt = said(Some(body.get("prompt").ok_or("prompt: Field required")?));
    let turn = prompt.trim_end_matches("\n\nAssistant:").rsplit("Human:").next().unwrap_or_default().trim();
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).ok_or("model: Field required")?.to_owned(),
        input_tokens: tokens(&prompt),
        prompt: turn.to_owned(),
        max_tokens: Some(
            body.get("max_tokens_to_sample")
                .and_then(Json::as_u64)
                .ok_or("max_tokens_to_sample: Field required")?,
        ),
        stop: super::api::texts(body.get("stop_sequences")),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        ..Ask::default()
    })
}

fn completion(ask: &Ask, text: &str, reason: Option<&str>) -> Json {
    json!({"type": "completion", "id": ask.id("compl_"), "model": ask.model, "completion": text,
           "stop_reason": reason, "stop": stop_sequence(ask)})
}

fn pieces_completion(ask: &Ask) -> Vec<Bytes> {
    let words = ask.words().map(|word| event("completion", completion(ask, word, None)));
    words.chain([event("completion", completion(ask, "", Some(stop_reason(ask))))]).collect()
}

//! Ollama's chat and generate.

use super::api::{Api, Found, Problem, Question, Wrong, texts};
use super::openai::{choice_of, tools_of};
use super::reply::{Ask, End, IMAGE, conversation, said, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

const CREATED: &str = "2026-01-01T00:00:00Z";

pub(super) const CHAT: Api = Api {
    name: "ollama",
    id_header: "x-request-id",
    stream_type: "application/x-ndjson",
    ask,
    whole: |ask| piece(ask, message(ask, &ask.text), true),
    pieces: |ask| pieces(ask, message),
    error: |problem: &Problem<'_>| json!({"error": problem.message}),
    broken: line,
};
pub(super) const GENERATE: Api = Api {
    ask: ask_generate,
    whole: |ask| piece(ask, response(ask, &ask.text), true),
    pieces: |ask| pieces(ask, response),
    ..CHAT
};

fn line(event: &Json) -> Bytes {
    format!("{event}\n").into()
}

/// `GET /api/tags`.
pub(super) fn models(path: &str) -> Option<Found> {
    let models =
        json!({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "modified_at": CREATED}]});
    path.ends_with("/api/tags").then(|| Found::json(&CHAT, StatusCode::OK, &models))
}

fn common(body: &Json) -> Result<Ask, Wrong> {
    let schema = body.get("format").filter(|format| !format.is_null());
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).ok_or("model is required")?.to_owned(),
        max_tokens: body.pointer("/options/num_predict").and_then(Json::as_u64),
        stop: texts(body.pointer("/options/stop")),
        // Ollama streams unless it is told not to
        stream: body.get("stream") != Some(&Json::Bool(false)),
        schema: schema.map(|schema| if schema.is_object() { schema.clone() } else { Json::Null }),
        ..Ask::default()
    })
}

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let messages = body.get("messages").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let conversation = conversation(messages, "content");
    Ok(Ask {
        prompt: conversation.prompt,
        input_tokens: conversation.tokens
            + images(messages)
            + body.get("tools").map_or(0, |tools| tokens(&tools.to_string())),
        tools: tools_of(body, "/function"),
        choice: choice_of(body, "/function"),
        answers_tool: conversation.answers_tool,
        ..common(body)?
    })
}

/// Tokens of the images beside the messages' texts.
fn images(messages: &[Json]) -> u64 {
    messages
        .iter()
        .filter_map(|message| message.get("images")?.as_array())
        .map(|list| list.len() as u64 * IMAGE)
        .sum()
}

fn ask_generate(question: &Question<'_>) -> Result<Ask, Wrong> {
    let prompt = said(question.body.get("prompt"));
    let system = tokens(&said(question.body.get("system")));
    Ok(Ask { input_tokens: tokens(&prompt) + system, prompt, ..common(question.body)? })
}

fn message(ask: &Ask, text: &str) -> Json {
    let mut message = json!({"role": "assistant", "content": text});
    if let (Some(members), Some(call)) = (message.as_object_mut(), &ask.call) {
        let calls = json!([{"function": {"name": call.name, "arguments": call.arguments}}]);
        members.insert("tool_calls".into(), calls);
    }
    json!({"message": message})
}

fn response(_: &Ask, text: &str) -> Json {
    json!({"response": text})
}

fn piece(ask: &Ask, mut said: Json, done: bool) -> Json {
    if let Some(members) = said.as_object_mut() {
        members.insert("model".into(), ask.model.as_str().into());
        members.insert("created_at".into(), CREATED.into());
        members.insert("done".into(), done.into());
        if done {
            let reason = if ask.end == End::Length { "length" } else { "stop" };
            members.insert("done_reason".into(), reason.into());
            members.insert("prompt_eval_count".into(), ask.input_tokens.into());
            members.insert("eval_count".into(), ask.output_tokens().into());
        }
    }
    said
}

fn pieces(ask: &Ask, say: fn(&Ask, &str) -> Json) -> Vec<Bytes> {
    let silent = Ask { call: None, ..ask.clone() };
    let calls = ask.call.is_some().then(|| piece(ask, say(ask, ""), false));
    let words = ask.words().map(|word| piece(ask, say(&silent, word), false));
    calls
        .into_iter()
        .chain(words)
        .chain([piece(ask, say(&silent, ""), true)])
        .map(|event| line(&event))
        .collect()
}

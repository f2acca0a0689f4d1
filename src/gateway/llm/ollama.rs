//! Ollama's format, which llama2 and mistral models also speak.

use super::cost::Usage;
use super::framing::Event;
use super::json::{count, object, text};
use super::openai::merge_options;
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Map, Route, TransformError};
use serde_json::{Value as Json, json};

/// A request in Ollama's format.
pub(super) fn request(call: &Call, mut body: Map) -> Result<Json, TransformError> {
    merge_options(&mut body, &call.model.options);
    let params = Params::new(call, &body);
    let take = |key: &str| params.take(key);
    let options = object([
        ("num_predict", params.max_tokens()),
        ("temperature", take("temperature")),
        ("top_p", take("top_p")),
        ("top_k", take("top_k")),
        ("stop", params.more("stop")),
        ("seed", params.more("seed")),
    ]);
    let format = params.schema().or_else(|| params.wants_json().then(|| "json".into()));
    let complete = call.dialect.complete_requests;
    let messages = take("messages").map(|messages| if complete { for_ollama(messages) } else { messages });
    Ok(Json::Object(object([
        ("prompt", if messages.is_none() { take("prompt") } else { None }),
        ("messages", messages),
        ("stream", Some(call.streaming.into())),
        ("model", call.model.name.as_deref().map(Json::from)),
        ("tools", take("tools")),
        ("tool_choice", take("tool_choice")),
        ("format", format),
        ("options", Some(Json::Object(options))),
    ])))
}

/// Messages as Ollama reads them: content as text, images beside it, arguments of tool calls as objects.
fn for_ollama(mut messages: Json) -> Json {
    for message in messages.as_array_mut().into_iter().flatten().filter_map(Json::as_object_mut) {
        if let Some(Json::Array(parts)) = message.get("content") {
            let images: Vec<Json> = parts
                .iter()
                .filter_map(|part| text(part, "/image_url/url"))
                .filter_map(|url| url.split_once(";base64,"))
                .map(|(_, data)| data.into())
                .collect();
            let content = super::json::content_text(&Json::Array(parts.clone()));
            message.insert("content".into(), content.into());
            if !images.is_empty() {
                message.insert("images".into(), images.into());
            }
        }
        for call in message.get_mut("tool_calls").and_then(Json::as_array_mut).into_iter().flatten() {
            let arguments = text(call, "/function/arguments").and_then(|raw| serde_json::from_str(raw).ok());
            if let (Some(arguments), Some(place)) = (arguments, call.pointer_mut("/function/arguments")) {
                *place = arguments;
            }
        }
    }
    messages
}

fn usage(body: &Json) -> Usage {
    Usage::new(count(body, "/prompt_eval_count"), count(body, "/eval_count"))
}

/// Why Ollama stopped, in OpenAI's terms. Older versions do not say; a full `max_tokens` means `length`.
fn finish(call: &Call, body: &Json, calls_tools: bool) -> &'static str {
    let full = call.model.options.max_tokens.and_then(|max| u64::try_from(max).ok());
    match text(body, "/done_reason") {
        Some("length") => "length",
        _ if calls_tools => "tool_calls",
        None if full.is_some() && count(body, "/eval_count") == full => "length",
        _ => "stop",
    }
}

/// Ollama's tool calls in OpenAI's form: arguments as text, with ids and indices.
fn tool_calls(call: &Call, body: &Json) -> Option<Json> {
    let calls =
        body.pointer("/message/tool_calls").and_then(Json::as_array).filter(|calls| !calls.is_empty())?;
    let calls = calls.iter().enumerate().map(|(index, found)| {
        let arguments = match found.pointer("/function/arguments") {
            Some(Json::String(text)) => text.clone(),
            Some(arguments) => arguments.to_string(),
            None => "{}".to_owned(),
        };
        json!({
            "index": index,
            "id": text(found, "/id").map_or_else(|| format!("call_{}_{index}", call.id), str::to_owned),
            "type": "function",
            "function": {"name": text(found, "/function/name"), "arguments": arguments},
        })
    });
    Some(calls.collect())
}

/// OpenAI's answer from Ollama's.
pub(super) fn answer(provider: &'static str, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
    let body: Json = serde_json::from_slice(body).map_err(|_| TransformError::Answer {
        provider,
        route: call.route.name().into(),
        reason: "failed to decode ollama response".into(),
    })?;
    let complete = call.dialect.complete_answers;
    let usage = usage(&body);
    let tools = tool_calls(call, &body).filter(|_| complete);
    let finish =
        text(&body, "/finish_reason").map_or_else(|| finish(call, &body, tools.is_some()), |_| "stop");
    let choice = if call.route == Route::Completions {
        json!({"index": 0, "text": body.pointer("/response"), "finish_reason": finish, "logprobs": null})
    } else {
        let mut message = body.pointer("/message").cloned().unwrap_or_else(|| json!({"role": "assistant"}));
        if let (Some(tools), Some(members)) = (tools, message.as_object_mut()) {
            members.insert("tool_calls".into(), tools);
        }
        json!({"index": 0, "message": message, "finish_reason": finish})
    };
    let model = text(&body, "/model").map(str::to_owned);
    let result = json!({
        "id": call.answer_id(None),
        "object": if call.route == Route::Completions { "text_completion" } else { "chat.completion" },
        "created": call.now,
        "model": model,
        "choices": [choice],
        "usage": usage.to_json(),
    });
    Ok(Answer { body: Some(result), usage, model })
}

/// Ollama's stream: one JSON object a line.
#[derive(Default)]
pub(super) struct Stream {
    started: bool,
}

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        if let Some(message) = text(&body, "/error") {
            return vec![error_chunk("server_error", message)];
        }
        let complete = call.dialect.complete_answers;
        if let Some(model) = text(&body, "/model") {
            seen.model = Some(model.to_owned());
        }
        let content =
            text(&body, "/message/content").or_else(|| text(&body, "/response")).unwrap_or_default();
        let tools = tool_calls(call, &body).filter(|_| complete);
        let done = body.get("done").and_then(Json::as_bool).unwrap_or(false);
        let mut chunks = Vec::new();
        if !done || (complete && (!content.is_empty() || tools.is_some())) {
            seen.note(content);
            let mut delta = json!({"content": content});
            if let Some(members) = delta.as_object_mut().filter(|_| complete) {
                if !self.started {
                    members.insert("role".into(), "assistant".into());
                }
                if let Some(tools) = &tools {
                    members.insert("tool_calls".into(), tools.clone());
                    seen.finish = Some("tool_calls");
                }
            }
            self.started = true;
            let mut chunk = chunk(call, seen, delta, None);
            if let (Some(model), Some(members)) = (&seen.model, chunk.as_object_mut()) {
                members.insert("model".into(), model.as_str().into());
            }
            chunks.push(Chunk::Json(chunk));
        }
        if done {
            seen.usage = usage(&body);
            seen.finish = Some(finish(call, &body, seen.finish == Some("tool_calls")));
            chunks.push(Chunk::Done);
        }
        chunks
    }
}

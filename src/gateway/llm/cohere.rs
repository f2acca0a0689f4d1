//! Cohere: its first chat and generate APIs, as Kong speaks them, and its second chat API for tool calls.

use super::cost::Usage;
use super::embeddings;
use super::endpoint::operation;
use super::framing::Event;
use super::json::{content_text, count, list, object, present, rename, text};
use super::openai::{self, merge_options};
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError};
use serde_json::{Value as Json, json};

pub(super) struct Cohere;

impl Provider for Cohere {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let path = match call.route {
            Route::Chat if is_second(call) => "/v2/chat",
            Route::Chat => "/v1/chat",
            Route::Completions => "/v1/generate",
            Route::Embeddings => "/v2/embed",
            _ => "/",
        };
        Ok(format!("https://api.cohere.com:443{path}"))
    }

    fn other_path(&self, call: &Call, path: &str) -> Option<String> {
        is_second(call).then(|| operation(path, "/v2/chat", "/v1/chat")).flatten()
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        match call.route {
            Route::Chat | Route::Completions => {}
            Route::Embeddings => return embeddings::COHERE.request(call, &body),
            Route::Preserve => return Ok(Json::Object(body)),
            route => return Err(TransformError::NoOperation { provider: self.name(), route: route.name() }),
        }
        if is_second(call) {
            return Ok(second_request(call, body));
        }
        if present(&body, "tools").is_some() {
            return openai::request(self.name(), call, body, false);
        }
        merge_options(&mut body, &call.model.options);
        rename(&mut body, "top_p", "p");
        rename(&mut body, "top_k", "k");
        if call.dialect.complete_requests {
            rename(&mut body, "stop", "stop_sequences");
            rename(&mut body, "max_completion_tokens", "max_tokens");
            body.remove("stream_options");
        }
        if let Some(name) = &call.model.name {
            body.insert("model".into(), name.as_str().into());
        }
        body.insert("stream".into(), call.streaming.into());
        if let Some(Json::Array(mut messages)) = body.remove("messages") {
            let last = messages.pop();
            if !messages.is_empty() {
                body.insert("chat_history".into(), history(&messages, call));
            }
            body.insert("message".into(), said(last.as_ref().unwrap_or(&Json::Null), call));
        }
        Ok(Json::Object(body))
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if call.route == Route::Embeddings {
            return embeddings::COHERE.answer(call, body);
        }
        let wrong = |reason: &str| TransformError::Answer {
            provider: "cohere",
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json =
            serde_json::from_slice(body).map_err(|_| wrong("failed to decode cohere response"))?;
        let complete = call.dialect.complete_answers;
        let finish = |given: &Json| match text(given, "/finish_reason") {
            Some(reason) if complete => finish(reason),
            _ => "stop",
        };
        let mut usage = units(&body, "/meta/billed_units");
        let (id, object, choices) = if let Some(generations) =
            body.get("generations").and_then(Json::as_array)
        {
            let choices = generations.iter().enumerate().map(|(index, generation)| {
                json!({"index": index, "text": text(generation, "/text"), "finish_reason": finish(generation),
                       "logprobs": null})
            });
            ("/id", "text_completion", choices.collect::<Vec<_>>())
        } else if let Some(written) = text(&body, "/text") {
            if call.route == Route::Completions && !complete {
                usage = Usage {
                    prompt: count(&body, "/token_count/prompt_tokens"),
                    completion: count(&body, "/token_count/response_tokens"),
                    total: count(&body, "/token_count/total_tokens"),
                    cached: None,
                };
            }
            let mut message = json!({"role": "assistant", "content": written});
            if let Some(members) = message.as_object_mut().filter(|_| complete) {
                members.extend(first_api_tools(call, &body).map(|tools| ("tool_calls".to_owned(), tools)));
            }
            let choice = if call.route == Route::Completions && complete {
                json!({"index": 0, "text": written, "finish_reason": finish(&body), "logprobs": null})
            } else {
                json!({"index": 0, "message": message, "finish_reason": finish(&body)})
            };
            let object = if call.route == Route::Completions && complete {
                "text_completion"
            } else {
                "chat.completion"
            };
            ("/generation_id", object, vec![choice])
        } else if let Some(message) = body.get("message").filter(|_| call.route == Route::Chat) {
            usage = units(&body, "/usage/billed_units").or(units(&body, "/usage/tokens"));
            let written = message.get("content").map(content_text).filter(|written| !written.is_empty());
            let content = match text(message, "/tool_plan") {
                Some(plan) => Some(Json::from(plan)),
                None if complete => written.map(Json::from),
                None => message.get("content").cloned(),
            };
            let mut out = json!({"role": "assistant", "content": content});
            if let Some(members) = out.as_object_mut() {
                members
                    .extend(message.get("tool_calls").map(|tools| ("tool_calls".to_owned(), tools.clone())));
            }
            let choice = json!({"index": 0, "message": out,
                "finish_reason": text(&body, "/finish_reason").map(self::finish)});
            ("/id", "chat.completion", vec![choice])
        } else {
            return Err(wrong("'text' or 'generations' missing from cohere response body"));
        };
        let known = usage.prompt.is_some() || usage.completion.is_some();
        let result = json!({
            "id": call.answer_id(text(&body, id)),
            "object": object,
            "created": call.now,
            "model": call.model_name(),
            "choices": choices,
            "usage": if known || complete { usage.to_json() } else { json!({}) },
        });
        Ok(Answer { body: Some(result), usage, model: None })
    }

    fn stream(&self, _call: &Call) -> Box<dyn Translate> {
        Box::new(Stream::default())
    }

    fn manners(&self) -> Manners {
        Manners { counts_stream_tokens: true, ..Manners::default() }
    }
}

/// Whether a call goes to the second version of the chat API, which knows more than texts. Kong 3.10 sends tools to
/// the first one.
fn is_second(call: &Call) -> bool {
    call.rich && call.route == Route::Chat && call.dialect.complete_requests
}

/// A chat of the second version: OpenAI's messages and tools, and other words for the rest.
fn second_request(call: &Call, mut body: Map) -> Json {
    merge_options(&mut body, &call.model.options);
    let params = Params::new(call, &body);
    let choice = params.take("tool_choice").unwrap_or_default();
    let named = text(&choice, "/function/name");
    let tools = params.take("tools").map(|tools| match named {
        // there is no choice by name: the others are left out
        Some(name) => list(&tools, "")
            .iter()
            .filter(|tool| text(tool, "/function/name") == Some(name))
            .cloned()
            .collect(),
        None => tools,
    });
    let choice = match choice.as_str() {
        Some("none") => Some("NONE"),
        Some("required") => Some("REQUIRED"),
        _ => named.map(|_| "REQUIRED"),
    };
    let format = params.wants_json().then(|| {
        Json::Object(object([("type", Some("json_object".into())), ("json_schema", params.schema())]))
    });
    Json::Object(object([
        ("model", call.model.name.as_deref().map(Json::from)),
        ("messages", params.take("messages")),
        ("stream", Some(call.streaming.into())),
        ("tools", tools),
        ("tool_choice", choice.map(Json::from)),
        ("response_format", format),
        ("max_tokens", params.max_tokens()),
        ("stop_sequences", params.stops()),
        ("temperature", params.take("temperature")),
        ("p", params.take("top_p")),
        ("k", params.take("top_k")),
        ("seed", params.take("seed")),
        ("frequency_penalty", params.take("frequency_penalty")),
        ("presence_penalty", params.take("presence_penalty")),
    ]))
}

/// Cohere's finish reasons in OpenAI's terms.
fn finish(reason: &str) -> &'static str {
    match reason {
        "MAX_TOKENS" => "length",
        "TOOL_CALL" => "tool_calls",
        "ERROR_TOXIC" => "content_filter",
        _ => "stop",
    }
}

fn units(body: &Json, pointer: &str) -> Usage {
    let at = |field: &str| count(body, &format!("{pointer}/{field}"));
    Usage::new(at("input_tokens"), at("output_tokens"))
}

/// All messages but the last. Kong 3.10 gives everything that is not the assistant's to the user.
fn history(messages: &[Json], call: &Call) -> Json {
    messages
        .iter()
        .map(|message| {
            let role = match text(message, "/role") {
                Some("assistant" | "CHATBOT") => "CHATBOT",
                Some("system" | "developer") if call.dialect.complete_requests => "SYSTEM",
                _ => "USER",
            };
            json!({"role": role, "message": said(message, call)})
        })
        .collect()
}

/// What a message says, as text. Kong 3.10 passes lists of parts on as they are.
fn said(message: &Json, call: &Call) -> Json {
    match message.get("content") {
        Some(parts @ Json::Array(_)) if call.dialect.complete_requests => content_text(parts).into(),
        content => content.cloned().unwrap_or_default(),
    }
}

/// Tool calls of the first API: names with parameters, without ids.
fn first_api_tools(call: &Call, body: &Json) -> Option<Json> {
    let tools = list(body, "/tool_calls");
    if tools.is_empty() {
        return None;
    }
    let tools = tools.iter().enumerate().map(|(index, tool)| {
        let parameters = tool.get("parameters").cloned().unwrap_or_else(|| json!({}));
        json!({"index": index, "id": format!("call_{}_{index}", call.id), "type": "function",
               "function": {"name": text(tool, "/name"), "arguments": parameters.to_string()}})
    });
    Some(tools.collect())
}

/// Both stream formats: `event_type` of the first API, `type` of the second.
#[derive(Default)]
struct Stream {
    tools: usize,
}

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        let complete = call.dialect.complete_answers;
        let piece = |seen: &Seen, delta: Json| vec![Chunk::Json(chunk(call, seen, delta, None))];
        let kind = text(&body, "/event_type").or_else(|| text(&body, "/type")).unwrap_or_default();
        match kind {
            "stream-start" | "message-start" => {
                seen.id = text(&body, "/generation_id").or_else(|| text(&body, "/id")).map(str::to_owned);
                piece(seen, json!({"role": "assistant", "content": ""}))
            }
            "text-generation" | "content-delta" => {
                let written = text(&body, "/text")
                    .or_else(|| text(&body, "/delta/message/content/text"))
                    .unwrap_or_default();
                seen.note(written);
                piece(seen, json!({"content": written}))
            }
            "tool-calls-generation" if complete => match first_api_tools(call, &body) {
                Some(tools) => {
                    seen.finish = Some("tool_calls");
                    piece(seen, json!({"tool_calls": tools}))
                }
                None => Vec::new(),
            },
            "tool-call-start" if complete => {
                let tool = body.pointer("/delta/message/tool_calls").cloned().unwrap_or_default();
                self.tools += 1;
                piece(
                    seen,
                    json!({"tool_calls": [{"index": self.tools - 1, "id": text(&tool, "/id"), "type": "function",
                        "function": {"name": text(&tool, "/function/name"),
                                     "arguments": text(&tool, "/function/arguments").unwrap_or_default()}}]}),
                )
            }
            "tool-call-delta" if complete => {
                let arguments =
                    text(&body, "/delta/message/tool_calls/function/arguments").unwrap_or_default();
                let index = self.tools.saturating_sub(1);
                piece(seen, json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}))
            }
            "stream-end" | "message-end" => {
                seen.usage = units(&body, "/response/meta/billed_units")
                    .or(Usage::new(
                        count(&body, "/response/token_count/prompt_tokens"),
                        count(&body, "/response/token_count/response_tokens"),
                    ))
                    .or(units(&body, "/delta/usage/billed_units"))
                    .or(units(&body, "/delta/usage/tokens"));
                let reason = text(&body, "/finish_reason").or_else(|| text(&body, "/delta/finish_reason"));
                if complete && reason == Some("ERROR") {
                    let told = text(&body, "/response/message").or_else(|| text(&body, "/delta/error"));
                    return vec![error_chunk("server_error", told.unwrap_or("the provider gave up midway"))];
                }
                seen.finish = seen.finish.or(Some(reason.map_or("stop", finish)));
                vec![Chunk::Done]
            }
            _ => Vec::new(),
        }
    }
}

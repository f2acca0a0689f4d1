//! Anthropic's Messages API, and its older text completions.

use super::cost::Usage;
use super::framing::Event;
use super::json::{add_result, content_text, count, list, object, present, text};
use super::openai::merge_options;
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError};
use serde_json::{Value as Json, json};

pub(super) struct Anthropic;

/// The API's version for configurations that name none; Anthropic refuses requests without one.
const DEFAULT_VERSION: &str = "2023-06-01";

/// `max_tokens` for requests that give none; Anthropic refuses requests without it.
const DEFAULT_MAX_TOKENS: u64 = 4096;

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let path = match call.route {
            Route::Chat => "/v1/messages",
            Route::Completions => "/v1/complete",
            _ => "/",
        };
        Ok(format!("https://api.anthropic.com:443{path}"))
    }

    fn headers(&self, call: &Call) -> Vec<(&'static str, String)> {
        let version = call.model.options.anthropic_version.as_deref().unwrap_or(DEFAULT_VERSION);
        vec![("anthropic-version", version.to_owned())]
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        merge_options(&mut body, &call.model.options);
        match call.route {
            Route::Chat => Ok(chat_request(call, &body)),
            Route::Completions => Ok(completion_request(call, &body)),
            Route::Preserve => Ok(Json::Object(body)),
            route => Err(TransformError::NoOperation { provider: self.name(), route: route.name() }),
        }
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        let wrong = |reason: &str| TransformError::Answer {
            provider: "anthropic",
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json =
            serde_json::from_slice(body).map_err(|_| wrong("failed to decode anthropic response"))?;
        let model = text(&body, "/model").map(str::to_owned);
        let mut usage = body.get("usage").map(|given| usage(call, given)).unwrap_or_default();
        let result = match call.route {
            Route::Completions => {
                let written = text(&body, "/completion")
                    .ok_or_else(|| wrong("'completion' not in anthropic://llm/v1/chat response"))?;
                usage = call.counted(usage, written.chars().count());
                let mut result = json!({
                    "id": call.answer_id(text(&body, "/id")),
                    "object": "text_completion",
                    "created": call.now,
                    "model": model,
                    "choices": [{"index": 0, "text": written, "logprobs": null,
                                 "finish_reason": finish(text(&body, "/stop_reason").unwrap_or_default())}],
                });
                if let Some(members) = result.as_object_mut().filter(|_| call.dialect.complete_answers) {
                    members.insert("usage".into(), usage.to_json());
                }
                result
            }
            _ => {
                let blocks = body
                    .get("content")
                    .and_then(Json::as_array)
                    .ok_or_else(|| wrong("'content' not in anthropic://llm/v1/chat response"))?;
                json!({
                    "id": call.answer_id(text(&body, "/id")),
                    "object": "chat.completion",
                    "created": call.now,
                    "model": model,
                    "choices": [{
                        "index": 0,
                        "message": message(call, blocks),
                        "finish_reason": text(&body, "/stop_reason").map(finish),
                    }],
                    "usage": if body.get("usage").is_some() || call.dialect.complete_answers {
                        usage.to_json()
                    } else {
                        "no usage data returned from upstream".into()
                    },
                })
            }
        };
        Ok(Answer { body: Some(result), usage, model })
    }

    fn stream(&self, _call: &Call) -> Box<dyn Translate> {
        Box::new(Stream::default())
    }

    fn manners(&self) -> Manners {
        Manners { counts_stream_tokens: true, ..Manners::default() }
    }
}

/// Anthropic's stop reasons in OpenAI's terms.
fn finish(reason: &str) -> &'static str {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

/// Anthropic counts what came from and went into its cache apart; OpenAI's prompt tokens hold everything. Kong 3.10
/// leaves the cache out.
fn usage(call: &Call, given: &Json) -> Usage {
    if !call.dialect.complete_answers {
        return Usage::new(count(given, "/input_tokens"), count(given, "/output_tokens"));
    }
    let cached = count(given, "/cache_read_input_tokens").filter(|tokens| *tokens > 0);
    let written = count(given, "/cache_creation_input_tokens").unwrap_or_default();
    Usage {
        prompt: count(given, "/input_tokens").map(|input| input + cached.unwrap_or_default() + written),
        completion: count(given, "/output_tokens"),
        total: None,
        cached,
    }
}

/// OpenAI's message from content blocks.
fn message(call: &Call, blocks: &[Json]) -> Json {
    let mut written = String::new();
    let mut tools = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        if let Some(text) = text(block, "/text") {
            if place > 0 {
                written.push('\n');
            }
            written.push_str(text);
        }
        if text(block, "/type") == Some("tool_use") {
            let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
            tools.push(json!({
                "id": text(block, "/id"),
                "type": "function",
                "function": {"name": text(block, "/name"), "arguments": input.to_string()},
            }));
        }
    }
    let silent = written.is_empty() && !tools.is_empty() && call.dialect.complete_answers;
    let mut message =
        json!({"role": "assistant", "content": if silent { Json::Null } else { written.into() }});
    if let Some(members) = message.as_object_mut().filter(|_| !tools.is_empty()) {
        members.insert("tool_calls".into(), tools.into());
    }
    message
}

fn chat_request(call: &Call, body: &Map) -> Json {
    let complete = call.dialect.complete_requests;
    let params = Params::new(call, body);
    let take = |key: &str| params.take(key);
    let (messages, system) = messages(body, complete);
    let choice = take("tool_choice").as_ref().and_then(tool_choice);
    let mut request = object([
        ("messages", Some(messages.into())),
        ("system", system),
        ("temperature", take("temperature")),
        ("max_tokens", take("max_tokens")),
        ("model", call.model.name.as_deref().map(Json::from).or_else(|| take("model"))),
        ("stream", Some(call.streaming.into())),
        ("tools", present(body, "tools").map(|tools| tools_request(tools, complete))),
        ("tool_choice", choice),
    ]);
    if complete {
        let format =
            params.schema().map(|schema| json!({"format": {"type": "json_schema", "schema": schema}}));
        let extra = object([
            ("top_p", take("top_p")),
            ("top_k", take("top_k")),
            ("stop_sequences", params.stops()),
            ("output_config", take("output_config").or(format)),
            ("thinking", take("thinking")),
            ("metadata", present(body, "user").map(|user| json!({"user_id": user}))),
        ]);
        request.extend(extra);
        if !request.contains_key("max_tokens") {
            let most = params.max_tokens().unwrap_or_else(|| DEFAULT_MAX_TOKENS.into());
            request.insert("max_tokens".into(), most);
        }
        let serial =
            body.get("parallel_tool_calls") == Some(&Json::Bool(false)) && request.contains_key("tools");
        if serial {
            let choice = request.entry("tool_choice").or_insert_with(|| json!({"type": "auto"}));
            if let Some(choice) = choice.as_object_mut() {
                choice.insert("disable_parallel_tool_use".into(), true.into());
            }
        }
    }
    Json::Object(request)
}

/// Anthropic's messages and system prompt. Kong 3.10 keeps the last system message only.
fn messages(body: &Map, complete: bool) -> (Vec<Json>, Option<Json>) {
    let mut out: Vec<Json> = Vec::new();
    let mut system: Option<Json> = None;
    for message in body.get("messages").and_then(Json::as_array).into_iter().flatten() {
        let content = message.get("content").cloned().unwrap_or_default();
        match text(message, "/role") {
            Some("assistant") if !list(message, "/tool_calls").is_empty() => {
                let mut blocks = Vec::new();
                if complete && !content_text(&content).is_empty() {
                    blocks.push(json!({"type": "text", "text": content_text(&content)}));
                }
                blocks.extend(list(message, "/tool_calls").iter().map(|call| {
                    let arguments = text(call, "/function/arguments").unwrap_or("{}");
                    json!({
                        "type": "tool_use",
                        "id": call.get("id"),
                        "name": call.pointer("/function/name"),
                        "input": serde_json::from_str::<Json>(arguments).unwrap_or_else(|_| json!({})),
                    })
                }));
                out.push(json!({"role": "assistant", "content": blocks}));
            }
            Some("tool") => {
                let result = json!({
                    "type": "tool_result",
                    "tool_use_id": message.get("tool_call_id"),
                    "content": content,
                });
                add_result(&mut out, "content", result, complete);
            }
            Some(role @ ("assistant" | "user")) if complete => {
                out.push(json!({"role": role, "content": content_blocks(&content)}));
            }
            Some("assistant" | "user") => out.push(message.clone()),
            _ => {
                system = Some(match system {
                    Some(earlier) if complete => {
                        format!("{}\n\n{}", content_text(&earlier), content_text(&content)).into()
                    }
                    _ => content,
                });
            }
        }
    }
    (out, system)
}

/// Content with images in Anthropic's form.
fn content_blocks(content: &Json) -> Json {
    let Some(parts) = content.as_array() else { return content.clone() };
    parts
        .iter()
        .map(|part| match text(part, "/image_url/url") {
            Some(url) => {
                let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
                let source = match inline {
                    Some((kind, data)) => json!({"type": "base64", "media_type": kind, "data": data}),
                    None => json!({"type": "url", "url": url}),
                };
                json!({"type": "image", "source": source})
            }
            None => part.clone(),
        })
        .collect()
}

fn tools_request(tools: &Json, complete: bool) -> Json {
    let functions = tools.as_array().into_iter().flatten().filter_map(|tool| tool.get("function"));
    functions
        .filter_map(Json::as_object)
        .map(|function| {
            let mut tool = function.clone();
            if let Some(parameters) = tool.remove("parameters") {
                tool.insert("input_schema".into(), parameters);
            }
            if complete {
                tool.remove("strict");
                tool.entry("input_schema").or_insert_with(|| json!({"type": "object", "properties": {}}));
            }
            Json::Object(tool)
        })
        .collect()
}

fn tool_choice(choice: &Json) -> Option<Json> {
    match choice.as_str() {
        Some("required") => Some(json!({"type": "any"})),
        Some(word @ ("none" | "auto")) => Some(json!({"type": word})),
        Some(_) => None,
        None if text(choice, "/type") == Some("function") => {
            text(choice, "/function/name").map(|name| json!({"type": "tool", "name": name}))
        }
        None => None,
    }
}

fn completion_request(call: &Call, body: &Map) -> Json {
    let params = Params::new(call, body);
    let most = params.max_tokens();
    // the provider refuses requests without it
    let most = most.or_else(|| call.dialect.complete_requests.then(|| DEFAULT_MAX_TOKENS.into()));
    let prompt = match body.get("prompt").and_then(Json::as_str) {
        Some(prompt) => Some(format!("Human: {prompt}\n\nAssistant:")),
        None => body.get("messages").and_then(Json::as_array).map(|messages| {
            let mut prompt = String::new();
            for message in messages {
                prompt.push_str(match text(message, "/role") {
                    Some("assistant") => "Assistant: ",
                    Some("user") => "Human: ",
                    _ => "",
                });
                prompt.push_str(&message.get("content").map(content_text).unwrap_or_default());
                prompt.push_str("\n\n");
            }
            prompt + "Assistant:"
        }),
    };
    Json::Object(object([
        ("prompt", prompt.map(Json::from)),
        ("temperature", params.take("temperature")),
        ("top_p", params.more("top_p")),
        ("stop_sequences", params.more("stop").and_then(|_| params.stops())),
        ("max_tokens_to_sample", most),
        ("model", call.model.name.as_deref().map(Json::from).or_else(|| params.take("model"))),
        ("stream", Some(call.streaming.into())),
    ]))
}

/// Anthropic's stream: named events about a message, its blocks and their pieces.
#[derive(Default)]
struct Stream {
    /// For each tool block: its index among the blocks, in order of the tool calls.
    tools: Vec<u64>,
}

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        let complete = call.dialect.complete_answers;
        let piece = |seen: &Seen, delta: Json| vec![Chunk::Json(chunk(call, seen, delta, None))];
        let name = text(&body, "/type").unwrap_or(&event.name);
        match name {
            "message_start" => {
                let Some(message) = body.get("message") else { return Vec::new() };
                seen.id = text(message, "/id").map(str::to_owned);
                seen.model = text(message, "/model").map(str::to_owned);
                seen.usage = message.get("usage").map(|given| usage(call, given)).unwrap_or_default();
                let role = text(message, "/role").unwrap_or("assistant");
                piece(seen, json!({"role": role, "content": ""}))
            }
            "content_block_start" if complete => match text(&body, "/content_block/type") {
                Some("tool_use") => {
                    let index = self.tools.len();
                    self.tools.push(count(&body, "/index").unwrap_or_default());
                    piece(
                        seen,
                        json!({"tool_calls": [{
                            "index": index,
                            "id": text(&body, "/content_block/id"),
                            "type": "function",
                            "function": {"name": text(&body, "/content_block/name"), "arguments": ""},
                        }]}),
                    )
                }
                _ => Vec::new(),
            },
            "content_block_delta" if complete => match text(&body, "/delta/type") {
                Some("input_json_delta") => {
                    let block = count(&body, "/index").unwrap_or_default();
                    let index = self.tools.iter().position(|known| *known == block).unwrap_or_default();
                    let arguments = text(&body, "/delta/partial_json").unwrap_or_default();
                    piece(
                        seen,
                        json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}),
                    )
                }
                _ => match text(&body, "/delta/text") {
                    Some(written) => {
                        seen.note(written);
                        piece(seen, json!({"content": written}))
                    }
                    None => Vec::new(),
                },
            },
            "content_block_start" | "content_block_delta" => {
                let written = text(&body, "/delta/text").unwrap_or_default();
                seen.note(written);
                piece(seen, json!({"content": written}))
            }
            "message_delta" => {
                if let Some(reason) = text(&body, "/delta/stop_reason") {
                    seen.finish = Some(finish(reason));
                }
                let given = body.get("usage").map(|given| usage(call, given)).unwrap_or_default();
                seen.usage = given.or(seen.usage);
                Vec::new()
            }
            "message_stop" => vec![Chunk::Done],
            "completion" => completion(call, &body, seen),
            "error" => {
                let kind = text(&body, "/error/type").unwrap_or("server_error");
                vec![error_chunk(kind, text(&body, "/error/message").unwrap_or_default())]
            }
            _ => Vec::new(),
        }
    }
}

/// An event of the older text completions.
fn completion(call: &Call, body: &Json, seen: &mut Seen) -> Vec<Chunk> {
    let written = text(body, "/completion").unwrap_or_default();
    seen.note(written);
    let mut chunks = vec![Chunk::Json(chunk(call, seen, json!({"content": written}), None))];
    if let Some(reason) = text(body, "/stop_reason") {
        seen.finish = Some(finish(reason));
        chunks.push(Chunk::Done);
    }
    chunks
}

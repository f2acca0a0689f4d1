//! Amazon Bedrock's Converse API.

use super::cost::Usage;
use super::embeddings;
use super::endpoint::operation;
use super::framing::Event;
use super::json::{add_result, content_text, count, list, object, text};
use super::openai::merge_options;
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError};
use serde_json::{Value as Json, json};

pub(super) struct Bedrock;

/// What is encoded in a model's name inside a path, as AWS's own clients do: it may hold colons and slashes.
const MODEL_NAME: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Models that know no system prompt, by the beginnings of their names.
const WITHOUT_SYSTEM: [&str; 5] = [
    "amazon.titan",
    "cohere.command-text",
    "cohere.command-light-text",
    "mistral.mistral-7b-instruct",
    "mistral.mixtral-8x7b-instruct",
];

impl Provider for Bedrock {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let region = call
            .model
            .options
            .aws_region
            .as_deref()
            .ok_or_else(|| TransformError::Endpoint("AWS region not specified anywhere".into()))?;
        let operation = match call.route {
            Route::Embeddings => "invoke",
            _ if call.streaming => "converse-stream",
            _ => "converse",
        };
        let model = percent_encoding::utf8_percent_encode(call.model_name(), MODEL_NAME);
        Ok(format!("https://bedrock-runtime.{region}.amazonaws.com/model/{model}/{operation}"))
    }

    fn other_path(&self, call: &Call, path: &str) -> Option<String> {
        let (whole, stream) = ("/converse", "/converse-stream");
        if call.streaming { operation(path, stream, whole) } else { operation(path, whole, stream) }
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        let wrong = |reason: String| TransformError::Request {
            provider: "bedrock",
            route: call.route.name(),
            reason,
        };
        match call.route {
            Route::Chat => {}
            Route::Embeddings => return embeddings::in_bedrock(call).request(call, &body),
            Route::Preserve => return Ok(Json::Object(body)),
            route => return Err(TransformError::NoOperation { provider: self.name(), route: route.name() }),
        }
        merge_options(&mut body, &call.model.options);
        let complete = call.dialect.complete_requests;
        let (messages, system) = messages(&body, complete).map_err(wrong)?;
        let name = call.model_name();
        if !system.is_empty() && WITHOUT_SYSTEM.iter().any(|known| name.starts_with(known)) {
            return Err(wrong(format!("system prompts are unsupported for model '{name}")));
        }
        let params = Params::new(call, &body);
        let inference = object([
            ("maxTokens", params.max_tokens()),
            ("stopSequences", params.stops()),
            ("temperature", params.take("temperature")),
            ("topP", params.take("top_p")),
        ]);
        let bedrock = body.get("bedrock").cloned().unwrap_or_default();
        let version = call.model.options.anthropic_version.as_deref().unwrap_or("bedrock-2023-05-31");
        Ok(Json::Object(object([
            ("anthropic_version", (!complete).then(|| version.into())),
            ("messages", (!messages.is_empty()).then(|| messages.into())),
            ("system", (!system.is_empty()).then(|| system.into())),
            ("inferenceConfig", Some(Json::Object(inference))),
            ("guardrailConfig", params.take("guardrailConfig")),
            ("toolConfig", tool_config(&params, &bedrock)),
            ("outputConfig", params.schema().map(output_config)),
            ("additionalModelRequestFields", bedrock.get("additionalModelRequestFields").cloned()),
        ])))
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if call.route == Route::Embeddings {
            return embeddings::in_bedrock(call).answer(call, body);
        }
        let wrong = |reason: &str| TransformError::Answer {
            provider: "bedrock",
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json =
            serde_json::from_slice(body).map_err(|_| wrong("failed to decode response from Bedrock"))?;
        let blocks = list(&body, "/output/message/content");
        if blocks.is_empty() {
            return Err(wrong("no generation candidates received from Bedrock, or max_tokens too short"));
        }
        let complete = call.dialect.complete_answers;
        let texts: Vec<&str> = blocks.iter().filter_map(|block| text(block, "/text")).collect();
        let content = if complete {
            (!texts.is_empty()).then(|| texts.concat())
        } else {
            blocks.first().and_then(|block| text(block, "/text")).map(str::to_owned)
        };
        let tools: Vec<Json> = blocks
            .iter()
            .filter_map(|block| block.get("toolUse"))
            .map(|tool| {
                let input = tool
                    .get("input")
                    .filter(|input| complete || input.as_object().is_some_and(|i| !i.is_empty()));
                let function = object([
                    ("name", tool.get("name").cloned()),
                    ("arguments", input.map(|input| input.to_string().into())),
                ]);
                json!({"id": text(tool, "/toolUseId"), "type": "function", "function": function})
            })
            .collect();
        let mut message = object([("role", Some("assistant".into())), ("content", content.map(Json::from))]);
        if complete {
            message.entry("content").or_insert(Json::Null);
        }
        if !tools.is_empty() {
            message.insert("tool_calls".into(), tools.into());
        }
        let usage = usage(call, &body);
        let mut result = json!({
            "id": call.answer_id(None),
            "object": "chat.completion",
            "created": call.now,
            "model": call.model_name(),
            "choices": [{"index": 0, "message": message,
                         "finish_reason": finish(text(&body, "/stopReason").unwrap_or_default())}],
        });
        if let Some(members) = result.as_object_mut() {
            if complete || body.get("usage").is_some() {
                members.insert("usage".into(), usage.to_json());
            }
            if let Some(trace) = body.get("trace") {
                members.insert("trace".into(), trace.clone());
            }
        }
        Ok(Answer { body: Some(result), usage, model: None })
    }

    fn stream(&self, _call: &Call) -> Box<dyn Translate> {
        Box::new(Stream::default())
    }

    fn manners(&self) -> Manners {
        Manners {
            upstream_path_wins: true,
            drops_cookies: true,
            counts_stream_tokens: true,
            ..Manners::default()
        }
    }
}

/// Bedrock's stop reasons in OpenAI's terms.
fn finish(reason: &str) -> &'static str {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "guardrail_intervened" | "content_filtered" => "content_filter",
        _ => "stop",
    }
}

/// Kong 3.10 does not know of the cache.
fn usage(call: &Call, body: &Json) -> Usage {
    Usage {
        prompt: count(body, "/usage/inputTokens"),
        completion: count(body, "/usage/outputTokens"),
        total: count(body, "/usage/totalTokens"),
        cached: count(body, "/usage/cacheReadInputTokens")
            .filter(|cached| *cached > 0 && call.dialect.complete_answers),
    }
}

/// A schema for the answer.
fn output_config(schema: Json) -> Json {
    let structure = json!({"jsonSchema": {"name": "answer", "schema": schema.to_string()}});
    json!({"textFormat": {"type": "json_schema", "structure": structure}})
}

fn tool_config(params: &Params<'_>, bedrock: &Json) -> Option<Json> {
    let given = bedrock.get("toolConfig").cloned();
    let tools: Vec<Json> = params
        .functions()
        .into_iter()
        .map(|function| {
            let parameters = function.get("parameters").cloned();
            // Bedrock refuses a tool without a schema
            let none = || params.is_complete().then(|| json!({"type": "object", "properties": {}}));
            let schema = object([("json", parameters.or_else(none))]);
            let spec = object([
                ("name", function.get("name").cloned()),
                ("description", function.get("description").cloned()),
                ("inputSchema", Some(Json::Object(schema))),
            ]);
            json!({"toolSpec": spec})
        })
        .collect();
    if tools.is_empty() {
        return given;
    }
    let mut config = given.unwrap_or_else(|| json!({}));
    let choice = params.more("tool_choice").and_then(|choice| match choice.as_str() {
        Some("auto") => Some(json!({"auto": {}})),
        Some("required") => Some(json!({"any": {}})),
        Some(_) => None,
        None => text(&choice, "/function/name").map(|name| json!({"tool": {"name": name}})),
    });
    if let Some(members) = config.as_object_mut() {
        members.insert("tools".into(), tools.into());
        members.extend(choice.map(|choice| ("toolChoice".to_owned(), choice)));
    }
    Some(config)
}

/// Bedrock's messages and system prompts.
fn messages(body: &Map, complete: bool) -> Result<(Vec<Json>, Vec<Json>), String> {
    let mut out: Vec<Json> = Vec::new();
    let mut system = Vec::new();
    for message in body.get("messages").and_then(Json::as_array).into_iter().flatten() {
        let content = message.get("content").cloned().unwrap_or_default();
        let calls = list(message, "/tool_calls");
        match text(message, "/role") {
            Some("system") => system.push(json!({"text": content_text(&content)})),
            Some("developer") if complete => system.push(json!({"text": content_text(&content)})),
            Some("tool") => {
                let written = content_text(&content);
                let result = match serde_json::from_str::<Json>(&written) {
                    Ok(result @ Json::Object(_)) => json!({"json": result}),
                    Ok(result @ Json::Array(_)) if !complete => json!({"json": result}),
                    Ok(result) => json!({"json": {"result": result}}),
                    Err(_) if complete => json!({"text": written}),
                    Err(_) => {
                        return Err(
                            "failed to decode function response arguments, not JSON format".to_owned()
                        );
                    }
                };
                let result = object([
                    ("toolUseId", message.get("tool_call_id").cloned()),
                    ("content", Some(json!([result]))),
                    ("status", message.get("status").cloned()),
                ]);
                add_result(&mut out, "content", json!({"toolResult": result}), complete);
            }
            role => {
                let blocks = if calls.is_empty() || content.is_array() {
                    blocks(&content, complete)?
                } else {
                    let mut blocks = Vec::new();
                    if complete && !content_text(&content).is_empty() {
                        blocks.push(json!({"text": content_text(&content)}));
                    }
                    for call in calls {
                        let arguments = text(call, "/function/arguments").unwrap_or("{}");
                        // a call without arguments, as some clients write it
                        let arguments = if complete && arguments.is_empty() { "{}" } else { arguments };
                        let input: Json = serde_json::from_str(arguments).map_err(|_| {
                            "failed to decode function response arguments from assistant's message, not JSON format"
                        })?;
                        if !complete {
                            // Kong 3.10 keeps the last call only
                            blocks.clear();
                        }
                        blocks.push(json!({"toolUse": {"toolUseId": call.get("id"),
                            "name": call.pointer("/function/name"), "input": input}}));
                    }
                    blocks
                };
                let role = if role == Some("assistant") { "assistant" } else { "user" };
                out.push(json!({"role": role, "content": blocks}));
            }
        }
    }
    Ok((out, system))
}

/// Content in Bedrock's blocks. Kong 3.10 passes lists on as they are.
fn blocks(content: &Json, complete: bool) -> Result<Vec<Json>, String> {
    match content {
        Json::Array(parts) if !complete => Ok(parts.clone()),
        Json::Array(parts) => parts
            .iter()
            .map(|part| match text(part, "/image_url/url") {
                Some(url) => inline_image(url).ok_or_else(|| {
                    "Bedrock takes images as data: URLs only, not by their address".to_owned()
                }),
                None => Ok(json!({"text": text(part, "/text").unwrap_or_default()})),
            })
            .collect(),
        other => Ok(vec![json!({"text": other.as_str().unwrap_or_default()})]),
    }
}

fn inline_image(url: &str) -> Option<Json> {
    let (kind, data) = url.strip_prefix("data:image/")?.split_once(";base64,")?;
    // Bedrock's name of what data URLs may also call jpg
    let format = if kind == "jpg" { "jpeg" } else { kind };
    Some(json!({"image": {"format": format, "source": {"bytes": data}}}))
}

/// Bedrock's stream: AWS events about a message, its blocks and their pieces.
#[derive(Default)]
struct Stream {
    /// For each tool block: its index among the blocks, in order of the tool calls.
    tools: Vec<u64>,
}

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        let complete = call.dialect.complete_answers;
        let piece = |seen: &Seen, delta: Json, finish: Option<&str>| {
            vec![Chunk::Json(chunk(call, seen, delta, finish))]
        };
        let block = count(&body, "/contentBlockIndex").unwrap_or_default();
        match event.name.as_str() {
            "messageStart" => {
                let role = text(&body, "/role").unwrap_or("assistant");
                piece(seen, json!({"role": role, "content": ""}), None)
            }
            "contentBlockStart" => match body.pointer("/start/toolUse") {
                Some(tool) => {
                    let index = if complete { self.tools.len() as u64 } else { block };
                    self.tools.push(block);
                    let mut call = json!({"index": index, "id": text(tool, "/toolUseId"),
                        "function": {"name": text(tool, "/name"), "arguments": ""}});
                    if let Some(members) = call.as_object_mut().filter(|_| complete) {
                        members.insert("type".into(), "function".into());
                    }
                    piece(seen, json!({"tool_calls": [call]}), None)
                }
                None => Vec::new(),
            },
            "contentBlockDelta" => match text(&body, "/delta/toolUse/input") {
                Some(arguments) => {
                    let place = self.tools.iter().position(|known| *known == block).unwrap_or_default();
                    let index = if complete { place as u64 } else { block };
                    let call = json!({"index": index, "function": {"arguments": arguments}});
                    piece(seen, json!({"tool_calls": [call]}), None)
                }
                None => {
                    let written = text(&body, "/delta/text");
                    if written.is_none() && complete {
                        return Vec::new();
                    }
                    seen.note(written.unwrap_or_default());
                    piece(seen, json!({"content": written.unwrap_or_default()}), None)
                }
            },
            "messageStop" => {
                let reason = finish(text(&body, "/stopReason").unwrap_or_default());
                seen.finish = Some(reason);
                // otherwise the reason goes with the usage that follows
                if complete { Vec::new() } else { piece(seen, json!({}), Some(reason)) }
            }
            "metadata" => {
                seen.usage = usage(call, &body);
                vec![Chunk::Done]
            }
            "exception" => {
                let kind = text(&body, "/type").unwrap_or("server_error");
                vec![error_chunk(kind, text(&body, "/message").unwrap_or_default())]
            }
            _ => Vec::new(),
        }
    }
}

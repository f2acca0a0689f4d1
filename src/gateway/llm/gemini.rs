//! Google's Gemini, public or on Vertex.

use super::cost::Usage;
use super::embeddings::{self, Format};
use super::endpoint::operation;
use super::framing::Event;
use super::json::{add_result, content_text, count, list, object, rename, text};
use super::openai::merge_options;
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError};
use serde_json::{Value as Json, json};

pub(super) struct Gemini;

/// Whether a call goes to Vertex, not to the public API.
fn is_vertex(call: &Call) -> bool {
    let options = &call.model.options;
    options.gemini_api_endpoint.is_some()
        && options.gemini_project_id.is_some()
        && options.gemini_location_id.is_some()
}

fn embedding(call: &Call) -> &'static Format {
    if is_vertex(call) { &embeddings::VERTEX } else { &embeddings::GEMINI }
}

impl Provider for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let operation = match call.route {
            Route::Embeddings if is_vertex(call) => "predict",
            Route::Embeddings => "batchEmbedContents",
            _ if call.streaming => "streamGenerateContent",
            _ => "generateContent",
        };
        let (options, model) = (&call.model.options, call.model_name());
        Ok(match (&options.gemini_api_endpoint, &options.gemini_project_id, &options.gemini_location_id) {
            (Some(endpoint), Some(project), Some(location)) => format!(
                "https://{endpoint}/v1/projects/{project}/locations/{location}/publishers/google/models/{model}:{operation}"
            ),
            _ => format!("https://generativelanguage.googleapis.com/v1beta/models/{model}:{operation}"),
        })
    }

    fn other_path(&self, call: &Call, path: &str) -> Option<String> {
        let (whole, stream) = (":generateContent", ":streamGenerateContent");
        if call.route == Route::Embeddings {
            return operation(path, ":batchEmbedContents", ":embedContent");
        }
        if call.streaming { operation(path, stream, whole) } else { operation(path, whole, stream) }
    }

    fn query(&self, call: &Call) -> Vec<(&'static str, String)> {
        // otherwise Gemini sends one long array
        let asks = call.streaming && call.dialect.complete_requests;
        asks.then(|| ("alt", "sse".to_owned())).into_iter().collect()
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        let wrong =
            |reason: String| TransformError::Request { provider: "gemini", route: call.route.name(), reason };
        match call.route {
            Route::Chat => {}
            Route::Embeddings => return embedding(call).request(call, &body),
            Route::Preserve => return Ok(Json::Object(body)),
            route => return Err(TransformError::NoOperation { provider: self.name(), route: route.name() }),
        }
        merge_options(&mut body, &call.model.options);
        let complete = call.dialect.complete_requests;
        let (contents, system) = contents(&body, complete).map_err(wrong)?;
        if system.is_some() && call.model_name().starts_with("gemini-1.0") {
            return Err(wrong("system prompts aren't supported on gemini-1.0 models".into()));
        }
        let params = Params::new(call, &body);
        let generation = object([
            ("maxOutputTokens", params.max_tokens()),
            ("stopSequences", params.stops()),
            ("temperature", params.take("temperature")),
            ("topK", params.take("top_k")),
            ("topP", params.take("top_p")),
            ("candidateCount", params.more("n").filter(|n| *n != json!(1))),
            ("seed", params.more("seed")),
            ("presencePenalty", params.more("presence_penalty")),
            ("frequencyPenalty", params.more("frequency_penalty")),
            ("responseMimeType", params.wants_json().then(|| "application/json".into())),
            ("responseJsonSchema", params.schema()),
        ]);
        let tools = params.functions().into_iter().map(|function| declaration(function, complete));
        let tools: Vec<Json> = tools.collect();
        Ok(Json::Object(object([
            ("contents", Some(contents).filter(|contents| !contents.is_empty()).map(Json::from)),
            ("systemInstruction", system.map(|system| json!({"parts": [{"text": system}]}))),
            ("generationConfig", Some(Json::Object(generation))),
            ("tools", (!tools.is_empty()).then(|| json!([{"function_declarations": tools}]))),
            ("tool_config", params.take("tool_config")),
            ("toolConfig", params.more("tool_choice").as_ref().and_then(tool_choice)),
        ])))
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if call.route == Route::Embeddings {
            return embedding(call).answer(call, body);
        }
        let wrong = |reason: &str| TransformError::Answer {
            provider: "gemini",
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json =
            serde_json::from_slice(body).map_err(|_| wrong("failed to decode response from Gemini"))?;
        let candidates = list(&body, "/candidates");
        let complete = call.dialect.complete_answers;
        let blocked = complete && text(&body, "/promptFeedback/blockReason").is_some();
        if candidates.is_empty() && !blocked {
            return Err(wrong("no generation candidates received from Gemini, or max_tokens too short"));
        }
        let usage = usage(call, &body);
        let mut choices: Vec<Json> = candidates
            .iter()
            .take(if complete { usize::MAX } else { 1 })
            .enumerate()
            .map(|(index, candidate)| choice(call, index, candidate))
            .collect();
        if candidates.is_empty() {
            choices.push(json!({"index": 0, "message": {"role": "assistant", "content": ""},
                                "finish_reason": "content_filter"}));
        }
        let first = candidates.first().filter(|_| !complete);
        if first.is_some_and(|first| {
            written(first, false).is_none() && tool_calls(call, first, 0, false).is_empty()
        }) {
            choices.clear();
        }
        let mut result = json!({
            "id": call.answer_id(text(&body, "/responseId")),
            "object": "chat.completion",
            "created": call.now,
            "model": call.model_name(),
            // Kong 3.10 writes an empty list as an object
            "choices": if choices.is_empty() { json!({}) } else { choices.into() },
        });
        if let Some(members) = result.as_object_mut() {
            if complete || body.get("usageMetadata").is_some() {
                members.insert("usage".into(), usage.to_json());
            }
            // and names the type of texts only
            if first.is_some_and(|first| written(first, false).is_none()) {
                members.remove("object");
            }
        }
        Ok(Answer { body: Some(result), usage, model: text(&body, "/modelVersion").map(str::to_owned) })
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

/// Gemini's finish reasons in OpenAI's terms.
fn finish(reason: &str) -> &'static str {
    match reason {
        "MAX_TOKENS" => "length",
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            "content_filter"
        }
        _ => "stop",
    }
}

/// Thoughts count as part of the answer, as OpenAI counts its own. Kong 3.10 knows neither them nor the cache.
fn usage(call: &Call, body: &Json) -> Usage {
    let at = |field: &str| count(body, &format!("/usageMetadata/{field}"));
    let more = |field: &str| at(field).filter(|_| call.dialect.complete_answers);
    let thoughts = more("thoughtsTokenCount").unwrap_or_default();
    Usage {
        prompt: at("promptTokenCount"),
        completion: at("candidatesTokenCount").map(|tokens| tokens + thoughts),
        total: at("totalTokenCount"),
        cached: more("cachedContentTokenCount"),
    }
}

/// What JSON Schema has and the notation of Gemini's `parameters` has not.
const JSON_SCHEMA_ONLY: [&str; 3] = ["additionalProperties", "$defs", "$schema"];

/// A function, its parameters under the name that fits their notation.
fn declaration(function: &Json, complete: bool) -> Json {
    let mut declaration = function.clone();
    if let Some(members) = declaration.as_object_mut().filter(|_| complete) {
        members.remove("strict");
        let parameters = members.get("parameters").unwrap_or(&Json::Null);
        if JSON_SCHEMA_ONLY.iter().any(|word| parameters.get(word).is_some()) {
            rename(members, "parameters", "parametersJsonSchema");
        }
    }
    declaration
}

fn tool_choice(choice: &Json) -> Option<Json> {
    let config = match choice.as_str() {
        Some("auto") => json!({"mode": "AUTO"}),
        Some("none") => json!({"mode": "NONE"}),
        Some("required") => json!({"mode": "ANY"}),
        Some(_) => return None,
        None => json!({"mode": "ANY", "allowedFunctionNames": [text(choice, "/function/name")?]}),
    };
    Some(json!({"functionCallingConfig": config}))
}

/// Gemini's contents and the system prompts, joined.
fn contents(body: &Map, complete: bool) -> Result<(Vec<Json>, Option<String>), String> {
    let mut contents: Vec<Json> = Vec::new();
    let mut system: Option<String> = None;
    // Gemini names a result by its function, OpenAI by the call's id.
    let mut names: Vec<(String, String)> = Vec::new();
    for (place, message) in body.get("messages").and_then(Json::as_array).into_iter().flatten().enumerate() {
        let content = message.get("content").unwrap_or(&Json::Null);
        let calls = list(message, "/tool_calls");
        match text(message, "/role") {
            Some("system") => system.get_or_insert_default().push_str(&content_text(content)),
            Some("developer") if complete => system.get_or_insert_default().push_str(&content_text(content)),
            Some("tool") if complete => {
                let id = text(message, "/tool_call_id").unwrap_or_default();
                let name = names.iter().find(|(known, _)| known == id).map_or(id, |(_, name)| name);
                let written = content_text(content);
                let result = match serde_json::from_str::<Json>(&written) {
                    Ok(result @ Json::Object(_)) => result,
                    Ok(result) => json!({"result": result}),
                    Err(_) => json!({"result": written}),
                };
                let response = json!({"functionResponse": {"name": name, "response": result}});
                add_result(&mut contents, "parts", response, true);
            }
            Some("tool") => contents.push(json!({"role": "function", "parts": [
                {"function_response": {"response": {"content": [content]}, "name": "get_product_info"}}]})),
            Some("assistant") if !calls.is_empty() => {
                let mut parts = Vec::new();
                if complete && !content_text(content).is_empty() {
                    parts.push(json!({"text": content_text(content)}));
                }
                for call in calls {
                    let name = text(call, "/function/name").unwrap_or_default();
                    names.push((text(call, "/id").unwrap_or_default().to_owned(), name.to_owned()));
                    let arguments = text(call, "/function/arguments").unwrap_or("{}");
                    parts.push(if complete {
                        let arguments = serde_json::from_str::<Json>(arguments).unwrap_or_else(|_| json!({}));
                        json!({"functionCall": {"name": name, "args": arguments}})
                    } else {
                        json!({"function_call": {"name": name}})
                    });
                }
                contents.push(json!({"role": if complete { "model" } else { "function" }, "parts": parts}));
            }
            role => {
                let role = match role {
                    Some("assistant") => Some("model"),
                    // Kong 3.10 leaves out roles that it does not know
                    Some(role) if !complete && role != "user" => None,
                    _ => Some("user"),
                };
                let parts = parts(content, place, complete)?;
                contents.push(Json::Object(object([
                    ("role", role.map(Json::from)),
                    ("parts", Some(parts.into())),
                ])));
            }
        }
    }
    Ok((contents, system))
}

/// Content in Gemini's parts.
fn parts(content: &Json, place: usize, complete: bool) -> Result<Vec<Json>, String> {
    let Some(parts) = content.as_array() else {
        return Ok(content.as_str().map(|written| json!({"text": written})).into_iter().collect());
    };
    if parts.is_empty() {
        return Err(format!("message at position {} does not match expected array format", place + 1));
    }
    parts
        .iter()
        .map(|part| match (text(part, "/type"), text(part, "/text"), text(part, "/image_url/url")) {
            (Some("text"), Some(written), _) => Ok(json!({"text": written})),
            (Some("text"), None, _) => {
                Err("message part type is 'text' but is missing .text block".to_owned())
            }
            (Some("image_url"), _, None) => {
                Err("message part type is 'image_url' but is missing .image_url.url block".to_owned())
            }
            (Some("image_url"), _, Some(url)) => image(url, complete),
            (kind, ..) => {
                Err(format!("cannot transform part of type '{}' to Gemini format", kind.unwrap_or("nil")))
            }
        })
        .collect()
}

fn image(url: &str, complete: bool) -> Result<Json, String> {
    if url.len() < 10 {
        return Err(
            "could not decode OpenAI image-part, image URL is less than 10 bytes, which is not parsable"
                .to_owned(),
        );
    }
    Ok(match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, data)) => json!({"inlineData": {"data": data, "mimeType": kind}}),
        None => {
            let kind = image_type(url).filter(|_| complete).unwrap_or("image/generic");
            json!({"fileData": {"fileUri": url, "mimeType": kind}})
        }
    })
}

/// The type of an image by the end of its address, of those that Gemini reads.
fn image_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, extension) = path.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "heic" => Some("image/heic"),
        "heif" => Some("image/heif"),
        _ => None,
    }
}

/// The tool calls among a candidate's parts, numbered from `first`.
fn tool_calls(call: &Call, candidate: &Json, first: usize, indexed: bool) -> Vec<Json> {
    let functions = list(candidate, "/content/parts").iter().filter_map(|part| part.get("functionCall"));
    functions
        .zip(first..)
        .map(|(function, index)| {
            let arguments = function.get("args").cloned().unwrap_or_else(|| json!({})).to_string();
            let mut tool = object([
                ("function", Some(json!({"name": text(function, "/name"), "arguments": arguments}))),
                ("type", Some("function".into())),
            ]);
            if call.dialect.complete_answers {
                let id =
                    text(function, "/id").map_or_else(|| format!("call_{}_{index}", call.id), str::to_owned);
                tool.insert("id".into(), id.into());
                if indexed {
                    tool.insert("index".into(), index.into());
                }
            } else if !indexed {
                tool.remove("type");
            }
            Json::Object(tool)
        })
        .collect()
}

/// A candidate's text, thoughts left out. Kong 3.10 reads the first part only.
fn written(candidate: &Json, complete: bool) -> Option<String> {
    let parts = list(candidate, "/content/parts");
    if !complete {
        return parts.first().and_then(|part| text(part, "/text")).map(str::to_owned);
    }
    let texts: Vec<&str> = parts
        .iter()
        .filter(|part| part.get("thought") != Some(&Json::Bool(true)))
        .filter_map(|part| text(part, "/text"))
        .collect();
    (!texts.is_empty()).then(|| texts.concat())
}

fn choice(call: &Call, index: usize, candidate: &Json) -> Json {
    let complete = call.dialect.complete_answers;
    let content = written(candidate, complete);
    let tools =
        if complete || content.is_none() { tool_calls(call, candidate, 0, false) } else { Vec::new() };
    let reason = text(candidate, "/finishReason").map(finish);
    let finish = match reason {
        Some("stop") | None if !tools.is_empty() => Some("tool_calls"),
        other => other,
    };
    let mut message = object([("role", Some("assistant".into())), ("content", content.map(Json::from))]);
    if complete {
        message.entry("content").or_insert(if tools.is_empty() { "".into() } else { Json::Null });
    }
    if !tools.is_empty() {
        message.insert("tool_calls".into(), tools.into());
    }
    json!({"index": index, "message": message, "finish_reason": finish})
}

/// Gemini's stream: whole answers, each with the next piece.
#[derive(Default)]
struct Stream {
    tools: usize,
    started: bool,
}

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        if event.data == "[DONE]" {
            return vec![Chunk::Done];
        }
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        if let Some(message) = text(&body, "/error/message") {
            return vec![error_chunk(text(&body, "/error/status").unwrap_or("server_error"), message)];
        }
        let complete = call.dialect.complete_answers;
        seen.id = seen.id.take().or_else(|| text(&body, "/responseId").map(str::to_owned));
        seen.model = seen.model.take().or_else(|| text(&body, "/modelVersion").map(str::to_owned));
        seen.usage = usage(call, &body).or(seen.usage);
        let candidate = body.pointer("/candidates/0").cloned().unwrap_or_default();
        let content = written(&candidate, complete);
        let tools = if complete || content.is_none() {
            tool_calls(call, &candidate, self.tools, true)
        } else {
            Vec::new()
        };
        let reason = text(&candidate, "/finishReason");
        self.tools += tools.len();
        if let Some(reason) = reason {
            let reason = finish(reason);
            seen.finish = Some(if self.tools > 0 && reason == "stop" { "tool_calls" } else { reason });
        }
        if content.is_none() && tools.is_empty() {
            return Vec::new();
        }
        let mut delta = Map::new();
        if content.is_some() && (!complete || !self.started) {
            delta.insert("role".into(), "assistant".into());
        }
        if let Some(content) = content {
            seen.note(&content);
            delta.insert("content".into(), content.into());
        }
        if !tools.is_empty() {
            delta.insert("tool_calls".into(), tools.into());
        }
        self.started = true;
        // otherwise the reason goes into a chunk of its own, at the end
        let reason = seen.finish.filter(|_| !complete);
        let mut piece = chunk(call, seen, Json::Object(delta), reason);
        if !complete && let Some(members) = piece.as_object_mut() {
            // Kong 3.10 leaves the type out
            members.remove("object");
        }
        vec![Chunk::Json(piece)]
    }
}

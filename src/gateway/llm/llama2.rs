//! Llama 2 models hosted by oneself: a raw prompt, Ollama's format, or OpenAI's.

use super::endpoint::operation;
use super::framing::Event;
use super::json::{count, object, text};
use super::params::Params;
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError, Usage, ollama, openai};
use serde_json::{Value as Json, json};

pub(super) struct Llama2;

#[derive(PartialEq)]
enum Format {
    Raw,
    Ollama,
    OpenAi,
}

fn format(call: &Call) -> Format {
    match call.model.options.llama2_format.as_deref() {
        Some("ollama") => Format::Ollama,
        Some("openai") => Format::OpenAi,
        _ => Format::Raw,
    }
}

impl Provider for Llama2 {
    fn name(&self) -> &'static str {
        "llama2"
    }

    fn address(&self, _call: &Call) -> Result<String, TransformError> {
        Err(TransformError::Endpoint("must set model.options.upstream_url for llama2 provider".into()))
    }

    fn other_path(&self, call: &Call, path: &str) -> Option<String> {
        let (whole, stream) = ("/generate", "/generate_stream");
        match format(call) {
            Format::Raw if call.streaming => operation(path, stream, whole),
            Format::Raw => operation(path, whole, stream),
            _ => None,
        }
    }

    fn request(&self, call: &Call, body: Map) -> Result<Json, TransformError> {
        match format(call) {
            Format::Ollama => ollama::request(call, body),
            Format::OpenAi => openai::request(self.name(), call, body, call.dialect.ask_stream_usage),
            Format::Raw => Ok(raw_request(call, body)),
        }
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        match format(call) {
            Format::Ollama => ollama::answer(self.name(), call, body),
            Format::OpenAi => openai::answer(self.name(), call, body),
            Format::Raw => raw_answer(call, body).map_err(|reason| TransformError::Answer {
                provider: self.name(),
                route: call.route.name().into(),
                reason,
            }),
        }
    }

    fn stream(&self, call: &Call) -> Box<dyn Translate> {
        match format(call) {
            Format::Ollama => Box::new(ollama::Stream::default()),
            Format::OpenAi => Box::new(openai::Relay::default()),
            Format::Raw => Box::new(RawStream::default()),
        }
    }

    fn manners(&self) -> Manners {
        Manners { counts_stream_tokens: true, ..Manners::default() }
    }
}

/// The conversation as one text with the model's own marks: the system prompt goes before the first question.
fn conversation(messages: &[Json]) -> String {
    let (mut prompt, mut system) = (String::new(), String::new());
    for message in messages {
        let content = message.get("content").map(super::json::content_text).unwrap_or_default();
        match text(message, "/role") {
            Some("system" | "developer") => {
                let between = if system.is_empty() { "" } else { "\n\n" };
                system.extend([between, &content]);
            }
            Some("assistant") => prompt.push_str(&format!(" {content} </s>")),
            _ => {
                let system = match std::mem::take(&mut system) {
                    system if system.is_empty() => system,
                    system => format!("<<SYS>>\n{system}\n<</SYS>>\n\n"),
                };
                prompt.push_str(&format!("<s>[INST] {system}{content} [/INST]"));
            }
        }
    }
    prompt
}

/// The same as Kong 3.10 writes it: the first message is the system prompt, the second the question, whoever said
/// them, and answers are left out.
fn instructions(messages: &[Json]) -> String {
    let mut prompt = String::new();
    for (place, message) in messages.iter().enumerate() {
        let content = message.get("content").map(super::json::content_text).unwrap_or_default();
        let text = match (place, text(message, "/role")) {
            (0, _) => format!("<s>[INST] <<SYS>> {content} <</SYS>>"),
            (1, _) => format!(" {content} [/INST]"),
            (_, Some("system")) => format!(" {content} </s>"),
            (_, Some("user")) => format!(" <s>[INST] {content} [/INST]"),
            _ => continue,
        };
        prompt.push_str(&text);
    }
    prompt
}

fn raw_request(call: &Call, mut body: Map) -> Json {
    openai::merge_options(&mut body, &call.model.options);
    let params = Params::new(call, &body);
    let take = |key: &str| params.take(key);
    let parameters = object([
        ("max_new_tokens", params.max_tokens()),
        ("stop", call.dialect.complete_requests.then(|| params.stops()).flatten()),
        ("top_p", take("top_p")),
        ("top_k", take("top_k")),
        ("temperature", take("temperature")),
        ("stream", Some(call.streaming.into())),
    ]);
    let inputs =
        match (body.get("messages").and_then(Json::as_array), body.get("prompt").and_then(Json::as_str)) {
            (Some(messages), _) if call.dialect.complete_requests => Some(conversation(messages)),
            (Some(messages), _) => Some(instructions(messages)),
            (None, Some(prompt)) => {
                Some(format!("<s> [INST] <<SYS>> You are a helpful assistant. <<SYS>> {prompt} [/INST]"))
            }
            (None, None) => None,
        };
    Json::Object(object([("inputs", inputs.map(Json::from)), ("parameters", Some(Json::Object(parameters)))]))
}

/// The answer of a text-generation server. Kong 3.10 reads `{"data": [{"generated_text"}]}` only; servers send the
/// list itself, or its item.
fn raw_answer(call: &Call, body: &[u8]) -> Result<Answer, String> {
    let body: Json = serde_json::from_slice(body).map_err(|_| "failed to decode llama2 response")?;
    let complete = call.dialect.complete_answers;
    let item = match body.get("data").and_then(Json::as_array) {
        Some(data) if data.len() == 1 => data.first(),
        Some(_) => None,
        None if !complete => None,
        None => body.as_array().map_or(Some(&body), |items| items.first()),
    };
    let item = item.ok_or("cannot parse response from llama2 endpoint")?;
    let generated = text(item, "/generated_text").ok_or("response data is empty from llama2 endpoint")?;
    let reply = generated.rsplit("[/INST]").next().unwrap_or(generated).trim();
    let counted = count(item, "/details/generated_tokens").filter(|_| complete);
    let usage = body.get("usage").map(Usage::from_openai).unwrap_or_default().or(Usage::new(None, counted));
    let usage = call.counted(usage, reply.chars().count());
    let finish = if complete { finish(item) } else { "stop" };
    let choice = if call.route == Route::Completions {
        json!({"index": 0, "text": reply, "finish_reason": finish, "logprobs": null})
    } else {
        json!({"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": finish})
    };
    let mut result = json!({
        "id": call.answer_id(None),
        "object": if call.route == Route::Completions { "text_completion" } else { "chat.completion" },
        "created": call.now,
        "choices": [choice],
    });
    if let Some(members) = result.as_object_mut() {
        if complete {
            members.insert("model".into(), call.model_name().into());
            members.insert("usage".into(), usage.to_json());
        } else if let Some(given) = body.get("usage") {
            members.insert("usage".into(), given.clone());
        }
    }
    Ok(Answer { body: Some(result), usage, model: None })
}

/// The stream of a text-generation server: `{"token": {"text"}, "generated_text"}` an event.
#[derive(Default)]
struct RawStream {
    started: bool,
}

/// Why the model stopped, in OpenAI's terms.
pub(super) fn finish(item: &Json) -> &'static str {
    if text(item, "/details/finish_reason") == Some("length") { "length" } else { "stop" }
}

impl Translate for RawStream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        if let Some(message) = text(&body, "/error").filter(|_| call.dialect.complete_answers) {
            return vec![error_chunk("server_error", message)];
        }
        let mut chunks = Vec::new();
        let special = body.pointer("/token/special").and_then(Json::as_bool).unwrap_or(false);
        if let Some(token) = text(&body, "/token/text").filter(|_| !special) {
            seen.note(token);
            let first = call.dialect.complete_answers && !std::mem::replace(&mut self.started, true);
            let delta =
                object([("role", first.then(|| "assistant".into())), ("content", Some(token.into()))]);
            chunks.push(Chunk::Json(chunk(call, seen, Json::Object(delta), None)));
        }
        if body.get("generated_text").is_some_and(|generated| !generated.is_null()) {
            seen.finish = Some(finish(&body));
            seen.usage.completion = count(&body, "/details/generated_tokens");
            chunks.push(Chunk::Done);
        }
        chunks
    }
}

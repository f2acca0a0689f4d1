//! OpenAI: the format that everything else is translated to and from. Also used by the providers that speak it.

use super::cost::Usage;
use super::framing::Event;
use super::json::text;
use super::stream::{Chunk, Seen, Translate};
use super::{Answer, Call, Manners, Map, Options, Provider, Route, TransformError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, Value as Json, json};

/// OpenAI itself.
pub(super) struct OpenAi;

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        Ok(format!("https://api.openai.com:443{}", path(call.route)))
    }

    fn request(&self, call: &Call, body: Map) -> Result<Json, TransformError> {
        request(self.name(), call, body, call.dialect.ask_stream_usage)
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        answer(self.name(), call, body)
    }

    fn stream(&self, _call: &Call) -> Box<dyn Translate> {
        Box::new(Relay::default())
    }

    fn manners(&self) -> Manners {
        Manners { relays: true, drops_cookies: true, ..Manners::default() }
    }
}

/// The path of an operation below the address of an OpenAI-compatible API.
pub(super) fn path(route: Route) -> &'static str {
    match route {
        Route::Chat => "/v1/chat/completions",
        Route::Completions => "/v1/completions",
        Route::Embeddings => "/v1/embeddings",
        Route::Responses => "/v1/responses",
        Route::Relay(relayed) => relayed.path,
        Route::Preserve | Route::Other => "/",
    }
}

/// The configured options over the request's own, as for every provider.
pub(super) fn merge_options(body: &mut Map, options: &Options) {
    let mut set = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    set("temperature", options.temperature.map(number));
    set("max_tokens", options.max_tokens.map(Json::from));
    set("top_p", options.top_p.map(number));
    set("top_k", options.top_k.map(Json::from));
}

/// A number without a needless fraction.
pub(super) fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        Json::from(value as i64)
    } else {
        Number::from_f64(value).map_or(Json::Null, Json::Number)
    }
}

/// A request in OpenAI's own format, with the configured model and options.
pub(super) fn request(
    provider: &'static str,
    call: &Call,
    mut body: Map,
    ask_usage: bool,
) -> Result<Json, TransformError> {
    let generates = match call.route {
        Route::Chat | Route::Completions => true,
        Route::Embeddings | Route::Responses | Route::Relay(_) => false,
        Route::Preserve => return Ok(Json::Object(body)),
        Route::Other => return Err(TransformError::NoOperation { provider, route: call.route.name() }),
    };
    if generates {
        merge_options(&mut body, &call.model.options);
        body.remove("top_k");
        body.insert("stream".into(), call.streaming.into());
        if call.streaming && ask_usage {
            let options = body.entry("stream_options").or_insert_with(|| json!({}));
            if let Some(options) = options.as_object_mut() {
                options.insert("include_usage".into(), true.into());
            }
        }
    }
    if let Some(name) = &call.model.name {
        body.insert("model".into(), name.as_str().into());
    }
    Ok(Json::Object(body))
}

/// What is read of an answer that is passed on as it is.
#[derive(Default, Deserialize)]
struct Glance {
    choices: Option<IgnoredAny>,
    data: Option<IgnoredAny>,
    output: Option<IgnoredAny>,
    usage: Option<Json>,
    model: Option<String>,
}

/// Looks at an answer in OpenAI's own format, which stays as it is.
pub(super) fn answer(provider: &'static str, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
    let wrong = |reason: String| TransformError::Answer { provider, route: call.route.name().into(), reason };
    let glance: Glance = serde_json::from_slice(body)
        .map_err(|_| wrong(format!("failed to decode {} response", call.route.name())))?;
    let (expected, there) = match call.route {
        Route::Embeddings => ("data", glance.data.is_some()),
        Route::Responses => ("output", glance.output.is_some()),
        _ => ("choices", glance.choices.is_some()),
    };
    if !there {
        return Err(wrong(format!("'{expected}' not in {} response", call.route.name())));
    }
    let usage = glance.usage.as_ref().map(Usage::from_openai).unwrap_or_default();
    Ok(Answer { body: None, usage, model: glance.model })
}

/// Passes chunks on as they are, but for the usage: one that was asked for in the client's stead gets a choice, so
/// that clients that read `choices[0]` of every chunk go on working; one that the client asked for stands in a chunk
/// of its own, also where the provider tells it beside the last choice (Mistral).
#[derive(Default)]
pub(super) struct Relay {
    /// The chunk of the usage that was told beside a choice.
    owed: Option<Json>,
}

#[derive(Deserialize)]
struct ChunkGlance {
    #[serde(default)]
    choices: Vec<Json>,
    usage: Option<Json>,
    model: Option<String>,
    id: Option<String>,
    /// Of the events of OpenAI's responses.
    response: Option<Glance>,
}

impl Translate for Relay {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        if event.data == "[DONE]" {
            return self.owed.take().map(Chunk::Json).into_iter().chain([Chunk::Done]).collect();
        }
        let Ok(glance) = serde_json::from_str::<ChunkGlance>(&event.data) else {
            return vec![Chunk::Text(event.data.clone())];
        };
        if let Some(choice) = glance.choices.first() {
            let written = text(choice, "/delta/content").or_else(|| text(choice, "/text"));
            seen.note(written.unwrap_or_default());
        }
        let response = glance.response.unwrap_or_default();
        seen.id = seen.id.take().or(glance.id);
        seen.model = seen.model.take().or(glance.model).or(response.model);
        let usage = glance.usage.or(response.usage).filter(|usage| !usage.is_null());
        if let Some(usage) = &usage {
            seen.usage = Usage::from_openai(usage);
        }
        if usage.is_some() && call.usage_chunk && call.dialect.complete_answers {
            self.owed = None;
            if let Some((chunk, owed)) = apart(&event.data).filter(|_| !glance.choices.is_empty()) {
                self.owed = Some(owed);
                return vec![Chunk::Json(chunk)];
            }
        }
        let asked_for_itself = call.dialect.ask_stream_usage
            && !call.usage_chunk
            && glance.choices.is_empty()
            && usage.is_some();
        if asked_for_itself && let Ok(mut chunk) = serde_json::from_str::<Json>(&event.data) {
            let choice = if call.route == Route::Completions {
                json!({"index": 0, "text": "", "finish_reason": null, "logprobs": null})
            } else {
                json!({"index": 0, "delta": {}, "finish_reason": null})
            };
            if let Some(members) = chunk.as_object_mut() {
                members.insert("choices".into(), json!([choice]));
            }
            return vec![Chunk::Json(chunk)];
        }
        vec![Chunk::Text(event.data.clone())]
    }
}

/// A chunk without its usage, and the usage in a chunk of its own.
fn apart(chunk: &str) -> Option<(Json, Json)> {
    let mut chunk: Map = serde_json::from_str(chunk).ok()?;
    let mut usage = chunk.clone();
    usage.insert("choices".into(), json!([]));
    chunk.remove("usage");
    Some((Json::Object(chunk), Json::Object(usage)))
}

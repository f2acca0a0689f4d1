//! The APIs that the mock provider speaks: one row for each, and which of them a request is meant for.

use super::reply::Ask;
use super::{anthropic, bedrock, cohere, embeddings, gemini, generation, ollama, openai};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value as Json;

/// What a provider's API has of its own.
pub(super) struct Api {
    /// Its name, told in the response header `x-mock-llm`.
    pub(super) name: &'static str,
    /// The header in which it names a request.
    pub(super) id_header: &'static str,
    /// The content type of its streams.
    pub(super) stream_type: &'static str,
    /// What a request asks.
    pub(super) ask: fn(&Question<'_>) -> Result<Ask, Wrong>,
    /// The whole answer.
    pub(super) whole: fn(&Ask) -> Json,
    /// The pieces of a stream, as they go onto the wire.
    pub(super) pieces: fn(&Ask) -> Vec<Bytes>,
    /// An error.
    pub(super) error: fn(&Problem<'_>) -> Json,
    /// An error in the middle of a stream, as it goes onto the wire.
    pub(super) broken: fn(&Json) -> Bytes,
}

/// A request.
pub(super) struct Question<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) host: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// Its body; `null` if it is not JSON.
    pub(super) body: &'a Json,
    /// The file in its form: name and content.
    pub(super) file: Option<&'a (String, Bytes)>,
    /// An id that is the same for the same request.
    pub(super) id: &'a str,
}

/// What a request lacks that the provider insists on: a 400.
pub(super) struct Wrong {
    pub(super) message: String,
    /// The parameter that is wrong, where the API names it.
    pub(super) param: Option<&'static str>,
}

impl From<&str> for Wrong {
    fn from(message: &str) -> Self {
        Wrong { message: message.to_owned(), param: None }
    }
}

/// Why a request is not answered.
pub(super) struct Problem<'a> {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
    /// The request's id.
    pub(super) id: &'a str,
}

impl Problem<'_> {
    /// A problem of this status.
    pub(super) fn new(status: StatusCode, message: &str) -> Problem<'static> {
        Problem { status, message: message.to_owned(), param: None, id: "" }
    }
}

/// What is answered without a conversation.
pub(super) struct Found {
    pub(super) status: StatusCode,
    pub(super) api: &'static Api,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Found {
    /// A JSON answer.
    pub(super) fn json(api: &'static Api, status: StatusCode, body: &Json) -> Found {
        Found { status, api, content_type: "application/json", body: body.to_string().into() }
    }
}

/// What a GET finds: models.
pub(super) fn looked_up(question: &Question<'_>) -> Option<Found> {
    anthropic::models(question)
        .or_else(|| gemini::models(question.path))
        .or_else(|| ollama::models(question.path))
        .or_else(|| openai::models(question))
}

/// What is counted and not answered.
pub(super) fn counted(question: &Question<'_>) -> Option<Found> {
    anthropic::count(question).or_else(|| gemini::count(question))
}

/// The APIs by the ends of their paths. Azure's and Hugging Face's addresses end like OpenAI's.
const BY_END: [(&str, &Api); 20] = [
    ("/chat/completions", &openai::CHAT),
    ("/completions", &openai::COMPLETIONS),
    ("/embeddings", &openai::EMBEDDINGS),
    ("/responses", &openai::RESPONSES),
    ("/v1/messages", &anthropic::MESSAGES),
    ("/v1/complete", &anthropic::COMPLETE),
    (":generateContent", &gemini::GENERATE),
    ("/v1/chat", &cohere::CHAT),
    ("/v2/chat", &cohere::CHAT_2),
    ("/embed", &embeddings::COHERE),
    (":batchEmbedContents", &embeddings::GEMINI),
    (":predict", &embeddings::VERTEX),
    ("/invoke", &embeddings::BEDROCK),
    ("/v1/generate", &cohere::GENERATE),
    ("/converse", &bedrock::CONVERSE),
    ("/converse-stream", &bedrock::CONVERSE),
    ("/api/chat", &ollama::CHAT),
    ("/api/generate", &ollama::GENERATE),
    ("/generate", &generation::GENERATE),
    ("/generate_stream", &generation::GENERATE),
];

/// The API that a request is meant for: by its path or, for a bare address, by its form.
pub(super) fn of(question: &Question<'_>) -> Option<&'static Api> {
    let path = question.path;
    if path == "/" {
        return Some(by_form(question));
    }
    if path.ends_with(":streamGenerateContent") {
        let sse = url::form_urlencoded::parse(question.query.as_bytes())
            .any(|(key, value)| key == "alt" && value == "sse");
        return Some(if sse { &gemini::GENERATE } else { &gemini::GENERATE_ARRAY });
    }
    if path.contains("/models/") && question.body.get("inputs").is_some() {
        let is_list = question.body.get("inputs").is_some_and(Json::is_array);
        return Some(if is_list { &embeddings::HUGGINGFACE } else { &generation::GENERATE });
    }
    BY_END.iter().find(|(end, _)| path.ends_with(end)).map(|(_, api)| *api)
}

fn by_form(question: &Question<'_>) -> &'static Api {
    let has = |name: &str| question.body.get(name).is_some();
    match () {
        () if question.headers.contains_key("anthropic-version") && has("messages") => &anthropic::MESSAGES,
        () if has("contents") => &gemini::GENERATE,
        () if has("inputs") => &generation::GENERATE,
        () if has("message") => &cohere::CHAT,
        () if has("inferenceConfig") => &bedrock::CONVERSE,
        () if has("options") && has("messages") => &ollama::CHAT,
        () if has("options") && has("prompt") => &ollama::GENERATE,
        () if has("input") => &openai::RESPONSES,
        () if has("prompt") => &openai::COMPLETIONS,
        () => &openai::CHAT,
    }
}

/// Texts that a member holds: a list, or one.
pub(super) fn texts(member: Option<&Json>) -> Vec<String> {
    match member {
        Some(Json::String(text)) => vec![text.clone()],
        Some(Json::Array(items)) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

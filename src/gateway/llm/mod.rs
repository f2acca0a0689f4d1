//! AI providers, one file each: requests and answers between OpenAI's format and theirs.
//!
//! Everything here is pure: values in, values out, with time and fresh ids passed in. What does not live here:
//! connections, plugins and their configuration's lifecycle (`gateway::plugins`), and the mock provider.

#[cfg(test)]
mod adapter_tests;
mod anthropic;
mod azure;
mod bedrock;
mod cohere;
mod compatible;
mod config;
mod cost;
mod embeddings;
mod endpoint;
mod errors;
mod framing;
mod gemini;
mod huggingface;
mod json;
mod llama2;
mod mistral;
mod native;
mod ollama;
mod openai;
mod params;
mod prompt;
mod sigv4;
mod stream;

pub use config::{Auth, Location, Logging, Model, Options, Param, Target};
pub use cost::{Usage, estimate_tokens};
pub use endpoint::{Credential, Lookup, Remembered, Upstream, credentials, resolve, upstream};
pub use errors::openai_error;
pub use framing::{Event, Framer, aws_message, is_stream_type};
pub use native::Native;
pub use prompt::{Asked, Refusal, Streaming, UNLIMITED, accept, body_limit, parse_body};
pub use sigv4::{Credentials, Signed, sign};
pub use stream::{Chunk, Decoder, Seen, Translate, no_stream};

use crate::schema::Flavor;
use serde_json::Value as Json;
use std::sync::Arc;

/// The members of a JSON object.
pub type Map = serde_json::Map<String, Json>;

/// What an AI route speaks: OpenAI's name of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `llm/v1/chat`: `messages` in, a chat completion out.
    Chat,
    /// `llm/v1/completions`: `prompt` in, a text completion out.
    Completions,
    /// `llm/v1/embeddings`.
    Embeddings,
    /// `llm/v1/responses`.
    Responses,
    /// `preserve`: nothing is looked at or changed but address and credentials.
    Preserve,
    /// Another operation of OpenAI's, for providers that have it: bodies pass as they are.
    Relay(&'static Relayed),
    /// A route type that is accepted in a configuration and not executed here.
    Other,
}

/// An operation of OpenAI's whose bodies pass as they are: images, audio, files ...
#[derive(Debug, PartialEq, Eq)]
pub struct Relayed {
    name: &'static str,
    /// The path at OpenAI.
    path: &'static str,
    /// Whether the request names a model. Otherwise the operation manages objects, whose names stand behind the path.
    has_model: bool,
}

static RELAYED: [Relayed; 9] = [
    model("image/v1/images/generations", "/v1/images/generations"),
    model("image/v1/images/edits", "/v1/images/edits"),
    model("audio/v1/audio/speech", "/v1/audio/speech"),
    model("audio/v1/audio/transcriptions", "/v1/audio/transcriptions"),
    model("audio/v1/audio/translations", "/v1/audio/translations"),
    objects("llm/v1/files", "/v1/files"),
    objects("llm/v1/batches", "/v1/batches"),
    objects("llm/v1/assistants", "/v1/assistants"),
    objects("video/v1/videos/generations", "/v1/videos"),
];

/// What responses are once they are there: objects, behind the path that makes them.
static RESPONSES: Relayed = objects("llm/v1/responses", "/v1/responses");

const fn model(name: &'static str, path: &'static str) -> Relayed {
    Relayed { name, path, has_model: true }
}

const fn objects(name: &'static str, path: &'static str) -> Relayed {
    Relayed { name, path, has_model: false }
}

impl Relayed {
    /// Whether requests name a model.
    pub fn has_model(&self) -> bool {
        self.has_model
    }

    /// What stands behind the operation in a client's path: an object's id ...
    fn rest<'a>(&self, path: &'a str) -> &'a str {
        let word = self.path.trim_start_matches("/v1");
        let rest = path.rsplit_once(word).map(|(_, rest)| rest).filter(|_| !self.has_model);
        rest.filter(|rest| rest.starts_with('/')).unwrap_or_default()
    }
}

impl Route {
    const NAMES: [(&'static str, Route); 5] = [
        ("llm/v1/chat", Route::Chat),
        ("llm/v1/completions", Route::Completions),
        ("llm/v1/embeddings", Route::Embeddings),
        ("llm/v1/responses", Route::Responses),
        ("preserve", Route::Preserve),
    ];

    /// The route of a `route_type`.
    pub fn from_name(name: &str) -> Route {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, route)| *route);
        let relayed = || RELAYED.iter().find(|relayed| relayed.name == name).map(Route::Relay);
        known.or_else(relayed).unwrap_or(Route::Other)
    }

    /// The operation of a request with this path: one for a response that is there already passes as it is.
    pub fn at(self, path: &str) -> Route {
        if self == Route::Responses && !RESPONSES.rest(path).is_empty() {
            return Route::Relay(&RESPONSES);
        }
        self
    }

    /// The `route_type`, as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Route::Relay(relayed) => relayed.name,
            _ => Self::NAMES.iter().find(|(_, route)| *route == self).map_or("other", |(name, _)| *name),
        }
    }

    /// Whether bodies pass as they are.
    pub fn passes(self) -> bool {
        matches!(self, Route::Preserve | Route::Relay(_))
    }
}

/// How the flavors differ in what they send and answer. Data, so that there is one code path.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Answers hold all that OpenAI's own SDKs read: every object has its type, every message its role, and a
    /// stream ends with its finish reason and usage. Otherwise only what Kong 3.10 gives.
    pub complete_answers: bool,
    /// Requests carry every parameter that the provider understands (stop sequences, images, tool choices ...),
    /// where Kong 3.10 drops them.
    pub complete_requests: bool,
    /// Providers are asked for token counts at the end of streams.
    pub ask_stream_usage: bool,
    /// `max_request_body_size` holds for every body; otherwise only for those larger than the 8 KiB that Kong
    /// 3.10 keeps in memory.
    pub strict_body_size: bool,
    /// An error of the provider keeps its own content type in answer to a streaming request.
    pub stream_errors_keep_type: bool,
}

/// Kong 3.10.
pub static KONG_3_10: Dialect = Dialect {
    complete_answers: false,
    complete_requests: false,
    ask_stream_usage: false,
    strict_body_size: false,
    stream_errors_keep_type: false,
};

/// Kong 3.14.
pub static KONG_3_14: Dialect = Dialect {
    complete_answers: true,
    complete_requests: true,
    ask_stream_usage: true,
    strict_body_size: true,
    stream_errors_keep_type: true,
};

/// The dialect of a flavor.
pub fn dialect(flavor: Flavor) -> &'static Dialect {
    match flavor {
        Flavor::Kong310 => &KONG_3_10,
        Flavor::Kong314 => &KONG_3_14,
    }
}

/// One request to a provider, as far as adapters need to know it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The model with its options, templates resolved.
    pub model: Arc<Model>,
    /// The operation.
    pub route: Route,
    /// Whether the answer is a stream.
    pub streaming: bool,
    /// Whether the request holds more than texts: tools, images, a schema for the answer.
    pub rich: bool,
    /// The prompt's tokens, estimated from its words, for providers that do not count them.
    pub estimate: u64,
    /// Whether the client itself asked for a usage chunk at the end of the stream (`stream_options.include_usage`).
    pub usage_chunk: bool,
    /// The flavor's ways.
    pub dialect: &'static Dialect,
    /// Now, in seconds since 1970: `created` where the provider gives none.
    pub now: u64,
    /// A fresh id, without prefix, for answers of providers that give none.
    pub id: Arc<str>,
}

impl Call {
    /// The name of the model, empty when none is known (only for `preserve`).
    pub fn model_name(&self) -> &str {
        self.model.name.as_deref().unwrap_or_default()
    }

    /// What the provider counted, and estimates for what it did not count; `said` is the answer's length in
    /// characters. Kong 3.10 counts nothing itself in answers.
    fn counted(&self, usage: Usage, said: usize) -> Usage {
        if !self.dialect.complete_answers {
            return usage;
        }
        usage.or(Usage::new(Some(self.estimate), Some(said.div_ceil(4) as u64)))
    }

    /// The id of an answer: the provider's own, or a fresh one in OpenAI's style.
    fn answer_id(&self, given: Option<&str>) -> String {
        match given {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ if self.route == Route::Completions => format!("cmpl-{}", self.id),
            _ => format!("chatcmpl-{}", self.id),
        }
    }
}

/// Why an answer of a provider, or a request to it, could not be put into the other format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransformError {
    /// The provider has no such operation.
    #[error("no transformer for {provider}://{route}")]
    NoOperation {
        /// The provider.
        provider: &'static str,
        /// The `route_type`.
        route: &'static str,
    },
    /// The request cannot be said in the provider's format.
    #[error("error transforming to {provider}://{route}: {reason}")]
    Request {
        /// The provider.
        provider: &'static str,
        /// The `route_type`.
        route: &'static str,
        /// What stands in the way.
        reason: String,
    },
    /// The answer is not what the provider's format says.
    #[error("transformation failed from type {provider}://{route}: {reason}")]
    Answer {
        /// The provider.
        provider: &'static str,
        /// The `route_type`, with `stream/` before it for streams.
        route: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A stream's single event is larger than this gateway keeps in memory.
    #[error("an event of the stream is larger than {0} bytes")]
    TooLarge(usize),
    /// The configuration does not say where to send the request.
    #[error("{0}")]
    Endpoint(String),
}

/// An answer in OpenAI's format.
#[derive(Debug, Default)]
pub struct Answer {
    /// The new body; `None` when the provider's own bytes are the answer already.
    pub body: Option<Json>,
    /// Tokens, as far as the provider counted them.
    pub usage: Usage,
    /// The model that answered, when the provider says so.
    pub model: Option<String>,
}

/// One provider: its addresses and its format.
///
/// An implementation holds no state; what a stream needs to remember lives in its [`Translate`].
pub trait Provider: Send + Sync {
    /// The provider's name in `config.model.provider`.
    fn name(&self) -> &'static str;

    /// Its own address for this call, path included, for configurations without `upstream_url`.
    fn address(&self, call: &Call) -> Result<String, TransformError>;

    /// The path of an `upstream_url` for a call that the provider answers at another one: streams, at some.
    fn other_path(&self, _call: &Call, _path: &str) -> Option<String> {
        None
    }

    /// What is put behind the path of an `upstream_url`.
    fn path_suffix(&self, _call: &Call) -> &'static str {
        ""
    }

    /// The body in the provider's format, from one in OpenAI's.
    fn request(&self, call: &Call, body: Map) -> Result<Json, TransformError>;

    /// Headers that the provider wants besides credentials.
    fn headers(&self, _call: &Call) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Query parameters that the provider wants unless the client gave them.
    fn query(&self, _call: &Call) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// OpenAI's answer from the provider's, for a whole body of status 200.
    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError>;

    /// The translator of the events of one stream.
    fn stream(&self, call: &Call) -> Box<dyn Translate>;

    /// What sets it apart from the others.
    fn manners(&self) -> Manners {
        Manners::default()
    }
}

/// What sets a provider apart, as far as it is a matter of yes or no.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Whether Kong 3.10 puts the configured credential on in any case, `allow_override` or not.
    pub ignores_override: bool,
    /// Whether it has OpenAI's other operations ([`Route::Relay`]).
    pub relays: bool,
    /// Whether cookies of the provider are kept from the client.
    pub drops_cookies: bool,
    /// Whether [`Provider::address`] has put `upstream_path` in its place already.
    pub places_upstream_path: bool,
    /// Whether `upstream_path` replaces the path of an `upstream_url` too.
    pub upstream_path_wins: bool,
    /// Whether the provider itself counts the tokens of a stream (otherwise they are estimated).
    pub counts_stream_tokens: bool,
}

/// The provider of this name, `None` for one that is not known.
pub fn provider(name: &str) -> Option<&'static dyn Provider> {
    const PROVIDERS: [&dyn Provider; 9] = [
        &openai::OpenAi,
        &azure::Azure,
        &anthropic::Anthropic,
        &cohere::Cohere,
        &mistral::Mistral,
        &llama2::Llama2,
        &gemini::Gemini,
        &bedrock::Bedrock,
        &huggingface::HuggingFace,
    ];
    PROVIDERS
        .into_iter()
        .find(|provider| provider.name() == name)
        .or_else(|| compatible::provider(name).map(|provider| provider as &dyn Provider))
}

//! What the AI plugins share: a target made ready, a request composed for it, and the way back of its answer.
//!
//! The formats themselves live in `gateway::llm`; which target is taken, and when, in `ai_proxy` and
//! `ai_proxy_advanced`.

mod answer;
mod ask;
mod asking;
mod compose;
mod logging;

pub use answer::note;
pub use ask::ask;
pub use asking::{Asking, Asks};
pub use compose::{Composed, compose, replace, way};
pub use logging::{Outcome, Told};

use super::{ConfigError, Failure, Flow, Instance};
use crate::gateway::llm::{
    self, Dialect, Map, Native, Provider, Refusal, Remembered, Route, Streaming, Target, TransformError,
};
use crate::gateway::proxy::{Body, BodyError, Context};
use crate::value::Value;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Instant;

/// The largest answer of a provider that is translated, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Settings that hold for all targets of a plugin.
#[derive(Debug)]
pub struct Settings {
    plugin_id: Box<str>,
    streaming: Streaming,
    max_body: usize,
    model_name_header: bool,
    /// The clients' own format, where it is not OpenAI's.
    native: Option<Native>,
    dialect: &'static Dialect,
    mock: Option<SocketAddr>,
}

impl Settings {
    /// Reads them from a plugin's configuration.
    pub fn read(instance: &Instance<'_>) -> Settings {
        let dialect = llm::dialect(instance.environment.flavor);
        Settings {
            plugin_id: instance.id.into(),
            streaming: Streaming::from_name(instance.text("response_streaming")),
            max_body: llm::body_limit(instance.integer("max_request_body_size"), dialect),
            model_name_header: instance.flag("model_name_header"),
            native: Native::from_name(instance.text("llm_format")),
            dialect,
            mock: instance.environment.mock,
        }
    }
}

/// Refuses a configuration that asks for another format than OpenAI's.
///
/// # Errors
/// When it does.
pub fn only_openai(instance: &Instance<'_>) -> Result<(), ConfigError> {
    match instance.text("llm_format") {
        None | Some("openai") => Ok(()),
        Some(format) => {
            Err(ConfigError::new("llm_format", format!("{format} is not executed by this gateway")))
        }
    }
}

/// A target whose provider is known.
pub struct Ready {
    /// As configured.
    pub target: Target,
    /// Its provider.
    pub provider: &'static dyn Provider,
    has_template: bool,
    address: Remembered,
    /// `PROVIDER/MODEL`, if the configuration says both.
    label: Option<HeaderValue>,
}

impl Ready {
    /// Reads a target. `field` is its path inside `config`, for messages; empty for the configuration itself.
    ///
    /// # Errors
    /// When it cannot be executed here.
    pub fn read(config: &Value, field: &str, settings: &Settings) -> Result<Ready, ConfigError> {
        let target = Target::read(config);
        let at = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        let Some(provider) = llm::provider(&target.model.provider) else {
            let problem = format!("{} is not executed by this gateway", target.model.provider);
            return Err(ConfigError::new(at("model.provider"), problem));
        };
        if let Some(name) = target.auth.unsupported {
            let problem = "this gateway has no identity of its own at a cloud; give it a credential instead";
            return Err(ConfigError::new(at(&format!("auth.{name}")), problem));
        }
        let options = &target.model.options;
        if provider.name() == "bedrock" && options.aws_region.is_none() && options.upstream_url.is_none() {
            let problem = "is missing; this gateway does not read AWS's environment variables";
            return Err(ConfigError::new(at("model.options.bedrock.aws_region"), problem));
        }
        match settings.native {
            Some(native) if native.provider() != provider.name() => {
                let problem = format!(
                    "native format {} can only go to a provider that speaks it, not to {}",
                    native.provider(),
                    provider.name()
                );
                return Err(ConfigError::new("llm_format", problem));
            }
            _ => {}
        }
        let has_template = target.model.has_template();
        let label = target.model.name.as_deref().and_then(|model| label(provider, model));
        Ok(Ready { target, provider, has_template, address: Remembered::default(), label })
    }
}

impl Ready {
    /// Whether the target's operation is executed here: not a provider's real-time sessions, and OpenAI's other
    /// operations only for providers that have them.
    fn is_executed(&self) -> bool {
        match self.target.route {
            Route::Other => false,
            Route::Relay(_) => self.provider.manners().relays,
            _ => true,
        }
    }
}

/// What clients are told of who answered.
fn label(provider: &dyn Provider, model: &str) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from([provider.name(), "/", model].concat())).ok()
}

/// Why a request does not go on.
pub enum Stop {
    /// The client's fault: a 400 with a message.
    Refused(Refusal),
    /// Not the client's.
    Failed(Failure),
    /// An operation that this gateway does not execute: a 501 with a message.
    NotExecuted(String),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<TransformError> for Stop {
    fn from(error: TransformError) -> Self {
        match error {
            TransformError::Endpoint(_) => {
                Stop::Failed(Failure::new(format!("failed to configure request for AI service: {error}")))
            }
            error => Stop::Refused(Refusal(error.to_string())),
        }
    }
}

impl Stop {
    /// What the client gets.
    ///
    /// # Errors
    /// The failure, if it is one.
    pub fn answer(self, context: &Context) -> Result<Flow, Failure> {
        match self {
            Stop::Refused(refusal) => refused(context, StatusCode::BAD_REQUEST, &refusal.0),
            Stop::Failed(failure) => Err(failure),
            Stop::NotExecuted(message) => refused(context, StatusCode::NOT_IMPLEMENTED, &message),
        }
    }
}

/// `{"error": {"message": ...}}` with this status.
///
/// # Errors
/// Never in practice: such a body can be written.
pub fn refused(context: &Context, status: StatusCode, message: &str) -> Result<Flow, Failure> {
    Ok(Flow::Respond(context.json(status, &json!({"error": {"message": message}}))?))
}

/// The client's body and what it says; empty when it says nothing that an AI plugin can read.
#[derive(Clone, Default)]
pub struct Question {
    /// The body as it came.
    pub raw: Bytes,
    /// Its members.
    pub members: Map,
}

/// Reads the client's body. `None` if it is larger than the limit.
///
/// # Errors
/// When the client breaks off.
pub async fn question(context: &mut Context, limit: usize) -> Result<Option<Question>, Failure> {
    let kind = context.inbound.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // files are not what the limit is for
    let is_form = kind.is_some_and(|kind| kind.starts_with("multipart/form-data"));
    let limit = if is_form { limit.max(llm::UNLIMITED) } else { limit };
    let raw = match context.request_body(limit).await {
        Ok(raw) => raw,
        Err(BodyError::TooLarge { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = context.inbound.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let members = llm::parse_body(kind, &raw).unwrap_or_default();
    Ok(Some(Question { raw, members }))
}

/// What a too large body gets: Kong 3.10 takes it for one without prompts.
///
/// # Errors
/// As [`refused`].
pub fn too_large(context: &Context, dialect: &Dialect, limit: usize) -> Result<Flow, Failure> {
    if dialect.strict_body_size {
        let message = format!("request body is larger than {limit} bytes");
        refused(context, StatusCode::PAYLOAD_TOO_LARGE, &message)
    } else {
        refused(context, StatusCode::BAD_REQUEST, "request body doesn't contain valid prompts")
    }
}

/// The limit for a question under these settings.
pub fn body_limit(settings: &Settings) -> usize {
    settings.max_body
}

/// The dialect of these settings.
pub fn dialect(settings: &Settings) -> &'static Dialect {
    settings.dialect
}

/// The text of a gzip body, unless it is broken or too large.
pub fn gunzip(data: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    let limited = std::io::Read::take(flate2::read::MultiGzDecoder::new(data), MAX_ANSWER as u64 + 1);
    std::io::Read::read_to_end(&mut { limited }, &mut out).ok()?;
    (out.len() <= MAX_ANSWER).then(|| out.into())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An answer in the place of an upstream's, for those that forward by themselves.
pub fn plain(status: StatusCode, message: &str) -> Response<Body> {
    let mut answer = Response::new(Body::full(json!({"error": {"message": message}}).to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}

//! The plugins that the proxy executes: one file each, one line each in [`TABLE`].
//!
//! What does not live here: which plugins apply to a request (`proxy`), and what their configuration may say
//! (`schema`). A plugin that has no line here is named in the response header [`SKIPPED_HEADER`](crate::model::SKIPPED_HEADER), and so are fields
//! that have no effect; [`skipped`] tells.

mod acl;
mod ai;
mod ai_balance;
mod ai_prompt_decorator;
mod ai_prompt_guard;
mod ai_prompt_template;
mod ai_proxy;
mod ai_proxy_advanced;
mod ai_rate_limiting;
mod ai_transformers;
mod ai_windows;
mod arguments;
mod auth;
mod basic_auth;
mod bot_detection;
mod correlation_id;
mod cors;
mod counters;
mod edits;
mod hmac_auth;
mod http_log;
mod ip_restriction;
mod jwt;
mod key_auth;
mod log_entry;
mod multipart;
mod opentelemetry;
mod periods;
pub mod prometheus;
pub mod proxy_cache;
mod queue;
mod rate_limiting;
mod redirect;
mod redis_counters;
mod redis_server;
pub mod references;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod response_ratelimiting;
mod response_transformer;
mod shared;
mod socket_logs;
mod template;
mod traces;

pub use shared::Shared;

use crate::gateway::proxy::{Body, BodyError, Context, Report};
use crate::schema::Flavor;
use crate::value::Value;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use std::net::SocketAddr;
use std::sync::Arc;

/// One line of the table: a plugin that is executed.
pub struct Entry {
    /// Its name as configured: `key-auth` ...
    pub name: &'static str,
    /// Kong's priority: plugins run from the highest to the lowest.
    pub priority: i32,
    /// Makes an instance from a configuration.
    pub build: fn(&Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError>,
}

/// Every plugin that is executed here.
pub static TABLE: &[Entry] = &[
    acl::ENTRY,
    ai_prompt_decorator::ENTRY,
    ai_prompt_guard::ENTRY,
    ai_prompt_template::ENTRY,
    ai_proxy::ENTRY,
    ai_proxy_advanced::ENTRY,
    ai_rate_limiting::ENTRY,
    ai_transformers::REQUEST,
    ai_transformers::RESPONSE,
    basic_auth::ENTRY,
    bot_detection::ENTRY,
    correlation_id::ENTRY,
    cors::ENTRY,
    hmac_auth::ENTRY,
    http_log::ENTRY,
    ip_restriction::ENTRY,
    jwt::ENTRY,
    key_auth::ENTRY,
    opentelemetry::ENTRY,
    prometheus::ENTRY,
    proxy_cache::ENTRY,
    rate_limiting::ENTRY,
    redirect::ENTRY,
    request_size_limiting::ENTRY,
    request_termination::ENTRY,
    request_transformer::ENTRY,
    response_ratelimiting::ENTRY,
    response_transformer::ENTRY,
    socket_logs::FILE,
    socket_logs::SYSLOG,
    socket_logs::TCP,
    socket_logs::UDP,
];

/// Fields of executed plugins that have no effect here. They are named as skipped when they are set.
static SKIPPED_FIELDS: &[(&str, &str)] = &[
    ("file-log", "custom_fields_by_lua"),
    ("http-log", "custom_fields_by_lua"),
    ("http-log", "queue.max_bytes"),
    ("opentelemetry", "logs_endpoint"),
    ("opentelemetry", "access_logs.endpoint"),
    ("opentelemetry", "metrics.endpoint"),
    ("opentelemetry", "queue.max_bytes"),
    ("syslog", "custom_fields_by_lua"),
    ("tcp-log", "custom_fields_by_lua"),
    ("udp-log", "custom_fields_by_lua"),
];

/// What of a configured plugin is not executed here: the plugin, or fields of it (`http-log.custom_fields_by_lua`).
pub fn skipped(name: &str, config: &Value) -> Vec<String> {
    if entry(name).is_none() {
        return vec![name.to_owned()];
    }
    let is_set = |path: &str| match path.split('.').try_fold(config, |value, key| value.get(key)) {
        None => false,
        Some(value) => !value.is_null() && value.as_object().is_none_or(|members| !members.is_empty()),
    };
    let fields = SKIPPED_FIELDS.iter().filter(|(plugin, path)| *plugin == name && is_set(path));
    fields.map(|(plugin, path)| format!("{plugin}.{path}")).collect()
}

/// Whether a plugin may have fields that have no effect here.
pub fn has_skipped_fields(name: &str) -> bool {
    SKIPPED_FIELDS.iter().any(|(plugin, _)| *plugin == name)
}

/// The line of this name.
pub fn entry(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// A configured plugin, from which its instance is made once for each snapshot.
#[derive(Clone, Copy)]
pub struct Instance<'a> {
    /// The plugin entity's id.
    pub id: &'a str,
    /// The `config` record, every default filled in.
    pub config: &'a Value,
    /// The whole plugin entity.
    pub row: &'a Value,
    /// What lives longer than a snapshot: counters, caches, queues.
    pub shared: &'a Shared,
    /// What the gateway stands for and where it runs.
    pub environment: &'a Environment,
}

/// What the gateway stands for and where it runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The Kong that is stood in for.
    pub flavor: Flavor,
    /// The built-in mock provider, to which goes whatever would go to an AI provider's own address.
    pub mock: Option<SocketAddr>,
    /// What references to the vault `env` stand for.
    pub variables: references::Variables,
    /// Takes what only the operator should see.
    pub report: Report,
}

/// A configuration that cannot be executed. The plugin's requests are answered with 500, and the operator is told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// The dotted path inside `config`.
    pub field: String,
    /// What is wrong with it; never holds a secret.
    pub problem: String,
}

impl ConfigError {
    /// A problem with a field, given by its dotted path inside `config`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { field: field.into(), problem: problem.into() }
    }
}

/// A plugin that cannot go on. The client gets a 500 that says nothing; the operator gets the reason.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Why; never holds a secret.
    pub reason: String,
}

impl Failure {
    /// A failure for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Failure { reason: reason.into() }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Failure::new(error.to_string())
    }
}

/// How a request goes on after a plugin's access phase.
pub enum Flow {
    /// To the next plugin, at last to the upstream.
    Continue,
    /// Not at all: this is the answer. The response phases of all plugins still run.
    Respond(Response<Body>),
}

/// A configured plugin. Phases run in this order, each for all plugins of the request by priority:
/// `access`, `response` (only if the plugin wants the whole body), `response_headers`, `response_body`, `log`.
///
/// State between phases of one request belongs into [`Context::state`] under a type of the plugin's own.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Before the request goes on: may change [`Context::outbound`], name the client, or answer.
    ///
    /// # Errors
    /// [`Failure`] ends the request with a 500.
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let _ = context;
        Ok(Flow::Continue)
    }

    /// Whether `response` must see this answer's whole body, and at most how many bytes. A longer body is passed on
    /// as a stream, without a call of `response`. Not asked for answers that have no body.
    fn whole_response(&self, context: &Context, head: &response::Parts) -> Option<usize> {
        let _ = (context, head);
        None
    }

    /// The whole answer, to be changed; its length header is set afterwards.
    ///
    /// # Errors
    /// [`Failure`] turns the answer into a 500.
    async fn response(&self, context: &mut Context, answer: &mut Response<Bytes>) -> Result<(), Failure> {
        let _ = (context, answer);
        Ok(())
    }

    /// Changes the head of any answer, an upstream's or the gateway's own ([`Record::proxied`] tells).
    ///
    /// [`Record::proxied`]: crate::gateway::proxy::Record::proxied
    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        let _ = (context, head);
    }

    /// A filter for the answer's body as it streams by. The length header is taken away if there is one.
    fn response_body(&self, context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        let _ = (context, head);
        None
    }

    /// Whether `log` reads [`Record::response_headers`], which are kept only for those that do.
    ///
    /// [`Record::response_headers`]: crate::gateway::proxy::Record::response_headers
    fn reads_response_headers(&self) -> bool {
        false
    }

    /// After the last byte went to the client, or the stream was cut. Must not wait: hand slow work to a task.
    fn log(&self, context: &Context) {
        let _ = context;
    }
}

/// Changes a response body chunk by chunk.
pub trait BodyFilter: Send {
    /// What goes out for this chunk (possibly nothing).
    ///
    /// # Errors
    /// Cuts the stream.
    fn data(&mut self, context: &mut Context, chunk: Bytes) -> Result<Bytes, BodyError>;

    /// What goes out after the last chunk.
    ///
    /// # Errors
    /// Cuts the stream.
    fn end(&mut self, context: &mut Context) -> Result<Bytes, BodyError>;
}

/// Reads configuration fields. A missing or null field is `None`; defaults are the schema's business.
impl Instance<'_> {
    /// What stands at a dotted path inside `config`, unless it is null.
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self.config, |value, key| value.get(key)).filter(|value| !value.is_null())
    }

    /// Text, also a secret one.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::exposed_str)
    }

    /// A boolean; absent is false.
    pub fn flag(&self, path: &str) -> bool {
        self.get(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A whole number.
    pub fn integer(&self, path: &str) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    /// A number.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path).and_then(Value::as_f64)
    }

    /// A map of header names to values; absent is empty.
    pub fn headers(&self, path: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.get(path).and_then(Value::as_object).into_iter().flatten() {
            let value = value.exposed_str().and_then(|value| HeaderValue::from_str(value).ok());
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// A list of texts; absent is empty.
    pub fn texts(&self, path: &str) -> Vec<Box<str>> {
        let items = self.get(path).and_then(Value::as_array).unwrap_or_default();
        items.iter().filter_map(|item| item.exposed_str().map(Into::into)).collect()
    }
}

/// A status from a configuration.
///
/// # Errors
/// When the number is no HTTP status.
pub fn status(field: &str, code: i64) -> Result<StatusCode, ConfigError> {
    u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| ConfigError::new(field, format!("{code} is no HTTP status")))
}

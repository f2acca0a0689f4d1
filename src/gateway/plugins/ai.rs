//! What the AI plugins share: a target made ready, a request composed for it, and the way back of its answer.
//!
//! The formats themselves live in `gateway::llm`; which target is taken, and when, in `ai_proxy` and
//! `ai_proxy_advanced`.

use super::{BodyFilter, ConfigError, Failure, Flow, Instance};
use crate::gateway::llm::{
    self, Asked, Call, Chunk, Credential, Credentials, Decoder, Dialect, Lookup, Map, Native, Provider,
    Refusal, Route, Seen, Signed, Streaming, Target, TransformError, Upstream, Usage,
};
use crate::gateway::proxy::{Body, BodyError, Context};
use crate::value::Value;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The largest answer of a provider that is translated, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

const MODEL: HeaderName = HeaderName::from_static("x-kong-llm-model");

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
            return Err(ConfigError::new(at(&format!("auth.{name}")), "is not executed by this gateway"));
        }
        if target.route == Route::Other {
            let problem = format!("{} is not executed by this gateway", target.route_type);
            return Err(ConfigError::new(at("route_type"), problem));
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
        Ok(Ready { target, provider, has_template })
    }
}

/// Why a request does not go on.
pub enum Stop {
    /// The client's fault: a 400 with a message.
    Refused(Refusal),
    /// Not the client's.
    Failed(Failure),
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

/// A request as it goes to a target.
pub struct Composed {
    /// What it calls for.
    pub call: Call,
    /// Where it goes.
    pub upstream: Upstream,
    /// Its headers, without `host`.
    pub headers: HeaderMap,
    /// Its query.
    pub query: Option<String>,
    /// Its body.
    pub body: Bytes,
    /// The estimated tokens of the prompt, where the provider does not count them in streams.
    estimate: u64,
}

/// Composes the request for a target: checks, translation, address, credentials.
///
/// # Errors
/// [`Stop`] when the request cannot go to this target.
pub fn compose(
    settings: &Settings,
    ready: &Ready,
    context: &Context,
    question: &Question,
) -> Result<Composed, Stop> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let asked = Asked {
        target: &ready.target,
        has_template: ready.has_template,
        streaming: settings.streaming,
        dialect: settings.dialect,
        now,
        id: &context.request_id,
        lookup: &Client(context),
    };
    let path = context.inbound.uri.path();
    let call = match settings.native {
        Some(native) => llm::accept(&native.to_openai(&question.members, path), &asked)?,
        None => llm::accept(&question.members, &asked)?,
    };
    let upstream = llm::upstream(ready.provider, &call, path)?;
    let estimate = if ready.provider.counts_stream_tokens() {
        0
    } else {
        let factor = if call.streaming { 1.8 } else { 1.0 };
        llm::estimate_tokens(&question.members, factor)
    };
    let passes = settings.native.is_some() || call.route == Route::Preserve;
    let body = if passes { question.raw.clone() } else { translated(ready, &call, question)? };
    let mut headers = context.outbound.headers.clone();
    headers.remove(CONTENT_LENGTH);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !passes {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in ready.provider.headers(&call) {
        set_header(&mut headers, name, &value)?;
    }
    let mut query = context.outbound.query.clone();
    for (name, value) in ready.provider.query(&call) {
        set_query(&mut query, name, &value, true);
    }
    for credential in llm::credentials(&ready.target) {
        match credential {
            Credential::Header(name, secret) => {
                if !ready.target.auth.allow_override || !context.inbound.headers.contains_key(name) {
                    set_header(&mut headers, name, secret.expose_text())?;
                }
            }
            Credential::Query(name, secret) => {
                set_query(&mut query, name, secret.expose_text(), ready.target.auth.allow_override);
            }
            // set with the body
            Credential::Body(..) => {}
        }
    }
    sign(ready, context, &call, &upstream, query.as_deref(), &body, &mut headers)?;
    Ok(Composed { call, upstream, headers, query, body, estimate })
}

fn translated(ready: &Ready, call: &Call, question: &Question) -> Result<Bytes, Stop> {
    let mut members = question.members.clone();
    for credential in llm::credentials(&ready.target) {
        if let Credential::Body(name, secret) = credential
            && !(ready.target.auth.allow_override && members.contains_key(name))
        {
            members.insert(name.to_owned(), secret.expose_text().into());
        }
    }
    let body = ready.provider.request(call, members)?;
    let written = serde_json::to_vec(&body).map_err(|e| Stop::Failed(Failure::new(e.to_string())))?;
    Ok(written.into())
}

/// Signs requests to Bedrock, unless another credential or the mock provider makes that needless.
fn sign(
    ready: &Ready,
    context: &Context,
    call: &Call,
    upstream: &Upstream,
    query: Option<&str>,
    body: &[u8],
    headers: &mut HeaderMap,
) -> Result<(), Stop> {
    if ready.provider.name() != "bedrock" {
        return Ok(());
    }
    let Some((id, key)) = &ready.target.auth.aws else { return Ok(()) };
    let failed = |reason: &str| Stop::Failed(Failure::new(reason));
    let region = call
        .model
        .options
        .aws_region
        .as_deref()
        .ok_or_else(|| failed("AWS region not specified anywhere"))?;
    let credentials =
        Credentials { access_key_id: id.clone(), secret_access_key: key.clone(), session_token: None };
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let authority = upstream.authority();
    let signed = Signed {
        method: context.outbound.method.as_str(),
        path: &upstream.path,
        query: &pairs,
        headers: &[("host", &authority)],
        body,
        region,
        service: "bedrock",
        now: call.now,
    };
    for (name, value) in llm::sign(&credentials, &signed) {
        set_header(headers, name, &value)?;
    }
    Ok(())
}

fn set_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Stop> {
    let failed =
        || Stop::Failed(Failure::new(format!("the configured value of the header {name} cannot be sent")));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| failed())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| failed())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Sets a query parameter; with `keep`, only if the client gave none.
fn set_query(query: &mut Option<String>, name: &str, value: &str, keep: bool) {
    let given = query.as_deref().unwrap_or_default();
    let has = url::form_urlencoded::parse(given.as_bytes()).any(|(key, _)| key == name);
    if has && keep {
        return;
    }
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    if has {
        out.extend_pairs(url::form_urlencoded::parse(given.as_bytes()).filter(|(key, _)| key != name));
    } else {
        out = url::form_urlencoded::Serializer::new(given.to_owned());
    }
    out.append_pair(name, value);
    *query = Some(out.finish());
}

/// Values for templates.
struct Client<'a>(&'a Context);

impl Lookup for Client<'_> {
    fn lookup(&self, source: &str, key: &str) -> Option<String> {
        match source {
            "headers" => {
                self.0.inbound.headers.get(key).and_then(|value| value.to_str().ok()).map(str::to_owned)
            }
            "query_params" => self.0.query_arg(key),
            "uri_captures" => {
                self.0.captures.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.to_string())
            }
            _ => None,
        }
    }
}

/// Where a request really goes: the upstream, or the mock provider in the place of a provider's own address.
pub struct Way {
    /// `http` or `https`.
    pub scheme: Box<str>,
    /// Host name or address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The `host` header, where it is not the host itself.
    pub host_header: Option<Box<str>>,
}

/// Where a composed request really goes.
pub fn way(settings: &Settings, upstream: &Upstream) -> Way {
    match settings.mock {
        Some(mock) if upstream.own => Way {
            scheme: "http".into(),
            host: mock.ip().to_string().into(),
            port: mock.port(),
            host_header: Some(upstream.authority().into()),
        },
        _ => Way {
            scheme: upstream.scheme.as_str().into(),
            host: upstream.host.trim_matches(['[', ']']).into(),
            port: upstream.port,
            host_header: None,
        },
    }
}

/// Puts a composed request in the place of the client's.
pub fn replace(settings: &Settings, composed: &Composed, context: &mut Context) {
    let way = way(settings, &composed.upstream);
    let outbound = &mut context.outbound;
    (outbound.scheme, outbound.host, outbound.port) = (way.scheme, way.host, way.port);
    outbound.host_header = way.host_header;
    outbound.path.clone_from(&composed.upstream.path);
    outbound.query.clone_from(&composed.query);
    outbound.headers.clone_from(&composed.headers);
    outbound.set_body(composed.body.clone());
}

/// What became of a request to a provider, told piece by piece. Log phases of other plugins read it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The provider.
    pub provider: &'static str,
    /// The model that was asked.
    pub model: String,
    /// Tokens, estimated where the provider does not count them.
    pub usage: Usage,
    /// The price, where costs are configured.
    pub cost: Option<f64>,
}

/// The outcome of this request, for every plugin of it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Outcome>>);

impl Told {
    /// What is known now.
    pub fn now(&self) -> Outcome {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, outcome: Outcome) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

/// A request that went to a provider, kept for its answer.
#[derive(Clone)]
pub struct Sent(Arc<SentState>);

struct SentState {
    settings: Arc<Settings>,
    ready: Arc<Ready>,
    call: Call,
    estimate: u64,
    started: Instant,
    payload: Option<Bytes>,
    told: Told,
}

/// The answer has been translated.
#[derive(Clone)]
struct Converted;

/// The content type with which a stream came.
#[derive(Clone)]
struct StreamType(Option<String>, bool);

/// Notes where the request goes, so that its answer finds its way back.
pub fn note(context: &mut Context, settings: &Arc<Settings>, ready: &Arc<Ready>, composed: &Composed) {
    let told = Told::default();
    told.set(Outcome {
        provider: ready.provider.name(),
        model: composed.call.model_name().to_owned(),
        ..Outcome::default()
    });
    context.state.insert(told.clone());
    context.state.insert(Sent(Arc::new(SentState {
        settings: Arc::clone(settings),
        ready: Arc::clone(ready),
        call: composed.call.clone(),
        estimate: composed.estimate,
        started: Instant::now(),
        payload: ready.target.logging.payloads.then(|| composed.body.clone()),
        told,
    })));
}

fn sent(context: &Context) -> Option<Sent> {
    context.state.get::<Sent>().cloned()
}

/// The response phases of the plugins that send requests to providers.
pub mod answer {
    use super::*;

    /// Whole answers are translated, streams as they pass.
    pub fn whole_response(context: &Context, head: &response::Parts) -> Option<usize> {
        let sent = context.state.get::<Sent>()?;
        let call = &sent.0.call;
        let translated = context.record.proxied && head.status == StatusCode::OK && !call.streaming;
        (translated && call.route != Route::Preserve).then_some(MAX_ANSWER)
    }

    /// Translates a whole answer.
    pub fn response(context: &mut Context, answer: &mut Response<Bytes>) {
        let Some(Sent(sent)) = sent(context) else { return };
        context.state.insert(Converted);
        if answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
            && let Some(plain) = gunzip(answer.body())
        {
            *answer.body_mut() = plain;
            answer.headers_mut().remove(CONTENT_ENCODING);
        }
        let (usage, model) = match sent.settings.native {
            Some(native) => {
                let body: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
                (native.usage(&body), native.answering_model(&body))
            }
            None => match sent.ready.provider.answer(&sent.call, answer.body()) {
                Ok(translated) => {
                    if let Some(body) = translated.body {
                        *answer.body_mut() = body.to_string().into();
                    }
                    (translated.usage, translated.model)
                }
                Err(error) => {
                    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    let message = json!({"error": {"message": error.to_string()}});
                    *answer.body_mut() = message.to_string().into();
                    (Usage::default(), None)
                }
            },
        };
        let usage = usage.or(Usage::new(Some(sent.estimate), None));
        let payload = sent.payload.as_ref().map(|_| String::from_utf8_lossy(answer.body()).into_owned());
        record(context, &sent, usage, model, payload);
    }

    /// Names the model, and the content type of streams; keeps the provider's cookies from the client.
    pub fn response_headers(context: &mut Context, head: &mut response::Parts) {
        let Some(Sent(sent)) = sent(context) else { return };
        if !context.record.proxied {
            return;
        }
        let (call, dialect) = (&sent.call, sent.settings.dialect);
        if sent.ready.provider.drops_cookies() {
            head.headers.remove(SET_COOKIE);
        }
        let ok = head.status == StatusCode::OK || context.state.get::<Converted>().is_some();
        if ok && sent.settings.model_name_header {
            let name = format!("{}/{}", sent.ready.provider.name(), call.model_name());
            if let Ok(name) = HeaderValue::from_str(&name) {
                head.headers.insert(MODEL, name);
            }
        }
        if !call.streaming || call.route == Route::Preserve || sent.settings.native.is_some() {
            return;
        }
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let gzip = text(CONTENT_ENCODING) == Some("gzip");
        let kind = StreamType(text(CONTENT_TYPE).map(str::to_owned), gzip);
        context.state.insert(kind);
        if ok {
            head.headers.remove(CONTENT_ENCODING);
        }
        if ok || !dialect.stream_errors_keep_type {
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        }
    }

    /// Translates a stream; stops an answer that was too large to be translated.
    pub fn response_body(context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        let Sent(sent) = sent(context)?;
        let translates = context.record.proxied && head.status == StatusCode::OK;
        if !translates || sent.call.route == Route::Preserve {
            return None;
        }
        if !sent.call.streaming {
            let converted = context.state.get::<Converted>().is_some();
            return (!converted).then(|| Box::new(TooLarge) as Box<dyn BodyFilter>);
        }
        let StreamType(kind, gzip) = context.state.get::<StreamType>().cloned().unwrap_or_else(|| {
            let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            StreamType(kind.map(str::to_owned), false)
        });
        let keep = sent.payload.is_some();
        let decoder = Decoder::new(sent.call.clone(), sent.ready.provider, kind.as_deref(), keep);
        let taps = sent.settings.native.is_some();
        let gzip = gzip.then(|| MultiGzDecoder::new(Vec::new()));
        Some(Box::new(Stream { sent, decoder, gzip, taps, latency: None }))
    }
}

/// The text of a gzip body, unless it is broken or too large.
fn gunzip(data: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    let limited = std::io::Read::take(flate2::read::MultiGzDecoder::new(data), MAX_ANSWER as u64 + 1);
    std::io::Read::read_to_end(&mut { limited }, &mut out).ok()?;
    (out.len() <= MAX_ANSWER).then(|| out.into())
}

/// An answer that cannot be translated must not reach the client in the provider's own format.
struct TooLarge;

impl BodyFilter for TooLarge {
    fn data(&mut self, _: &mut Context, _: Bytes) -> Result<Bytes, BodyError> {
        Err(BodyError::TooLarge { limit: MAX_ANSWER })
    }

    fn end(&mut self, _: &mut Context) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }
}

/// A stream on its way back.
struct Stream {
    sent: Arc<SentState>,
    decoder: Decoder,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Whether the client gets the provider's own bytes (native formats).
    taps: bool,
    latency: Option<u64>,
}

impl Stream {
    fn write(&self, chunks: &[Chunk], own: Bytes) -> Bytes {
        if self.taps {
            return own;
        }
        let mut out = Vec::new();
        chunks.iter().for_each(|chunk| chunk.write(&mut out));
        out.into()
    }

    fn usage(&self) -> Usage {
        let seen = self.decoder.seen();
        let estimate = Usage::new(Some(self.sent.estimate), Some(seen.characters.div_ceil(4) as u64));
        match seen.usage {
            Usage { completion: Some(0) | None, prompt, .. } => {
                Usage { prompt, ..Usage::default() }.or(estimate)
            }
            counted => counted.or(estimate),
        }
    }
}

impl BodyFilter for Stream {
    fn data(&mut self, _: &mut Context, chunk: Bytes) -> Result<Bytes, BodyError> {
        if self.latency.is_none() {
            self.latency = Some(millis(self.sent.started));
        }
        let plain = match &mut self.gzip {
            Some(gzip) => {
                let broken = |error: std::io::Error| BodyError::Filter(error.to_string());
                gzip.write_all(&chunk).map_err(broken)?;
                gzip.flush().map_err(broken)?;
                Bytes::from(std::mem::take(gzip.get_mut()))
            }
            None => chunk.clone(),
        };
        let chunks = match self.decoder.feed(&plain) {
            Ok(chunks) => chunks,
            // a tap only counts
            Err(_) if self.taps => Vec::new(),
            Err(error) => return Err(BodyError::Filter(error.to_string())),
        };
        tell(&self.sent, self.usage());
        Ok(self.write(&chunks, chunk))
    }

    fn end(&mut self, context: &mut Context) -> Result<Bytes, BodyError> {
        let chunks = self.decoder.finish();
        let Seen { model, text, .. } = self.decoder.seen().clone();
        record(context, &self.sent, self.usage(), model, text);
        Ok(self.write(&chunks, Bytes::new()))
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn tell(sent: &SentState, usage: Usage) {
    sent.told.set(Outcome {
        provider: sent.ready.provider.name(),
        model: sent.call.model_name().to_owned(),
        usage,
        cost: usage.cost(&sent.call.model.options),
    });
}

/// Tells the other plugins, and puts Kong's `ai` object into the log entry.
fn record(
    context: &mut Context,
    sent: &SentState,
    usage: Usage,
    model: Option<String>,
    payload: Option<String>,
) {
    tell(sent, usage);
    let logging = sent.ready.target.logging;
    let latency = context.record.answered.map_or_else(
        || millis(sent.started),
        |at| at.saturating_duration_since(sent.started).as_millis() as u64,
    );
    let mut entry = serde_json::Map::new();
    if logging.statistics {
        let asked = sent.call.model_name();
        let options = &sent.call.model.options;
        let mut meta = json!({
            "plugin_id": sent.settings.plugin_id,
            "provider_name": sent.ready.provider.name(),
            "request_model": asked,
            "response_model": model.as_deref().unwrap_or(asked),
            "llm_latency": latency,
        });
        if let (Some(members), "azure") = (meta.as_object_mut(), sent.ready.provider.name()) {
            for (name, value) in [
                ("azure_instance_id", &options.azure_instance),
                ("azure_deployment_id", &options.azure_deployment_id),
                ("azure_api_version", &options.azure_api_version),
            ] {
                members.insert(name.into(), value.as_deref().into());
            }
        }
        let completion = usage.completion.unwrap_or_default();
        let per_token = if completion > 0 { latency as f64 / completion as f64 } else { 0.0 };
        entry.insert("meta".into(), meta);
        entry.insert(
            "usage".into(),
            json!({
                "prompt_tokens": usage.prompt.unwrap_or_default(),
                "completion_tokens": completion,
                "total_tokens": usage.total(),
                "time_per_token": per_token,
                "cost": usage.cost(options).unwrap_or(0.0),
            }),
        );
        entry.insert("cache".into(), json!({}));
    }
    if let Some(request) = &sent.payload {
        let request = without_credential(&sent.ready.target, request);
        entry.insert("payload".into(), json!({"request": request, "response": payload}));
    }
    if !entry.is_empty() {
        let ai = context.log.entry("ai").or_insert_with(|| json!({}));
        if let Some(ai) = ai.as_object_mut() {
            ai.insert("proxy".into(), Json::Object(entry));
        }
    }
}

/// The request's text for the log. A credential that stands in the body stays out of it.
fn without_credential(target: &Target, request: &[u8]) -> String {
    let names: Vec<&str> = llm::credentials(target)
        .filter_map(|credential| match credential {
            Credential::Body(name, _) => Some(name),
            _ => None,
        })
        .collect();
    match serde_json::from_slice::<Map>(request) {
        Ok(mut members) if !names.is_empty() => {
            names.iter().for_each(|name| drop(members.remove(*name)));
            Json::Object(members).to_string()
        }
        _ => String::from_utf8_lossy(request).into_owned(),
    }
}

/// An answer in the place of an upstream's, for those that forward by themselves.
pub fn plain(status: StatusCode, message: &str) -> Response<Body> {
    let mut answer = Response::new(Body::full(json!({"error": {"message": message}}).to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_set_beside_the_clients_own() {
        let set = |given: Option<&str>, keep| {
            let mut query = given.map(str::to_owned);
            set_query(&mut query, "key", "a b", keep);
            query.unwrap_or_default()
        };
        assert_eq!(set(None, false), "key=a+b");
        assert_eq!(set(Some("x=1"), false), "x=1&key=a+b");
        assert_eq!(set(Some("key=mine&x=1"), false), "x=1&key=a+b");
        assert_eq!(set(Some("key=mine&x=1"), true), "key=mine&x=1");
    }

    #[test]
    fn a_credential_in_the_body_is_not_logged() {
        let target = Target::read(&Value::from(json!({"model": {"provider": "openai"},
            "auth": {"param_name": "token", "param_value": "hush", "param_location": "body"}})));
        let logged = without_credential(&target, br#"{"prompt":"x","token":"hush"}"#);
        assert_eq!(logged, r#"{"prompt":"x"}"#);
    }
}

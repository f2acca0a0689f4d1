//! The response phases of the plugins that send requests to providers: whole answers are translated, streams as
//! they pass.

use super::logging::{Outcome, Told, record, tell};
use super::{Composed, MAX_ANSWER, Ready, Settings, gunzip, label, millis};
use crate::gateway::llm::{self, Call, Chunk, Decoder, Route, Seen, Usage};
use crate::gateway::plugins::BodyFilter;
use crate::gateway::proxy::{BodyError, Context};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// The largest error of a provider that is translated, in bytes; a larger one passes as it is.
const MAX_ERROR: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MODEL: HeaderName = HeaderName::from_static("x-kong-llm-model");

/// A request that went to a provider, kept for its answer.
#[derive(Clone)]
pub struct Sent(Arc<SentState>);

pub(super) struct SentState {
    pub(super) settings: Arc<Settings>,
    pub(super) ready: Arc<Ready>,
    pub(super) call: Call,
    pub(super) started: Instant,
    pub(super) payload: Option<Bytes>,
    pub(super) told: Told,
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
        started: Instant::now(),
        payload: ready.target.logging.payloads.then(|| composed.body.clone()),
        told,
    })));
}

/// The estimated tokens of the prompt. Kong 3.10 takes a provider that counts tokens at its word.
fn estimate(sent: &SentState) -> u64 {
    let trusts = !sent.call.dialect.complete_answers && sent.ready.provider.manners().counts_stream_tokens;
    if trusts { 0 } else { sent.call.estimate }
}

fn sent(context: &Context) -> Option<Sent> {
    context.state.get::<Sent>().cloned()
}

/// Whole answers and errors are translated, streams as they pass.
pub fn whole_response(context: &Context, head: &response::Parts) -> Option<usize> {
    let sent = &context.state.get::<Sent>()?.0;
    let call = &sent.call;
    if !context.record.proxied || call.route == Route::Preserve {
        return None;
    }
    if head.status == StatusCode::OK {
        return (!call.streaming && !call.route.passes()).then_some(MAX_ANSWER);
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    (is_error && call.dialect.complete_answers && sent.settings.native.is_none()).then_some(MAX_ERROR)
}

/// Translates a whole answer, or an error.
pub fn response(context: &mut Context, answer: &mut Response<Bytes>) {
    let Some(Sent(sent)) = sent(context) else { return };
    if answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
        && let Some(plain) = gunzip(answer.body())
    {
        *answer.body_mut() = plain;
        answer.headers_mut().remove(CONTENT_ENCODING);
    }
    if answer.status() != StatusCode::OK {
        if let Some(error) = llm::openai_error(answer.status(), answer.body()) {
            *answer.body_mut() = error.to_string().into();
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        return;
    }
    context.state.insert(Converted);
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
    let usage = usage.or(Usage::new(Some(estimate(&sent)), None));
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
    if sent.ready.provider.manners().drops_cookies {
        head.headers.remove(SET_COOKIE);
    }
    let ok = head.status == StatusCode::OK || context.state.get::<Converted>().is_some();
    if ok && sent.settings.model_name_header {
        let ready = &sent.ready;
        let as_configured = Arc::ptr_eq(&call.model, &ready.target.model);
        let known = ready.label.clone().filter(|_| as_configured);
        if let Some(label) = known.or_else(|| label(ready.provider, call.model_name())) {
            head.headers.insert(MODEL, label);
        }
    }
    if dialect.complete_answers && sent.settings.native.is_none() {
        name_request(head);
    }
    if !call.streaming || call.route.passes() || sent.settings.native.is_some() {
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

/// Gives a request the id that the provider gave it under the name that OpenAI's SDKs look for.
fn name_request(head: &mut response::Parts) {
    const OTHERS: [&str; 2] = ["request-id", "x-amzn-requestid"];
    let id = OTHERS.iter().find_map(|name| head.headers.get(*name)).cloned();
    if let Some(id) = id.filter(|_| !head.headers.contains_key(REQUEST_ID)) {
        head.headers.insert(REQUEST_ID, id);
    }
}

/// Translates a stream; stops an answer that was too large to be translated.
pub fn response_body(context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
    let Sent(sent) = sent(context)?;
    let translates = context.record.proxied && head.status == StatusCode::OK;
    if !translates || sent.call.route.passes() {
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
    let taps = sent.settings.native.is_some() || sent.call.route == Route::Responses;
    if !taps && !llm::is_stream_type(kind.as_deref()) {
        return Some(Box::new(NoStream { sent, told: false }));
    }
    let keep = sent.payload.is_some();
    let decoder = Decoder::new(sent.call.clone(), sent.ready.provider, kind.as_deref(), keep);
    let gzip = gzip.then(|| MultiGzDecoder::new(Vec::new()));
    Some(Box::new(Stream { sent, decoder, gzip, taps, latency: None }))
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

/// An answer to a request for a stream that is none: a page of a proxy in between, most likely. Nothing of it
/// reaches the client, who has got its status already.
struct NoStream {
    sent: Arc<SentState>,
    told: bool,
}

impl BodyFilter for NoStream {
    fn data(&mut self, _: &mut Context, chunk: Bytes) -> Result<Bytes, BodyError> {
        if chunk.is_empty() || std::mem::replace(&mut self.told, true) {
            return Ok(Bytes::new());
        }
        let mut out = Vec::new();
        llm::no_stream(self.sent.settings.dialect).write(&mut out);
        Ok(out.into())
    }

    fn end(&mut self, context: &mut Context) -> Result<Bytes, BodyError> {
        record(context, &self.sent, Usage::default(), None, None);
        Ok(Bytes::new())
    }
}

/// A stream on its way back.
struct Stream {
    sent: Arc<SentState>,
    decoder: Decoder,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Whether the client gets the provider's own bytes (native formats, and OpenAI's responses).
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
        let estimate = Usage::new(Some(estimate(&self.sent)), Some(seen.characters.div_ceil(4) as u64));
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

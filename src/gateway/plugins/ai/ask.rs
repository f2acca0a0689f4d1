//! Requests that plugins make to providers on their own behalf.

use super::compose::{Base, compose_on};
use super::logging::{log_entry, statistics};
use super::{Composed, MAX_ANSWER, Question, Ready, Settings, Stop, gunzip, millis, way};
use crate::gateway::llm::Map;
use crate::gateway::proxy::{Body, Client, Context, ForwardError, Limits};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use serde_json::{Value as Json, json};
use std::time::Instant;

/// Asks a provider on a plugin's own behalf: an instruction and a text, answered with a text.
///
/// # Errors
/// Why there is no answer, in words for the client.
pub async fn ask(
    settings: &Settings,
    ready: &Ready,
    context: &mut Context,
    limits: &Limits,
    log_name: &str,
    instruction: &str,
    text: &str,
) -> Result<String, String> {
    let members = match json!({"messages": [{"role": "system", "content": instruction},
        {"role": "user", "content": text}], "stream": false})
    {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let question = Question { raw: Bytes::new(), members };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let base = Base { method: &Method::POST, headers, query: None };
    let composed = compose_on(base, settings, ready, context, question).map_err(|stop| match stop {
        Stop::Refused(refusal) => refusal.0,
        Stop::Failed(failure) => failure.reason,
        Stop::NotExecuted(message) => message,
    })?;
    let started = Instant::now();
    let failed = |reason: String| format!("failed to introspect request with AI service: {reason}");
    let client = context.client.clone();
    let answer = request(settings, &client, limits, &composed)
        .await
        .map_err(|error| failed(format!("request to ai service failed: {error}")))?;
    let status = answer.status();
    let gzip = answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let body = answer.into_body().read(MAX_ANSWER).await.map_err(|error| failed(error.to_string()))?;
    let body = if gzip { gunzip(&body).unwrap_or(body) } else { body };
    if status.as_u16() > 299 {
        return Err(failed(format!("status code {}", status.as_u16())));
    }
    let translated = ready
        .provider
        .answer(&composed.call, &body)
        .map_err(|error| format!("failed to convert AI response to Kong format: {error}"))?;
    if ready.target.logging.statistics {
        let model = translated.model.as_deref();
        let entry = statistics(&settings.plugin_id, &composed.call, translated.usage, model, millis(started));
        log_entry(context, log_name, entry);
    }
    let said = translated.body.or_else(|| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let said = said.pointer("/choices/0/message/content").and_then(Json::as_str);
    said.map(str::to_owned).ok_or_else(|| "no 'choices' in upstream AI service response".to_owned())
}

async fn request(
    settings: &Settings,
    client: &Client,
    limits: &Limits,
    composed: &Composed,
) -> Result<Response<Body>, ForwardError> {
    let way = way(settings, &composed.upstream);
    let host = if way.host.contains(':') { format!("[{}]", way.host) } else { way.host.to_string() };
    let query = composed.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let address = format!("{}://{host}:{}{}{query}", way.scheme, way.port, composed.upstream.path);
    let invalid = |reason: String| ForwardError::Invalid { target: format!("{host}:{}", way.port), reason };
    let mut request = Request::new(Body::full(composed.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.parse::<Uri>().map_err(|error| invalid(error.to_string()))?;
    request.headers_mut().clone_from(&composed.headers);
    let authority = composed.upstream.authority();
    let authority = HeaderValue::from_str(&authority).map_err(|error| invalid(error.to_string()))?;
    request.headers_mut().insert(HOST, authority);
    client.send(request, limits).await
}

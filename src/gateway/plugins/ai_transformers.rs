//! `ai-request-transformer` and `ai-response-transformer`: a model rewrites the request's or the answer's body.

use super::ai::{self, Ready, Settings};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::llm::Route;
use crate::gateway::proxy::{Context, Limits};
use async_trait::async_trait;
use bytes::Bytes;
use fancy_regex::{Regex, RegexBuilder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// The request transformer's line in the table.
pub const REQUEST: Entry = Entry { name: "ai-request-transformer", priority: 777, build: build_request };

/// The response transformer's line in the table.
pub const RESPONSE: Entry = Entry { name: "ai-response-transformer", priority: 768, build: build_response };

/// The largest answer that is given to a model, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// How many steps back the pattern may take before it is given up.
const BACKTRACKS: usize = 1_000_000;

/// What both have in common.
struct Transformer {
    name: &'static str,
    settings: Settings,
    ready: Ready,
    instruction: Box<str>,
    pattern: Option<Regex>,
    limits: Limits,
}

struct RequestTransformer(Transformer);

struct ResponseTransformer {
    transformer: Transformer,
    /// Whether the model's text is JSON with `headers`, `status` and `body`.
    instructs: bool,
}

impl Transformer {
    fn read(instance: &Instance<'_>, name: &'static str) -> Result<Transformer, ConfigError> {
        let settings = Settings::read(instance);
        let llm = instance.get("llm").ok_or_else(|| ConfigError::new("llm", "is missing"))?;
        let ready = Ready::read(llm, "llm", &settings)?;
        if ready.target.route != Route::Chat {
            let problem = "'config.llm.route_type' must be 'llm/v1/chat' for AI transformer plugins";
            return Err(ConfigError::new("llm.route_type", problem));
        }
        if let Some(field) =
            ["http_proxy_host", "https_proxy_host"].into_iter().find(|f| instance.get(f).is_some())
        {
            return Err(ConfigError::new(field, "is not executed by this gateway"));
        }
        let pattern = instance
            .text("transformation_extract_pattern")
            .map(|pattern| {
                RegexBuilder::new(pattern).case_insensitive(true).backtrack_limit(BACKTRACKS).build()
            })
            .transpose()
            .map_err(|error| ConfigError::new("transformation_extract_pattern", error.to_string()))?;
        let timeout = instance.integer("http_timeout").and_then(|millis| u64::try_from(millis).ok());
        let timeout = Duration::from_millis(timeout.unwrap_or(60_000));
        Ok(Transformer {
            name,
            settings,
            ready,
            instruction: instance.text("prompt").unwrap_or_default().into(),
            pattern,
            limits: Limits {
                connect: timeout,
                write: timeout,
                read: timeout,
                verify: instance.flag("https_verify"),
                ..Limits::default()
            },
        })
    }

    /// What the model makes of a text.
    async fn transform(&self, context: &mut Context, text: &str) -> Result<String, String> {
        let said =
            ai::ask(&self.settings, &self.ready, context, &self.limits, self.name, &self.instruction, text)
                .await?;
        let Some(pattern) = &self.pattern else { return Ok(said) };
        match pattern.find(&said) {
            Ok(Some(found)) => Ok(found.as_str().to_owned()),
            Ok(None) => Err("AI response did not match specified regular expression".to_owned()),
            Err(error) => Err(format!("failed regex matching ai response: {error}")),
        }
    }
}

fn build_request(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(RequestTransformer(Transformer::read(instance, REQUEST.name)?)))
}

fn build_response(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(ResponseTransformer {
        transformer: Transformer::read(instance, RESPONSE.name)?,
        instructs: instance.flag("parse_llm_response_json_instructions"),
    }))
}

#[async_trait]
impl Plugin for RequestTransformer {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let limit = ai::body_limit(&self.0.settings);
        let Some(question) = ai::question(context, limit).await? else {
            return ai::too_large(context, ai::dialect(&self.0.settings), limit);
        };
        let text = String::from_utf8_lossy(&question.raw);
        match self.0.transform(context, &text).await {
            Ok(body) => {
                context.outbound.set_body(body);
                Ok(Flow::Continue)
            }
            Err(message) => ai::refused(context, StatusCode::BAD_REQUEST, &message),
        }
    }
}

#[async_trait]
impl Plugin for ResponseTransformer {
    fn whole_response(&self, context: &Context, _head: &response::Parts) -> Option<usize> {
        context.record.proxied.then_some(MAX_ANSWER)
    }

    async fn response(&self, context: &mut Context, answer: &mut Response<Bytes>) -> Result<(), Failure> {
        if !context.record.proxied {
            return Ok(());
        }
        if answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
            && let Some(plain) = ai::gunzip(answer.body())
        {
            *answer.body_mut() = plain;
        }
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        answer.headers_mut().remove(CONTENT_ENCODING);
        match self.transformer.transform(context, &text).await {
            Ok(body) if self.instructs => instruct(answer, &body),
            Ok(body) => *answer.body_mut() = body.into(),
            Err(message) => refuse(answer, StatusCode::BAD_REQUEST, &message),
        }
        Ok(())
    }
}

/// An error in the place of the answer, of which nothing is left.
fn refuse(answer: &mut Response<Bytes>, status: StatusCode, message: &str) {
    answer.headers_mut().clear();
    *answer.status_mut() = status;
    *answer.body_mut() = json!({"error": {"message": message}}).to_string().into();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
}

/// Does what the model's JSON says: `headers`, `status`, `body`.
fn instruct(answer: &mut Response<Bytes>, text: &str) {
    let failed = "failed to parse JSON response instructions from AI backend";
    let instructions: Json = match serde_json::from_str(text) {
        Ok(instructions @ Json::Object(_)) => instructions,
        Ok(_) => {
            let message = format!("{failed}: input not table or string");
            return refuse(answer, StatusCode::INTERNAL_SERVER_ERROR, &message);
        }
        Err(error) => {
            return refuse(answer, StatusCode::INTERNAL_SERVER_ERROR, &format!("{failed}: {error}"));
        }
    };
    for (name, value) in instructions.get("headers").and_then(Json::as_object).into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text))
        {
            answer.headers_mut().insert(name, value);
        }
    }
    let status = instructions.get("status").and_then(Json::as_u64).and_then(|code| u16::try_from(code).ok());
    *answer.status_mut() = status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    let body = instructions.get("body").filter(|body| !body.is_null()).unwrap_or(&instructions);
    *answer.body_mut() = body.as_str().map_or_else(|| body.to_string(), str::to_owned).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_instructions_are_followed() {
        let mut answer = Response::new(Bytes::from("old"));
        instruct(
            &mut answer,
            r#"{"headers": {"x-new": "1", "content-type": "application/xml"}, "status": 209, "body": "<a/>"}"#,
        );
        assert_eq!((answer.status().as_u16(), &**answer.body()), (209, b"<a/>".as_slice()));
        assert_eq!(answer.headers()["x-new"], "1");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/xml");
        instruct(&mut answer, "not json");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.headers().contains_key("x-new"));
        instruct(&mut answer, r#"{"plain": true}"#);
        assert_eq!((answer.status().as_u16(), &**answer.body()), (200, br#"{"plain":true}"#.as_slice()));
    }
}

//! `request-termination`: requests end here, with an answer of the operator's.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::{Body, BodyError, Context, normalize_path};
use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "request-termination", priority: 2, build };

/// The largest body that is echoed, in bytes.
const LARGEST_ECHO: usize = 1 << 20;

struct RequestTermination {
    status: StatusCode,
    message: Option<Box<str>>,
    body: Option<Box<str>>,
    content_type: Option<HeaderValue>,
    trigger: Option<Box<str>>,
    echo: bool,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let status = status("status_code", instance.integer("status_code").unwrap_or(503))?;
    let usual = match status.as_u16() {
        401 => Some("Unauthorized"),
        404 => Some("Not found"),
        405 => Some("Method not allowed"),
        500 => Some("An unexpected error occurred"),
        502 => Some("Bad Gateway"),
        503 => Some("Service unavailable"),
        _ => None,
    };
    Ok(Arc::new(RequestTermination {
        status,
        message: instance.text("message").or(usual).map(Into::into),
        body: instance.text("body").map(Into::into),
        content_type: instance.text("content_type").and_then(|kind| HeaderValue::from_str(kind).ok()),
        trigger: instance.text("trigger").map(Into::into),
        echo: instance.flag("echo"),
    }))
}

#[async_trait]
impl Plugin for RequestTermination {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if let Some(trigger) = &self.trigger {
            let named = context.inbound.headers.contains_key(&**trigger);
            if !named && !query(context).contains_key(&**trigger) {
                return Ok(Flow::Continue);
            }
        }
        if self.echo {
            let echo = self.echo(context).await?;
            return Ok(Flow::Respond(context.json(self.status, &echo)?));
        }
        let mut answer = match (&self.body, &self.message) {
            (Some(body), _) => {
                let mut answer = Response::new(Body::full(body.to_string()));
                if let Some(kind) = &self.content_type {
                    answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
                }
                answer
            }
            (None, Some(message)) => context.exit(self.status, message),
            (None, None) => Response::new(Body::Empty),
        };
        *answer.status_mut() = self.status;
        Ok(Flow::Respond(answer))
    }
}

impl RequestTermination {
    /// The request as it arrived, for looking at.
    async fn echo(&self, context: &mut Context) -> Result<Json, Failure> {
        let body = match context.request_body(LARGEST_ECHO).await {
            Ok(data) => String::from_utf8_lossy(&data).into_owned(),
            Err(BodyError::TooLarge { .. }) => String::new(),
            Err(error) => return Err(error.into()),
        };
        let inbound = &context.inbound;
        let mut headers = Map::new();
        for (name, value) in &inbound.headers {
            headers.insert(name.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
        }
        let (unnamed, named): (Vec<_>, Vec<_>) = context
            .captures
            .iter()
            .map(|(name, text)| (name.to_string(), Json::from(&**text)))
            .partition(|(name, _)| name.bytes().all(|byte| byte.is_ascii_digit()));
        let path = normalize_path(inbound.uri.path());
        Ok(json!({
            "message": self.message,
            "kong": { "worker_pid": std::process::id() },
            "request": {
                "scheme": inbound.scheme,
                "host": inbound.host,
                "port": inbound.local.port(),
                "headers": headers,
                "query": query(context),
                "raw_body": body,
                "body": serde_json::from_str::<Json>(&body).ok(),
                "method": inbound.method.as_str(),
                "path": path,
                "uri_captures": {
                    "named": named.into_iter().collect::<Map<_, _>>(),
                    "unnamed": unnamed.into_iter().map(|(_, text)| text).collect::<Vec<_>>(),
                },
            },
            "matched_route": context.route.as_ref().map(|route| route.row.value()),
            "matched_service": context.service.as_ref().map(|service| service.row.value()),
        }))
    }
}

fn query(context: &Context) -> Map<String, Json> {
    let query = context.inbound.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into()))
        .collect()
}

//! `http-log`: log entries by HTTP.

use super::queue::{Queue, Sink, batch_size};
use super::{ConfigError, Entry, Instance, Plugin, log_entry};
use crate::gateway::proxy::{Body, Client, Context, Limits};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};
use std::sync::Arc;
use std::time::Duration;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "http-log", priority: 12, build };

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

struct HttpLog {
    queue: Queue,
}

struct Endpoint {
    client: Client,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    limits: Limits,
    /// One entry a request, without the brackets of a list.
    single: bool,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let invalid = || ConfigError::new("http_endpoint", "it is no URL");
    let mut url =
        url::Url::parse(instance.text("http_endpoint").unwrap_or_default()).map_err(|_| invalid())?;
    let mut headers = instance.headers("headers");
    if !url.username().is_empty() {
        let user = format!("{}:{}", url.username(), url.password().unwrap_or_default());
        let value =
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user))).map_err(|_| invalid())?;
        headers.insert(AUTHORIZATION, value);
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let kind = instance.text("content_type").unwrap_or("application/json");
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_str(kind).map_err(|e| ConfigError::new("content_type", e.to_string()))?,
    );
    let timeout = Duration::from_millis(instance.number("timeout").unwrap_or(10_000.0).max(1.0) as u64);
    let endpoint = Endpoint {
        client: Client::default(),
        uri: url.as_str().parse().map_err(|_| invalid())?,
        method: instance.text("method").and_then(|method| method.parse().ok()).unwrap_or(Method::POST),
        headers,
        limits: Limits { connect: timeout, write: timeout, read: timeout, retries: 0, verify: false },
        single: batch_size(instance) == 1,
    };
    Ok(Arc::new(HttpLog { queue: Queue::new(instance, endpoint) }))
}

impl Plugin for HttpLog {
    fn reads_response_headers(&self) -> bool {
        true
    }

    fn log(&self, context: &Context) {
        self.queue.push(log_entry::entry(context).to_string());
    }
}

#[async_trait]
impl Sink for Endpoint {
    async fn send(&self, entries: &[String]) -> Result<(), String> {
        let text = if self.single { entries.concat() } else { format!("[{}]", entries.join(",")) };
        let mut request = Request::new(Body::full(text));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        deliver(&self.client, request, &self.limits).await
    }
}

/// Sends a batch by HTTP.
///
/// # Errors
/// Why there was no answer, or one that is no success.
pub async fn deliver(client: &Client, request: Request<Body>, limits: &Limits) -> Result<(), String> {
    let answer = client.send(request, limits).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    // Read to its end, so that the connection can serve again.
    let _ = answer.into_body().read(LARGEST_ANSWER).await;
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

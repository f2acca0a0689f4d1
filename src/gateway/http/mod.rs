//! HTTP for the control-plane APIs: connections, limits, who may call, faults on demand, the request log.
//!
//! An API is an [`Api`]: a request as a value in, a reply as a value out. What does not live here: what requests
//! mean (`admin`, `konnect`), and the proxy, which streams.

mod faults;
mod guard;
mod log;

pub use faults::FaultError;
pub(in crate::gateway) use faults::Faults;
pub(in crate::gateway) use guard::Guard;
pub(in crate::gateway) use log::RequestLog;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use faults::Fate;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest URL that is read, in bytes.
const MAX_URL: usize = 16 * 1024;
/// All headers together, in bytes.
const MAX_HEADERS: usize = 32 * 1024;
/// Connections that are served at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take to send its headers.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long the first half of a truncated answer has to reach the client.
const CUT_AFTER: Duration = Duration::from_millis(20);

/// What is read of a body that is too large, so that its client reads the answer: more bytes than that and the
/// connection ends.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// A request, read whole.
#[derive(Debug)]
pub(in crate::gateway) struct Request {
    /// GET, POST ...
    pub method: Method,
    /// The path as sent, percent signs and all.
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A header's text; `None` when it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer.
#[derive(Debug)]
pub(in crate::gateway) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers beside length and date.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Reply { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// An answer of JSON text.
    pub fn text(status: StatusCode, json: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        Reply { status, headers, body: json.into() }
    }

    /// An answer of JSON.
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Reply::text(status, body.to_string())
    }

    /// An answer that says one thing.
    pub fn message(status: StatusCode, message: &str) -> Self {
        Reply::json(status, &json!({ "message": message }))
    }

    /// With a header more. What cannot stand in a header is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// An API over HTTP.
#[async_trait]
pub(in crate::gateway) trait Api: Send + Sync + 'static {
    /// Its name in the request log.
    fn name(&self) -> &'static str;

    /// The largest body that it reads on a path, in bytes.
    fn body_limit(&self, path: &str) -> usize;

    /// A path without what is secret in it, for the request log.
    fn shown_path(&self, path: &str) -> String;

    /// Answers a request.
    async fn answer(&self, request: Request) -> Reply;
}

/// What a listener has seen so far.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Meter {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections that are open.
    pub active: AtomicU64,
    /// Requests read.
    pub requests: AtomicU64,
}

/// What stands in front of an API.
pub(in crate::gateway) struct Front {
    /// Who may call.
    pub guard: Guard,
    /// Faults to make.
    pub faults: Arc<Faults>,
    /// Where requests are logged.
    pub log: Option<Arc<RequestLog>>,
    /// Counts connections and requests.
    pub meter: Arc<Meter>,
    /// No new connections, and the end of those that are idle.
    pub shutdown: CancellationToken,
    /// The end of all connections.
    pub kill: CancellationToken,
}

type Outgoing = BoxBody<Bytes, io::Error>;

/// Accepts connections until the shutdown and serves each in a task of its own.
pub(in crate::gateway) async fn serve(
    listener: TcpListener,
    api: Arc<dyn Api>,
    front: Arc<Front>,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = front.shutdown.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), Ok((stream, _))) = accepted else {
            // Out of file descriptors, mostly: some will come free.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (api, front) = (Arc::clone(&api), Arc::clone(&front));
        tasks.spawn(async move {
            let _place = place;
            let meter = Arc::clone(&front.meter);
            meter.accepted.fetch_add(1, Ordering::Relaxed);
            meter.active.fetch_add(1, Ordering::Relaxed);
            connection(stream, api, front).await;
            meter.active.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connection(stream: TcpStream, api: Arc<dyn Api>, front: Arc<Front>) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let (shutdown, kill) = (front.shutdown.clone(), front.kill.clone());
    let service = service_fn(move |request| handle(request, Arc::clone(&api), Arc::clone(&front)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_URL + MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a connection ends is the client's business: it has gone, or it was told.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = kill.cancelled() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = kill.cancelled() => {}
    }
}

/// An error ends the connection without an answer.
async fn handle(
    request: http::Request<Incoming>,
    api: Arc<dyn Api>,
    front: Arc<Front>,
) -> Result<Response<Outgoing>, io::Error> {
    let started = Instant::now();
    front.meter.requests.fetch_add(1, Ordering::Relaxed);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let method = parts.method.clone();
    let fate = front.faults.decide(&method, &path);
    let received = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(delay) = fate.delay {
        tokio::time::sleep(delay).await;
    }
    let reply = match (fate.before(), oversized(&parts)) {
        (_, Some(reply)) => reply,
        (Some(Fate { status: Some(status), retry_after, .. }), _) => fault_reply(*status, *retry_after),
        (Some(_), _) => return Err(broken()),
        (None, None) => match front.guard.refusal(&parts.headers) {
            Some(reply) => reply,
            None => match read(body, api.body_limit(&path)).await? {
                Ok(body) => {
                    let query = parts.uri.query().map(str::to_owned);
                    api.answer(Request {
                        method: parts.method,
                        path: path.clone(),
                        query,
                        headers: parts.headers,
                        body,
                    })
                    .await
                }
                Err(reply) => reply,
            },
        },
    };
    if let Some(log) = &front.log {
        let shown = api.shown_path(&path);
        let query = parts.uri.query().map(log::shown_query);
        log.write(log::Line {
            api: api.name(),
            method: method.as_str(),
            path: &shown,
            query: query.as_deref(),
            status: reply.status.as_u16(),
            fault: fate.rule.as_deref(),
            received: received.unwrap_or(0),
            sent: reply.body.len() as u64,
            milliseconds: started.elapsed().as_secs_f64() * 1000.0,
        });
    }
    if fate.lose {
        return Err(broken());
    }
    Ok(outgoing(reply, fate.truncate))
}

/// 414 and 431 for what is longer than a client of these APIs ever needs.
fn oversized(parts: &http::request::Parts) -> Option<Reply> {
    let url = parts.uri.path_and_query().map_or(0, |url| url.as_str().len());
    if url > MAX_URL {
        return Some(Reply::message(StatusCode::URI_TOO_LONG, "URI too long"));
    }
    let headers: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (headers > MAX_HEADERS)
        .then(|| Reply::message(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request headers too large"))
}

async fn read(mut body: Incoming, limit: usize) -> Result<Result<Bytes, Reply>, io::Error> {
    if body.is_end_stream() {
        return Ok(Ok(Bytes::new()));
    }
    let mut too_large = body.size_hint().lower() > limit as u64;
    let mut held = BytesMut::new();
    let mut seen = 0;
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
            seen += data.len();
            too_large = too_large || seen > limit;
            if !too_large {
                held.extend_from_slice(&data);
            } else if seen > limit.saturating_add(MAX_DISCARDED) {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(result) => result?,
        Err(_) => return Ok(Err(Reply::message(StatusCode::REQUEST_TIMEOUT, "Request time-out"))),
    }
    if too_large {
        return Ok(Err(Reply::message(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")));
    }
    Ok(Ok(held.freeze()))
}

fn fault_reply(status: StatusCode, retry_after: Option<u32>) -> Reply {
    let reason = status.canonical_reason().unwrap_or("Fault");
    let reply = Reply::message(status, reason);
    match retry_after {
        Some(seconds) => reply.with(RETRY_AFTER, &seconds.to_string()),
        None => reply,
    }
}

fn outgoing(reply: Reply, truncate: bool) -> Response<Outgoing> {
    let length = reply.body.len();
    let body = if truncate {
        let half = reply.body.slice(..length / 2);
        // An error at once would take the half with it, which is still to be sent.
        let end = stream::once(async {
            tokio::time::sleep(CUT_AFTER).await;
            Err(broken())
        });
        BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(half))]).chain(end)))
    } else {
        Full::new(reply.body).map_err(|never: Infallible| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    // A cut body promises what it does not keep.
    if truncate {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

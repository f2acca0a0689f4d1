//! One request on its way through the proxy: what the client sent, what will be sent on, who the client is,
//! and what is known when it is over. Plugins read and change it; what they do with it does not live here.

use super::body::{Body, BodyError};
use super::client::Client;
use super::connection::Tls;
use super::errors;
use super::snapshot::Snapshot;
use super::views::{Consumer, Credential, Route, Service};
use crate::gateway::plugins::Failure;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the client sent. It stays as it was, whatever plugins do.
#[derive(Debug)]
pub struct Inbound {
    /// The method.
    pub method: Method,
    /// Path and query as they came.
    pub uri: Uri,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// HTTP/1.0, 1.1 or 2.
    pub version: Version,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// What the client's TLS handshake agreed on.
    pub tls: Option<Tls>,
    /// The host the client asked for, without a port, in lower case; empty if it named none.
    pub host: Box<str>,
    /// Where the client's connection comes from.
    pub peer: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// The client's address: the peer's.
    pub client_ip: IpAddr,
    /// When the request's head had arrived.
    pub started: Instant,
    /// The same by the clock on the wall, once it was asked for.
    pub(super) wall: OnceLock<Duration>,
}

impl Inbound {
    /// When the request's head had arrived, by the clock on the wall, since 1970.
    pub fn started_at(&self) -> Duration {
        *self.wall.get_or_init(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.saturating_sub(self.started.elapsed())
        })
    }
}

/// The request as it will be sent on. Plugins change it in their access phase.
pub struct Outbound {
    /// The method.
    pub method: Method,
    /// `http`, `https`, `grpc`, `grpcs`.
    pub scheme: Box<str>,
    /// A host name, an address, or the name of an upstream.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The path, beginning with `/`, as it goes onto the wire.
    pub path: String,
    /// What follows `?`, as it goes onto the wire.
    pub query: Option<String>,
    /// The headers, without `host` and without what belongs to one connection only.
    pub headers: HeaderMap,
    /// The `host` header; `None` stands for the target's own name.
    pub host_header: Option<Box<str>>,
    /// Time-outs and retries.
    pub limits: Limits,
    /// The body. Use [`Context::request_body`] to read it and [`Outbound::set_body`] to replace it.
    pub body: Body,
}

/// How long and how often the proxy tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for a connection, TLS included.
    pub connect: Duration,
    /// The time between two writes.
    pub write: Duration,
    /// The time between two reads, and until the response's head.
    pub read: Duration,
    /// How often another attempt follows a failed connection.
    pub retries: u32,
    /// Whether the upstream's certificate must be valid.
    pub verify: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Limits { connect: minute, write: minute, read: minute, retries: 5, verify: false }
    }
}

impl Outbound {
    /// Replaces the body; the length is set when the request is sent.
    pub fn set_body(&mut self, data: impl Into<Bytes>) {
        self.body = Body::full(data);
        self.headers.remove(http::header::TRANSFER_ENCODING);
        self.headers.remove(http::header::CONTENT_LENGTH);
    }

    /// Path and query as they go onto the wire.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => [&self.path, "?", query].concat(),
            None => self.path.clone(),
        }
    }
}

/// Who the client is, once a plugin found out.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The consumer; also one that stands for everybody (`anonymous`).
    pub consumer: Option<Arc<Consumer>>,
    /// What the consumer showed; `None` for an anonymous one.
    pub credential: Option<Arc<Credential>>,
    /// ACL groups that the credential itself brings, instead of the consumer's.
    pub groups: Option<Vec<Box<str>>>,
}

/// Sends the request in the proxy's stead; see [`Context::forward_with`].
#[async_trait]
pub trait Forward: Send + Sync {
    /// Sends `context.outbound` wherever it wants, as often as it wants, and gives the upstream's answer.
    ///
    /// # Errors
    /// [`ForwardError`] when no upstream answered; it becomes a 502 or 504 as Kong words it.
    async fn forward(&self, context: &mut Context, client: &Client) -> Result<Response<Body>, ForwardError>;
}

/// Why there is no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection, or a TLS handshake that failed.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// Host and port.
        target: String,
        /// The system's or TLS's words.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer from {target} in time")]
    TimedOut {
        /// Host and port.
        target: String,
    },
    /// The upstream closed the connection, or what it sent is not HTTP.
    #[error("no valid answer from {target}: {reason}")]
    Invalid {
        /// Host and port.
        target: String,
        /// The library's words.
        reason: String,
    },
    /// The name has no address.
    #[error("name resolution failed for {host}")]
    Resolve {
        /// The name.
        host: String,
    },
    /// All targets of the upstream are unhealthy, or there are none.
    #[error("no target of {upstream} can be used")]
    NoTarget {
        /// The upstream's name.
        upstream: String,
    },
    /// The client's body broke off, was too large or too slow while it was passed on.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A plugin that forwards on its own gives this answer instead.
    #[error("answered without an upstream")]
    Answer(Box<Response<Body>>),
}

/// One request on its way through the proxy.
pub struct Context {
    /// What the client sent.
    pub inbound: Inbound,
    /// What will be sent on.
    pub outbound: Outbound,
    /// The configuration this request is served by, from beginning to end.
    pub snapshot: Arc<Snapshot>,
    /// The route that matched; `None` only in the response and log phases of an answer that says so.
    pub route: Option<Arc<Route>>,
    /// Its service, if it has one.
    pub service: Option<Arc<Service>>,
    /// Captures of the route's regular expression: by number from 1, and by name.
    pub captures: Vec<(Box<str>, Box<str>)>,
    /// Who the client is.
    pub identity: Identity,
    /// 32 hexadecimal digits, also sent as `X-Kong-Request-Id`.
    pub request_id: Box<str>,
    /// What a plugin keeps from one phase to the next, by type.
    pub state: Extensions,
    /// What plugins add to log entries, by name: `ai` ...
    pub log: serde_json::Map<String, serde_json::Value>,
    /// Headers for the client, put on the answer whoever makes it, before the response phases: `RateLimit-Limit` ...
    pub response_headers: HeaderMap,
    /// Times and sizes, known piece by piece.
    pub record: Record,
    /// The proxy's client, for requests that plugins make by themselves.
    pub client: Client,
    pub(super) forwarder: Option<Arc<dyn Forward>>,
    pub(super) read: Arc<AtomicU64>,
}

/// Times and sizes of one request. Unknown times are `None`.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When the request went to the upstream.
    pub sent: Option<Instant>,
    /// When the upstream's head had arrived.
    pub answered: Option<Instant>,
    /// When the last byte had gone to the client.
    pub finished: Option<Instant>,
    /// The address that answered, and every one tried before.
    pub tries: Vec<Try>,
    /// The status sent to the client.
    pub status: Option<StatusCode>,
    /// The status that the upstream gave.
    pub upstream_status: Option<StatusCode>,
    /// The response's headers as sent to the client, for plugins that say that they read them.
    pub response_headers: HeaderMap,
    /// Bytes of the request's body that were read from the client.
    pub request_bytes: u64,
    /// Bytes of the response's headers, as lines.
    pub response_head: usize,
    /// Bytes of the response's body that went to the client.
    pub response_bytes: u64,
    /// Whether the answer came from an upstream.
    pub proxied: bool,
    /// Whether the stream was cut before its end.
    pub cut: bool,
}

/// One attempt to reach a target.
#[derive(Clone, Debug)]
pub struct Try {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// When a target was looked for.
    pub started: Instant,
    /// Why it failed; `None` if it did not.
    pub failure: Option<String>,
}

impl Context {
    /// A request without a route and a client that is not known.
    pub(super) fn new(
        inbound: Inbound,
        outbound: Outbound,
        snapshot: Arc<Snapshot>,
        request_id: Box<str>,
        client: Client,
        read: Arc<AtomicU64>,
    ) -> Box<Self> {
        Box::new(Context {
            inbound,
            outbound,
            snapshot,
            route: None,
            service: None,
            captures: Vec::new(),
            identity: Identity::default(),
            request_id,
            state: Extensions::new(),
            log: serde_json::Map::new(),
            response_headers: HeaderMap::new(),
            record: Record::default(),
            client,
            forwarder: None,
            read,
        })
    }

    /// The client's whole request body, at most `limit` bytes; it still goes to the upstream afterwards.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] (the plugin decides what to answer), or what broke the body.
    pub async fn request_body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let data = std::mem::take(&mut self.outbound.body).read(limit).await?;
        self.outbound.body = Body::full(data.clone());
        Ok(data)
    }

    /// Lets `forwarder` send the request when all access phases are over, in place of the proxy.
    /// It may be called once a request; a later call wins.
    pub fn forward_with(&mut self, forwarder: Arc<dyn Forward>) {
        self.forwarder = Some(forwarder);
    }

    /// A header of the request as earlier plugins left it, and of those that are the proxy's own, as the client sent
    /// it. Of several values the first.
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let headers =
            if super::headers::is_own(name) { &self.inbound.headers } else { &self.outbound.headers };
        headers.get(name)
    }

    /// Says who the client is and tells the upstream, as Kong does, in the `X-Consumer-*` headers.
    pub fn authenticate(&mut self, consumer: Option<Arc<Consumer>>, credential: Option<Arc<Credential>>) {
        self.identity = Identity { consumer, credential, groups: None };
        super::headers::set_identity(&mut self.outbound.headers, &self.identity);
    }

    /// An error in the form that the client accepts: JSON with `message` and `request_id`, XML, HTML or text.
    /// This is Kong's `kong.response.error`.
    pub fn error(&self, status: StatusCode, message: &str) -> Response<Body> {
        errors::error(&self.inbound.headers, status, message, &self.request_id)
    }

    /// `{"message": ...}` with this status, whatever the client accepts. This is Kong's `kong.response.exit`.
    pub fn exit(&self, status: StatusCode, message: &str) -> Response<Body> {
        errors::exit(status, message)
    }

    /// A JSON body with this status.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json(&self, status: StatusCode, body: &impl serde::Serialize) -> Result<Response<Body>, Failure> {
        let text = serde_json::to_vec(body).map_err(|e| Failure::new(e.to_string()))?;
        Ok(errors::json(status, text))
    }

    /// A member of the query as the client sent it, percent-decoded; `+` is a blank.
    pub fn query_arg(&self, name: &str) -> Option<String> {
        let query = self.inbound.uri.query()?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.into_owned())
    }
}

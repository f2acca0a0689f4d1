//! How the proxy and its plugins reach upstreams: pooled keep-alive connections, TLS, time-outs.
//!
//! What does not live here: which target is asked, and what follows a failure (`forward`, `balancer`).

use super::body::{Body, BodyError};
use super::context::{ForwardError, Limits};
use super::http1::{Fault, Http1};
use super::patience::{Patience, Progress};
use super::tls::UpstreamTls;
use super::upgrade::Switched;
use super::wire::Wire;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How many idle connections are kept for one target.
const KEPT: usize = 512;

/// How many peers are known before those that nobody uses are forgotten.
const KEPT_PEERS: usize = 4096;

/// How long the addresses of a name are remembered.
const NAMES: Duration = Duration::from_secs(10);
/// How many names are remembered.
const KEPT_NAMES: usize = 4096;

/// Sends requests to upstreams over pooled connections. Cheap to clone; clones share the pool.
#[derive(Clone, Default)]
pub struct Client(Arc<Pool>);

#[derive(Default)]
struct Pool {
    shelves: Mutex<HashMap<Peer, Arc<Shelf>>>,
    names: Mutex<HashMap<Box<str>, Name>>,
}

/// The idle connections to one peer.
#[derive(Default)]
struct Shelf(Mutex<Vec<Idle>>);

/// Where a connection leads; only equal peers share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The address.
    pub address: SocketAddr,
    /// For TLS: the name to send and to check, and the settings.
    pub tls: Option<(Box<str>, Arc<UpstreamTls>)>,
    /// HTTP/2 instead of 1.1 (gRPC).
    pub http2: bool,
}

impl Peer {
    /// HTTP/1.1 without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Peer { address, tls: None, http2: false }
    }

    /// HTTP/1.1 by TLS with the server of this name, whose certificate must be valid if `verify`.
    pub fn tls(address: SocketAddr, name: Box<str>, verify: bool) -> Self {
        Peer { address, tls: Some((name, UpstreamTls::usual(verify))), http2: false }
    }
}

/// The addresses of a host name, and since when they are known.
struct Name {
    ips: Vec<IpAddr>,
    since: Instant,
}

struct Idle {
    wire: Wire,
    patience: Patience,
    since: Instant,
}

impl Client {
    /// Sends one request to the origin of its absolute URI (`https://host:port/path?query`) and gives the answer's
    /// head with a streamed body. `host` is set from the URI unless the request has one.
    ///
    /// # Errors
    /// [`ForwardError`] when there is no valid answer in time. Nothing is retried here.
    pub async fn send(
        &self,
        mut request: Request<Body>,
        limits: &Limits,
    ) -> Result<Response<Body>, ForwardError> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if !request.headers().contains_key(HOST) {
            let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
            if let Ok(value) = HeaderValue::from_str(authority) {
                request.headers_mut().insert(HOST, value);
            }
        }
        *request.uri_mut() =
            uri.path_and_query().cloned().map(Uri::from).unwrap_or_else(|| Uri::from_static("/"));
        *request.version_mut() = Version::HTTP_11;
        let address = self.resolve(host, port, 0).await?;
        let peer = if tls { Peer::tls(address, host.into(), limits.verify) } else { Peer::plain(address) };
        self.send_to(&peer, Box::new(request), limits).await.map_err(|unsent| unsent.reason)
    }

    /// The address of a host; of several the one whose turn it is at this attempt, counted from 0.
    ///
    /// # Errors
    /// [`ForwardError::Resolve`] when the name has no address.
    pub async fn resolve(&self, host: &str, port: u16, attempt: usize) -> Result<SocketAddr, ForwardError> {
        if let Ok(ip) = host.parse() {
            return Ok(SocketAddr::new(ip, port));
        }
        let pick = |ips: &[IpAddr]| ips.get(attempt % ips.len().max(1)).map(|ip| SocketAddr::new(*ip, port));
        let unknown = || ForwardError::Resolve { host: host.to_owned() };
        if let Some(Name { ips, since }) =
            self.0.names.lock().unwrap_or_else(PoisonError::into_inner).get(host)
            && since.elapsed() < NAMES
        {
            return pick(ips).ok_or_else(unknown);
        }
        // Rare and large: kept out of the future of every request.
        let found = Box::pin(tokio::net::lookup_host((host, port))).await.map_err(|_| unknown())?;
        let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        // Kong asks for IPv4 addresses first.
        ips.sort_by_key(IpAddr::is_ipv6);
        ips.dedup();
        let address = pick(&ips).ok_or_else(unknown);
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= KEPT_NAMES {
            names.clear();
        }
        names.insert(host.into(), Name { ips, since: Instant::now() });
        address
    }

    /// Sends one request (its URI is path and query, its `host` is set) to a peer.
    ///
    /// # Errors
    /// [`Unsent`] when there is no valid answer in time.
    pub async fn send_to(
        &self,
        peer: &Peer,
        mut request: Box<Request<Body>>,
        limits: &Limits,
    ) -> Result<Response<Body>, Unsent> {
        let shelf = self.0.shelf(peer);
        while let Some((mut wire, patience)) = shelf.take() {
            if !wire.ready().await {
                continue;
            }
            match exchange(peer, &shelf, wire, patience, request, limits).await {
                // An idle connection may have been closed by the other side just before the request was written.
                Err(Unsent { request: Some(unsent), untouched: true, .. }) => request = unsent,
                other => return other,
            }
        }
        // Rare and large: kept out of the future of every request.
        let connecting = Box::pin(timeout(limits.connect, connect(peer))).await;
        let target = || peer.address.to_string();
        let reason = match connecting {
            Ok(Ok(wire)) => {
                return exchange(peer, &shelf, wire, Patience::default(), request, limits).await;
            }
            Ok(Err(reason)) => ForwardError::Connect { target: target(), reason },
            Err(_) => ForwardError::TimedOut { target: target() },
        };
        Err(Unsent { reason, request: Some(request), untouched: true })
    }
}

async fn exchange(
    peer: &Peer,
    shelf: &Arc<Shelf>,
    wire: Wire,
    mut patience: Patience,
    mut request: Box<Request<Body>>,
    limits: &Limits,
) -> Result<Response<Body>, Unsent> {
    patience.begin(limits.read, Progress::of(&mut request));
    match wire {
        Wire::Http1(wire) => exchange_http1(peer, shelf, wire, request, patience).await,
        // Rare and large: kept out of the future of every request.
        Wire::Http2(sender) => Box::pin(exchange_http2(peer, shelf, sender, request, patience)).await,
    }
}

async fn exchange_http1(
    peer: &Peer,
    shelf: &Arc<Shelf>,
    mut wire: Box<Http1>,
    mut request: Box<Request<Body>>,
    mut patience: Patience,
) -> Result<Response<Body>, Unsent> {
    let copy = request.body().at_hand();
    wire.begin(&mut request);
    let answered = patience.wait(|cx| wire.poll_head(cx)).await;
    let target = || peer.address.to_string();
    let reason = match answered {
        Some(Ok(head)) => {
            let (mut head, ()) = head.into_parts();
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                head.extensions.insert(Switched::new(wire.into_parts()));
                return Ok(Response::from_parts(head, Body::Empty));
            }
            if wire.is_over() {
                shelf.take_back(wire, patience);
                return Ok(Response::from_parts(head, Body::Empty));
            }
            return Ok(answer(shelf, head, Source::Http1(wire), patience));
        }
        Some(Err(Fault::Sent(error))) => ForwardError::Body(error),
        Some(Err(fault)) => ForwardError::Invalid { target: target(), reason: fault.to_string() },
        None => ForwardError::TimedOut { target: target() },
    };
    let request = copy.map(|body| {
        *request.body_mut() = body;
        request
    });
    Err(Unsent { reason, request, untouched: false })
}

async fn exchange_http2(
    peer: &Peer,
    shelf: &Arc<Shelf>,
    mut sender: http2::SendRequest<Body>,
    request: Box<Request<Body>>,
    mut patience: Patience,
) -> Result<Response<Body>, Unsent> {
    let mut sending = std::pin::pin!(sender.try_send_request(*request));
    let answered = patience.wait(|cx| sending.as_mut().poll(cx)).await;
    let target = || peer.address.to_string();
    let (reason, request) = match answered {
        Some(Ok(response)) => {
            shelf.keep(Wire::Http2(sender), Patience::default());
            let (head, incoming) = response.into_parts();
            return Ok(answer(shelf, head, Source::Http2(incoming), patience));
        }
        Some(Err(mut failed)) => {
            let request = failed.take_message().map(Box::new);
            let error = failed.into_error();
            let reason = match own_failure(&error) {
                Some(failure) => ForwardError::Body(failure),
                None => ForwardError::Invalid { target: target(), reason: error.to_string() },
            };
            (reason, request)
        }
        None => (ForwardError::TimedOut { target: target() }, None),
    };
    Err(Unsent { reason, untouched: request.is_some(), request })
}

fn answer(
    shelf: &Arc<Shelf>,
    head: response::Parts,
    source: Source,
    mut patience: Patience,
) -> Response<Body> {
    patience.stop();
    let answer = Answer { source: Some(source), shelf: Arc::clone(shelf), patience, broken: None };
    Response::from_parts(head, Body::stream(answer))
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub reason: ForwardError,
    /// The request, if it is still whole.
    pub request: Option<Box<Request<Body>>>,
    /// Whether it certainly was not processed.
    pub untouched: bool,
}

/// What was wrong with the request's own body, if that is why it could not be sent.
fn own_failure(error: &hyper::Error) -> Option<BodyError> {
    let source = std::error::Error::source(error)?.downcast_ref::<BodyError>()?;
    Some(match source {
        BodyError::TooLarge { limit } => BodyError::TooLarge { limit: *limit },
        BodyError::TimedOut => BodyError::TimedOut,
        other => BodyError::Filter(other.to_string()),
    })
}

impl Pool {
    fn shelf(&self, peer: &Peer) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get(peer) {
            return Arc::clone(shelf);
        }
        if shelves.len() >= KEPT_PEERS {
            // Those in use are put up anew; the others are of targets that were taken away.
            shelves.retain(|_, shelf| Arc::strong_count(shelf) > 1);
        }
        Arc::clone(shelves.entry(peer.clone()).or_default())
    }
}

impl Shelf {
    fn take(&self) -> Option<(Wire, Patience)> {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Idle { wire, patience, since }) = wires.pop() {
            if since.elapsed() < IDLE {
                return Some((wire, patience));
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over, if another one may follow.
    fn take_back(&self, wire: Box<Http1>, patience: Patience) {
        if wire.is_reusable() {
            self.keep(Wire::Http1(wire), patience);
        }
    }

    fn keep(&self, wire: Wire, patience: Patience) {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wires.len() < KEPT {
            wires.push(Idle { wire, patience, since: Instant::now() });
        }
    }
}

async fn connect(peer: &Peer) -> Result<Wire, String> {
    let stream = TcpStream::connect(peer.address).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    match &peer.tls {
        Some((name, tls)) => Wire::open(tls.connect(name, peer.http2, stream).await?, peer.http2).await,
        None => Wire::open(stream, peer.http2).await,
    }
}

/// Where a body comes from.
enum Source {
    Http1(Box<Http1>),
    Http2(Incoming),
}

/// A response's body: gives its connection back to the pool at the end, and fails when nothing comes for too long.
struct Answer {
    /// `None` at the end.
    source: Option<Source>,
    shelf: Arc<Shelf>,
    patience: Patience,
    /// What broke it, told at the next turn.
    broken: Option<BodyError>,
}

impl Source {
    fn poll_frame(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Source::Http1(wire) => wire.poll_frame(cx).map_err(BodyError::from),
            Source::Http2(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Source::Http1(wire) => wire.is_over(),
            Source::Http2(incoming) => incoming.is_end_stream(),
        }
    }
}

impl Answer {
    fn finish(&mut self) {
        if let Some(Source::Http1(wire)) = self.source.take() {
            self.shelf.take_back(wire, std::mem::take(&mut self.patience));
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        match source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.stop();
                if source.is_over() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // What came before it goes out first.
                this.source = None;
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Pending => this.patience.poll(cx).map(|()| {
                this.source = None;
                Some(Err(BodyError::TimedOut))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.source.as_ref().is_none_or(Source::is_over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Some(Source::Http1(wire)) => wire.left().map(SizeHint::with_exact).unwrap_or_default(),
            Some(Source::Http2(incoming)) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn get(address: SocketAddr) -> Request<Body> {
        Request::builder().uri(format!("http://{address}/a?b=1")).body(Body::Empty).unwrap()
    }

    #[tokio::test]
    async fn a_connection_serves_several_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            // One connection only: a second one would find nobody.
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            for _ in 0..3 {
                let n = stream.read(&mut buffer).await.unwrap();
                assert!(buffer[..n].starts_with(b"GET /a?b=1 HTTP/1.1\r\n"));
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
            drop(listener);
        });
        let client = Client::default();
        for _ in 0..3 {
            let response = client.send(get(address), &Limits::default()).await.unwrap();
            assert_eq!(response.into_body().read(10).await.unwrap(), "ok");
        }
    }

    #[tokio::test]
    async fn silence_ends_with_a_time_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { read: Duration::from_millis(20), ..Limits::default() };
        let error = Client::default().send(get(address), &limits).await.unwrap_err();
        assert!(matches!(error, ForwardError::TimedOut { .. }), "{error}");
        drop(listener);
        let error = Client::default().send(get(address), &limits).await.unwrap_err();
        assert!(matches!(error, ForwardError::Connect { .. }), "{error}");
    }
}

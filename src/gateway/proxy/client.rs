//! How the proxy and its plugins reach upstreams: pooled keep-alive connections, TLS, time-outs.
//!
//! What does not live here: which target is asked, and what follows a failure (`forward`, `balancer`).

use super::body::{Body, BodyError};
use super::context::{ForwardError, Limits};
use super::tls::UpstreamTls;
use super::wire::Wire;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How many idle connections are kept for one target.
const KEPT: usize = 512;

/// How long the addresses of a name are remembered.
const NAMES: Duration = Duration::from_secs(10);
/// How many names are remembered.
const KEPT_NAMES: usize = 4096;

/// Sends requests to upstreams over pooled connections. Cheap to clone; clones share the pool.
#[derive(Clone, Default)]
pub struct Client(Arc<Pool>);

#[derive(Default)]
struct Pool {
    idle: Mutex<HashMap<Peer, Vec<Idle>>>,
    names: Mutex<HashMap<Box<str>, Name>>,
}

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
        self.send_to(&peer, request, limits).await.map_err(|unsent| unsent.reason)
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
    /// [`Unsent`] when there is no valid answer in time; with the request if it certainly was not processed.
    pub async fn send_to(
        &self,
        peer: &Peer,
        mut request: Request<Body>,
        limits: &Limits,
    ) -> Result<Response<Body>, Unsent> {
        while let Some(mut wire) = self.0.take(peer) {
            if !wire.ready().await {
                continue;
            }
            match self.exchange(peer, wire, request, limits).await {
                // An idle connection may have been closed by the other side just before the request was written.
                Err(Unsent { request: Some(unsent), .. }) => request = *unsent,
                other => return other,
            }
        }
        // Rare and large: kept out of the future of every request.
        let connecting = Box::pin(timeout(limits.connect, connect(peer))).await;
        let target = || peer.address.to_string();
        let reason = match connecting {
            Ok(Ok(wire)) => return self.exchange(peer, wire, request, limits).await,
            Ok(Err(reason)) => ForwardError::Connect { target: target(), reason },
            Err(_) => ForwardError::TimedOut { target: target() },
        };
        Err(Unsent { reason, request: Some(Box::new(request)) })
    }

    async fn exchange(
        &self,
        peer: &Peer,
        mut wire: Wire,
        mut request: Request<Body>,
        limits: &Limits,
    ) -> Result<Response<Body>, Unsent> {
        let target = || peer.address.to_string();
        let progress = Progress::of(&mut request);
        let mut patience = Patience { limit: limits.read, timer: None, armed: false, progress };
        let answered = {
            let mut sending = std::pin::pin!(wire.send(request));
            poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => patience.poll(cx).map(|()| None),
            })
            .await
        };
        let response = match answered {
            Some(Ok(response)) => response,
            Some(Err((error, request))) => {
                let reason = match own_failure(&error) {
                    Some(failure) => ForwardError::Body(failure),
                    None => ForwardError::Invalid { target: target(), reason: error.to_string() },
                };
                return Err(Unsent { reason, request: request.map(Box::new) });
            }
            None => {
                return Err(Unsent { reason: ForwardError::TimedOut { target: target() }, request: None });
            }
        };
        let (head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            wire.detach();
            return Ok(Response::from_parts(head, Body::Empty));
        }
        if http_body::Body::is_end_stream(&incoming) {
            if poll_fn(|cx| Poll::Ready(wire.settle(cx))).await {
                self.0.keep(peer.clone(), wire);
            }
            return Ok(Response::from_parts(head, Body::Empty));
        }
        patience.stop();
        let lease = Some(Lease { pool: Arc::clone(&self.0), peer: peer.clone(), wire });
        Ok(Response::from_parts(head, Body::stream(Answer { incoming, lease, patience, broken: None })))
    }
}

/// How far a request's streamed body has got.
#[derive(Clone)]
struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Watches the body of a request, if it is streamed.
    fn of(request: &mut Request<Body>) -> Option<Self> {
        if !matches!(request.body(), Body::Stream(_)) {
            return None;
        }
        let progress = Progress(Arc::default());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::stream(Watched { body, progress: progress.clone() });
        Some(progress)
    }
}

/// A body that tells of each part that was asked for.
struct Watched {
    body: Body,
    progress: Progress,
}

impl http_body::Body for Watched {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.progress.0.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Waits for the other side as long as its limit, and from the beginning again while a body is still being sent to it.
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
    progress: Option<Progress>,
}

impl Patience {
    /// Ready when it is over.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| {
            self.armed = true;
            Box::pin(tokio::time::sleep(limit))
        });
        if !std::mem::replace(&mut self.armed, true) {
            timer.as_mut().reset(tokio::time::Instant::now() + limit);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let moved =
                self.progress.as_ref().is_some_and(|Progress(count)| count.swap(0, Ordering::Relaxed) > 0);
            if !moved {
                return Poll::Ready(());
            }
            timer.as_mut().reset(tokio::time::Instant::now() + limit);
        }
        Poll::Pending
    }

    /// Begins anew at the next wait.
    fn stop(&mut self) {
        self.armed = false;
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub reason: ForwardError,
    /// The request, if it certainly was not processed.
    pub request: Option<Box<Request<Body>>>,
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
    fn take(&self, peer: &Peer) -> Option<Wire> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let wires = idle.get_mut(peer)?;
        while let Some(Idle { wire, since }) = wires.pop() {
            if since.elapsed() < IDLE {
                return Some(wire);
            }
        }
        None
    }

    fn keep(&self, peer: Peer, wire: Wire) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let wires = idle.entry(peer).or_default();
        if wires.len() < KEPT {
            wires.push(Idle { wire, since: Instant::now() });
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

/// A connection that is given back to its pool once the answer has been read.
struct Lease {
    pool: Arc<Pool>,
    peer: Peer,
    wire: Wire,
}

/// A response's body: gives its connection back to the pool at the end, and fails when nothing comes for too long.
struct Answer {
    incoming: hyper::body::Incoming,
    lease: Option<Lease>,
    patience: Patience,
    /// What broke it, told at the next turn.
    broken: Option<BodyError>,
}

impl Answer {
    /// Ends with an error, but lets go out first what came before it.
    fn fail(&mut self, error: BodyError, cx: &mut TaskContext<'_>) {
        self.lease = None;
        self.broken = Some(error);
        cx.waker().wake_by_ref();
    }

    fn give_back(&mut self, cx: &mut TaskContext<'_>) {
        if let Some(Lease { pool, peer, mut wire }) = self.lease.take()
            && wire.settle(cx)
        {
            pool.keep(peer, wire);
        }
    }
}

impl http_body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
        match lease.wire.poll_body(&mut this.incoming, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.stop();
                if http_body::Body::is_end_stream(&this.incoming) {
                    this.give_back(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.fail(error.into(), cx);
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.give_back(cx);
                Poll::Ready(None)
            }
            Poll::Pending => match this.patience.poll(cx) {
                Poll::Ready(()) => {
                    this.lease = None;
                    Poll::Ready(Some(Err(BodyError::TimedOut)))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.incoming.size_hint()
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

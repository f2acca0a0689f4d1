//! How the proxy and its plugins reach upstreams: pooled keep-alive connections, TLS, time-outs.
//!
//! What does not live here: which target is asked, and what follows a failure (`forward`, `balancer`).

use super::body::{Body, BodyError};
use super::context::{ForwardError, Limits};
use super::tls::ClientTls;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
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
    tls: ClientTls,
}

/// Where a connection leads; only equal peers share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The address.
    pub address: SocketAddr,
    /// For TLS: the name to send and to check.
    pub server_name: Option<Box<str>>,
    /// For TLS: whether the certificate must be valid.
    pub verify: bool,
    /// HTTP/2 instead of 1.1 (gRPC).
    pub http2: bool,
}

/// The addresses of a host name, and since when they are known.
struct Name {
    ips: Vec<IpAddr>,
    since: Instant,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
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
        let server_name = tls.then(|| host.into());
        let address = self.resolve(host, port, 0).await?;
        let peer = Peer { address, server_name, verify: limits.verify, http2: false };
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
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| unknown())?;
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
        while let Some(mut sender) = self.0.take(peer) {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.exchange(peer, sender, request, limits).await {
                // An idle connection may have been closed by the other side just before the request was written.
                Err(Unsent { request: Some(unsent), .. }) => request = *unsent,
                other => return other,
            }
        }
        let connecting = timeout(limits.connect, self.0.connect(peer)).await;
        let target = || peer.address.to_string();
        let sender = match connecting {
            Ok(Ok(sender)) => sender,
            Ok(Err(reason)) => {
                return Err(Unsent {
                    reason: ForwardError::Connect { target: target(), reason },
                    request: Some(Box::new(request)),
                });
            }
            Err(_) => {
                return Err(Unsent {
                    reason: ForwardError::TimedOut { target: target() },
                    request: Some(Box::new(request)),
                });
            }
        };
        self.exchange(peer, sender, request, limits).await
    }

    async fn exchange(
        &self,
        peer: &Peer,
        mut sender: Sender,
        request: Request<Body>,
        limits: &Limits,
    ) -> Result<Response<Body>, Unsent> {
        let target = || peer.address.to_string();
        match timeout(limits.read, sender.send(request)).await {
            Ok(Ok(response)) => Ok(response.map(|incoming| {
                if http_body::Body::is_end_stream(&incoming) {
                    self.0.keep(peer.clone(), sender);
                    return Body::Empty;
                }
                Body::stream(Answer {
                    incoming,
                    lease: Some((Arc::clone(&self.0), peer.clone(), sender)),
                    idle: limits.read,
                    timer: None,
                })
            })),
            Ok(Err((error, request))) => Err(Unsent {
                reason: match own_failure(&error) {
                    Some(failure) => ForwardError::Body(failure),
                    None => ForwardError::Invalid { target: target(), reason: error.to_string() },
                },
                request: request.map(Box::new),
            }),
            Err(_) => Err(Unsent { reason: ForwardError::TimedOut { target: target() }, request: None }),
        }
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
    fn take(&self, peer: &Peer) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.get_mut(peer)?;
        while let Some(Idle { sender, since }) = senders.pop() {
            if since.elapsed() < IDLE && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, peer: Peer, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.entry(peer).or_default();
        if senders.len() < KEPT {
            senders.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn connect(&self, peer: &Peer) -> Result<Sender, String> {
        let stream = TcpStream::connect(peer.address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        match &peer.server_name {
            Some(name) => {
                let stream = self.tls.connect(name, peer.verify, peer.http2, stream).await?;
                handshake(stream, peer.http2).await
            }
            None => handshake(stream, peer.http2).await,
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
) -> Result<Sender, String> {
    let io = TokioIo::new(stream);
    if http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection.with_upgrades());
        Ok(Sender::Http1(sender))
    }
}

impl Sender {
    async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Sender::Http1(sender) => sender.ready().await,
            Sender::Http2(sender) => sender.ready().await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, (hyper::Error, Option<Request<Body>>)> {
        let sent = match self {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut failed| {
            let request = failed.take_message();
            (failed.into_error(), request)
        })
    }
}

/// A response's body: gives its connection back to the pool at the end, and fails when nothing comes for too long.
struct Answer {
    incoming: hyper::body::Incoming,
    lease: Option<(Arc<Pool>, Peer, Sender)>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    fn give_back(&mut self) {
        if let Some((pool, peer, sender)) = self.lease.take() {
            pool.keep(peer, sender);
        }
    }
}

impl http_body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                if self.incoming.is_end_stream() {
                    self.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let idle = self.idle;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        self.lease = None;
                        Poll::Ready(Some(Err(BodyError::TimedOut)))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
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
